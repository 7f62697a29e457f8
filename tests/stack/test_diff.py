"""Two locks are told apart as a reader would: what changes, and what it means for the host."""

from __future__ import annotations

from typing import Any

import pytest

from cudactl.cli.show_diff import diff_text
from cudactl.contracts.diff import LockDiff, PackageChange
from cudactl.contracts.lock import StackLock
from cudactl.stack.lock.diff import diff_locks
from cudactl.stack.lock.diff_risks import EXPLANATIONS
from tests.stack.conftest import Locks

OLD = {"driver": {"branch": "580.95.05"}, "cuda": "13.0.0", "cudnn": "9.13", "tensorrt": "10.13"}
NEW = {"driver": {"branch": "580"}, "cuda": "13.0.2", "cudnn": "9.20", "tensorrt": "10.14"}


def changes(diff: LockDiff) -> dict[str, PackageChange]:
    return {p.name: p for component in diff.components for p in component.packages}


def codes(diff: LockDiff) -> list[str]:
    return [risk.code for risk in diff.risks]


def altered(lock: StackLock, name: str, **fields: Any) -> StackLock:
    packages = [p.model_copy(update=fields) if p.name == name else p for p in lock.packages]
    return lock.model_copy(update={"packages": packages})


def test_a_lock_does_not_differ_from_itself(lock_from: Locks) -> None:
    lock, _ = lock_from(**OLD)
    diff = diff_locks(lock, lock)
    assert not diff.different
    assert not diff.risks
    assert diff.to_fetch == 0
    assert "say the same" in diff_text(diff)


def test_newer_versions_are_grouped_by_component(lock_from: Locks) -> None:
    (old, _), (new, _) = lock_from(**OLD), lock_from(**NEW)
    diff = diff_locks(old, new)
    assert diff.different
    assert [(c.component, c.before, c.after) for c in diff.components] == [
        (name, old.resolved[name], new.resolved[name])
        for name in ("driver", "cuda", "cudnn", "tensorrt")
    ]
    assert all(c.kind == "newer" for c in diff.components)
    cublas = changes(diff)["libcublas-13-0"]
    assert (cublas.kind, cublas.before, cublas.after) == ("newer", "13.0.0.19-1", "13.1.0.3-1")
    files = {p.sha256 for p in old.packages}
    same = {p.name for p in new.packages if p.sha256 in files}
    assert same
    assert not same & set(changes(diff)), "what stays is not listed"
    assert diff.to_fetch == sum(p.size for p in new.packages if p.name not in same)
    assert diff.download_after == sum(p.size for p in new.packages)


def test_the_other_way_round_is_older(lock_from: Locks) -> None:
    (old, _), (new, _) = lock_from(**OLD), lock_from(**NEW)
    diff = diff_locks(new, old)
    assert all(c.kind == "older" for c in diff.components)
    assert "DIFF-OLDER" in codes(diff)
    assert "DIFF-OLDER" not in codes(diff_locks(old, new))


def test_a_driver_means_a_reboot_and_tensorrt_means_new_engines(lock_from: Locks) -> None:
    (old, _), (new, _) = lock_from(**OLD), lock_from(**NEW)
    risks = {risk.code: risk for risk in diff_locks(old, new).risks}
    assert risks["DIFF-DRIVER"].level == "reboot"
    assert f"580.95.05 → {new.resolved['driver']}" in risks["DIFF-DRIVER"].text
    assert risks["DIFF-TENSORRT"].level == "rebuild"
    assert "engines" in risks["DIFF-TENSORRT"].text
    without, _ = lock_from(**{**NEW, "driver": {"branch": "580.95.05"}})
    assert "DIFF-DRIVER" not in codes(diff_locks(old, without))


def test_another_flavour_is_said_though_the_version_stays(lock_from: Locks) -> None:
    one, _ = lock_from(driver={"branch": "580", "flavour": "open"})
    other, _ = lock_from(driver={"branch": "580", "flavour": "proprietary"})
    diff = diff_locks(one, other)
    assert diff.flavour is not None
    assert (diff.flavour.before, diff.flavour.after) == ("open", "proprietary")
    assert {"DIFF-DRIVER", "DIFF-FLAVOUR"} <= set(codes(diff))
    kinds = {p.name: p.kind for p in changes(diff).values()}
    assert kinds["nvidia-dkms-580-open"] == "removed"
    assert kinds["nvidia-dkms-580"] == "added"
    assert "open → proprietary kernel module" in diff_text(diff)


def test_another_cuda_major_and_a_component_less(lock_from: Locks) -> None:
    none = {"branch": "none"}
    old, _ = lock_from(driver=none, cuda="12.9", nccl="2.28")
    new, _ = lock_from(driver=none, cuda="13.0")
    diff = diff_locks(old, new)
    assert {"DIFF-CUDA-MAJOR", "DIFF-COMPONENT-GONE"} <= set(codes(diff))
    assert [c.kind for c in diff.components if c.component == "nccl"] == ["removed"]
    minor, _ = lock_from(driver=none, cuda="13.3")
    assert "DIFF-CUDA-MINOR" in codes(diff_locks(new, minor))
    assert "/usr/local/cuda-13.0" in diff_text(diff_locks(new, minor))


