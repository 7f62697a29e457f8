"""What a reader is told: every link leads somewhere, every command exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
CODE = re.compile(r"^```\w*\n(.*?)^```|`([^`\n]+)`", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^|\s)cudactl ([a-z]+(?: [a-z]+)?)")
TARGET = re.compile(r"\bmake ([a-z-]+)`|^make ([a-z-]+)", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    gone = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not gone


def test_commands_of_the_readme_exist() -> None:
    code = "\n".join(a or b for a, b in CODE.findall((ROOT / "README.md").read_text()))
    commands = set(COMMAND.findall(code))
    assert "provision host" in commands
    for command in commands:
        done = subprocess.run(
            [str(Path(sys.executable).parent / "cudactl"), *command.split(), "--help"],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"


def test_targets_of_the_readme_exist() -> None:
    named = {a or b for a, b in TARGET.findall((ROOT / "README.md").read_text())}
    assert {"demo", "test"} <= named
    makefile = (ROOT / "Makefile").read_text()
    assert not [name for name in named if f"\n{name}:" not in makefile]


def test_the_picture_asks_nobody_else_for_anything() -> None:
    """A picture in a README is drawn by whoever reads it: no font or image from elsewhere."""
    text = (ROOT / "docs" / "demo.svg").read_text()
    assert "PASS" in text
    assert not re.search(r"(?:href|src|url\()\s*=?\s*[\"'(]?https?:", text)
