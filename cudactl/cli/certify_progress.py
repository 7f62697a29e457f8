"""How far certifying is: a line for each host that is done; on a terminal, who still measures."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import click

from cudactl.cli.app import note

if TYPE_CHECKING:
    from cudactl.workflow.certify import Certified

CLEAR = "\r\x1b[K"
TICK_S = 1.0


class Measuring:
    """Prints progress on standard error; with one host and no terminal there is nothing to say.

    The probe answers when it has measured everything, so what can be told of a host in between is
    for how long it has been measuring.
    """

    def __init__(self, hosts: Sequence[str], legs: str, *, quiet: bool) -> None:
        self._waiting = list(hosts)
        self._total = len(hosts)
        self._legs = legs
        self._quiet = quiet
        self._live = sys.stderr.isatty() and not quiet
        self._begun = time.monotonic()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Measuring:
        if self._live:
            self._ticker.start()
        elif not self._quiet and self._total > 1:
            note(f"measuring {self._total} hosts: {self._legs} …")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._live:
            self._ticker.join()
            click.echo(CLEAR, nl=False, err=True)

    def __call__(self, result: Certified) -> None:
        """Take one host's result."""
        with self._lock:
            if result.target.name in self._waiting:
                self._waiting.remove(result.target.name)
            if self._quiet or (self._total == 1 and not self._live):
                return
            certificate = result.certificate
            if certificate is not None:
                good = certificate.verdict in ("PASS", "WARN")
                text = f"{certificate.verdict}, level {certificate.level}"
            else:
                good, text = False, result.error.code if result.error is not None else "no answer"
            mark = "✓" if good else "✗"
            line = f"  {mark} {result.target.name}  {text}  {result.duration_s:.1f} s"
            note(CLEAR + line if self._live else line)

    def _tick(self) -> None:
        while not self._over.wait(TICK_S):
            with self._lock:
                waiting = list(self._waiting)
            if not waiting:
                continue
            seconds = time.monotonic() - self._begun
            who = waiting[0] if len(waiting) == 1 else f"{len(waiting)} of {self._total} hosts"
            text = f"  … {who}: measuring {self._legs}, {seconds:.0f} s"
            room = shutil.get_terminal_size().columns - 1
            click.echo(CLEAR + click.style(text[:room], dim=True), nl=False, err=True)
