"""A bundle stands in for its source: the same lock comes out of it, apt and pip install from it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import pytest

from cudactl.contracts.errors import CudactlError, Exit
from cudactl.contracts.lock import StackLock
from cudactl.contracts.spec import StackSpec
from cudactl.lab.mirror import Mirror
from cudactl.stack.bundle.repository import Deb, SigningKey
from cudactl.stack.facts.catalogue import load_catalogue
from cudactl.stack.lock.file import read_lock, render_lock, write_lock
from cudactl.stack.lock.locking import lock_stack
from cudactl.workflow.bundle import Bundled, bundle
from cudactl.workflow.places import wheel_cache
from tests.lab.mirror.apt import Apt
from tests.stack.conftest import Locks, Repository
from tests.stack.test_wheels import Door, Index

STACK: dict[str, Any] = {
    "driver": {"branch": "580.95.05"},
    "cuda": "13.0.0",
    "cudnn": "9.13",
    "tensorrt": "10.13",
    "container_toolkit": "1",
}
SMALL: dict[str, Any] = {"driver": {"branch": "none"}, "container_toolkit": "1.19"}
Bundles = Callable[..., Bundled]


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundles:
    """Bundle locks into tmp_path/bundle, with a cache and keys of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg-cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg-data"))

    def run(*locks: StackLock, **options: Any) -> Bundled:
        paths = []
        for number, lock in enumerate(locks):
            paths.append(tmp_path / f"{number}.lock")
            write_lock(lock, paths[-1])
        wanted = {"url": None, "key": None, "say": lambda text: None, **options}
        return bundle(paths, tmp_path / "bundle", **wanted)

    return run


def locked_from(folder: Path, lock: StackLock) -> StackLock:
    """Lock the same wish again, from the bundle and nothing else."""
    mirror = {"url": folder.as_uri(), "key": str(folder / "bundle-key.asc")}
    if lock.target.packages == "wheels":
        mirror = {"url": f"{folder.as_uri()}/simple/"}
    wish = lock.spec.model_dump(exclude_defaults=True) | {"mirror": mirror}
    spec = StackSpec.model_validate(wish)
    return lock_stack(spec, allowed=lock.allowed, cache=folder.parent / "another-cache")[0]


class Place(NamedTuple):
    """A bundle, as the isolated apt wants to see a mirror."""

    folder: Path

    @property
    def key_file(self) -> Path:
        return self.folder / "bundle-key.asc"

    def repository(self, name: str) -> Path:
        return self.folder / name / "x86_64"


def apt_installs(place: Path, lock: StackLock, root: Path) -> dict[str, str]:
    from cudactl.contracts.preferences import apt_preferences

    apt = Apt(root, Place(place), "ubuntu2404")  # type: ignore[arg-type]
    (root / "etc/preferences.d/lock.pref").write_text(apt_preferences(lock))
    return apt.updated().installs(*(p.name for p in lock.packages if p.top_level))


def refused(run: Callable[[], object]) -> CudactlError:
    with pytest.raises(CudactlError) as error:
        run()
    assert error.value.expected
    assert error.value.remedy
    return error.value


