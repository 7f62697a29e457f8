"""What can be done with a lock whose driver comes from the distribution's archive."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from cudactl.contracts.lock import StackLock
from cudactl.contracts.outdated import Outdated
from cudactl.stack.bundle.repository import Deb, SigningKey
from cudactl.stack.lock.diff import diff_locks
from cudactl.stack.lock.export import export_lock
from cudactl.stack.lock.file import read_lock, write_lock
from cudactl.stack.lock.locking import lock_stack
from cudactl.workflow.bundle import bundle
from cudactl.workflow.outdated import outdated
from tests.stack.archive import (
    Archive,
    ArchiveApt,
    bookworm,
    debian_driver,
    noble,
    transitional,
    ubuntu_branch,
)
from tests.stack.test_lock_against_mirror import preferences, top_level

UBUNTU = "ubuntu-24.04"
Judge = Callable[[StackLock], Outdated]


@pytest.fixture
def archive(tmp_path: Path, key: SigningKey) -> Archive:
    return Archive(tmp_path / "ubuntu", key, "ubuntu").publish(noble())


@pytest.fixture
def locked(archive: Archive, tmp_path: Path) -> StackLock:
    return lock_stack(archive.spec(UBUNTU, driver={"branch": "580"}), cache=tmp_path / "cache")[0]


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Judge:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg-cache"))

    def run(lock: StackLock) -> Outdated:
        write_lock(lock, tmp_path / "judged.lock")
        return outdated(tmp_path / "judged.lock", offline=False, today=date(2026, 9, 1))

    return run


def codes(found: Outdated) -> dict[str, str]:
    return {one.code: one.found for one in found.findings}


def test_nothing_is_wrong_with_a_fresh_lock(locked: StackLock, judge: Judge) -> None:
    found = codes(judge(locked))
    assert not set(found) & {"OUTDATED-PIN-EXPIRED", "OUTDATED-NEWER", "OUTDATED-NO-LONGER-LOCKS"}
    assert "driver 595.91.07 exists" in found["OUTDATED-NEWER-BEYOND"], "of the archive's own"


def test_an_archive_that_keeps_only_the_newest_version_expires_a_lock(
    archive: Archive, locked: StackLock, judge: Judge
) -> None:
    """Landmine: a pinned version of Ubuntu's archive is gone with the next one."""
    archive.write("noble-updates", {"restricted": ubuntu_branch("580", "580.200.01-0ubuntu1")})
    found = codes(judge(locked))
    assert "it has 580.200.01-0ubuntu1" in found["OUTDATED-PIN-EXPIRED"]
    assert "580.200.01 today" in found["OUTDATED-NEWER"]


def test_a_branch_that_became_transitional_no_longer_locks(
    archive: Archive, locked: StackLock, judge: Judge
) -> None:
    gone = transitional("580", "580.300.01-0ubuntu1", "595")
    archive.write(
        "noble-updates",
        {"restricted": [*gone, *ubuntu_branch("595", "595.91.07-0ubuntu1")]},
    )
    archive.write("noble-security", {})
    found = codes(judge(locked))
    assert "STACK-DRIVER-TRANSITIONAL" in found["OUTDATED-NO-LONGER-LOCKS"]


def test_a_rebuilt_package_under_the_same_version_is_bad(
    archive: Archive, locked: StackLock, judge: Judge
) -> None:
    packages = {name: list(debs) for name, debs in noble()["noble-updates"].items()}
    packages["restricted"] = [
        Deb(**{**vars(deb), "description": "another content"})
        if deb.name == "nvidia-utils-580-server"
        else deb
        for deb in packages["restricted"]
    ]
    archive.write("noble-updates", packages)
    assert "nvidia-utils-580-server" in codes(judge(locked))["OUTDATED-HASH-CHANGED"]


def test_security_is_asked_though_nothing_was_locked_from_it(
    key: SigningKey, tmp_path: Path, judge: Judge
) -> None:
    suites = dict(bookworm())
    suites.pop("bookworm-security")
    main = Archive(tmp_path / "debian", key, "debian").publish(suites)
    security = Archive(tmp_path / "security", key, "debian").publish({"bookworm-security": {}})
    spec = main.spec("debian-12", of={"security": security.base.as_uri()})
    lock = lock_stack(spec, cache=tmp_path / "cache")[0]
    assert [source.name for source in lock.sources] == ["debian", "debian-security"]
    security.write("bookworm-security", {"non-free": debian_driver("535.309.01-0+deb12u1")})
    assert "535.309.01" in codes(judge(lock))["OUTDATED-NEWER"]


def test_a_bundle_holds_the_archives_packages_and_apt_installs_from_it(
    archive: Archive, locked: StackLock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg-data"))
    write_lock(locked, tmp_path / "stack.lock")
    folder = tmp_path / "bundle"
    made = bundle([tmp_path / "stack.lock"], folder, url=None, key=None, say=lambda _: None)
    shutil.rmtree(archive.base / "pool")
    [name] = made.locks
    relocated = read_lock(folder / "locks" / name)
    assert relocated.hash == locked.hash
    [source] = relocated.sources
    assert not source.distribution, "a host has to be told of the bundle"
    assert not source.suites
    own = f"deb [signed-by={folder}/bundle-key.asc] {source.url} /\n"
    outside = Archive(tmp_path / "outside", archive.key, "ubuntu")
    outside.write("noble", {"main": list(noble()["noble"]["main"])})
    apt = ArchiveApt(tmp_path / "apt", own + outside.lines(), preferences(relocated)).updated()
    installed = apt.installs(*top_level(relocated))
    assert {p.name: p.version for p in locked.packages}.items() <= installed.items()
    assert "locking them anew asks an archive" in " ".join(
        (folder / "README.md").read_text().split()
    )


def test_exports_name_the_archive_and_hold_every_package(
    archive: Archive, locked: StackLock
) -> None:
    pinned = export_lock(locked, "apt-preferences")
    assert all(f"Package: {package.name}\n" in pinned for package in locked.packages)
    assert f'UBUNTU_URL="{archive.base.as_uri()}/"' in export_lock(locked, "dockerfile-args")
    assert "pool/restricted/nvidia-utils-580-server_580" in export_lock(locked, "json")


def test_the_driver_from_elsewhere_is_a_difference(
    archive: Archive, locked: StackLock, tmp_path: Path
) -> None:
    other = archive.spec(UBUNTU, driver={"branch": "580", "flavour": "proprietary"})
    diff = diff_locks(locked, lock_stack(other, cache=tmp_path / "cache")[0])
    assert "DIFF-FLAVOUR" in {risk.code for risk in diff.risks}
