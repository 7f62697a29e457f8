"""Where rollouts lie, who drives one, and what other terminals have asked of it.

A rollout's folder holds `request.json`, `journal.jsonl`, `controller.lock`, the wishes `pause` and
`abort`, a log for each host, and the report. The lock is the kernel's (flock): it ends with the
last process that holds it, so a dead controller never has to be proved dead.
"""

from __future__ import annotations

import fcntl
import getpass
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from pydantic import ValidationError

from cudactl.contracts.errors import CudactlError, UsageError
from cudactl.contracts.rollout import JournalRecord, RolloutController, RolloutRequest
from cudactl.workflow.places import state_folder
from cudactl.workflow.rollout.journal import not_written, read_journal, sync_folder, unreadable

Wish = Literal["pause", "abort"]


def rollouts_folder(state: Path | None = None) -> Path:
    """Return the folder of all rollouts; not made here."""
    return (state or state_folder()) / "rollouts"


def new_id(now: float | None = None) -> str:
    """Return a name for a rollout that sorts by time and fits into a node's reason."""
    return time.strftime("%Y%m%d-%H%M", time.gmtime(now)) + f"-{secrets.token_hex(2)}"


def who() -> str:
    """Return who we are, as other people know us."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


class RolloutFolder:
    """One rollout's files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name
        self.journal = path / "journal.jsonl"
        self.report = path / "report.md"

    def request(self) -> RolloutRequest:
        """Read what was asked for.

        Raises:
            UsageError: ROLLOUT-UNREADABLE.
        """
        file = self.path / "request.json"
        try:
            return RolloutRequest.model_validate_json(file.read_bytes())
        except OSError as error:
            raise unreadable(file, error.strerror or str(error)) from error
        except ValidationError as wrong:
            first = wrong.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise unreadable(file, f"{where}: {first['msg']}") from wrong

    def records(self) -> list[JournalRecord]:
        """Read the journal."""
        return read_journal(self.journal)

    def log(self, host: str) -> Path:
        """Return the file of what a host's work prints."""
        return self.path / "logs" / f"{quote(host, safe='@:+')}.log"

    def ask(self, wish: Wish) -> None:
        """Leave a wish for the controller, or for the next one."""
        try:
            (self.path / wish).write_text(who() + "\n")
            sync_folder(self.path)
        except OSError as error:
            raise not_written(self.path / wish, error) from error

    def asked(self, wish: Wish) -> str | None:
        """Return who has asked for something, or None."""
        try:
            return (self.path / wish).read_text().strip() or "somebody"
        except OSError:
            return None

    def take_back(self, wish: Wish) -> None:
        """Remove a wish that was heard."""
        (self.path / wish).unlink(missing_ok=True)

    @contextmanager
    def driven(self) -> Iterator[int]:
        """Be the one controller of this rollout; yields the lock's descriptor.

        Workers inherit it: a rollout counts as driven while one of them lives, even when its
        controller was killed, so that nobody changes a host beside it.

        Raises:
            CudactlError: ROLLOUT-DRIVEN.
        """
        try:
            number = os.open(self.path / "controller.lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise not_written(self.path, error) from error
        try:
            if not _locked(number):
                raise self._driven()
            user, _, host = who().partition("@")
            me = RolloutController(who=user, controller=host, pid=os.getpid(), since=time.time())
            os.ftruncate(number, 0)
            os.pwrite(number, me.model_dump_json().encode(), 0)
            yield number
        finally:
            os.close(number)

    def driver(self) -> RolloutController | None:
        """Return who drives it just now, or None."""
        try:
            number = os.open(self.path / "controller.lock", os.O_RDONLY)
        except OSError:
            return None
        try:
            try:
                fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                data = os.pread(number, 65536, 0)
            else:
                return None
        finally:
            os.close(number)
        try:
            return RolloutController.model_validate_json(data)
        except ValidationError:  # between the lock and its first words
            return RolloutController(who="somebody", controller="", pid=0, since=time.time())

    def _driven(self) -> CudactlError:
        there = self.driver()
        by = f"{there.who}@{there.controller}, process {there.pid}" if there else "somebody"
        return CudactlError(
            "ROLLOUT-DRIVEN",
            f"rollout {self.id} is being driven by {by}",
            expected="one controller at a time",
            remedy=f"watch it: cudactl rollout status {self.id}; a controller that was killed "
            "leaves it when the hosts that it was changing have been given back",
        )


def _locked(number: int) -> bool:
    for _ in range(5):
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.02)  # somebody may only have looked whether it is free
    return False


def create(request: RolloutRequest, state: Path | None = None) -> RolloutFolder:
    """Write a new rollout's folder, whole or not at all.

    Raises:
        UsageError: ROLLOUT-NOT-WRITTEN.
    """
    base = rollouts_folder(state)
    aside = base / f".{request.id}.{os.getpid()}"
    try:
        (aside / "logs").mkdir(parents=True)
        try:
            with (aside / "request.json").open("wb") as file:
                file.write(request.model_dump_json(indent=1).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            aside.rename(base / request.id)
        finally:
            if aside.exists():
                shutil.rmtree(aside)
        sync_folder(base)
    except OSError as error:
        raise not_written(base, error) from error
    return RolloutFolder(base / request.id)


def known(state: Path | None = None) -> list[RolloutFolder]:
    """Return all rollouts, the newest last."""
    base = rollouts_folder(state)
    if not base.is_dir():
        return []
    there = [p for p in base.iterdir() if not p.name.startswith(".") and p.is_dir()]
    stamps = {p: (p / "request.json").stat().st_mtime_ns for p in there if _has_request(p)}
    return [RolloutFolder(p) for p in sorted(stamps, key=lambda p: (stamps[p], p.name))]


def _has_request(path: Path) -> bool:
    return (path / "request.json").is_file()


def find(name: str | None, state: Path | None = None) -> RolloutFolder:
    """Return the rollout that a name, or the beginning of one, means; None: the newest.

    Raises:
        UsageError: ROLLOUT-UNKNOWN.
    """
    there = known(state)
    exact = [f for f in there if f.id == name]
    fitting = exact or [f for f in there if name is None or f.id.startswith(name)]
    if fitting and (name is None or len(fitting) == 1):
        return fitting[-1]
    names = ", ".join(f.id for f in there[-5:])
    raise UsageError(
        "ROLLOUT-UNKNOWN",
        f"{name!r} means {len(fitting) or 'no'} rollout{'s' * (len(fitting) != 1)}"
        if name is not None
        else f"there is no rollout in {rollouts_folder(state)}",
        expected=f"one of {names}" if names else "a rollout that was started",
        remedy="cudactl rollout status --all" if names else "start one: cudactl rollout start",
    )
