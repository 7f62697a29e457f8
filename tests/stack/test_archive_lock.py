"""A driver from the distribution's own archive is locked as exactly as one from NVIDIA's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cudactl.contracts.errors import CudactlError
from cudactl.contracts.lock import StackLock
from cudactl.lab.mirror import Mirror
from cudactl.stack.bundle.repository import Deb, SigningKey
from cudactl.stack.lock.file import parse_lock, render_lock
from cudactl.stack.lock.locking import lock_stack
from tests.stack.archive import Archive, ArchiveApt, bookworm, noble, transitional, ubuntu_branch
from tests.stack.test_lock_against_mirror import preferences, top_level

UBUNTU, DEBIAN = "ubuntu-24.04", "debian-12"
Locks = Callable[..., tuple[StackLock, list[str]]]


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> dict[str, Archive]:
    folder = tmp_path_factory.mktemp("archives")
    return {
        UBUNTU: Archive(folder / "ubuntu", key, "ubuntu").publish(noble()),
        DEBIAN: Archive(folder / "debian", key, "debian").publish(bookworm()),
    }


@pytest.fixture
def lock(archives: dict[str, Archive], tmp_path: Path) -> Locks:
    def run(os: str = UBUNTU, **wishes: Any) -> tuple[StackLock, list[str]]:
        return lock_stack(archives[os].spec(os, **wishes), cache=tmp_path / "cache")

    return run


def versions(lock: StackLock) -> dict[str, str]:
    return {package.name: package.version for package in lock.packages}


def refusal(lock: Locks, os: str = UBUNTU, **wishes: Any) -> CudactlError:
    with pytest.raises(CudactlError) as refused:
        lock(os, **wishes)
    assert refused.value.expected
    assert refused.value.remedy
    return refused.value


WISHES: list[tuple[str, dict[str, Any]]] = [
    (UBUNTU, {}),
    (UBUNTU, {"driver": {"branch": "580"}}),
    (UBUNTU, {"driver": {"branch": "580", "flavour": "proprietary"}}),
    (UBUNTU, {"driver": {"branch": "580"}, "kernel": "generic"}),
    (UBUNTU, {"driver": {"branch": "580"}, "gpus": ["H200 SXM"]}),
    (UBUNTU, {"driver": {"branch": "580.173.02"}}),
    (UBUNTU, {"driver": {"branch": "535.161.08"}}),
    (DEBIAN, {}),
    (DEBIAN, {"driver": {"branch": "535", "flavour": "open"}}),
    (DEBIAN, {"driver": {"branch": "470"}}),
]


@pytest.mark.parametrize(("os", "wishes"), WISHES)
def test_apt_arrives_at_exactly_the_lock(
    archives: dict[str, Archive], lock: Locks, tmp_path: Path, os: str, wishes: dict[str, Any]
) -> None:
    locked, _ = lock(os, **wishes)
    apt = ArchiveApt(tmp_path / "apt", archives[os].lines(), preferences(locked)).updated()
    installed = apt.installs(*top_level(locked))
    outside = {one.name for one in locked.external}
    # What the distribution brings besides, and what that needs, is not the lock's.
    assert {n: v for n, v in installed.items() if "nvidia" in n or n == "libcuda1"} == versions(
        locked
    )
    assert outside <= set(installed)


def test_a_host_without_a_display_gets_the_servers_series(lock: Locks) -> None:
    locked, notes = lock(driver={"branch": "580"})
    assert locked.resolved == {"driver": "580.178.04"}
    assert locked.driver_flavour == "open"
    assert top_level(locked) == ["nvidia-headless-580-server-open", "nvidia-utils-580-server"]
    assert {one.name for one in locked.external} == {"adduser", "dkms", "libc6"}
    assert locked.package("nvidia-headless-580-open") is None
    [note] = notes
    assert note.startswith("STACK-KERNEL-NOT-NAMED")


def test_a_lock_names_the_archive_and_every_key_that_signed(
    archives: dict[str, Archive], lock: Locks
) -> None:
    locked, _ = lock(DEBIAN)
    [source] = locked.sources
    assert (source.name, source.distribution) == ("debian", True)
    assert source.suites == ["bookworm", "bookworm-updates", "bookworm-security"]
    assert source.components == ["main", "contrib", "non-free", "non-free-firmware"]
    assert source.fingerprint == archives[DEBIAN].key.fingerprint
    assert source.signing_key == archives[DEBIAN].key.public_key
    assert {package.source for package in locked.packages} == {"debian"}
    assert all((archives[DEBIAN].base / p.filename).is_file() for p in locked.packages)


def test_security_at_another_address_is_a_source_of_its_own(
    key: SigningKey, tmp_path: Path
) -> None:
    suites = dict(bookworm())
    security = {"bookworm-security": suites.pop("bookworm-security")}
    main = Archive(tmp_path / "main", key, "debian").publish(suites)
    other = Archive(tmp_path / "security", key, "debian").publish(security)
    spec = main.spec(DEBIAN, of={"security": other.base.as_uri()})
    locked, _ = lock_stack(spec, cache=tmp_path / "cache")
    where = {package.name: package.source for package in locked.packages}
    assert where["libcuda1"] == "debian-security"
    assert where["nvidia-support"] == "debian"
    assert [source.url for source in locked.sources] == [
        f"{one.base.as_uri()}/" for one in (main, other)
    ]


def test_the_security_suite_decides_unless_only_stable_has_what_is_asked(lock: Locks) -> None:
    newest, _ = lock(DEBIAN, driver={"branch": "535"})
    assert (newest.resolved["driver"], newest.driver_flavour) == ("535.309.01", "proprietary")
    opened, notes = lock(DEBIAN, driver={"branch": "535", "flavour": "open"})
    assert opened.resolved["driver"] == "535.261.03"
    assert versions(opened)["libcuda1"] == "535.261.03-1", "the userland is the module's"
    assert any(note.startswith("STACK-DRIVER-INSECURE") for note in notes)


def test_an_older_branch_of_debian_has_a_family_of_its_own(lock: Locks) -> None:
    locked, _ = lock(DEBIAN, driver={"branch": "470"})
    assert "nvidia-tesla-470-kernel-dkms" in top_level(locked)
    assert locked.package("libnvidia-cfg1") is None, "the branch's own library is enough"


def test_a_branch_that_installs_another_one_is_refused_with_its_replacement(lock: Locks) -> None:
    error = refusal(lock, driver={"branch": "535"})
    assert error.code == "STACK-DRIVER-TRANSITIONAL"
    assert "nvidia-headless-580-server-open" in error.found
    assert '{branch: "580"}' in error.remedy


def test_an_older_version_is_taken_where_it_is_named_exactly(lock: Locks) -> None:
    locked, _ = lock(driver={"branch": "535.161.08"})
    assert versions(locked)["libnvidia-compute-535-server"] == "535.161.08-0ubuntu2"


def test_what_was_really_got_is_read_back(key: SigningKey, tmp_path: Path) -> None:
    """A name that does not betray what it installs: only the closure shows it."""
    suites = noble()["noble-updates"]["restricted"]
    hidden = [
        Deb(
            name="nvidia-headless-570-server",
            version="570.211.01-0ubuntu1",
            depends=("nvidia-headless-no-dkms-580-server",),
        ),
        *transitional("570", "570.211.01-0ubuntu1", "580")[4:],
    ]
    archive = Archive(tmp_path / "ubuntu", key, "ubuntu").publish(
        {
            "noble": noble()["noble"],
            "noble-updates": {"restricted": [*suites, *hidden]},
            "noble-security": {},
        }
    )
    spec = archive.spec(UBUNTU, driver={"branch": "570", "flavour": "proprietary"})
    with pytest.raises(CudactlError) as refused:
        lock_stack(spec, cache=tmp_path / "cache")
    assert refused.value.code == "STACK-DRIVER-TRANSITIONAL"
    assert "libnvidia-compute-580-server 580.178.04" in refused.value.found


def test_a_signed_module_is_preferred_where_the_kernel_is_named(lock: Locks) -> None:
    locked, notes = lock(driver={"branch": "580"}, kernel="generic")
    assert "linux-modules-nvidia-580-server-open-generic" in top_level(locked)
    assert "linux-modules-nvidia-580-server-open-6.8.0-151-generic" in versions(locked)
    outside = {one.name for one in locked.external}
    assert "linux-image-6.8.0-151-generic" in outside
    assert "dkms" not in outside
    assert not notes


@pytest.mark.parametrize(
    ("branch", "kernel", "why"),
    [
        ("580", "aws", "the archive builds none for that flavour"),
        ("595", "generic", "the module that is there is of an older version"),
    ],
)
def test_without_a_signed_module_of_this_version_it_is_built_and_said(
    lock: Locks, branch: str, kernel: str, why: str
) -> None:
    locked, notes = lock(driver={"branch": branch}, kernel=kernel)
    assert f"nvidia-headless-{branch}-server-open" in top_level(locked), why
    assert [note.partition(":")[0] for note in notes] == ["STACK-NO-SIGNED-MODULE"]


def test_debian_signs_no_modules_and_nothing_is_said_of_it(lock: Locks) -> None:
    _, notes = lock(DEBIAN, kernel="amd64")
    assert not [note for note in notes if "SIGNED" in note or "KERNEL" in note]


def test_boards_with_nvswitch_get_the_fabric_manager_of_exactly_the_driver(lock: Locks) -> None:
    locked, _ = lock(driver={"branch": "580"}, gpus=["H200 SXM"])
    assert versions(locked)["nvidia-fabricmanager-580"].partition("-")[0] == "580.178.04"
    error = refusal(lock, driver={"branch": "595"}, gpus=["H200 SXM"])
    assert error.code == "STACK-NO-FABRIC-MANAGER"
    error = refusal(lock, DEBIAN, driver={"branch": "535"}, gpus=["H100 SXM"])
    assert error.code == "STACK-NO-FABRIC-MANAGER"
    assert "driver.source: nvidia" in error.remedy


def test_imex_is_part_of_the_driver_where_it_is_asked_for(lock: Locks) -> None:
    locked, _ = lock(driver={"branch": "580", "imex": True})
    assert versions(locked)["nvidia-imex-580"] == "580.178.04-0ubuntu0.24.04.1"
    assert locked.package("nvidia-fabricmanager-580") is None
    error = refusal(lock, DEBIAN, driver={"branch": "535", "imex": True})
    assert error.code == "STACK-NO-FABRIC-MANAGER"
    assert "nvidia-imex" in error.found


def test_an_archive_that_nothing_is_taken_from_is_said(
    archives: dict[str, Archive], beside: dict[str, Any], tmp_path: Path
) -> None:
    wishes = {**beside, "driver": {"source": "nvidia", "branch": "580"}}
    _, notes = lock_stack(archives[UBUNTU].spec(UBUNTU, **wishes), cache=tmp_path / "cache")
    assert any(note.startswith("STACK-ARCHIVE-UNUSED") for note in notes)


def test_a_branch_that_the_archive_never_had(lock: Locks) -> None:
    error = refusal(lock, driver={"branch": "550"})
    assert error.code.startswith("STACK-")
    assert "550" in error.found


def test_the_archive_may_be_newer_than_the_catalogue(key: SigningKey, tmp_path: Path) -> None:
    suites = {
        "noble": {"main": plain_main()},
        "noble-updates": {"restricted": ubuntu_branch("580", "580.299.01-0ubuntu0.24.04.1")},
        "noble-security": {},
    }
    archive = Archive(tmp_path / "ubuntu", key, "ubuntu").publish(suites)
    spec = archive.spec(UBUNTU, driver={"branch": "580.299.01"})
    locked, notes = lock_stack(spec, cache=tmp_path / "cache")
    assert locked.resolved["driver"] == "580.299.01"
    assert any(note.startswith("STACK-RELEASE-UNKNOWN") for note in notes)


def plain_main() -> list[Deb]:
    return list(noble()["noble"]["main"])


@pytest.fixture
def beside(archives: dict[str, Archive], mirror: Mirror) -> dict[str, Any]:
    """Wishes that also ask NVIDIA's repository."""
    url = (mirror.root / mirror.url_path.strip("/")).as_uri()
    return {
        "mirror": {"url": url, "key": str(mirror.key_file)},
        "cuda": "13.0",
        "cudnn": "9",
        "tensorrt": "10.13",
        "driver": {"branch": "580"},
    }


