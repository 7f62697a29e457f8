"""Packages and indexes that the repository writer makes are ones that dpkg, gpgv and apt accept."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from cudactl.stack.bundle.repository import (
    Deb,
    RepositoryError,
    SigningKey,
    read_stanzas,
    write_deb,
    write_index,
)

HELLO = Deb(
    name="libhello",
    version="1:2.0-1+cuda13.0",
    depends=("libc6 (>= 2.30)", "hello-data (= 1.0)"),
    provides=("hello",),
    multi_arch="same",
    description="A greeting\n that takes two lines",
    files={
        "/usr/lib/libhello.so.2.0": b"not really",
        "/usr/bin/hello": (b"#!/bin/sh\necho hello\n", 0o755),
        "/etc/hello.conf": b"polite=yes\n",
    },
    links={"/usr/lib/libhello.so.2": "libhello.so.2.0"},
    scripts={"postinst": "#!/bin/sh\nset -e\n"},
    conffiles=("/etc/hello.conf",),
    triggers="activate-noawait ldconfig",
)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    # Deeper than an agent's socket could be: the key must be usable anyway.
    home = tmp_path_factory.mktemp("k") / ("deep" * 15) / ("er" * 20) / "key"
    return SigningKey.create(home, "Test archive <test@example.invalid>")


def run(*command: str | Path) -> str:
    return subprocess.run(
        [str(part) for part in command], check=True, capture_output=True, text=True
    ).stdout


def test_dpkg_reads_what_was_written(tmp_path: Path) -> None:
    stanza = write_deb(HELLO, tmp_path)
    deb = tmp_path / "libhello_2.0-1+cuda13.0_amd64.deb"
    assert run("dpkg-deb", "-f", deb, "Depends") == "libc6 (>= 2.30), hello-data (= 1.0)\n"
    listing = run("dpkg-deb", "-c", deb)
    assert "-rwxr-xr-x root/root" in listing
    assert "./usr/lib/libhello.so.2 -> libhello.so.2.0" in listing
    root = tmp_path / "root"
    run("dpkg-deb", "-R", deb, root)
    assert (root / "DEBIAN/conffiles").read_text() == "/etc/hello.conf\n"
    assert os.access(root / "DEBIAN/postinst", os.X_OK)
    assert hashlib.md5(b"not really").hexdigest() in (root / "DEBIAN/md5sums").read_text()
    assert stanza.fields["SHA256"] == hashlib.sha256(deb.read_bytes()).hexdigest()
    assert stanza.fields["Size"] == str(deb.stat().st_size)


def test_the_same_package_gives_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one = write_deb(HELLO, tmp_path / "one")
    two = write_deb(HELLO, tmp_path / "two")
    assert one.fields["SHA512"] == two.fields["SHA512"]


def test_gpgv_accepts_both_signatures_and_refuses_a_changed_index(
    tmp_path: Path, key: SigningKey
) -> None:
    stanza = write_deb(HELLO, tmp_path)
    write_index(tmp_path, [stanza], key=key)
    keyring = tmp_path / "keyring.gpg"
    keyring.write_bytes(key.keyring)
    run("gpgv", "--keyring", keyring, tmp_path / "InRelease")
    run("gpgv", "--keyring", keyring, tmp_path / "Release.gpg", tmp_path / "Release")
    assert (tmp_path / f"{key.keyid}.pub").read_text() == key.public_key
    inline = tmp_path / "InRelease"
    inline.write_text(inline.read_text().replace("Origin: NVIDIA", "Origin: MALLORY"))
    with pytest.raises(subprocess.CalledProcessError):
        run("gpgv", "--keyring", keyring, inline)


def test_an_index_is_read_back_as_it_was_written(tmp_path: Path, key: SigningKey) -> None:
    stanza = write_deb(HELLO, tmp_path)
    other = write_deb(Deb(name="hello-data", version="1.0", arch="all"), tmp_path)
    write_index(tmp_path, [stanza, other], key=key)
    assert [s.name for s in read_stanzas(tmp_path)] == ["libhello", "hello-data"]
    assert read_stanzas(tmp_path)[0].text() == stanza.text()


def test_apt_installs_from_the_flat_folder_and_refuses_an_expired_one(
    tmp_path: Path, key: SigningKey
) -> None:
    repo = tmp_path / "repos/ubuntu2404/x86_64"
    repo.mkdir(parents=True)
    deb = Deb(name="cudactl-probe-me", version="1.0-1", files={"/opt/x": b"x"})
    stanzas = [write_deb(deb, repo)]
    write_index(repo, stanzas, key=key, valid_until=time.time() + 3600)
    root = tmp_path / "apt"
    for folder in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d"):
        (root / folder).mkdir(parents=True)
    (root / "status").write_text("")
    (root / "keyring.gpg").write_bytes(key.keyring)
    (root / "sources.list").write_text(f"deb [signed-by={root}/keyring.gpg] file://{repo} /\n")
    options = {
        "Dir::State": root / "state",
        "Dir::State::status": root / "status",
        "Dir::Cache": root / "cache",
        "Dir::Etc": root / "etc",
        "Dir::Etc::SourceList": root / "sources.list",
        "APT::Architecture": "amd64",
        "APT::Sandbox::User": "root",
        # Some machines switch these off for themselves.
        "Acquire::Check-Date": "true",
        "Acquire::Check-Valid-Until": "true",
    }
    apt = ["apt-get", *(part for k, v in options.items() for part in ("-o", f"{k}={v}"))]
    run(*apt, "update")
    assert "Inst cudactl-probe-me (1.0-1 NVIDIA CUDA" in run(
        *apt, "-s", "install", "cudactl-probe-me"
    )
    # A fresh apt: one that knows a newer index would silently keep that one.
    shutil.rmtree(root / "state/lists")
    (root / "state/lists/partial").mkdir(parents=True)
    write_index(repo, stanzas, key=key, date=1.7e9, valid_until=1.7e9 + 60)
    with pytest.raises(subprocess.CalledProcessError) as refused:
        run(*apt, "update")
    assert "is expired" in refused.value.stderr


def test_a_folder_without_a_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir(mode=0o700)
    with pytest.raises(RepositoryError) as refused:
        SigningKey.load(tmp_path / "empty")
    assert refused.value.code == "REPOSITORY-KEY-MISSING"


def test_no_agent_is_left_running(key: SigningKey, monkeypatch: pytest.MonkeyPatch) -> None:
    homes = []
    make = tempfile.mkdtemp

    def remembered(**options: str) -> str:
        homes.append(make(**options))
        return homes[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", remembered)
    key.sign(b"text\n")
    assert len(homes) == 1

    def agents() -> list[bytes]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    found.append((entry / "cmdline").read_bytes())
                except OSError:  # the process ended meanwhile
                    continue
        return [line for line in found if b"gpg-agent" in line and homes[0].encode() in line]

    deadline = time.monotonic() + 5
    while agents() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not agents()
    assert not Path(homes[0]).exists()
