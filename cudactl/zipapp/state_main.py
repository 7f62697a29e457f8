"""The front door of the small zipapp that only tells the state: what 30 hosts at once are sent."""

from __future__ import annotations

import json
import sys

from cudactl.probe.files import Root
from cudactl.probe.state import host_state


def main(arguments: list[str]) -> None:
    """Print the HostState document on one line, as the verb `state` does.

    Args:
        arguments: As the whole zipapp takes them; "--root FOLDER" reads another tree.
    """
    root = "/"
    if "--root" in arguments[:-1]:
        root = arguments[arguments.index("--root") + 1]
    sys.stdout.write(json.dumps(host_state(Root(root)), separators=(",", ":")) + "\n")
