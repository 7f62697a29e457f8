"""apt sources, pins and keys in the lock's way: refused with the file's name, or moved aside."""

from __future__ import annotations

from typing import Any

import pytest

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Choices, PlanStep
from cudactl.contracts.state import HostState
from cudactl.provision.preflight.sources import source_findings
from cudactl.provision.steps.repository import repository_files, repository_step
from tests.provision.conftest import bare_state

OURS = "http://mirror.invalid/ubuntu2404/x86_64/"
VENDOR = "https://developer.download.nvidia.com/compute/cuda/repos"
LIST = "/etc/apt/sources.list.d/cuda.list"
TAKE_OVER = Choices(take_over=True)


def source(uri: str, **more: object) -> dict[str, Any]:
    values = {"file": LIST, "uris": [uri], "signed_by": None, "ours": False, "sha256": "a" * 64}
    return {**values, **more}


def with_sources(*sources: dict[str, Any], **more: object) -> HostState:
    return bare_state(apt_sources=list(sources), **more)


def findings(lock: StackLock, state: HostState, choices: Choices | None = None) -> dict[str, bool]:
    """Code → whether it refuses."""
    found = source_findings(lock, state, choices or Choices())
    assert all(f.found for f in found)
    assert all(f.expected and f.remedy for f in found if f.refuses)
    return {f.code: f.refuses for f in found}


def moved(lock: StackLock, state: HostState) -> list[str]:
    """What --take-over moves aside, held against the step's changes."""
    step = repository_step(lock, state, TAKE_OVER)
    assert step is not None
    aside = [one["path"] for one in step.variables["aside"]]
    gone = [c.name for c in step.changes if c.after is None]
    assert aside == gone
    copies = [c.name for c in step.changes if c.name.startswith("/var/lib/cudactl/taken-over/")]
    assert copies == ["/var/lib/cudactl/taken-over" + path for path in aside]
    return aside


@pytest.mark.parametrize(
    ("uri", "signed_by", "code", "refuses"),
    [
        (OURS, "/usr/share/keyrings/other.gpg", "PREFLIGHT-SOURCE-CONFLICT", True),
        (OURS.rstrip("/"), None, "PREFLIGHT-SOURCE-CONFLICT", True),
        (f"{VENDOR}/ubuntu2204/x86_64", None, "PREFLIGHT-SOURCE-FOLDER", True),
        (f"{VENDOR}/ubuntu2404/arm64", None, "PREFLIGHT-SOURCE-FOLDER", True),
        (f"{VENDOR}/ubuntu24.04/x86_64/", None, "PREFLIGHT-SOURCE-FOLDER", True),
        (f"{VENDOR}/debian12/x86_64/", None, "PREFLIGHT-SOURCE-FOLDER", True),
        (f"{VENDOR}/wsl-ubuntu/x86_64/", None, "PREFLIGHT-SOURCE-FOLDER", True),
        (
            "https://developer.download.nvidia.com/compute/machine-learning/repos/x/y",
            None,
            "PREFLIGHT-SOURCE-ENDED",
            True,
        ),
        (f"{VENDOR}/ubuntu2404/x86_64/", None, "PREFLIGHT-OTHER-SOURCE", False),
        ("https://archive.lambdalabs.com/ubuntu", None, "PREFLIGHT-OTHER-ORIGIN", False),
    ],
)
def test_a_source_in_the_way(
    apt_lock: StackLock, uri: str, signed_by: str | None, code: str, refuses: bool
) -> None:
    state = with_sources(source(uri, signed_by=signed_by))
    assert findings(apt_lock, state) == {code: refuses}
    (finding,) = source_findings(apt_lock, state, Choices())
    assert LIST in finding.found
    if code != "PREFLIGHT-OTHER-ORIGIN":
        assert findings(apt_lock, state, TAKE_OVER) == {}
        assert moved(apt_lock, state) == [LIST]


def test_our_own_key_under_another_file_name_is_no_conflict(apt_lock: StackLock) -> None:
    key = "/usr/share/keyrings/cudactl-nvidia.asc"
    assert findings(apt_lock, with_sources(source(OURS, signed_by=key))) == {}


def test_the_lock_of_a_debian_host_knows_its_own_folder(apt_lock: StackLock) -> None:
    target = apt_lock.target.model_copy(update={"os": "debian-12", "arch": "sbsa"})
    lock = apt_lock.model_copy(update={"target": target})
    assert findings(lock, with_sources(source(f"{VENDOR}/debian12/sbsa/"))) == {
        "PREFLIGHT-OTHER-SOURCE": False
    }


def test_two_files_that_disagree_about_one_address_stop_apt_already(apt_lock: StackLock) -> None:
    toolkit = "https://nvidia.github.io/libnvidia-container/stable/deb/amd64"
    state = with_sources(
        source(toolkit, file="/etc/apt/sources.list.d/a.list", signed_by="/a.gpg"),
        source(toolkit + "/", file="/etc/apt/sources.list.d/b.list", signed_by="/b.gpg"),
    )
    assert findings(apt_lock, state) == {"PREFLIGHT-SOURCE-CONFLICT": True}


