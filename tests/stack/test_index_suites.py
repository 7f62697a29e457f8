"""Suites of an archive are used only when an expected key signed exactly what was fetched."""

from __future__ import annotations

import lzma
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cudactl.contracts.errors import CudactlError, Exit
from cudactl.contracts.spec import ArchiveSpec
from cudactl.stack.bundle.repository import Deb, SigningKey
from cudactl.stack.facts.catalogue import load_catalogue
from cudactl.stack.index import archive as index_archive
from cudactl.stack.index import suites as index_suites
from cudactl.stack.index.archive import archive_sources
from cudactl.stack.index.suites import SuiteIndex, fetch_suites
from tests.stack.archive import Archive

DEBS = {
    "main": [Deb(name="libone", version="1.0-1", provides=("one", "uno (= 1)"))],
    "restricted": [Deb(name="libone", version="1.10-1"), Deb(name="libarm", version="1-1")],
}
Read = Callable[..., SuiteIndex]


@pytest.fixture
def archive(tmp_path: Path, key: SigningKey) -> Archive:
    made = Archive(tmp_path / "ubuntu", key, "ubuntu")
    return made.publish({"noble": DEBS, "noble-updates": {}, "noble-security": {}})


@pytest.fixture
def read(archive: Archive, tmp_path: Path) -> Read:
    def run(arch: str = "amd64", **of: Any) -> SuiteIndex:
        spec = archive.spec("ubuntu-24.04", of=of)
        distribution = load_catalogue().distribution("ubuntu-24.04")
        sources = archive_sources(spec, distribution, arch, tmp_path)
        return fetch_suites("the archive", sources, tmp_path / "cache")

    return run


def refused(read: Read, **of: Any) -> CudactlError:
    with pytest.raises(CudactlError) as error:
        read(**of)
    assert error.value.expected
    assert error.value.remedy
    return error.value


def test_versions_of_every_component_and_suite_come_newest_first(
    archive: Archive, read: Read
) -> None:
    archive.write("noble-updates", {"multiverse": [Deb(name="libone", version="1.9-1")]})
    index = read()
    assert [p.version for p in index.versions("libone")] == ["1.10-1", "1.9-1", "1.0-1"]
    newest = index.versions("libone")[0]
    assert newest.filename == "pool/restricted/libone_1.10-1_amd64.deb"
    file = index.file_of(index.versions("libone")[1])
    assert (file.suite, file.component) == ("noble-updates", "multiverse")
    assert [p.version for p in index.providing("uno")] == ["1.0-1"]
    assert index.at_version("1.9") == ["libone"]
    assert index.at_version("1") == ["libarm"], "a version is not the beginning of another"


def test_the_same_version_in_two_suites_is_one(archive: Archive, read: Read) -> None:
    archive.write("noble-security", DEBS)
    assert [p.version for p in read().versions("libone")] == ["1.10-1", "1.0-1"]


def test_files_that_are_here_already_are_not_downloaded_again(archive: Archive, read: Read) -> None:
    first = read()
    for path in archive.base.rglob("*"):
        if path.is_file() and path.name != "InRelease" and path != archive.key_file:
            path.unlink()
    again = read()
    assert again.versions("libone") == first.versions("libone")
    [source] = again.sources()
    assert again.sha256_of(source) == first.sha256_of(source)


def test_what_lies_in_the_cache_is_not_believed(read: Read, tmp_path: Path) -> None:
    read()
    for path in (tmp_path / "cache/archive").glob("*.packages"):
        path.write_text("Package: evil\nVersion: 1\nArchitecture: all\n")
    assert "evil" not in read()
    assert "libone" in read()


@pytest.mark.parametrize("kinds", [(".xz",), (".gz",), ()])
@pytest.mark.parametrize("by_hash", [True, False])
def test_every_form_of_an_index_is_read(
    archive: Archive, read: Read, kinds: tuple[str, ...], by_hash: bool
) -> None:
    archive.write("noble-updates", {"main": [Deb(name="new", version="1-1")]}, kinds=kinds)
    archive.write(
        "noble-security", {"main": [Deb(name="fix", version="1-1")]}, kinds=kinds, by_hash=by_hash
    )
    assert {"new", "fix"} <= set(read().names)


