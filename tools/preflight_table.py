"""Write the table of docs/preflight.md from what plans declare."""

from __future__ import annotations

from pathlib import Path

from cudactl.provision.preflight.explained import table

DOCUMENT = Path(__file__).parent.parent / "docs" / "preflight.md"
MARK = "a test holds it. -->\n"

if __name__ == "__main__":
    head, mark, _ = DOCUMENT.read_text().partition(MARK)
    DOCUMENT.write_text(head + mark + table())
