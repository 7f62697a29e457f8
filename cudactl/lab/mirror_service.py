"""A lab's package mirror as a background process: built, served at the lab's gateway, stopped.

The process outlives the command that started it. lab.json has its number; it counts as ours only
while its command line says that it serves this very folder, so a number used again harms nobody.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from cudactl.lab.engine import LabError
from cudactl.lab.layout import Folder, MirrorState

PORT = 8099
"""Tried first: with the lab's own gateway address this keeps the URL that locks name."""
START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 5


def start(folder: Folder, gateway: str, *, say: Callable[[str], None]) -> MirrorState:
    """Build the mirror where need be and serve it at `gateway`, unless that is so already."""
    from cudactl.lab.mirror import Mirror

    place = mirror_folder(folder)
    if not (place / "mirror.json").exists():
        say("building the package mirror: signed repositories of simulated NVIDIA packages")
    mirror = Mirror.build(place)
    known = recorded(folder)
    if known and known.running and urlsplit(known.url).hostname == gateway:
        return replace(known, key_file=mirror.key_file, fingerprint=mirror.fingerprint)
    stop(folder)
    process, url = _serve(folder, gateway, _port(known) or PORT) or (None, "")
    if process is None:  # somebody else has the port
        process, url = _serve(folder, gateway, 0) or (None, "")
    if process is None:
        raise LabError(
            "LAB-MIRROR",
            f"the package mirror could not be served at {gateway}: "
            f"{_log(folder).read_text(encoding='utf-8').strip()[-500:]}",
            remedy="cudactl lab down, then up again; or up --no-mirror",
        )
    return MirrorState(url, mirror.key_file, mirror.fingerprint, process.pid, running=True)


def recorded(folder: Folder) -> MirrorState | None:
    """Return the mirror that lab.json names, and whether it still runs."""
    record = folder.read_record().get("mirror") or {}
    try:
        pid = int(record["pid"])
        return MirrorState(
            url=str(record["url"]),
            key_file=Path(record["key"]),
            fingerprint=str(record["fingerprint"]),
            pid=pid,
            running=_serves(pid, folder),
        )
    except (KeyError, TypeError, ValueError):
        return None


def stop(folder: Folder, *, remove: bool = False) -> None:
    """End the mirror's process if it runs; with `remove` its files go too."""
    known = recorded(folder)
    if known and known.running:
        os.kill(known.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while _serves(known.pid, folder):
            if time.monotonic() > deadline:
                os.kill(known.pid, signal.SIGKILL)
                break
            time.sleep(0.02)
    if remove:
        shutil.rmtree(mirror_folder(folder), ignore_errors=True)
        _log(folder).unlink(missing_ok=True)


def mirror_folder(folder: Folder) -> Path:
    """Return where the mirror's files lie."""
    return folder.path / "mirror"


def _serve(folder: Folder, gateway: str, port: int) -> tuple[subprocess.Popen[str], str] | None:
    """Start serving; return the process and the URL it prints once it listens."""
    command = [sys.executable, "-m", "cudactl.lab.serve", str(mirror_folder(folder))]
    with _log(folder).open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [*command, gateway, str(port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,  # Ctrl-C in the terminal is not meant for it
        )
    assert process.stdout is not None
    with process.stdout as answer, selectors.DefaultSelector() as ready:
        ready.register(answer, selectors.EVENT_READ)
        url = answer.readline().strip() if ready.select(START_TIMEOUT_S) else ""
    if not url:
        process.kill()
        process.wait()
        return None
    # It is meant to outlive us: no reaping, and no warning about that.
    process.returncode = 0
    return process, url


def _port(known: MirrorState | None) -> int | None:
    return urlsplit(known.url).port if known else None


def _log(folder: Folder) -> Path:
    return folder.path / "mirror.log"


def _serves(pid: int, folder: Folder) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"cudactl.lab.serve" in words and os.fsencode(mirror_folder(folder)) in words
