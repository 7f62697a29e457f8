"""Which lock a host gets, and that it is not one that nobody means any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from cudactl.contracts.errors import CudactlError, Exit, UsageError
from cudactl.contracts.lock import LockTarget, StackLock
from cudactl.reach.targets import Target
from cudactl.stack.lock.file import write_lock, write_locks
from cudactl.stack.spec.file import parse_spec, spec_hash
from cudactl.workflow.locks import locks_for

WISH = 'os: debian-12\ncuda: "13.0"\n'


def lock_of(text: str, os_name: str = "debian-12") -> StackLock:
    spec = parse_spec(text, "test")
    if os_name != spec.os:
        spec = spec.model_copy(update={"os": os_name})
    return StackLock(
        spec=spec,
        spec_hash=spec_hash(spec),
        catalogue_hash="2" * 64,
        target=LockTarget(os=spec.os, arch="x86_64", packages="apt"),
        resolved={"cuda": "13.0.2"},
        sources=[],
        packages=[],
    )


def host(name: str = "n1", **variables: object) -> Target:
    return Target(name=name, address=name, variables=dict(variables))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_any_the_error_says_where_one_is_looked_for() -> None:
    with pytest.raises(UsageError) as refused:
        locks_for([host()], None)
    assert refused.value.code == "LOCK-NOT-SAID"
    for place in ("--lock", "cudactl_lock", "stack.lock"):
        assert place in refused.value.expected


def test_the_command_line_wins_over_the_inventory_and_that_over_the_folder(folder: Path) -> None:
    for name, cuda in {"here.lock": "12.8", "hosts.lock": "12.9", "stack.lock": "13.0"}.items():
        write_lock(lock_of(f'os: debian-12\ncuda: "{cuda}"\n'), folder / name)
    said, plain = host("said", cudactl_lock="hosts.lock"), host("plain")

    def cuda_of(lock: Path | None) -> list[str | None]:
        return [found.spec.cuda for found in locks_for([said, plain], lock).values()]

    assert cuda_of(None) == ["12.9", "13.0"]
    assert cuda_of(Path("here.lock")) == ["12.8", "12.8"]


def test_a_relative_lock_of_an_inventory_lies_beside_it(folder: Path) -> None:
    (folder / "site").mkdir()
    write_lock(lock_of(WISH), folder / "site" / "gpu.lock")
    targets = [host(cudactl_lock="gpu.lock")]
    assert locks_for(targets, None, ["site/hosts.yml"])["n1"].spec.cuda == "13.0"


# --- a lock that is older than its wish ---------------------------------------------------------


def test_a_lock_of_this_wish_is_current(folder: Path) -> None:
    (folder / "stack.yaml").write_text("# a comment changes nothing\n" + WISH)
    write_lock(lock_of(WISH), folder / "stack.lock")
    assert locks_for([host()], None, current=True)


def test_a_lock_older_than_its_wish_is_refused(folder: Path) -> None:
    (folder / "stack.yaml").write_text(WISH.replace("13.0", "13.1"))
    write_lock(lock_of(WISH), folder / "stack.lock")
    for chosen in (None, Path("stack.lock")):
        with pytest.raises(CudactlError) as refused:
            locks_for([host()], chosen, current=True)
        assert refused.value.code == "LOCK-NOT-CURRENT"
        assert refused.value.exit_code == Exit.FAIL
        assert "cudactl stack lock stack.yaml" in refused.value.remedy
    assert locks_for([host()], None), "what is there may be held against it all the same"


def test_a_lock_kept_under_another_name_is_meant(folder: Path) -> None:
    (folder / "stack.yaml").write_text(WISH.replace("13.0", "13.1"))
    write_lock(lock_of(WISH), folder / "last-week.lock")
    assert locks_for([host()], Path("last-week.lock"), current=True)


def test_a_lock_for_other_distributions_answers_the_wish_too(folder: Path) -> None:
    (folder / "stack.yaml").write_text(WISH)
    write_locks([lock_of(WISH, "ubuntu-24.04")], folder / "stack.lock")
    assert locks_for([host()], None, current=True)