def files_in(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("os_name", ["ubuntu-24.04", "debian-12"])
def test_the_bundle_gives_the_same_lock(lock_from: Locks, bundled: Bundles, os_name: str) -> None:
    lock, _ = lock_from(os=os_name, **STACK)
    done = bundled(lock)
    assert done.files == done.fetched == len(lock.packages)
    again = locked_from(done.folder, lock)
    assert again.hash == lock.hash
    assert again.resolved == lock.resolved
    assert [e.name for e in again.external] == [e.name for e in lock.external]


def test_a_real_apt_installs_the_lock_from_it(
    lock_from: Locks, bundled: Bundles, tmp_path: Path
) -> None:
    lock, _ = lock_from(**STACK)
    done = bundled(lock)
    wanted = {p.name: p.version for p in lock.packages}
    assert apt_installs(done.folder, lock, tmp_path / "apt") == wanted


def test_its_locks_are_the_same_locks_with_the_bundle_as_source(
    lock_from: Locks, bundled: Bundles
) -> None:
    lock, _ = lock_from(**SMALL)
    done = bundled(lock)
    (name,) = done.record.locks
    assert (done.folder / "locks/as-given" / name).read_bytes() == render_lock(lock)
    moved = read_lock(done.folder / "locks" / name)
    assert moved.hash == lock.hash
    assert moved.spec_hash == lock.spec_hash
    (source,) = moved.sources
    assert source.url == f"{done.folder.as_uri()}/ubuntu2404/x86_64/"
    assert source.fingerprint == done.record.fingerprint
    assert source.signing_key == (done.folder / "bundle-key.asc").read_text()
    for package in moved.packages:
        file = done.folder / "ubuntu2404/x86_64" / package.filename
        assert file.stat().st_size == package.size


def test_locks_name_the_address_that_is_given_and_keep_it(
    lock_from: Locks, bundled: Bundles
) -> None:
    lock, _ = lock_from(**SMALL)
    (name,) = bundled(lock, url="http://bundle.invalid/nvidia").record.locks
    done = bundled(lock)
    source = read_lock(done.folder / "locks" / name).sources[0]
    assert source.url == "http://bundle.invalid/nvidia/ubuntu2404/x86_64/"
    assert "http://bundle.invalid/nvidia/" in (done.folder / "README.md").read_text()


def test_checksums_and_signature_hold(lock_from: Locks, bundled: Bundles, tmp_path: Path) -> None:
    done = bundled(lock_from(**SMALL)[0])
    check = ["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"]
    assert subprocess.run(check, cwd=done.folder, check=False).returncode == 0
    listed = {line.split("  ")[1] for line in (done.folder / "SHA256SUMS").read_text().splitlines()}
    there = {p.relative_to(done.folder).as_posix() for p in done.folder.rglob("*") if p.is_file()}
    assert there - listed == {"SHA256SUMS", "SHA256SUMS.asc"}, "nothing else lies about"
    keyring = tmp_path / "keyring.gpg"
    armoured = done.folder / "bundle-key.asc"
    gpg = ["gpg", "--homedir", str(tmp_path), "--dearmor", "-o", str(keyring), str(armoured)]
    subprocess.run(gpg, check=True, capture_output=True)
    verify = ["gpgv", "--keyring", str(keyring), "SHA256SUMS.asc", "SHA256SUMS"]
    assert subprocess.run(verify, cwd=done.folder, capture_output=True).returncode == 0
    (done.folder / "SHA256SUMS").write_text("something else\n")
    assert subprocess.run(verify, cwd=done.folder, capture_output=True).returncode != 0


def test_the_secret_key_is_not_in_it(lock_from: Locks, bundled: Bundles) -> None:
    done = bundled(lock_from(**SMALL)[0])
    for path in done.folder.rglob("*"):
        assert not path.name.endswith(".key")
        assert not path.is_file() or b"PRIVATE KEY" not in path.read_bytes()


def test_a_second_time_nothing_is_written(lock_from: Locks, bundled: Bundles) -> None:
    lock, _ = lock_from(**SMALL)
    before = files_in(bundled(lock).folder)
    done = bundled(lock)
    assert files_in(done.folder) == before
    assert (done.fetched, done.bytes_fetched) == (0, 0)


def test_a_damaged_file_is_noticed_and_fetched_again(lock_from: Locks, bundled: Bundles) -> None:
    lock, _ = lock_from(**SMALL)
    done = bundled(lock)
    victim = done.folder / "ubuntu2404/x86_64" / lock.packages[0].filename
    data = victim.read_bytes()
    victim.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert bundled(lock).fetched == 1
    assert victim.read_bytes() == data


def test_an_older_lock_stays_a_place_to_roll_back_to(
    mirror: Mirror, lock_from: Locks, bundled: Bundles, tmp_path: Path
) -> None:
    old, _ = lock_from(**STACK)
    bundled(old)
    gone = mirror.expired_pin("libcublas-13-0", "13.0.0.19-1", tmp_path / "gone")
    wish = {**STACK, "cuda": "13.0.2", "cudnn": "9.20", "driver": {"branch": "580"}}
    new, _ = lock_from(gone, **wish)
    done = bundled(new)
    assert list(done.locks.values()) == [old, new]
    for number, lock in enumerate((old, new)):
        wanted = {p.name: p.version for p in lock.packages}
        assert apt_installs(done.folder, lock, tmp_path / f"apt{number}") == wanted
    assert locked_from(done.folder, old).hash == old.hash, "exact wishes still find the old one"


def test_several_locks_at_once_share_files(lock_from: Locks, bundled: Bundles) -> None:
    one, _ = lock_from(**SMALL)
    two, _ = lock_from(**{**SMALL, "cuda": "13.0.0"})
    done = bundled(one, two)
    assert len(done.record.locks) == 2
    assert done.files == len(two.packages), "the second holds all of the first"


def test_two_contents_for_one_file_are_refused(lock_from: Locks, bundled: Bundles) -> None:
    one, _ = lock_from(**SMALL)
    first = one.packages[0].model_copy(update={"sha256": "0" * 64})
    two = one.model_copy(update={"packages": [first, *one.packages[1:]]})
    error = refused(lambda: bundled(one, two))
    assert error.code == "BUNDLE-CLASH"
    assert error.exit_code is Exit.FAIL


@pytest.mark.parametrize(
    ("situation", "code", "exit_code"),
    [
        (Mirror.wrong_hash, "DOWNLOAD-HASH", Exit.FAIL),
        (Mirror.missing_package, "DOWNLOAD-GONE", Exit.FAIL),
    ],
)
def test_a_source_that_no_longer_has_what_was_locked(
    mirror: Mirror,
    lock_from: Locks,
    bundled: Bundles,
    tmp_path: Path,
    situation: Callable[[Mirror, str, Path], Mirror],
    code: str,
    exit_code: Exit,
) -> None:
    wrong = situation(mirror, "libnvidia-container1", tmp_path / "wrong")
    lock, _ = lock_from(wrong, **SMALL)
    error = refused(lambda: bundled(lock))
    assert (error.code, error.exit_code) == (code, exit_code)
    assert "libnvidia-container1_" in error.found
    folder = tmp_path / "bundle"
    assert not list(folder.rglob("libnvidia-container1_*")), "what is wrong gets no name"
    assert not (folder / "SHA256SUMS").exists(), "it does not look finished"


def test_a_source_that_does_not_answer(lock_from: Locks, bundled: Bundles) -> None:
    lock, _ = lock_from(**SMALL)
    source = lock.sources[0].model_copy(update={"url": "http://127.0.0.1:1/"})
    error = refused(lambda: bundled(lock.model_copy(update={"sources": [source]})))
    assert error.code == "DOWNLOAD-UNREACHABLE"
    assert error.exit_code is Exit.UNMEASURED
    assert "refused" in error.found


def test_a_failed_first_run_does_not_make_a_second_key(
    lock_from: Locks, bundled: Bundles, tmp_path: Path
) -> None:
    lock, _ = lock_from(**SMALL)
    source = lock.sources[0].model_copy(update={"url": "http://127.0.0.1:1/"})
    refused(lambda: bundled(lock.model_copy(update={"sources": [source]})))
    done = bundled(lock)
    assert [p.name for p in (tmp_path / "xdg-data/cudactl/bundle-keys").iterdir()] == [
        done.record.fingerprint
    ]


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(
    lock_from: Locks, bundled: Bundles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 8, 1))
    said: list[str] = []
    error = refused(lambda: bundled(lock_from(**SMALL)[0], say=said.append))
    assert error.code == "DOWNLOAD-NO-ROOM"
    assert not any(".deb" in line for line in said)
    assert not list((tmp_path / "bundle").rglob("*.deb"))