@pytest.mark.parametrize(
    "more",
    [
        {"file": "/etc/apt/sources.list"},
        {"others": 2},
        {"sha256": None},
    ],
)
def test_a_file_with_more_in_it_is_never_moved(apt_lock: StackLock, more: dict[str, Any]) -> None:
    state = with_sources(source(OURS, **more))
    assert findings(apt_lock, state, TAKE_OVER) == {"PREFLIGHT-SOURCE-CONFLICT": True}
    (finding,) = source_findings(apt_lock, state, TAKE_OVER)
    assert "take the entry out of" in finding.remedy
    assert moved(apt_lock, state) == []


def test_a_file_that_somebody_writes_again_is_never_moved(apt_lock: StackLock) -> None:
    state = with_sources(source(OURS), managed={LIST: "puppet"})
    (finding,) = source_findings(apt_lock, state, TAKE_OVER)
    assert finding.refuses
    assert "have puppet" in finding.remedy
    assert moved(apt_lock, state) == []


def apt_file(path: str, kind: str = "pin", **more: object) -> dict[str, Any]:
    return {"path": path, "kind": kind, "sha256": "b" * 64, "names": [], "package": None, **more}


PREFERENCE = "/etc/apt/preferences.d/nvidia"


@pytest.mark.parametrize(
    ("file", "code", "refuses"),
    [
        (apt_file(PREFERENCE, names=["libcudnn9-*"]), "PREFLIGHT-PIN-FOREIGN", True),
        (apt_file(PREFERENCE, names=["nvidia-open-580"]), "PREFLIGHT-PIN-FOREIGN", True),
        (
            apt_file(PREFERENCE, names=["nsight-compute", "*"], package="cuda-keyring"),
            "PREFLIGHT-PIN-OTHER",
            False,
        ),
        (apt_file("/etc/apt/trusted.gpg.d/cuda.gpg", "key"), "PREFLIGHT-OLD-KEY", False),
    ],
)
def test_pins_and_keys_of_others(
    apt_lock: StackLock, file: dict[str, Any], code: str, refuses: bool
) -> None:
    state = bare_state(apt_files=[file])
    assert findings(apt_lock, state) == {code: refuses}
    assert findings(apt_lock, state, TAKE_OVER) == {}
    assert moved(apt_lock, state) == [file["path"]]


@pytest.mark.parametrize("path", ["/etc/apt/preferences", "/etc/apt/trusted.gpg"])
def test_a_file_that_apt_itself_keeps_is_never_moved(apt_lock: StackLock, path: str) -> None:
    kind = "key" if "trusted" in path else "pin"
    state = bare_state(apt_files=[apt_file(path, kind, names=["libcudnn9-cuda-13"])])
    assert len(findings(apt_lock, state, TAKE_OVER)) == 1
    assert moved(apt_lock, state) == []


def test_a_pin_that_the_locks_own_package_brings_is_wished(apt_lock: StackLock) -> None:
    file = apt_file(PREFERENCE, names=["nvidia-open*"], package="nvidia-open-580")
    assert findings(apt_lock, bare_state(apt_files=[file])) == {}


def test_a_lock_of_wheels_minds_no_source(wheel_lock: StackLock) -> None:
    state = with_sources(source(f"{VENDOR}/ubuntu2204/x86_64"))
    assert findings(wheel_lock, state) == {}


def step_of(lock: StackLock, state: HostState) -> PlanStep:
    step = repository_step(lock, state, Choices())
    assert step is not None
    return step


def test_nothing_is_moved_unasked(apt_lock: StackLock) -> None:
    step = step_of(apt_lock, with_sources(source(OURS)))
    assert step.variables["aside"] == []
    assert all(change.after for change in step.changes)


def test_a_converged_host_with_a_leftover_is_changed_only_by_taking_it_over(
    apt_lock: StackLock,
) -> None:
    files = [{"path": f.path, "sha256": f.sha256} for f in repository_files(apt_lock)]
    state = with_sources(source(f"{VENDOR}/ubuntu2404/x86_64/"), files=files)
    assert repository_step(apt_lock, state, Choices()) is None
    step = repository_step(apt_lock, state, TAKE_OVER)
    assert step is not None
    assert [c.name for c in step.changes] == [LIST, f"/var/lib/cudactl/taken-over{LIST}"]
    assert step.summary == f"move {LIST} aside"


def test_the_source_of_another_lock_goes(apt_lock: StackLock) -> None:
    left = {"path": "/etc/apt/sources.list.d/cudactl-mirror.sources", "sha256": "c" * 64}
    step = step_of(apt_lock, bare_state(files=[left]))
    assert step.variables["remove"] == [left["path"]]
    assert (left["path"], None) in [(c.name, c.after) for c in step.changes]


def test_the_distributions_own_archive_is_not_placed_but_pinned(apt_lock: StackLock) -> None:
    archive = apt_lock.sources[0].model_copy(update={"name": "ubuntu", "distribution": True})
    lock = apt_lock.model_copy(
        update={
            "sources": [archive],
            "packages": [p.model_copy(update={"source": "ubuntu"}) for p in apt_lock.packages],
        }
    )
    assert [f.path for f in repository_files(lock)] == ["/etc/apt/preferences.d/cudactl-lock.pref"]
    assert step_of(lock, bare_state()).summary == "place the lock's pins"
