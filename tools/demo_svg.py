#!/usr/bin/env python3
"""Draw docs/demo.svg, the README's picture, from a real run of `make demo`.

    tools/demo_svg.py [RECORDING]     without a recording, the demo is run (and takes its minutes)

Long passages are shortened, and marked so; nothing else is changed but the checkout's path.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pexpect
from rich import terminal_theme
from rich.console import CONSOLE_SVG_FORMAT, Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 108
# What is shown of a command's output, by the command's beginning; the rest is marked by dots.
CHECKS = r"stack\.packages|stack\.wheels|cudnn\.sub|tensorrt_rtx|nvcc\.link|stack\.lib"
CERTIFICATE = rf"^Certificate|simulated ones|^  right files|^  PASS  ({CHECKS})"

SHOWN = {
    "cudactl lab up": r"^NAME|^demo-",
    "cat": r"^[^#m ]",
    "cudactl stack lock": r"^[0-9a-f]{12} |^  comp|^  cud|^  tens|^  in all",
    "cudactl plan host": r"^demo-|^  [0-9]\.|^1 of",
    "cudactl provision host": rf"^  ✓|^  1\. wheel|^  nothing|^1 host|{CERTIFICATE}",
}
DOTS = "\x1b[2m      ⋮\x1b[0m"
FEW = r"^demo-|^On |^  cudactl"
CHECKOUT = r"/\S*?/(?=\.demo/|\.venv/)"


def record() -> str:
    """Run the demo on a terminal and return what it printed."""
    run = pexpect.spawn(
        str(ROOT / "tools/demo.sh"), cwd=ROOT, encoding="utf-8", timeout=900, dimensions=(50, WIDTH)
    )
    run.logfile_read = sys.stderr
    run.expect(pexpect.EOF)
    run.close()
    if run.exitstatus != 0:
        sys.exit("the demo failed, so there is nothing to draw")
    return str(run.before)


def lines_of(recording: str) -> list[str]:
    """Return what stood on the terminal in the end, line by line, colours kept."""
    shown = []
    for line in recording.replace("\r\n", "\n").split("\n"):
        # What a running status line said is gone when the line is cleared.
        line = re.split(r"\r(?:\x1b\[K)?", line)[-1].replace("\x1b[K", "")
        shown.append(re.sub(CHECKOUT, "", line))
    return shown


def shortened(lines: list[str]) -> list[str]:
    """Return the lines, each command's output cut to what a picture needs."""
    kept: list[str] = []
    wanted = FEW
    for line in lines:
        plain = Text.from_ansi(line).plain
        if plain.startswith("── "):
            wanted = FEW
            kept = [*without_dots(kept), "", line]
        elif plain.startswith("$ "):
            wanted = next((w for name, w in SHOWN.items() if plain[2:].startswith(name)), FEW)
            kept = [*without_dots(kept), line]
        elif re.search(wanted, plain):
            kept.append(line)
        elif plain.strip() and kept[-1] != DOTS:
            kept.append(DOTS)
    return without_dots(kept)[1:]


def without_dots(kept: list[str]) -> list[str]:
    """Return the lines without dots at their end: that something follows goes without saying."""
    return kept[:-1] if kept and kept[-1] == DOTS else kept


def draw(lines: list[str]) -> str:
    """Return the picture."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    for line in lines:
        console.print(Text.from_ansi(line), no_wrap=True, overflow="ellipsis", crop=True)
    # No font from elsewhere: a README's picture asks nobody else for anything.
    form = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    form = form.replace("Fira Code, monospace", "ui-monospace, DejaVu Sans Mono, monospace")
    return console.export_svg(
        title="make demo", theme=terminal_theme.DIMMED_MONOKAI, code_format=form, unique_id="demo"
    )


if __name__ == "__main__":
    text = Path(sys.argv[1]).read_bytes().decode() if len(sys.argv) > 1 else record()
    target = ROOT / "docs" / "demo.svg"
    target.write_text(draw(shortened(lines_of(text))))
    print(f"drew {target.relative_to(ROOT)}")
