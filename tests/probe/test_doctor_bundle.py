"""The bundle of evidence: what is in it, what never leaves the machine, how large it gets."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from cudactl.probe import bundle as bundling
from cudactl.probe.files import Root
from cudactl.probe.redaction import Redaction
from tests.judge.doctor.machines import healthy, write
from tests.probe.conftest import interpreters

PEOPLE = (
    "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nubuntu:x:1001:1001::/\n"
)
FIRST = "cudactl-evidence/contents.txt"


def members(data: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {m.name: archive.extractfile(m).read().decode() for m in archive}  # type: ignore[union-attr]


@pytest.fixture
def root(tmp_path: Path) -> Root:
    tree = healthy()
    tree["/etc/passwd"] = PEOPLE
    tree["/home/alice/.bashrc"] = ""
    return Root(str(write(tree, tmp_path)))


@pytest.fixture
def redact(root: Root) -> Redaction:
    return Redaction(root, "gpu-01.example.org")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("sudo: alice : TTY=pts/0", "sudo: USER-1 : TTY=pts/0"),
        ("/home/alice/venv and /home/bob/x", "/home/USER-1/venv and /home/USER-2/x"),
        ("Ubuntu by ubuntu in /home/ubuntu", "Ubuntu by ubuntu in /home/USER-1"),
        ("gpu-01 kernel: on gpu-01.example.org", "HOST kernel: on HOST"),
        ("from 10.1.2.3 port 22, 10.1.2.3", "from ADDRESS-1 port 22, ADDRESS-1"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("fe80::1ff:fe23:4567:890a up", "ADDRESS-1 up"),
        ("ether 02:42:ac:11:00:02", "ether MAC-1"),
        ("mail to a.b@example.org now", "mail to MAIL-1 now"),
        ("HF_TOKEN=hf_abcdefghijklmnopqrstuvwx", "HF_TOKEN=[removed]"),
        ('"password": "hunter2", "x": 1', '"password": "[removed]", "x": 1'),
        ("db_password = 'two words' # x", "db_password = '[removed]' # x"),
        ('"hf.token": "a, b"}', '"hf.token": "[removed]"}'),
        ("Authorization: Bearer abc.def", "Authorization: [removed]"),
        ("ghp_0123456789abcdefghijABCDEFGHIJ012345", "[removed]"),
        ("deb https://u:pw@apt.example/x /", "deb https://[removed]@apt.example/x /"),
        ("key AKIAIOSFODNN7EXAMPLE", "key [removed]"),
    ],
)
def test_what_must_not_leave_is_removed(redact: Redaction, before: str, after: str) -> None:
    assert redact.apply(before) == after


@pytest.mark.parametrize(
    "text",
    [
        "NVRM: Xid (PCI:0000:17:00): 79, pid=1, GPU has fallen off the bus.",
        "libcudnn9-cuda-13 (9.13.0.50-1, 9.14.0.64-1)",
        "/usr/lib/libnvinfer.so.10.13.3.9",
        "cuDNN=9.13.0.50-1 at 12:34:56",
        "GPU-c0dac711-0000-4000-8000-000000000001",
        "580.95.05 and 6.8.0-31-generic",
        "std::string a::b",
    ],
)
def test_what_the_evidence_lives_on_stays(redact: Redaction, text: str) -> None:
    assert redact.apply(text) == text


def test_documents_are_still_documents_afterwards(redact: Redaction, root: Root) -> None:
    document = {"password": "x y", "token=": ["a", {"secret": 'q"z', "host": "gpu-01"}]}
    text = redact.apply(json.dumps(document, indent=1))
    assert json.loads(text)["password"] == "[removed]"
    assert "x y" not in text
    assert "gpu-01" not in text


def test_a_version_that_dpkg_knows_is_no_address(tmp_path: Path) -> None:
    write({"/var/lib/dpkg/status": "Package: x\nVersion: 10.13.3.9-1+cuda13.0\n"}, tmp_path)
    redact = Redaction(Root(str(tmp_path)), "h")
    assert redact.apply("nvinfer 10.13.3.9 by 10.13.3.8") == "nvinfer 10.13.3.9 by ADDRESS-1"


def test_a_private_key_is_removed_whole(redact: Redaction) -> None:
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\nBBBB\n-----END OPENSSH PRIVATE KEY-----"
    assert redact.apply(f"a\n{key}\nb") == "a\n[removed]\nb"


def test_the_contents_come_first_and_are_true(root: Root) -> None:
    data = bundling.bundle(root, {"examination": {"a": 1}}, {"kernel-log.txt": "l"}, "gpu-01")
    found = members(data)
    assert next(iter(found)) == FIRST
    for name in list(found)[1:]:
        assert name[len("cudactl-evidence/") :] in found[FIRST]
    assert "user names of accounts" in found[FIRST]
    assert json.loads(found["cudactl-evidence/examination.json"]) == {"a": 1}
    assert "NVRM version" in found["cudactl-evidence/files/proc/driver/nvidia/version"]
    assert "blacklist nouveau" in "".join(v for n, v in found.items() if "modprobe.d" in n)


def test_a_long_file_keeps_its_end_and_says_so(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundling, "EACH_BYTES", 1000)
    write({"/var/log/dpkg.log": "old\n" * 1000 + "the last line\n"}, Path(root.path))
    found = members(bundling.bundle(root, {}, {}, "h"))
    kept = found["cudactl-evidence/files/var/log/dpkg.log"]
    assert len(kept) == 1000
    assert kept.endswith("the last line\n")
    assert "files/var/log/dpkg.log: the first" in found[FIRST]


def test_the_whole_is_limited_and_what_had_no_room_is_named(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundling, "ALL_BYTES", 5000)
    write({"/var/log/dpkg.log": "x" * 6000}, Path(root.path))
    found = members(bundling.bundle(root, {}, {}, "h"))
    assert sum(len(v) for n, v in found.items() if n != FIRST) <= 5000
    assert "no room left" in found[FIRST]


def test_what_gzip_packed_is_redacted_too(root: Root) -> None:
    import gzip

    report = gzip.compress(b"host gpu-01, user alice, 10.0.0.7\n")
    write({"/var/log/nvidia-bug-report.log.gz": report}, Path(root.path))
    found = members(bundling.bundle(root, {}, {}, "gpu-01"))
    (text,) = [v for n, v in found.items() if "bug-report" in n]
    assert text == "host HOST, user USER-1, ADDRESS-1\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named_with_what_it_needs(root: Root) -> None:
    path = Path(root.path) / "var/log/dpkg.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    path.chmod(0)
    assert (
        "/var/log/dpkg.log: not readable (root)"
        in members(bundling.bundle(root, {}, {}, "h"))[FIRST]
    )


# --- from the one file, without installing anything --------------------------------------------


def run(pyz: Path, *arguments: str, python: str = sys.executable) -> Any:
    return subprocess.run(
        [python, "-I", "-S", str(pyz), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("version", sorted(interpreters()))
def test_the_zipapp_examines_and_bundles(
    pyz: Path, root: Root, tmp_path_factory: pytest.TempPathFactory, version: str
) -> None:
    python = interpreters()[version]
    done = run(pyz, "--root", root.path, "doctor", python=python)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gpu-01: nothing was found to be wrong" in done.stdout
    (Path(root.path) / "proc/812/comm").unlink()
    (Path(root.path) / "usr/src/linux-headers-6.8.0-31-generic/Makefile").unlink()
    place = tmp_path_factory.mktemp("bundle") / "e.tar.gz"
    done = run(pyz, "--root", root.path, "doctor", "--json", f"--bundle={place}", python=python)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["findings"][0]["code"] == "DOCTOR-PERSISTENCE"
    assert "cudactl-evidence/kernel-log.txt" in members(place.read_bytes())
    again = run(pyz, "--root", root.path, "doctor", f"--bundle={place}", python=python)
    assert again.returncode == 2
    assert json.loads(again.stdout)["error"]["code"] == "DOCTOR-BUNDLE"


def test_the_zipapp_says_what_is_broken_by_its_exit_code(pyz: Path, root: Root) -> None:
    (Path(root.path) / "etc/docker/daemon.json").write_text("{")
    assert run(pyz, "--root", root.path, "doctor").returncode == 3


@pytest.mark.parametrize("arguments", [["--wat"], ["--explain"], ["--explain", "DOCTOR-NO-SUCH"]])
def test_a_wrong_call_is_told_as_one(pyz: Path, arguments: list[str]) -> None:
    done = run(pyz, "doctor", *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)["error"]["code"].startswith("DOCTOR-")
