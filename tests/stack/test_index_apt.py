"""An apt index is used only when the expected key signed exactly what was fetched."""

from __future__ import annotations

import gzip
import hashlib
import socket
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cudactl.contracts.errors import CudactlError, Exit
from cudactl.stack.bundle.repository import Deb, SigningKey, write_index
from cudactl.stack.bundle.repository import Stanza as IndexStanza
from cudactl.stack.index import apt as index_apt
from cudactl.stack.index import openpgp
from cudactl.stack.index.apt import IndexSource, fetch_index
from tests.stack.conftest import Repository

DEBS = [
    Deb(name="libone", version="1.0-1", depends=("libtwo (>= 1)",)),
    Deb(name="libone", version="1.10-1"),
    Deb(name="libone", version="1.9-1"),
    Deb(name="libtwo", version="1:0.5-1", provides=("two",)),
    Deb(name="libarm", version="1.0-1", arch="arm64"),
]


def source(repository: Repository, **other: object) -> IndexSource:
    values: dict[str, object] = {
        "url": repository.folder.as_uri() + "/",
        "arch": "amd64",
        "architecture": "x86_64",
        "vendor": False,
        "key_name": f"{repository.key.keyid}.pub",
        "fingerprint": repository.key.fingerprint,
        "key_file": repository.key_file,
    }
    return IndexSource(**{**values, **other})  # type: ignore[arg-type]


def refused(repository: Repository, **other: object) -> CudactlError:
    with pytest.raises(CudactlError) as error:
        fetch_index(source(repository, **other), repository.cache)
    assert error.value.expected
    assert error.value.remedy
    return error.value


def test_versions_come_newest_first_and_for_the_target_only(repository: Repository) -> None:
    index = fetch_index(source(repository.write(DEBS)), repository.cache)
    assert [p.version for p in index.versions("libone")] == ["1.10-1", "1.9-1", "1.0-1"]
    assert not index.versions("libarm")
    assert [p.name for p in index.providers["two"]] == ["libtwo"]
    assert index.key.fingerprint == repository.key.fingerprint
    packages = (repository.folder / "Packages").read_bytes()
    assert index.sha256 == hashlib.sha256(packages).hexdigest()


def test_an_unchanged_index_is_not_downloaded_again(repository: Repository) -> None:
    first = fetch_index(source(repository.write(DEBS)), repository.cache)
    for name in ("Packages", "Packages.gz"):
        (repository.folder / name).unlink()
    assert fetch_index(source(repository), repository.cache).sha256 == first.sha256
    repository.write(DEBS[:1])
    assert not fetch_index(source(repository), repository.cache).versions("libtwo")


def test_what_lies_in_the_cache_is_not_believed(repository: Repository) -> None:
    first = fetch_index(source(repository.write(DEBS)), repository.cache)
    (repository.cache / "index" / f"{first.sha256}.packages").write_text("Package: evil\n")
    assert fetch_index(source(repository), repository.cache).versions("libone")


def test_without_a_key_file_the_vendors_fingerprint_decides(
    repository: Repository, other_key: SigningKey
) -> None:
    repository.write(DEBS)
    assert fetch_index(source(repository, key_file=None), repository.cache).versions("libone")
    error = refused(repository, key_file=None, fingerprint=other_key.fingerprint)
    assert error.code == "INDEX-WRONG-KEY"
    assert repository.key.fingerprint in error.found
    assert other_key.fingerprint in error.expected


def test_a_key_file_with_several_keys_trusts_each_and_locks_the_one_that_signed(
    repository: Repository, other_key: SigningKey
) -> None:
    repository.write(DEBS)
    repository.key_file.write_text(other_key.public_key + repository.key.public_key)
    index = fetch_index(source(repository), repository.cache)
    assert index.key.fingerprint == repository.key.fingerprint
    assert index.key.armoured == repository.key.public_key


def test_a_binary_key_file_is_read(repository: Repository) -> None:
    repository.write(DEBS).key_file.write_bytes(repository.key.keyring)
    assert fetch_index(source(repository), repository.cache).key.armoured.startswith("-----BEGIN")


def test_signed_by_another_key(repository: Repository, other_key: SigningKey) -> None:
    error = refused(repository.write(DEBS, key=other_key))
    assert error.code == "INDEX-WRONG-KEY"
    assert error.exit_code is Exit.FAIL
    assert other_key.fingerprint[-16:] in error.found
    assert repository.key.fingerprint in error.expected


def test_unsigned(repository: Repository) -> None:
    assert refused(repository.write(DEBS, key=None)).code == "INDEX-UNSIGNED"
    release = (repository.folder / "Release").read_bytes()
    (repository.folder / "InRelease").write_bytes(release)
    assert refused(repository).code == "INDEX-UNSIGNED"


def test_text_that_was_changed_after_signing(repository: Repository) -> None:
    inline = repository.write(DEBS).folder / "InRelease"
    inline.write_text(inline.read_text().replace("Origin: NVIDIA", "Origin: Mallory"))
    assert refused(repository).code == "INDEX-BAD-SIGNATURE"


def test_text_around_the_signed_part_is_not_read(repository: Repository) -> None:
    inline = repository.write(DEBS).folder / "InRelease"
    fake = "Valid-Until: Thu, 01 Jan 1970 00:00:00 UTC\n"
    inline.write_text(fake + inline.read_text() + "\n" + fake)
    assert fetch_index(source(repository), repository.cache).versions("libone")


