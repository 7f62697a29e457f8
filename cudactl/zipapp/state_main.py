"""The front door of the small zipapp that only tells the state: what 30 hosts at once are sent."""

from __future__ import annotations

import json
import sys

from cudactl.probe.files import Root
from cudactl.probe.state import host_state

TYPE_CHECKING = False  # see probe/__init__.py
if TYPE_CHECKING:
    pass


def main(arguments: list[str]) -> None:
    """Print the HostState document on one line, as the verb `state` does."""
    sys.stdout.write(json.dumps(host_state(Root()), separators=(",", ":")) + "\n")