def test_a_mirror_being_synchronised_is_still_read_by_hash(archive: Archive, read: Read) -> None:
    """The file under its plain name is newer than the signed text; the one by hash is right."""
    plain = archive.base / "dists/noble/main/binary-amd64/Packages.xz"
    plain.write_bytes(lzma.compress(b"Package: later\nVersion: 2\nArchitecture: all\n"))
    index = read()
    assert "libone" in index
    assert "later" not in index


def test_packages_that_do_not_match(archive: Archive, read: Read) -> None:
    new = {"main": [Deb(name="new", version="1-1")]}
    folder = archive.write("noble-updates", new, by_hash=False)
    packed = folder / "main/binary-amd64/Packages.xz"
    data = bytearray(packed.read_bytes())
    data[len(data) // 2] ^= 1
    packed.write_bytes(data)
    assert refused(read).code == "INDEX-TAMPERED"
    for kind in (".xz", ".gz"):
        (folder / f"main/binary-amd64/Packages{kind}").unlink()
    assert refused(read).code == "INDEX-TAMPERED"


def test_signed_by_another_key(archive: Archive, read: Read, other_key: SigningKey) -> None:
    archive.write("noble-updates", {}, key=other_key)
    error = refused(read)
    assert error.code == "INDEX-WRONG-KEY"
    assert "noble-updates" in error.found
    assert archive.key.fingerprint in error.expected


def test_suites_may_be_signed_by_several_keys_of_one_keyring(
    archive: Archive, read: Read, other_key: SigningKey
) -> None:
    archive.write("noble-security", {}, key=other_key)
    archive.key_file.write_text(archive.key.public_key + other_key.public_key)
    index = read()
    [source] = index.sources()
    signers = [key.fingerprint for key in index.keys_of(source)]
    assert signers == [archive.key.fingerprint, other_key.fingerprint]


def test_unsigned_and_altered_suites(archive: Archive, read: Read) -> None:
    signed = archive.base / "dists/noble/InRelease"
    text = signed.read_text()
    signed.write_text(text.replace("Origin: Ubuntu", "Origin: Mallory"))
    assert refused(read).code == "INDEX-BAD-SIGNATURE"
    signed.write_text(text.partition("\n\n")[2])
    assert refused(read).code == "INDEX-UNSIGNED"


def test_an_old_suite_in_the_place_of_another_one(archive: Archive, read: Read) -> None:
    archive.write("noble-security", {}, said="noble-updates")
    assert refused(read).code == "INDEX-WRONG-SUITE"


def test_a_suite_whose_time_is_over(archive: Archive, read: Read) -> None:
    archive.write("noble-security", {}, valid_until=time.time() - 60)
    assert refused(read).code == "INDEX-EXPIRED"


def test_a_suite_for_other_architectures(archive: Archive, read: Read) -> None:
    archive.write("noble-updates", {}, architectures="riscv64")
    assert refused(read).code == "INDEX-WRONG-ARCH"


def test_nothing_at_the_address(read: Read, tmp_path: Path) -> None:
    error = refused(read, url=(tmp_path / "nothing").as_uri())
    assert error.code == "INDEX-UNREACHABLE"
    assert error.exit_code is Exit.UNMEASURED


def test_an_index_that_unpacks_to_a_huge_one(
    archive: Archive, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = [Deb(name="libone", version="1.0-1", description="x" * 5000)]
    archive.write("noble-updates", {"main": huge})
    monkeypatch.setattr(index_suites, "LARGEST_PACKAGES", 2000)
    assert refused(read).code == "INDEX-TOO-LARGE"


@pytest.mark.parametrize("text", ["Package: a\n\n\nVersion: 1\n", "Package: a\r\nVersion: 1\n"])
def test_an_index_that_no_archive_writes(
    archive: Archive, read: Read, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(Archive, "_add", lambda *_: text)
    archive.write("noble-updates", {"main": [Deb(name="a", version="1")]})
    assert refused(read).code == "INDEX-MALFORMED"


def test_a_paragraph_that_is_no_package(
    archive: Archive, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Archive, "_add", lambda *_: "Package: a\nDepends: b\n\n")
    archive.write("noble-updates", {"main": [Deb(name="a", version="1")]})
    with pytest.raises(CudactlError) as error:
        read().versions("a")
    assert error.value.code == "INDEX-MALFORMED"


def test_the_cache_does_not_grow_for_ever(
    archive: Archive, read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_suites, "KEPT_BYTES", 4000)
    for number in range(6):
        debs = [Deb(name="libone", version=f"{number}-1", description="x" * 1000)]
        archive.write("noble-updates", {"main": debs})
        read()
    kept = (tmp_path / "cache/archive").glob("*.packages")
    assert 0 < sum(path.stat().st_size for path in kept) <= 4000


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.binary(max_size=200))
def test_any_signed_index_is_read_or_refused(archive: Archive, read: Read, data: bytes) -> None:
    text = "Package: libone\nVersion: 1-1\nArchitecture: all\nProvides: one\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Archive, "_add", lambda *_: text + data.decode("latin-1"))
        archive.write("noble-updates", {"main": [Deb(name="libone", version="1-1")]})
    error: CudactlError | None = None
    try:
        index = read()
        for name in index.names:
            index.versions(name)
        index.providing("one")
    except CudactlError as wrong:
        error = wrong
    assert error is None or error.code.startswith("INDEX-")


# --- keys and addresses -------------------------------------------------------------------------


def test_the_distributions_keyring_on_this_machine_is_trusted(
    archive: Archive, read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_archive, "KEYRINGS", tmp_path / "keyrings")
    error = refused(read, key=None)
    assert error.code == "ARCHIVE-KEY-MISSING"
    assert error.exit_code is Exit.USAGE
    assert "archive: {key: FILE}" in error.remedy
    (tmp_path / "keyrings").mkdir()
    keyring = tmp_path / "keyrings/ubuntu-archive-keyring.gpg"
    keyring.write_bytes(archive.key.keyring)
    assert "libone" in read(key=None)


def test_a_key_that_the_spec_names_is_relative_to_it(archive: Archive, read: Read) -> None:
    copy = archive.base.parent / "copied.asc"
    copy.write_text(archive.key.public_key)
    assert "libone" in read(key="copied.asc")
    error = refused(read, key="other.asc")
    assert (error.code, error.exit_code) == ("ARCHIVE-KEY-UNREADABLE", Exit.USAGE)
    copy.write_text("no key")
    assert refused(read, key="copied.asc").code == "ARCHIVE-KEY-WRONG"


@pytest.mark.parametrize(
    ("os", "arch", "of", "expected"),
    [
        ("debian-12", "amd64", {}, ["deb.debian.org/debian", "deb.debian.org/debian-security"]),
        ("ubuntu-24.04", "amd64", {}, ["archive.ubuntu.com/ubuntu", "security.ubuntu.com/ubuntu"]),
        ("ubuntu-24.04", "arm64", {}, ["ports.ubuntu.com/ubuntu-ports"]),
        ("ubuntu-24.04", "amd64", {"url": "http://m/u"}, ["m/u"]),
        ("debian-13", "amd64", {"url": "http://m/d"}, ["m/d", "deb.debian.org/debian-security"]),
        ("debian-13", "amd64", {"url": "http://m/d/", "security": "http://m/d"}, ["m/d"]),
    ],
)
def test_each_distribution_has_its_public_archive(
    archive: Archive,
    tmp_path: Path,
    os: str,
    arch: str,
    of: dict[str, str],
    expected: list[str],
) -> None:
    named = ArchiveSpec.model_validate({"key": str(archive.key_file), **of})
    spec = archive.spec(os).model_copy(update={"archive": named})
    distribution = load_catalogue().distribution(os)
    sources = archive_sources(spec, distribution, arch, tmp_path)
    assert [source.url for source in sources] == [f"http://{place}/" for place in expected]
    suites = [suite for source in sources for suite in source.suites]
    code = distribution.codename
    assert suites == [code, f"{code}-updates", f"{code}-security"]
    assert [source.vendor for source in sources] == ["//m/" not in s.url for s in sources]


def test_a_password_is_not_shown(read: Read) -> None:
    error = refused(read, url="http://user:secret@127.0.0.1:9/ubuntu")
    assert "secret" not in error.found
