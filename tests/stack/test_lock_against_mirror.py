"""A lock's closure is what apt arrives at, from the top-level names under the lock's pins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cudactl.contracts.errors import CudactlError
from cudactl.contracts.lock import StackLock
from cudactl.lab.mirror import Mirror
from tests.lab.mirror.apt import EXTERNAL, Apt
from tests.stack.conftest import Locks

FOLDER = {
    "ubuntu-22.04": "ubuntu2204",
    "ubuntu-24.04": "ubuntu2404",
    "ubuntu-26.04": "ubuntu2604",
    "debian-12": "debian12",
    "debian-13": "debian13",
}
WISHES: dict[str, dict[str, Any]] = {
    "whole stack": {
        "driver": {"branch": "580"},
        "cuda": "13.0",
        "cudnn": "9",
        "tensorrt": "10.13",
        "container_toolkit": "1",
    },
    "older than the newest": {
        "driver": {"branch": "580.95.05"},
        "cuda": "13.0.0",
        "cudnn": "9.13",
        "tensorrt": "10.13",
        "nccl": "2.27",
        "container_toolkit": "1.19",
    },
    "CUDA 12": {
        "driver": {"branch": "none"},
        "cuda": "12.9",
        "cudnn": "9.20",
        "tensorrt": "10.14",
        "nccl": "2.28",
    },
    "driver only": {},
    "newest driver and CUDA": {
        "driver": {"branch": "610", "flavour": "proprietary"},
        "cuda": "13.3",
        "tensorrt": "11",
    },
    "boards with NVSwitch": {
        "driver": {"branch": "580"},
        "gpus": ["H200 SXM"],
        "cuda": "13.0",
        "dcgm": "4.5",
        "container_toolkit": "1",
    },
}
LATE: dict[str, dict[str, Any]] = {
    "late driver only": {},
    "what a late repository has": {
        "driver": {"branch": "610"},
        "cuda": "13",
        "cudnn": "9",
        "tensorrt": "11",
        "nccl": "2",
        "dcgm": "4",
        "container_toolkit": "1",
    },
    "late boards with NVSwitch": {"driver": {"branch": "595"}, "gpus": ["B200"], "cuda": "13"},
}
SUITE = [
    *((os, name) for os in ("ubuntu-22.04", "ubuntu-24.04", "debian-12") for name in WISHES),
    *((os, name) for os in ("ubuntu-26.04", "debian-13") for name in LATE),
]


def preferences(lock: StackLock, but: str = "") -> str:
    return "".join(
        f"Package: {p.name}\nPin: version {p.version}\nPin-Priority: 1001\n\n"
        for p in lock.packages
        if p.name != but
    )


def apt_for(lock: StackLock, mirror: Mirror, root: Path, but: str = "") -> Apt:
    apt = Apt(root, mirror, FOLDER[lock.target.os])
    (root / "etc/preferences.d/cudactl-stack.pref").write_text(preferences(lock, but))
    return apt.updated()


def top_level(lock: StackLock) -> list[str]:
    return [p.name for p in lock.packages if p.top_level]


@pytest.mark.parametrize(("os", "name"), SUITE)
def test_apt_arrives_at_exactly_the_lock(
    mirror: Mirror, lock_from: Locks, tmp_path: Path, os: str, name: str
) -> None:
    lock, _ = lock_from(os=os, **{**WISHES, **LATE}[name])
    assert apt_for(lock, mirror, tmp_path / "apt").installs(*top_level(lock)) == {
        p.name: p.version for p in lock.packages
    }
    assert {e.name for e in lock.external} <= EXTERNAL


def test_without_one_pin_apt_arrives_elsewhere(
    mirror: Mirror, lock_from: Locks, tmp_path: Path
) -> None:
    lock, _ = lock_from(**WISHES["older than the newest"])
    apt = apt_for(lock, mirror, tmp_path / "apt", but="libcublas-13-0")
    assert apt.installs(*top_level(lock))["libcublas-13-0"] == "13.1.0.3-1"
    assert lock.package("libcublas-13-0").version == "13.0.0.19-1"  # type: ignore[union-attr]


@pytest.mark.parametrize("dropped", ["libnvinfer10", "libcudnn9-cuda-13"])
def test_without_one_pin_apt_arrives_nowhere(
    mirror: Mirror, lock_from: Locks, tmp_path: Path, dropped: str
) -> None:
    lock, _ = lock_from(**WISHES["older than the newest"])
    apt = apt_for(lock, mirror, tmp_path / "apt", but=dropped)
    assert "unmet dependencies" in apt.refuses(*top_level(lock))


def test_a_lock_holds_what_was_asked_for(lock_from: Locks) -> None:
    lock, notes = lock_from(**WISHES["older than the newest"])
    assert lock.resolved == {
        "cuda": "13.0.0",
        "cudnn": "9.13.1.26",
        "container_toolkit": "1.19.1",
        "driver": "580.95.05",
        "nccl": "2.27.7",
        "tensorrt": "10.13.3.9",
    }
    assert lock.driver_flavour == "open"
    versions = {p.name: p.version for p in lock.packages}
    assert versions["libcublas-13-0"] == "13.0.0.19-1"
    assert versions["libnvinfer-dev"] == "10.13.3.9-1+cuda13.0"
    assert versions["nvidia-dkms-580-open"] == "580.95.05-1ubuntu1"
    assert all(p.why for p in lock.packages)
    assert {p.component for p in lock.packages} == set(lock.resolved)
    assert {note.partition(":")[0] for note in notes} == {
        "STACK-PARTS-FLOAT",
        "STACK-TENSORRT-SHARED-NAMES",
        "STACK-DRIVER-INSECURE",
    }


def test_the_default_driver_is_the_newest_long_term_or_production_branch(lock_from: Locks) -> None:
    lock, _ = lock_from(cuda="13.0")
    assert lock.resolved["driver"] == "595.71.05"
    lock, notes = lock_from(cuda="13.3")
    assert lock.resolved["driver"] == "595.71.05"
    assert any("610.43.02" in note for note in notes)


def test_a_preinstalled_driver_is_named_and_not_locked(lock_from: Locks) -> None:
    lock, notes = lock_from(driver={"branch": "preinstalled"}, cuda="13.0")
    assert lock.resolved["driver"] == "preinstalled"
    assert not lock.of("driver")
    assert any("not checked" in note for note in notes)
    assert lock.driver_minimum == "580", "what provisioning holds the host's driver to"
    assert lock_from(driver={"branch": "580"}, cuda="13.0")[0].driver_minimum is None


@pytest.mark.parametrize(
    ("situation", "code"),
    [
        (Mirror.tampered_index, "INDEX-TAMPERED"),
        (Mirror.unsigned, "INDEX-UNSIGNED"),
        (Mirror.signed_by_other_key, "INDEX-WRONG-KEY"),
        (Mirror.expired_valid_until, "INDEX-EXPIRED"),
        (Mirror.truncated_packages, "INDEX-TAMPERED"),
        (Mirror.huge_index, "INDEX-TOO-LARGE"),
    ],
)
def test_a_wrong_mirror_is_refused(
    mirror: Mirror,
    lock_from: Locks,
    tmp_path: Path,
    situation: Callable[[Mirror, Path], Mirror],
    code: str,
) -> None:
    wrong = situation(mirror, tmp_path / "wrong")
    with pytest.raises(CudactlError) as refused:
        lock_from(wrong, cuda="13.0")
    assert refused.value.code == code
    assert refused.value.expected
    assert refused.value.remedy


def test_a_new_release_changes_a_prefix_and_not_an_exact_version(
    mirror: Mirror, lock_from: Locks, tmp_path: Path
) -> None:
    news = mirror.new_release(tmp_path / "news")
    assert lock_from(news, cuda="13.0", driver={"branch": "580"})[0].resolved == {
        "cuda": "13.0.3",
        "driver": "580.178.04",
    }
    exact = {"cuda": "13.0.2", "cudnn": "9.20.0.48", "driver": {"branch": "580.159.04"}}
    before, after = lock_from(**exact)[0], lock_from(news, **exact)[0]
    assert before.hash == after.hash


def test_a_version_that_left_the_index_is_named(
    mirror: Mirror, lock_from: Locks, tmp_path: Path
) -> None:
    gone = mirror.expired_pin("libcublas-13-0", "13.1.0.3-1", tmp_path / "gone")
    with pytest.raises(CudactlError) as refused:
        lock_from(gone, cuda="13.0.2")
    assert refused.value.code == "STACK-VERSION-NOT-IN-INDEX"
    assert "libcublas-13-0 13.1.0.3-1" in refused.value.found
    assert "13.0.0.19-1" in refused.value.expected


def test_boards_with_nvswitch_get_the_fabric_manager_of_their_driver(lock_from: Locks) -> None:
    lock, _ = lock_from(**WISHES["boards with NVSwitch"])
    versions = {p.name: p.version for p in lock.packages}
    assert versions["nvidia-fabricmanager"].partition("-")[0] == lock.resolved["driver"]
    assert versions["datacenter-gpu-manager-4-cuda13"] == "1:4.5.2-1", "with its epoch"
    plain, _ = lock_from(driver={"branch": "580"}, gpus=["H100 PCIe"], cuda="13.0")
    assert plain.package("nvidia-fabricmanager") is None


def test_imex_comes_where_the_spec_asks_for_it(lock_from: Locks) -> None:
    lock, _ = lock_from(driver={"branch": "580", "imex": True}, cuda="13.0")
    assert lock.package("nvidia-fabricmanager") is None
    imex = lock.package("nvidia-imex")
    assert imex is not None
    assert imex.version.partition("-")[0] == lock.resolved["driver"]