def test_another_hash_at_the_same_version_is_an_alarm_and_comes_first(lock_from: Locks) -> None:
    lock, _ = lock_from(**OLD)
    other = altered(lock, "libcudnn9-cuda-13", sha256="0" * 64)
    diff = diff_locks(lock, other)
    assert changes(diff)["libcudnn9-cuda-13"].kind == "rebuilt"
    assert (diff.risks[0].code, diff.risks[0].level) == ("DIFF-HASH", "alarm")
    text = diff_text(diff)
    assert "! libcudnn9-cuda-13" in text
    assert "ANOTHER HASH" in text
    assert len(changes(diff)) == 1


def test_a_build_for_another_machine_is_no_alarm(lock_from: Locks) -> None:
    lock, _ = lock_from(**OLD)
    other = altered(
        lock, "libcudnn9-cuda-13", sha256="0" * 64, filename="libcudnn9-cuda-13_9_arm64.deb"
    )
    other = other.model_copy(update={"target": lock.target.model_copy(update={"arch": "sbsa"})})
    diff = diff_locks(lock, other)
    assert changes(diff)["libcudnn9-cuda-13"].kind == "other-build"
    assert "DIFF-HASH" not in codes(diff)
    assert "DIFF-TARGET" in codes(diff)
    assert [(f.name, f.before, f.after) for f in diff.target] == [("arch", "x86_64", "sbsa")]


def test_the_same_packages_from_elsewhere(lock_from: Locks) -> None:
    lock, _ = lock_from(**OLD)
    source = lock.sources[0].model_copy(
        update={"url": "https://elsewhere.invalid/", "fingerprint": "A" * 40}
    )
    diff = diff_locks(lock, lock.model_copy(update={"sources": [source]}))
    assert diff.before == diff.after
    assert diff.different
    assert codes(diff) == ["DIFF-KEY", "DIFF-SOURCE"]
    assert "the same packages in both locks" in diff_text(diff)
    assert "https://elsewhere.invalid/" in diff_text(diff)


def test_what_was_allowed_and_what_the_distribution_brings(lock_from: Locks) -> None:
    lock, _ = lock_from(**OLD)
    bare = lock.model_copy(update={"external": lock.external[1:]})
    allowed = lock.model_copy(update={"allowed": [{"code": "STACK-X", "reason": "we know better"}]})
    allowed = StackLock.model_validate(allowed.model_dump(warnings=False))
    diff = diff_locks(bare, allowed)
    assert [f.name for f in diff.external] == [lock.external[0].name]
    assert "we know better" in diff_text(diff)
    assert "DIFF-ALLOWED" in codes(diff)


def test_every_risk_can_be_explained(lock_from: Locks) -> None:
    (old, _), (new, _) = lock_from(**OLD), lock_from(**NEW)
    diff = diff_locks(old, new)
    text = diff_text(diff, explain=True)
    for code in codes(diff):
        assert EXPLANATIONS[code] in " ".join(text.split())
    assert EXPLANATIONS["DIFF-DRIVER"] not in " ".join(diff_text(diff).split())


@pytest.mark.parametrize("swap", [False, True])
def test_wheels_compare_as_python_versions(swap: bool, wheel_lock: StackLock) -> None:
    other = altered(wheel_lock, "a", version="1.10.0", filename="a-1.10.0-py3-none-any.whl")
    other = altered(other, "a", sha256="9" * 64)
    pair = (other, wheel_lock) if swap else (wheel_lock, other)
    diff = diff_locks(*pair)
    assert changes(diff)["a"].kind == ("older" if swap else "newer"), "1.10 is newer than 1.9"


@pytest.fixture
def wheel_lock() -> StackLock:
    return StackLock.model_validate(
        {
            "spec": {"os": "debian-12", "packages": "wheels", "cuda": "13.0"},
            "spec_hash": "1" * 64,
            "catalogue_hash": "2" * 64,
            "target": {"os": "debian-12", "arch": "x86_64", "packages": "wheels"},
            "resolved": {"cuda": "13.0.2"},
            "sources": [
                {"name": "pypi", "kind": "wheels", "url": "https://x.invalid/", "vendor": True}
            ],
            "packages": [
                {
                    "name": "a",
                    "version": "1.9.0",
                    "arch": "any",
                    "sha256": "a" * 64,
                    "size": 5,
                    "source": "pypi",
                    "component": "cuda",
                    "filename": "a-1.9.0-py3-none-any.whl",
                    "why": "a test",
                }
            ],
        }
    )
