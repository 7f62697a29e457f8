"""How far certifying is: a line for each leg of one host, for each of several hosts.

On a terminal there is a live line too: what measures now, for how long, how much of it is done.
"""

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
    from cudactl.workflow.certify import Certified, Step

CLEAR = "\r\x1b[K"
TICK_S = 1.0


class Measuring:
    """Prints progress on standard error."""

    def __init__(self, hosts: Sequence[str], legs: str, *, quiet: bool) -> None:
        self._waiting = list(hosts)
        self._total = len(hosts)
        self._legs = legs
        self._quiet = quiet
        self._live = sys.stderr.isatty() and not quiet
        self._running: dict[tuple[str, str], None] = {}
        self._ended = 0
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
        name = result.target.name
        with self._lock:
            if name in self._waiting:
                self._waiting.remove(name)
            for key in [key for key in self._running if key[0] == name]:
                del self._running[key]
            if self._quiet or (self._total == 1 and not self._live):
                return
            certificate = result.certificate
            if certificate is not None:
                good = certificate.verdict in ("PASS", "WARN")
                text = f"{certificate.verdict}, level {certificate.level}"
            else:
                good, text = False, result.error.code if result.error is not None else "no answer"
            self._line(f"  {'✓' if good else '✗'} {name}  {text}  {result.duration_s:.1f} s")

    def step(self, host: str, step: Step) -> None:
        """Take the beginning or the end of a part of a leg on a host."""
        part = step.leg if step.gpu is None else f"{step.leg} on {step.gpu[:12]}"
        with self._lock:
            if step.outcome is None:
                self._running[host, part] = None
                return
            self._running.pop((host, part), None)
            self._ended += 1
            # Of many hosts each has one line; of one, each of its legs.
            if self._total == 1 and not self._quiet:
                mark = "·" if step.outcome == "ran" else "✗"
                self._line(f"  {mark} {part}  {step.outcome}  {step.duration_s:.1f} s")

    def _line(self, text: str) -> None:
        note(CLEAR + text if self._live else text)

    def _tick(self) -> None:
        while not self._over.wait(TICK_S):
            with self._lock:
                text = self._now()
            if text is not None:
                room = shutil.get_terminal_size().columns - 1
                click.echo(CLEAR + click.style(text[:room], dim=True), nl=False, err=True)

    def _now(self) -> str | None:
        """Return the live line; None where nobody is waited for."""
        if not self._waiting:
            return None
        parts = [part for _, part in self._running]
        if self._total == 1 and parts:
            doing = f"{self._waiting[0]}: {', '.join(parts)} ({self._ended} done)"
        elif len(self._waiting) == 1:
            doing = f"{self._waiting[0]}: measuring {parts[0] if parts else self._legs}"
        else:
            doing = f"{len(self._waiting)} of {self._total} hosts: measuring {self._legs}"
            doing += f", {self._ended} legs done" if self._ended else ""
        return f"  … {doing}, {time.monotonic() - self._begun:.0f} s"
