"""What a provisioning run is doing: a line per thing done, and on a terminal what runs just now."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import click

from cudactl.cli.app import note

if TYPE_CHECKING:
    from types import TracebackType

    from cudactl.provision.run import Progress

CLEAR = "\r\x1b[K"
ANSIBLES_OWN = "Validating arguments"  # its check of a role's variables, which takes no time


class ProgressLines:
    """Prints progress on standard error; the last line of a terminal names what is running."""

    def __init__(self, *, quiet: bool, verbose: bool) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._live = sys.stderr.isatty() and not quiet
        self._running: dict[str, str] = {}

    def __enter__(self) -> ProgressLines:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            click.echo(CLEAR, nl=False, err=True)

    def __call__(self, progress: Progress) -> None:
        """Take one event."""
        if progress.status == "started":
            if progress.task.startswith(ANSIBLES_OWN):
                return
            self._running[progress.host] = progress.task
        else:
            self._running.pop(progress.host, None)
            self._done(progress)
        if self._live:
            self._show_running()

    def _done(self, progress: Progress) -> None:
        if self._quiet or (progress.status in ("ok", "skipped") and not self._verbose):
            return
        mark = {"failed": "✗", "unreachable": "✗", "skipped": "-"}.get(progress.status, "✓")
        line = f"  {mark} {progress.host}  {progress.task}  {progress.seconds:.1f} s"
        note(CLEAR + line if self._live else line)
        for part in progress.difference.splitlines():
            color = {"+": "green", "-": "red", "@": "cyan"}.get(part[:1])
            note("      " + click.style(part, fg=color))

    def _show_running(self) -> None:
        tasks: dict[str, list[str]] = {}
        for host, task in self._running.items():
            tasks.setdefault(task, []).append(host)
        parts = [
            f"{hosts[0] if len(hosts) == 1 else f'{len(hosts)} hosts'}: {task}"
            for task, hosts in tasks.items()
        ]
        text = f"  … {'; '.join(parts)}" if parts else ""
        room = shutil.get_terminal_size().columns - 1
        click.echo(CLEAR + (click.style(text[:room], dim=True) if text else ""), nl=False, err=True)