def test_a_disk_that_fills_up_on_the_way(
    lock_from: Locks, bundled: Bundles, tmp_path: Path
) -> None:
    lock, _ = lock_from(**SMALL)
    package = lock.packages[0]
    place = hashlib.sha256(f"../ubuntu2404/x86_64/{package.filename}".encode()).hexdigest()
    part = tmp_path / "bundle/.partial" / f"{package.sha256[:32]}-{place[:8]}.part"
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    error = refused(lambda: bundled(lock))
    assert error.code == "DOWNLOAD-NO-ROOM"
    assert "No space left" in error.found
    part.unlink()
    assert bundled(lock).files == len(lock.packages)


def test_one_package_in_two_repositories(lock_from: Locks, bundled: Bundles) -> None:
    wish = {"driver": {"branch": "none"}, "container_toolkit": "1"}
    ubuntu, _ = lock_from(os="ubuntu-24.04", **wish)
    debian, _ = lock_from(os="debian-12", **wish)
    assert {p.sha256 for p in ubuntu.packages} & {p.sha256 for p in debian.packages}
    done = bundled(ubuntu, debian)
    for lock in (ubuntu, debian):
        assert locked_from(done.folder, lock).hash == lock.hash


def test_a_folder_of_somebody_elses_is_left_alone(
    lock_from: Locks, bundled: Bundles, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    assert refused(lambda: bundled(lock_from(**SMALL)[0])).code == "BUNDLE-NOT-A-BUNDLE"
    assert [p.name for p in folder.iterdir()] == ["thesis.tex"]


def test_a_record_that_is_none(lock_from: Locks, bundled: Bundles) -> None:
    lock, _ = lock_from(**SMALL)
    done = bundled(lock)
    (done.folder / "bundle.json").write_text("{}")
    error = refused(lambda: bundled(lock))
    assert error.code == "BUNDLE-UNREADABLE"
    assert error.exit_code is Exit.USAGE


def test_one_at_a_time(lock_from: Locks, bundled: Bundles, tmp_path: Path) -> None:
    import fcntl

    lock, _ = lock_from(**SMALL)
    (tmp_path / "bundle").mkdir()
    handle = os.open(tmp_path / "bundle", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        assert refused(lambda: bundled(lock)).code == "BUNDLE-BUSY"
    finally:
        os.close(handle)
    assert bundled(lock).files


def exported(key: SigningKey, file: Path, what: str = "--export-secret-keys") -> Path:
    command = ["gpg", "--homedir", str(key.home), "--batch", "--pinentry-mode", "loopback"]
    command += ["--passphrase", "", "--armor", what]
    file.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    subprocess.run(["gpgconf", "--homedir", str(key.home), "--kill", "all"], check=False)
    return file


def test_a_key_of_ones_own_signs_it(lock_from: Locks, bundled: Bundles, tmp_path: Path) -> None:
    lock, _ = lock_from(**SMALL)
    home = Path(os.environ["HOME"]) / "k1"
    key = SigningKey.create(home, "Site <site@example.invalid>")
    done = bundled(lock, key=exported(key, tmp_path / "secret.asc"))
    assert done.record.fingerprint == key.fingerprint
    assert not (tmp_path / "xdg-data/cudactl/bundle-keys").exists()
    assert locked_from(done.folder, lock).hash == lock.hash
    error = refused(lambda: bundled(lock))
    assert error.code == "BUNDLE-KEY-ELSEWHERE", "the secret part was not kept"
    assert bundled(lock, key=home).record.fingerprint == key.fingerprint
    other = bundled(
        lock, key=SigningKey.create(home.with_name("k2"), "New <n@example.invalid>").home
    )
    assert other.record.fingerprint != key.fingerprint
    assert locked_from(done.folder, lock).hash == lock.hash, "signed anew by the other key"
    shutil.rmtree(home)
    shutil.rmtree(home.with_name("k2"))


def test_a_key_among_others_is_not_guessed(
    lock_from: Locks, bundled: Bundles, tmp_path: Path
) -> None:
    files = b""
    for name in ("k4", "k5"):
        home = Path(os.environ["HOME"]) / name
        key = SigningKey.create(home, f"{name} <{name}@example.invalid>")
        files += exported(key, tmp_path / name).read_bytes()
        shutil.rmtree(home)
    both = tmp_path / "both.asc"
    both.write_bytes(files)
    error = refused(lambda: bundled(lock_from(**SMALL)[0], key=both))
    assert error.code == "BUNDLE-KEY-WRONG"
    assert "2 keys" in error.found


def test_names_that_lead_out_of_the_bundle_are_refused(
    lock_from: Locks, bundled: Bundles, tmp_path: Path
) -> None:
    lock, _ = lock_from(**SMALL)
    for fields in ({"filename": "./.."}, {"filename": "a/.b.deb"}, {"name": "../../evil"}):
        first = lock.packages[0].model_copy(update=fields)
        wrong = lock.model_copy(update={"packages": [first, *lock.packages[1:]]})
        error = refused(lambda wrong=wrong: bundled(wrong))  # type: ignore[misc]
        assert error.code == "BUNDLE-BAD-NAME"
        assert not list((tmp_path / "bundle").iterdir())


def test_a_key_that_cannot_sign(lock_from: Locks, bundled: Bundles, tmp_path: Path) -> None:
    lock, _ = lock_from(**SMALL)
    home = Path(os.environ["HOME"]) / "k3"
    key = SigningKey.create(home, "Site <site@example.invalid>")
    public = exported(key, tmp_path / "public.asc", "--export")
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("no key at all")
    gpg = ["gpg", "--homedir", str(home), "--batch", "--pinentry-mode", "loopback"]
    subprocess.run(
        [*gpg, "--passphrase", "x", "--quick-gen-key", "P <p@example.invalid>", "ed25519", "sign"],
        capture_output=True,
        check=True,
    )
    locked = tmp_path / "locked.asc"
    export = [*gpg, "--passphrase", "x", "--armor", "--export-secret-keys", "p@example.invalid"]
    locked.write_bytes(subprocess.run(export, capture_output=True, check=True).stdout)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)
    for file in (public, nonsense, tmp_path / "nothing", locked):
        error = refused(lambda file=file: bundled(lock, key=file))  # type: ignore[misc]
        assert error.code == "BUNDLE-KEY-WRONG", file
        assert error.exit_code is Exit.USAGE
    assert not list((tmp_path / "bundle").rglob("*.deb")), "found out before anything was fetched"
    shutil.rmtree(home)


def test_the_readme_says_how_to_use_it_and_where_licences_are_read(
    lock_from: Locks, bundled: Bundles
) -> None:
    lock, _ = lock_from(**STACK)
    done = bundled(lock)
    text = (done.folder / "README.md").read_text()
    assert lock.hash in text
    assert f"mirror: {{url: '{done.folder.as_uri()}/'" in text
    assert done.record.fingerprint in text
    assert "https://docs.nvidia.com/cuda/eula/" in text
    assert "https://docs.nvidia.com/deeplearning/cudnn/sla/" in text
    assert "NVIDIA/nccl" not in text, "only what is in the bundle"
    assert all(e.name in text for e in lock.external)


def test_a_package_packed_with_zstd(
    repository: Repository, bundled: Bundles, tmp_path: Path
) -> None:
    """Ubuntu packs with zstd, which Python's tarfile does not read everywhere."""
    from cudactl.stack.bundle.index import stanza_of

    root = tmp_path / "tree/DEBIAN"
    root.mkdir(parents=True)
    (root / "control").write_text(
        "Package: a\nVersion: 1:2.0-1\nArchitecture: amd64\nMaintainer: m\n"
        "Depends: b (>= 1),\n c\nDescription: short\n long\n"
    )
    file = tmp_path / "a_2.0-1_amd64.deb"
    build = ["dpkg-deb", "-Zzstd", "--root-owner-group", "--build", str(root.parent), str(file)]
    subprocess.run(build, check=True, capture_output=True)
    fields = stanza_of(file, "0" * 64).fields
    assert (fields["Package"], fields["Version"]) == ("a", "1:2.0-1")
    assert fields["Size"] == str(file.stat().st_size)
    assert fields["Filename"] == "./a_2.0-1_amd64.deb"


def test_a_file_that_is_no_package(repository: Repository, bundled: Bundles) -> None:
    lock, _ = repository.write([Deb(name="nvidia-container-toolkit", version="1.19.0-1")]).lock(
        container_toolkit="1"
    )
    package = lock.packages[0]
    file = repository.folder / package.filename
    file.write_bytes(b"\0" * package.size)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    wrong = package.model_copy(update={"sha256": digest})
    error = refused(lambda: bundled(lock.model_copy(update={"packages": [wrong]})))
    assert error.code == "BUNDLE-BAD-PACKAGE"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    made = Index(tmp_path / "simple")
    made.folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Door, directory=str(made.folder)))
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_port}/"
    for part in load_catalogue().components_of("13.0.3"):
        made.wheel(part.wheel, part.version)
    made.wheel("nvidia-cudnn-cu13", "9.13.0.50", "py3-none-manylinux_2_27_x86_64", "nvidia-cublas")
    yield made
    server.shutdown()
    server.server_close()