def test_libraries_still_come_from_nvidia(lock: Locks, beside: dict[str, Any]) -> None:
    locked, _ = lock(**beside)
    assert [source.name for source in locked.sources] == ["nvidia", "ubuntu"]
    assert [source.distribution for source in locked.sources] == [False, True]
    assert {package.source for package in locked.of("driver")} == {"ubuntu"}
    others = [package for package in locked.packages if package.component != "driver"]
    assert {package.source for package in others} == {"nvidia"}
    assert locked.resolved["driver"] == "580.178.04"
    assert locked.resolved["cuda"].startswith("13.0")


def test_apt_sees_both_repositories_and_arrives_at_the_lock(
    archives: dict[str, Archive],
    mirror: Mirror,
    lock: Locks,
    beside: dict[str, Any],
    tmp_path: Path,
) -> None:
    """NVIDIA's repository has driver packages too; the lock's pins keep them out."""
    locked, _ = lock(**beside)
    nvidia = f"deb [signed-by={mirror.key_file}] {mirror.repository('ubuntu2404').as_uri()} /\n"
    extra = Archive(tmp_path / "more", archives[UBUNTU].key, "ubuntu")
    extra.write("noble", {"main": [Deb(name="build-essential", version="1-1")]})
    lines = archives[UBUNTU].lines() + nvidia + extra.lines()
    apt = ArchiveApt(tmp_path / "apt", lines, preferences(locked)).updated()
    installed = apt.installs(*top_level(locked))
    outside = {one.name for one in locked.external}
    assert {n: v for n, v in installed.items() if n not in outside} == versions(locked)


def test_nvidias_repository_is_not_asked_for_a_driver_alone(lock: Locks, tmp_path: Path) -> None:
    nowhere = {"url": (tmp_path / "nothing").as_uri(), "key": "none.asc"}
    assert lock(mirror=nowhere)[0].packages


def test_the_same_packages_have_the_same_hash_wherever_they_come_from(
    archives: dict[str, Archive], lock: Locks, key: SigningKey, tmp_path: Path
) -> None:
    copy = Archive(tmp_path / "copy", key, "ubuntu").publish(noble())
    here = lock(driver={"branch": "580"})[0]
    there, _ = lock_stack(copy.spec(UBUNTU, driver={"branch": "580"}), cache=tmp_path / "cache")
    assert here.hash == there.hash
    assert here.sources != there.sources


def test_a_lock_survives_its_file(lock: Locks) -> None:
    locked, _ = lock(DEBIAN)
    assert parse_lock(render_lock(locked), "a.lock") == locked
