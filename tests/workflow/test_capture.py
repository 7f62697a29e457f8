"""Capturing writes spec, key and lock together or not at all, and says what it could not have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cudactl.contracts.errors import CudactlError, Exit
from cudactl.stack.bundle.repository import Deb, SigningKey, write_deb, write_index
from cudactl.stack.lock.file import read_lock
from cudactl.stack.spec.file import read_spec, spec_hash
from cudactl.workflow.capture import Capture, Wanted, capture_host
from cudactl.workflow.stack import lock
from tests.recorded_host import NAME, RecordedHost

TOOLKIT, TOOLS = "nvidia-container-toolkit", "libnvidia-container-tools"
HERE = {TOOLKIT: "1.19.0-1", TOOLS: "1.19.0-1"}


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.create(tmp_path / "k", "Mirror <m@example.invalid>")


@pytest.fixture
def mirror(tmp_path: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "repos/ubuntu2404/x86_64"
    folder.mkdir(parents=True)
    debs = [
        Deb(name=TOOLKIT, version="1.19.0-1", depends=(f"{TOOLS} (= 1.19.0-1)", "libc6")),
        Deb(name=TOOLS, version="1.19.0-1"),
        Deb(name=TOOLKIT, version="1.20.0-1", depends=(f"{TOOLS} (= 1.20.0-1)", "libc6")),
        Deb(name=TOOLS, version="1.20.0-1"),
    ]
    write_index(folder, [write_deb(deb, folder) for deb in debs], key=key)
    return tmp_path / "repos"


@pytest.fixture
def host(tmp_path: Path, mirror: Path, key: SigningKey) -> RecordedHost:
    made = RecordedHost(tmp_path / "host").packages(HERE)
    return made.source(f"{mirror.as_uri()}/ubuntu2404/x86_64/", key.public_key)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def capture(host: RecordedHost, out: Path) -> Callable[..., Capture]:
    def run(**more: object) -> Capture:
        values = {"spec": out / "stack.yaml", "lock": out / "stack.lock", **more}
        return capture_host(NAME, [str(host.inventory)], (), Wanted(**values))  # type: ignore[arg-type]

    return run


def codes(done: Capture) -> set[str]:
    return {remark.code for remark in done.captured.remarks}


def test_spec_key_and_lock_belong_together(capture: Callable[..., Capture], out: Path) -> None:
    done = capture()
    assert done.error is None
    assert {path.name for path in done.written} == {"stack.yaml", "stack.lock", "stack-mirror.asc"}
    spec, held = read_spec(out / "stack.yaml"), read_lock(out / "stack.lock")
    assert spec.container_toolkit == "1.19.0"
    assert held.spec_hash == spec_hash(spec)
    again = lock(out / "stack.yaml", out / "again.lock", allowed=[])
    assert again.locks[0].hash == held.hash
    # 1.20.0 is newer and would be taken by a shorter wish.
    assert {p.version for p in held.packages} == {"1.19.0-1"}


def test_a_second_time_nothing_is_written(capture: Callable[..., Capture]) -> None:
    assert len(capture().written) == 3
    assert capture().written == []


def test_a_file_of_somebody_elses_stops_everything(
    capture: Callable[..., Capture], out: Path
) -> None:
    (out / "stack.lock").write_text("mine")
    with pytest.raises(CudactlError) as caught:
        capture()
    assert (caught.value.code, caught.value.exit_code) == ("FILE-EXISTS", Exit.USAGE)
    assert [path.name for path in out.iterdir()] == ["stack.lock"]
    assert len(capture(force=True).written) == 3
    assert read_lock(out / "stack.lock").packages


def test_without_a_lock_no_index_is_asked(
    capture: Callable[..., Capture], host: RecordedHost, key: SigningKey
) -> None:
    host.source("http://127.0.0.1:9/ubuntu2404/x86_64/", key.public_key)
    done = capture(lock=None)
    assert done.error is None
    assert done.captured.spec.mirror is not None
    assert done.captured.spec.mirror.url == "http://127.0.0.1:9"


def test_an_index_that_cannot_be_reached_leaves_the_spec(
    capture: Callable[..., Capture], host: RecordedHost, key: SigningKey, out: Path
) -> None:
    host.source("http://127.0.0.1:9/ubuntu2404/x86_64/", key.public_key)
    done = capture()
    assert done.error is not None
    assert (done.error.code, done.error.exit_code) == ("INDEX-UNREACHABLE", Exit.UNMEASURED)
    assert "CAPTURE-NO-INDEX" in codes(done)
    assert read_spec(out / "stack.yaml").container_toolkit == "1.19.0"
    assert not (out / "stack.lock").exists()


def test_an_index_that_the_host_does_not_trust_gives_no_lock(
    capture: Callable[..., Capture], host: RecordedHost, mirror: Path, tmp_path: Path
) -> None:
    other = SigningKey.create(tmp_path / "k2", "Else <e@example.invalid>")
    host.source(f"{mirror.as_uri()}/ubuntu2404/x86_64/", other.public_key)
    done = capture()
    assert done.error is not None
    assert (done.error.code, done.error.exit_code) == ("INDEX-WRONG-KEY", Exit.FAIL)
    assert done.captured.lock is None


def test_another_index_can_be_named(
    capture: Callable[..., Capture], host: RecordedHost, mirror: Path, key: SigningKey, out: Path
) -> None:
    host.source("http://127.0.0.1:9/ubuntu2404/x86_64/", key.public_key)
    mine = out / "mine.asc"
    mine.write_text(key.public_key)
    done = capture(mirror=mirror.as_uri(), mirror_key=mine)
    assert done.error is None
    spec = read_spec(out / "stack.yaml")
    assert spec.mirror is not None
    assert (spec.mirror.url, spec.mirror.key) == (mirror.as_uri(), "mine.asc")


def test_nothing_that_can_be_locked_is_a_failure_with_a_spec(
    capture: Callable[..., Capture], host: RecordedHost, out: Path
) -> None:
    host.packages({TOOLKIT: "1.17.0-1"})
    done = capture()
    assert done.error is not None
    assert (done.error.code, done.error.exit_code) == ("CAPTURE-NOTHING-TO-LOCK", Exit.FAIL)
    assert "CAPTURE-NOT-IN-INDEX" in codes(done)
    assert read_spec(out / "stack.yaml").container_toolkit == "1.17.0"


def test_a_password_is_written_nowhere(
    capture: Callable[..., Capture], host: RecordedHost, key: SigningKey, out: Path
) -> None:
    host.source("http://user:hunter2@127.0.0.1:9/ubuntu2404/x86_64/", key.public_key)
    done = capture()
    assert done.error is not None
    shown = [done.captured.model_dump_json(), str(done.error.as_dict())]
    for text in (*shown, *(path.read_text() for path in out.iterdir())):
        assert "hunter2" not in text
        assert "127.0.0.1:9" in text or "PGP" in text


def test_what_a_path_on_the_host_says_cannot_change_the_spec(
    capture: Callable[..., Capture], host: RecordedHost, out: Path
) -> None:
    host.file("/usr/local/lib/python3.12/dist-packages/torch-9\ncudnn: '9'.dist-info/RECORD")
    done = capture()
    assert "CAPTURE-FOREIGN" in codes(done)
    spec = read_spec(out / "stack.yaml")
    assert spec == done.captured.spec
    assert spec.cudnn is None
