"""The Docker Engine as the lab uses it: how it is reached, what is ours on it, what it says back.

Everything the lab makes carries labels; nothing without them is ever listed, changed or removed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cudactl.contracts.errors import CudactlError, UnreachableError

if TYPE_CHECKING:
    from docker import DockerClient

LABEL_LAB = "cudactl.lab"
"""Which lab it belongs to; on images the label is there and empty, as labs share them."""
LABEL_NAME = "cudactl.lab.name"
LABEL_BASE = "cudactl.lab.base"
LABEL_HOST_KEY = "cudactl.lab.host-key"
"""The public key it was born with: what known_hosts says, whatever the host shows later."""
LABEL_LOOK_ALIKE = "cudactl.lab.look-alike"
"""What is really underneath, or empty."""

TIMEOUT_S = 120
"""For one answer of the engine; starting twenty containers at once keeps two cores busy."""


INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
HOSTS_PER_128_INOTIFY = 15
"""With 128, the usual limit, one of 20 hosts came up degraded and 50 crashed over and over."""


class LabError(CudactlError):
    """Something in the lab did not work out."""


class EngineUnreachable(UnreachableError):
    """No Docker Engine answers."""


def raise_inotify(hosts: int, *, say: Callable[[str], None]) -> None:
    """Make sure that the kernel lets so many systemds watch files; a warning where we may not."""
    try:
        limit = int(INOTIFY.read_text(encoding="ascii"))
        if limit * HOSTS_PER_128_INOTIFY >= hosts * 128:
            return
        INOTIFY.write_text("8192", encoding="ascii")
        say(f"raised fs.inotify.max_user_instances from {limit} to 8192, until the next reboot")
    except (OSError, ValueError):
        say(
            f"warning: fs.inotify.max_user_instances is too low for {hosts} hosts, some may fail; "
            "sudo sysctl fs.inotify.max_user_instances=8192 mends that"
        )


def connect() -> DockerClient:
    """Return a client of a Docker Engine that answers."""
    import docker
    import requests

    where = os.environ.get("DOCKER_HOST") or "/var/run/docker.sock"
    try:
        client = docker.from_env(timeout=TIMEOUT_S)
        client.ping()
    except (docker.errors.DockerException, requests.RequestException) as error:
        refused = "permission denied" in str(error).lower()
        raise EngineUnreachable(
            "LAB-ENGINE-REFUSED" if refused else "LAB-NO-ENGINE",
            f"the Docker Engine at {where} refuses this user"
            if refused
            else f"no Docker Engine answers at {where}",
            expected="a Docker Engine that this user may use; a docker command alone is not one",
            remedy="sudo usermod -aG docker $USER, then log in again"
            if refused
            else "in a checkout: make setup. Elsewhere: sudo apt-get install docker.io, and start "
            "it with sudo systemctl start docker (or sudo dockerd & where systemd is not running)",
        ) from error
    return client


@contextmanager
def engine_errors(doing: str) -> Iterator[None]:
    """Turn an error of the engine into ours, saying what was being done."""
    import docker
    import requests

    try:
        yield
    except docker.errors.APIError as error:
        raise LabError(
            "LAB-ENGINE-SAYS-NO",
            f"{doing}: the Docker Engine says: {(error.explanation or str(error)).strip()}",
            remedy="cudactl lab down, then up again; if it stays, look at the engine's own log",
        ) from error
    except requests.RequestException as error:
        raise EngineUnreachable(
            "LAB-ENGINE-SILENT",
            f"{doing}: the Docker Engine stopped answering ({error})",
            remedy="see whether it still runs, then try again",
        ) from error
