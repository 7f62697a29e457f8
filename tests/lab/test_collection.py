"""The collection alone: built offline, installed elsewhere, and used by a play written by hand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cudactl.lab.hosts import Lab, LabHost
from cudactl.stack.lock.file import read_lock
from tests.lab.running import BIN, SMALL, installed, plan_of

ROOT = Path(__file__).parent.parent.parent
PLAY = """\
- name: By hand
  hosts: {host}
  become: true
  gather_facts: false
  tasks:
    - name: All or nothing
      block:
        - name: Claim the host and plan
          cudactl.stack.cudactl_plan: {{lock: {lock}}}
          register: plan
        - name: Repository
          ansible.builtin.include_role: {{name: cudactl.stack.repository}}
          vars: {{repository_steps: "{{{{ plan.steps.repository }}}}"}}
          when: "'repository' in plan.steps"
        - name: Packages
          ansible.builtin.include_role: {{name: cudactl.stack.packages}}
          vars: {{packages_steps: "{{{{ plan.steps.packages }}}}"}}
          when: "'packages' in plan.steps"
      always:
        - name: Give the host back
          cudactl.stack.cudactl_plan: {{lock: {lock}, release: true, done: true}}
- name: The rest
  ansible.builtin.import_playbook: cudactl.stack.provision
  vars: {{cudactl_lock: {lock}, cudactl_hosts: {host}}}
"""


@pytest.fixture(scope="module")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which nothing but the built collection is installed."""
    folder = tmp_path_factory.mktemp("collections")
    built = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "collection.py"), "-o", str(folder / "dist")],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    program = [str(BIN / "ansible-galaxy"), "collection", "install", "--offline", "-p", str(folder)]
    subprocess.run([*program, built], check=True, capture_output=True, text=True)
    return folder


def test_everything_in_it_is_called_by_its_full_name(collections: Path) -> None:
    top = collections / "ansible_collections" / "cudactl" / "stack"
    modules = {p.stem for p in (top / "plugins" / "modules").glob("*.py")} | {"cudactl_plan"}
    roles = {p.name for p in (top / "roles").iterdir()}
    assert {"packages", "repository", "uninstall"} <= roles
    short = re.compile(rf"^\s*(?:- )?({'|'.join(modules)}):", re.MULTILINE)
    for path in [*(top / "roles").rglob("tasks/*.yml"), *(top / "playbooks").glob("*.yml")]:
        assert not short.findall(path.read_text()), path
        yaml.safe_load(path.read_text())
    for role in roles:
        specs = yaml.safe_load((top / "roles" / role / "meta" / "argument_specs.yml").read_text())
        readme = (top / "roles" / role / "README.md").read_text()
        for option in specs["argument_specs"]["main"]["options"]:
            assert f"`{option}`" in readme


@pytest.mark.lab
def test_a_play_written_by_hand_provisions_a_host(
    collections: Path,
    lab: Lab,
    fresh_host: Callable[[str], LabHost],
    make_lock: Callable[[str, str], Path],
    tmp_path: Path,
) -> None:
    host = fresh_host("debian-12")
    lock = make_lock(SMALL, "debian-12")
    play = tmp_path / "play.yml"
    play.write_text(PLAY.format(host=host.name, lock=lock))

    def run(*more: str) -> str:
        done = subprocess.run(
            [str(BIN / "ansible-playbook"), "-i", str(lab.inventory), str(play), *more],
            cwd=tmp_path,
            env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(collections)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    before = installed(host)
    shown = run("--check", "--diff")
    assert "+libcudnn9-cuda-13" in shown, "the plan's own difference, where no source is in place"
    assert "+Signed-By: /usr/share/keyrings/cudactl-nvidia.asc" in shown
    assert installed(host) == before
    assert not host.exec(["sh", "-c", "ls /var/lib/cudactl /run/cudactl 2>/dev/null; true"]).strip()

    run()
    wanted = {p.name: p.version for p in read_lock(lock).packages}
    assert wanted.items() <= installed(host).items()
    assert not plan_of(host, lab, lock)["plan"]["steps"]
