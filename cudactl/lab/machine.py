"""What can be done to a lab host from outside SSH: run a command, pull the plug, freeze it."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from cudactl.lab.engine import LabError, connect, engine_errors

if TYPE_CHECKING:
    from docker.models.containers import Container

BOOT_TIMEOUT_S = 180
"""One host boots in a second; a hundred at once on two cores took ninety."""


@dataclass(frozen=True)
class Machine:
    """A lab host's container."""

    container: str
    """Name of the container."""
    address: str
    """IPv4 address, kept over restarts."""

    def exec(self, argv: Sequence[str], *, user: str = "root") -> str:
        """Run a command on the host and return what it printed; LabError when it fails."""
        ran = self.run(argv, user=user)
        if ran.returncode != 0:
            raise LabError(
                "LAB-COMMAND-FAILED",
                f"{' '.join(argv)} on {self.container} ended with {ran.returncode}: "
                f"{ran.stderr.strip() or ran.stdout.strip()}",
            )
        return ran.stdout

    def run(self, argv: Sequence[str], *, user: str = "root") -> subprocess.CompletedProcess[str]:
        """Run a command on the host, past SSH; the result is as subprocess.run would give it."""
        with engine_errors(f"running {argv[0]} in {self.container}"):
            ran = self._container().exec_run(list(argv), user=user, demux=True)
        out, err = cast("tuple[bytes | None, bytes | None]", ran.output)
        # An exec that the engine lost (the container ended under it) has no exit code.
        code = -1 if ran.exit_code is None else ran.exit_code
        return subprocess.CompletedProcess(list(argv), code, _text(out), _text(err))

    def boot_id(self) -> str | None:
        """Return the boot id; None while the host is between two boots."""
        try:
            ran = self.run(["cat", "/proc/sys/kernel/random/boot_id"])
        except LabError:
            return None
        return ran.stdout.strip() if ran.returncode == 0 else None

    def restart(self) -> None:
        """Shut the host down, boot it again and wait until it is up."""
        with engine_errors(f"restarting {self.container}"):
            self._container().restart(timeout=20)
        self.wait_until_up()

    def pause(self) -> None:
        """Freeze every process: the host takes connections and never answers."""
        with engine_errors(f"pausing {self.container}"):
            self._container().pause()

    def unpause(self) -> None:
        """Let a frozen host go on."""
        with engine_errors(f"unpausing {self.container}"):
            self._container().unpause()

    def ssh_answers(self, timeout_s: float = 2.0) -> bool:
        """Return True when an SSH server greets on port 22."""
        try:
            with socket.create_connection((self.address, 22), timeout_s) as connection:
                connection.settimeout(timeout_s)
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def wait_until_up(self, timeout_s: float = BOOT_TIMEOUT_S) -> None:
        """Return once systemd calls the host `running` and SSH answers; LabError otherwise."""
        deadline = time.monotonic() + timeout_s
        state = "not started"
        while time.monotonic() < deadline:
            try:
                # Waits inside the host until its boot is over: no polling while CPU is scarce.
                state = self.run(["systemctl", "is-system-running", "--wait"]).stdout.strip()
            except LabError as error:  # between two boots the engine has nothing to run it in
                state = error.found
            if state == "running" and self.ssh_answers():
                return
            if state == "degraded":
                break
            time.sleep(0.1)
        failed = ""
        if state == "degraded":
            failed = self.run(["systemctl", "--failed", "--plain", "--no-legend"]).stdout.strip()
        raise LabError(
            "LAB-HOST-UNHEALTHY",
            f"{self.container} did not come up: {state or 'no answer from systemd'}"
            + (f" ({failed})" if failed else ""),
            expected=f"systemd running and SSH answering within {timeout_s:.0f} s",
            remedy=f"docker logs {self.container}; with many hosts, see that "
            "fs.inotify.max_user_instances is at least 1024 (make setup raises it)",
        )

    def _container(self) -> Container:
        return connect().containers.get(self.container)


def _text(output: bytes | None) -> str:
    return (output or b"").decode(errors="replace")
