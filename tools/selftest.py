#!/usr/bin/env python3
"""Write the fixtures of `certify selftest` from the tests' own red fixtures: there is one source.

tools/selftest.py            write them
tools/selftest.py --check    exit 3 when they are not what the tests say
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "cudactl" / "certify" / "selftest"
sys.path.insert(0, str(ROOT))

from cudactl.certify.selftest import difference  # noqa: E402
from tests.judge.healthy import KINDS, NOW, fresh  # noqa: E402
from tests.judge.red import Red, every_red  # noqa: E402


def healthy() -> dict[str, Any]:
    """Return kind → healthy evidence, its policy, and when it is judged."""
    found = {}
    for kind in KINDS:
        evidence, policy = fresh(kind)
        here = {gpu["device"] for gpu in evidence.get("gpus", [])}
        references = {d: r for d, r in policy["references"].items() if d in here}
        # What only the probe reads stays at home, and so do other GPUs' data sheets.
        policy = {**policy, "request": {}, "references": references}
        found[kind] = {"evidence": evidence, "policy": policy, "now": NOW}
    return found


def fault(red: Red) -> dict[str, Any]:
    """Return one fault as data."""
    before, _ = fresh(red.kind)
    after, _ = fresh(red.kind)
    red.change(after)
    return {
        "name": str(red),
        "check": red.check,
        "kind": red.kind,
        "status": red.status,
        "says": red.says,
        "also": sorted(red.also),
        "patch": list(difference(before, after)),
    }


def rendered() -> dict[str, str]:
    """Return file name → text."""
    faults = [json.dumps(fault(red), sort_keys=True, allow_nan=False) for red in every_red()]
    return {
        "healthy.json": "{\n"
        + ",\n".join(
            f"{json.dumps(kind)}: {json.dumps(pair, sort_keys=True, allow_nan=False)}"
            for kind, pair in healthy().items()
        )
        + "\n}\n",
        "faults.json": "[\n" + ",\n".join(faults) + "\n]\n",
    }


def main() -> int:
    """Write or check; return the exit code."""
    wrong = []
    for name, text in rendered().items():
        path = FOLDER / name
        if "--check" not in sys.argv[1:]:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            wrong.append(name)
    if wrong:
        print(f"not what the tests say: {', '.join(wrong)}; run tools/selftest.py", file=sys.stderr)
    return 3 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
