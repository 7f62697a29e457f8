"""From what people type, and from Ansible inventories, to machines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cudactl.contracts.errors import Exit, UsageError
from cudactl.reach.inventory import resolve_targets
from cudactl.reach.targets import target_from_name

INVENTORY = """
all:
  vars:
    cudactl_lock: site.lock
  children:
    gpu:
      hosts:
        n1: {ansible_host: 192.0.2.1, ansible_user: root}
        n2:
          ansible_host: "{{ prefix }}.2"
          prefix: 192.0.2
          ansible_port: 2222
          ansible_ssh_common_args: -o ProxyJump=bastion
          ansible_python_interpreter: /opt/python/bin/python3
          ansible_become: true
    login:
      hosts:
        l1: {ansible_connection: local, ansible_become: false}
"""


@pytest.fixture
def inventory(tmp_path: Path) -> str:
    path = tmp_path / "hosts.yml"
    path.write_text(INVENTORY)
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "gpu.yml").write_text("cudactl_lock: gpu.lock\n")
    return str(path)


def test_no_name_is_this_machine_without_ssh() -> None:
    (target,) = resolve_targets((), ())
    assert target.connection == "local"


@pytest.mark.parametrize(
    ("typed", "user", "address", "port"),
    [
        ("n1", None, "n1", None),
        ("ops@n1", "ops", "n1", None),
        ("ops@192.0.2.7:2222", "ops", "192.0.2.7", 2222),
        ("[2001:db8::1]:22", None, "2001:db8::1", 22),
        ("2001:db8::1", None, "2001:db8::1", None),
    ],
)
def test_a_name_is_what_ssh_would_take(
    typed: str, user: str | None, address: str, port: int | None
) -> None:
    target = target_from_name(typed)
    assert (target.user, target.address, target.port) == (user, address, port)
    assert target.ssh_command()[-1] == address


@pytest.mark.parametrize("typed", ["", "-oProxyCommand=evil", "a b", "@n1", "n1;rm", "$(id)"])
def test_what_is_no_host_name_is_refused(typed: str) -> None:
    with pytest.raises(UsageError) as refused:
        target_from_name(typed)
    assert refused.value.code == "TARGET-BAD-NAME"
    assert refused.value.exit_code == Exit.USAGE


def test_groups_variables_and_templates_are_ansibles(inventory: str) -> None:
    n1, n2 = resolve_targets(("gpu",), (inventory,))
    assert (n1.address, n1.user, n1.become) == ("192.0.2.1", "root", False)
    assert (n2.address, n2.port, n2.become) == ("192.0.2.2", 2222, True)
    assert n2.python == "/opt/python/bin/python3"
    assert "ProxyJump=bastion" in n2.ssh_command()
    assert n1.variables["cudactl_lock"] == "gpu.lock", "the group's variable wins over all's"


def test_no_names_mean_the_whole_inventory(inventory: str) -> None:
    assert [t.name for t in resolve_targets((), (inventory,))] == ["n1", "n2", "l1"]
    assert [t.name for t in resolve_targets((), (inventory,), "gpu:!n1")] == ["n2"]
    assert resolve_targets(("l1",), (inventory,))[0].connection == "local"


def test_dynamic_inventories_work(tmp_path: Path) -> None:
    script = tmp_path / "dynamic"
    script.write_text(
        '#!/bin/sh\necho \'{"gpu": {"hosts": ["d1"]}, '
        '"_meta": {"hostvars": {"d1": {"ansible_host": "192.0.2.9"}}}}\'\n'
    )
    script.chmod(0o755)
    (target,) = resolve_targets(("gpu",), (str(script),))
    assert target.address == "192.0.2.9"


@pytest.mark.parametrize(
    ("names", "source", "limit", "code"),
    [
        (("nx",), None, None, "TARGET-UNKNOWN"),
        ((), None, "nowhere", "TARGET-NONE"),
        (("n1",), "/nonexistent/hosts", None, "INVENTORY-MISSING"),
    ],
)
def test_an_inventory_that_cannot_be_meant_is_refused(
    inventory: str, names: tuple[str, ...], source: str | None, limit: str | None, code: str
) -> None:
    with pytest.raises(UsageError) as refused:
        resolve_targets(names, (source or inventory,), limit)
    assert refused.value.code == code
    assert refused.value.remedy


def test_a_misspelt_host_gets_a_suggestion(inventory: str) -> None:
    with pytest.raises(UsageError) as refused:
        resolve_targets(("gpuu",), (inventory,))
    assert "gpu" in refused.value.remedy


def test_a_limit_needs_an_inventory() -> None:
    with pytest.raises(UsageError) as refused:
        resolve_targets(("n1",), (), "n1")
    assert refused.value.code == "TARGET-NO-INVENTORY"


# --- inventories that Ansible itself stumbles over ----------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("all:\n  hosts:\n    h1: {ansible_host: 1.2.3.4\n", "YAML"),
        ('{\n "checksum": "a",\n "lock": {}\n}\n', "checksum"),
        ('all: {hosts: {h1: {ansible_host: "{{ nowhere }}"}}}\n', "variables of h1"),
        ("all: {hosts: {h1: {ansible_user: !vault x}}}\n", ""),
    ],
    ids=["broken", "a-lock", "undefined", "no-vault"],
)
def test_an_unreadable_inventory_is_one_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    path = tmp_path / ("stack.lock" if "lock" in text else "hosts.yml")
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        resolve_targets((), (str(path),))
    assert refused.value.code == "INVENTORY-BAD"
    assert says in refused.value.found
    assert str(path) in refused.value.found
    out, err = capfd.readouterr()
    assert (out, err) == ("", ""), "Ansible's own mutterings are not printed beside it"


def test_a_file_that_cannot_be_read_among_others_is_warned_of(
    tmp_path: Path, inventory: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """As Ansible has it for a folder; a run over fewer hosts than meant must not be silent."""
    folder = tmp_path / "inventory"
    folder.mkdir()
    (folder / "good.yml").write_text(Path(inventory).read_text())
    (folder / "broken.yml").write_text("all: {hosts: {\n")
    assert [t.name for t in resolve_targets((), (str(folder),))] == ["n1", "n2", "l1"]
    assert "broken.yml" in capfd.readouterr().err


def test_sudos_password_comes_from_the_vault(tmp_path: Path) -> None:
    """In a process of its own, because Ansible reads its configuration when it is imported."""
    (tmp_path / "key").write_text("vault-key\n")
    (tmp_path / "hosts.yml").write_text("all: {hosts: {n1: {ansible_host: 192.0.2.1}}}\n")
    secret = tmp_path / "group_vars" / "all.yml"
    secret.parent.mkdir()
    secret.write_text("ansible_become_password: correct-horse\n")
    env = {**os.environ, "ANSIBLE_VAULT_PASSWORD_FILE": str(tmp_path / "key")}
    vault = [str(Path(sys.executable).parent / "ansible-vault"), "encrypt", str(secret)]
    subprocess.run(vault, env=env, check=True, capture_output=True)
    assert "correct-horse" not in secret.read_text()
    script = (
        "import sys\nfrom cudactl.reach.inventory import resolve_targets\n"
        "(target,) = resolve_targets((), (sys.argv[1],))\n"
        "print(target.become_password, 'correct-horse' in repr(target))\n"
    )
    ask = [sys.executable, "-c", script, str(tmp_path / "hosts.yml")]
    done = subprocess.run(ask, env=env, capture_output=True, text=True)
    assert done.stdout.split() == ["correct-horse", "False"], done.stderr
    del env["ANSIBLE_VAULT_PASSWORD_FILE"]
    done = subprocess.run(ask, env=env, capture_output=True, text=True)
    assert "INVENTORY-BAD" not in done.stdout
    assert done.returncode != 0