def test_wheels_give_the_same_lock_without_a_server(index: Index, bundled: Bundles) -> None:
    lock = index.lock(cuda="13.0", cudnn="9")
    done = bundled(lock)
    shutil.rmtree(index.folder)
    again = locked_from(done.folder, lock)
    assert again.hash == lock.hash
    assert {p.name: p.requires for p in again.packages} == {
        p.name: p.requires for p in lock.packages
    }
    check = ["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"]
    assert subprocess.run(check, cwd=done.folder, check=False).returncode == 0


def test_pip_installs_from_the_bundle(index: Index, bundled: Bundles, tmp_path: Path) -> None:
    from cudactl.stack.lock.export import export_lock

    lock = index.lock(cuda="13.0", cudnn="9")
    done = bundled(lock)
    shutil.rmtree(index.folder)
    file = tmp_path / "requirements.txt"
    file.write_text(export_lock(lock, "pip-requirements"))
    fetched = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--isolated", "--no-cache-dir", "download"),
            *("--no-deps", "--require-hashes", "--only-binary=:all:", "-r", str(file)),
            *("--platform", "manylinux_2_27_x86_64", "--python-version", "311"),
            *("--index-url", f"{done.folder.as_uri()}/simple/", "--dest", str(tmp_path / "out")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert fetched.returncode == 0, fetched.stderr
    assert {p.name for p in (tmp_path / "out").iterdir()} == {p.filename for p in lock.packages}


def test_provisioning_fetches_wheels_from_the_bundle(
    index: Index, bundled: Bundles, tmp_path: Path
) -> None:
    from cudactl.stack.index.wheel_files import fetch_wheels

    lock = index.lock(cuda="13.0")
    (name,) = bundled(lock).record.locks
    shutil.rmtree(index.folder)
    moved = read_lock(tmp_path / "bundle/locks" / name)
    files = fetch_wheels(moved, tmp_path / "fetched", lambda text: None)
    assert set(files) == {p.filename for p in lock.packages}


def test_what_the_cache_of_wheels_has_is_not_fetched(index: Index, bundled: Bundles) -> None:
    from cudactl.stack.index.wheel_files import fetch_wheels

    lock = index.lock(cuda="13.0")
    fetch_wheels(lock, wheel_cache(), lambda text: None)
    shutil.rmtree(index.folder)
    assert bundled(lock).files == len(lock.packages)


def test_a_wheel_that_left_its_index(index: Index, bundled: Bundles) -> None:
    lock = index.lock(cuda="13.0")
    (index.folder / lock.packages[0].name / "index.html").write_text("<!DOCTYPE html>")
    error = refused(lambda: bundled(lock))
    assert error.code == "DOWNLOAD-GONE"
    assert lock.packages[0].filename in error.found


def test_wheels_and_packages_in_one_bundle(
    index: Index, lock_from: Locks, bundled: Bundles
) -> None:
    apt, wheels = lock_from(**SMALL)[0], index.lock(cuda="13.0")
    done = bundled(apt, wheels)
    assert locked_from(done.folder, apt).hash == apt.hash
    assert locked_from(done.folder, wheels).hash == wheels.hash
    record = json.loads((done.folder / "bundle.json").read_text())
    assert sorted(record["locks"].values()) == sorted([apt.hash, wheels.hash])
