"""Every situation of the mirror is one call, and apt or gpgv refuses it as it does in the field."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cudactl.contracts.errors import UsageError
from cudactl.lab.mirror import Mirror
from cudactl.stack.bundle.repository import read_stanzas
from tests.lab.mirror.apt import Apt

Serve = Callable[[Mirror], str]


def gpgv(mirror: Mirror, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    keyring = tmp_path / "keyring.gpg"
    keyring.write_bytes(mirror.key.keyring)
    signed = mirror.repository("ubuntu2404") / "InRelease"
    return subprocess.run(
        ["gpgv", "--keyring", str(keyring), str(signed)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("situation", "why"),
    [
        (Mirror.tampered_index, "Hash Sum mismatch"),
        (Mirror.unsigned, "is not signed"),
        (Mirror.signed_by_other_key, "NO_PUBKEY"),
        (Mirror.expired_valid_until, "is expired"),
        (Mirror.truncated_packages, "unexpected size"),
    ],
)
def test_apt_refuses_an_index_that_is_not_right(
    mirror: Mirror,
    tmp_path: Path,
    served: Serve,
    situation: Callable[[Mirror, Path], Mirror],
    why: str,
) -> None:
    wrong = situation(mirror, tmp_path / "wrong")
    done = Apt(tmp_path / "apt", wrong, "ubuntu2404", served(wrong)).run("update")
    assert why in done.stderr
    assert done.returncode == 100
    assert Apt(tmp_path / "right", mirror, "ubuntu2404").updated()


def test_gpgv_accepts_the_mirror_and_refuses_another_key(mirror: Mirror, tmp_path: Path) -> None:
    assert gpgv(mirror, tmp_path).returncode == 0
    other = mirror.signed_by_other_key(tmp_path / "other")
    assert "No public key" in gpgv(other, tmp_path).stderr


def test_a_package_that_is_gone_or_altered_is_refused(
    mirror: Mirror, tmp_path: Path, served: Serve
) -> None:
    gone = mirror.missing_package("libnccl2", tmp_path / "gone")
    apt = Apt(tmp_path / "a", gone, "ubuntu2404", served(gone)).updated()
    done = apt.run("install", "-y", "--download-only", "libnccl2")
    assert "404" in done.stderr
    assert done.returncode == 100
    altered = mirror.wrong_hash("libnccl2", tmp_path / "altered")
    apt = Apt(tmp_path / "b", altered, "ubuntu2404", served(altered)).updated()
    done = apt.run("install", "-y", "--download-only", "libnccl2")
    assert "Hash Sum mismatch" in done.stderr
    assert done.returncode == 100


def test_an_expired_pin_is_not_found_any_more(mirror: Mirror, tmp_path: Path) -> None:
    later = mirror.expired_pin("cuda-cudart-13-0", "13.0.48-1", tmp_path / "later")
    apt = Apt(tmp_path / "apt", later, "ubuntu2404").updated()
    assert "was not found" in apt.refuses("cuda-cudart-13-0=13.0.48-1")
    with pytest.raises(UsageError):
        mirror.expired_pin("cuda-cudart-13-0", "1.2.3", tmp_path / "never")


def test_a_new_release_appears(mirror: Mirror, tmp_path: Path) -> None:
    later = mirror.new_release(tmp_path / "later")
    apt = Apt(tmp_path / "apt", later, "ubuntu2404").updated()
    chosen = apt.installs("cuda-toolkit-13-0", "libcudnn9-cuda-13", "libnvinfer11")
    assert chosen["libcublas-13-0"] == "13.1.1.3-1"
    assert chosen["cuda-toolkit-13-0"] == "13.0.3-1"
    assert chosen["libcudnn9-cuda-13"] == "9.28.1.4-1"
    assert chosen["libnvinfer11"] == "11.1.0.106-1+cuda13.3"
    before = read_stanzas(mirror.repository("ubuntu2404"))
    assert not [stanza for stanza in before if stanza.version == "13.0.3-1"]


def test_a_huge_index_is_small_on_the_wire(mirror: Mirror, tmp_path: Path) -> None:
    huge = mirror.huge_index(tmp_path / "huge", size=64 << 20)
    index = huge.repository("ubuntu2404") / "Packages.gz"
    assert gpgv(huge, tmp_path).returncode == 0
    assert index.stat().st_size < 1 << 20
    with gzip.open(index) as stream:
        assert sum(len(block) for block in iter(lambda: stream.read(1 << 20), b"")) == 64 << 20


def test_situations_find_their_own_place(mirror: Mirror) -> None:
    copy = mirror.unsigned()
    assert copy.folder.is_relative_to(mirror.folder / "situations")
    assert (mirror.repository("ubuntu2404") / "InRelease").exists()
    shutil.rmtree(mirror.folder / "situations")
