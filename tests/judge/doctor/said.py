"""What doctor says of every fault, as it is read: said.txt, for reviewers and as a test.

A change of a rule or of a sentence shows in it, with the fault that it is about:

    python -m tests.judge.doctor.said      writes it again; look at the difference
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

from cudactl.judge.doctor import diagnose
from cudactl.judge.doctor.show import diagnosis_text
from tests.judge.doctor.machines import examine
from tests.judge.doctor.reds import RED, Red

FILE = Path(__file__).parent / "said.txt"
# What it says of a wrong clock holds the time of day.
REDS = [red for red in RED if red.code != "DOCTOR-CLOCK"]


@functools.cache
def examined(red: Red) -> dict[str, Any]:
    """Return the examination of a machine with a fault; nobody changes it."""
    tree = red.base()
    red.change(tree)
    with tempfile.TemporaryDirectory() as folder:
        document = examine(tree, Path(folder))
    red.then(document)
    return document


def said(red: Red) -> str:
    """Return what doctor says of a machine with a fault."""
    return f"=== {red}\n{diagnosis_text('h1', diagnose(examined(red)))}\n\n"


def main() -> None:
    """Write the file."""
    FILE.write_text("".join(map(said, REDS)))


if __name__ == "__main__":
    main()
