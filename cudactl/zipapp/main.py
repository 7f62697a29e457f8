"""The zipapp's front door: one verb, one JSON document on standard output."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, List


def fail(code: str, found: str, remedy: str = "", status: int = 2) -> None:
    """Print an error as a document and leave."""
    error = {"code": code, "found": found, "expected": "", "remedy": remedy}
    sys.stdout.write(json.dumps({"error": error}) + "\n")
    sys.exit(status)


def main(argv: "List[str] | None" = None) -> None:
    """Run a verb: state."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    root = "/"
    if "--root" in arguments:
        at = arguments.index("--root")
        if at + 1 >= len(arguments) or not os.path.isdir(arguments[at + 1]):
            fail("PROBE-ROOT", "--root needs a folder that is there")
        root = arguments[at + 1]
        del arguments[at : at + 2]
    verb = arguments[0] if arguments else ""
    document: Any = None
    if verb == "state":
        from cudactl.probe.files import Root
        from cudactl.probe.state import host_state

        document = host_state(Root(root))
    else:
        fail("PROBE-VERB", "no such verb: %r" % verb, "use one of: state, measure, judge, gate")
    sys.stdout.write(json.dumps(document, separators=(",", ":")) + "\n")