def test_packages_that_do_not_match(repository: Repository) -> None:
    packages = repository.write(DEBS).folder / "Packages.gz"
    packages.write_bytes(gzip.compress(gzip.decompress(packages.read_bytes()) + b"\n"))
    error = refused(repository)
    assert error.code in ("INDEX-TAMPERED", "INDEX-TOO-LARGE")
    packages.unlink()
    assert refused(repository).code == "INDEX-TAMPERED"


def test_a_small_file_that_unpacks_to_a_huge_one(repository: Repository) -> None:
    from cudactl.stack.bundle.repository import write_release

    bomb = gzip.compress(b"\n" * (64 << 20), 9, mtime=0)
    write_release(repository.folder, {"Packages.gz": bomb}, key=repository.key)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_apt, "LARGEST_PACKAGES", 1 << 20)
        assert refused(repository).code == "INDEX-TOO-LARGE"
    huge = b"\n" * 2048
    write_release(repository.folder, {"Packages": huge}, key=repository.key)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_apt, "LARGEST_PACKAGES", 1024)
        assert refused(repository).code == "INDEX-TOO-LARGE"


def test_a_release_larger_than_any_is_not_kept(repository: Repository) -> None:
    (repository.folder / "InRelease").write_bytes(b"x" * (index_apt.LARGEST_RELEASE + 1))
    assert refused(repository).code == "INDEX-TOO-LARGE"


def test_expired(repository: Repository) -> None:
    assert refused(repository.write(DEBS, valid_until=time.time() - 60)).code == "INDEX-EXPIRED"
    repository.write(DEBS, valid_until=time.time() + 600)
    assert fetch_index(source(repository), repository.cache)


def test_for_another_architecture(repository: Repository) -> None:
    error = refused(repository.write(DEBS, architecture="sbsa"))
    assert error.code == "INDEX-WRONG-ARCH"
    assert "sbsa" in error.found


@pytest.mark.parametrize("missing", ["Package", "Version", "SHA256", "Size", "Filename"])
def test_a_stanza_without_what_it_needs(repository: Repository, missing: str) -> None:
    from cudactl.stack.bundle.repository import render_deb

    fields = dict(render_deb(Deb(name="nvidia-container-toolkit", version="1.0-1"))[0].fields)
    del fields[missing]
    write_index(repository.folder, [IndexStanza(fields)], key=repository.key)
    with pytest.raises(CudactlError) as error:
        repository.lock(container_toolkit="1")
    assert error.value.code == "INDEX-MALFORMED"


def test_nothing_at_the_address(repository: Repository) -> None:
    error = refused(repository)
    assert error.code == "INDEX-UNREACHABLE"
    assert error.exit_code is Exit.UNMEASURED


def test_nobody_listens(repository: Repository) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = refused(repository, url=f"http://user:secret@127.0.0.1:{port}/x/")
    assert error.code == "INDEX-UNREACHABLE"
    assert "refused" in error.found
    assert "secret" not in error.found


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "MIRROR-KEY-UNREADABLE"),
        (b"hello", "MIRROR-KEY-WRONG"),
        (b"", "MIRROR-KEY-WRONG"),
        (b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n", "MIRROR-KEY-WRONG"),
        (b"\x99\x01", "MIRROR-KEY-WRONG"),
    ],
)
def test_a_key_file_that_is_none(repository: Repository, content: bytes | None, code: str) -> None:
    repository.write(DEBS).key_file.unlink()
    if content is not None:
        repository.key_file.write_bytes(content)
    error = refused(repository)
    assert error.code == code
    assert error.exit_code is Exit.USAGE


def test_a_key_keeps_its_fingerprint_through_armour(key: SigningKey, other_key: SigningKey) -> None:
    both = openpgp.read_keys(key.keyring + other_key.keyring)
    assert [k.fingerprint for k in both] == [key.fingerprint, other_key.fingerprint]
    assert [k.binary for k in both] == [key.keyring, other_key.keyring]
    assert openpgp.read_keys(both[0].armoured.encode()) == both[:1]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_keys_or_a_format_error(data: bytes, armour: bool) -> None:
    if armour:
        mark = b"PGP PUBLIC KEY BLOCK-----\n"
        data = b"-----BEGIN " + mark + data + b"-----END " + mark
    try:
        keys = openpgp.read_keys(data)
    except openpgp.KeyFormatError:
        return
    assert keys


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.binary(max_size=400))
def test_any_signed_packages_file_is_read_or_refused(repository: Repository, data: bytes) -> None:
    from cudactl.stack.bundle.repository import write_release

    write_release(repository.folder, {"Packages": data}, key=repository.key)
    error: CudactlError | None = None
    try:
        repository.lock(container_toolkit="1")
    except CudactlError as wrong:
        error = wrong
    assert error is not None
    assert error.code.startswith(("INDEX-", "STACK-"))


def test_the_cache_does_not_grow_for_ever(repository: Repository, tmp_path: Path) -> None:
    for number in range(index_apt.KEPT + 3):
        repository.write([Deb(name="libone", version=f"1.{number}-1")])
        fetch_index(source(repository), repository.cache)
    assert len(list((repository.cache / "index").glob("*.packages"))) == index_apt.KEPT
