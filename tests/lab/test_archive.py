"""Lab bases come from the archive that the machine itself uses, read from its apt sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from cudactl.lab.archive import DebianArchive, machine_archive

MIRROR = DebianArchive("http://mirror.example/debian", "http://mirror.example/debian-security")
OTHERS = """\
deb https://download.docker.example/linux/debian bookworm stable
deb https://packages.example/repo bookworm main
# deb http://old.example/debian bookworm main
deb-src http://src.example/debian bookworm main
"""


def sources(folder: Path, **files: str) -> Path:
    (folder / "sources.list.d").mkdir()
    for name, text in files.items():
        (folder / "sources.list.d" / name.replace("__", ".")).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "debian__sources",
            "Types: deb\n# a comment: here\nURIs: http://mirror.example/debian/\n"
            "Suites: bookworm bookworm-updates\nComponents: main\n\n"
            "Types: deb\nURIs: http://mirror.example/debian-security\n"
            "Suites: bookworm-security\nComponents: main contrib\n",
        ),
        (
            "debian__list",
            "deb [signed-by=/k.gpg arch=amd64] http://mirror.example/debian/ trixie main contrib\n"
            "deb http://mirror.example/debian-security trixie-security contrib main\n",
        ),
    ],
)
def test_the_machines_own_archive_is_used(tmp_path: Path, name: str, text: str) -> None:
    assert machine_archive(sources(tmp_path, **{"aaa__list": OTHERS, name: text})) == MIRROR


@pytest.mark.parametrize(
    "text",
    [
        OTHERS,
        "Types: deb\nURIs: http://archive.ubuntu.example/ubuntu\nSuites: noble\nComponents: main\n",
        "Enabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: sid\nComponents: main\n",
        "not an apt source at all \xff",
    ],
)
def test_elsewhere_it_is_debians_own(tmp_path: Path, text: str) -> None:
    assert machine_archive(sources(tmp_path, aaa__list=text, bbb__sources=text)) == DebianArchive()


def test_without_apt_it_is_debians_own(tmp_path: Path) -> None:
    assert machine_archive(tmp_path / "nothing") == DebianArchive()
