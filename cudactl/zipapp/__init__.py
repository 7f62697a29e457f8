"""Packs probe and judge into one small, reproducible file that any host with Python ≥ 3.8 runs.

The same sources always give the same bytes: names sorted, times fixed, no compiled files.
Docstrings stay at home, an eighth of what would be sent; every line keeps its number, so that a
traceback leads to the sources.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
ROOMS = ("probe", "judge")
# What `state` needs of them; a test holds that it is enough.
STATE = (
    *("__init__", "boot_loader", "engines", "files", "foreign_files", "hardware", "machine"),
    *("modules", "ours", "packages", "records", "state", "system", "units", "vendor_files"),
)
# It lives for a moment, in which collecting garbage takes a twentieth of its time.
MAIN = "import gc\n\ngc.disable()\nfrom cudactl.zipapp_main import main\n\nmain()\n"
# One begins with a word behind what ends in a colon; the end of another string does not.
DOCSTRING = re.compile(rb'(\A|:\n)( *)"""(?=[\w`])(?:[^"\\]|\\.|"(?!""))*"""\n', re.DOTALL)
# The earliest time a zip can hold; a real one would make two builds differ.
EPOCH = (1980, 1, 1, 0, 0, 0)


def _sources() -> dict[str, bytes]:
    files = {
        "__main__.py": MAIN.encode(),
        "cudactl/__init__.py": (PACKAGE / "__init__.py").read_bytes(),
        "cudactl/zipapp_main.py": (PACKAGE / "zipapp" / "main.py").read_bytes(),
    }
    for room in ROOMS:
        for path in (PACKAGE / room).rglob("*"):
            if path.suffix in (".py", ".cu", ".json") and "__pycache__" not in path.parts:
                files[f"cudactl/{path.relative_to(PACKAGE)}"] = path.read_bytes()
    return {name: _without_docstrings(text) for name, text in files.items()}


def _without_docstrings(source: bytes) -> bytes:
    """Return a module with empty docstrings, on as many lines as before."""

    def emptied(match: re.Match[bytes]) -> bytes:
        lines = match.group().count(b"\n") - match.group(1).count(b"\n")
        return match.group(1) + match.group(2) + b'""' + b"\n" * lines

    return DOCSTRING.sub(emptied, source)


def _state_sources() -> dict[str, bytes]:
    files = {
        "cudactl/__init__.py": PACKAGE / "__init__.py",
        "cudactl/zipapp_main.py": PACKAGE / "zipapp" / "state_main.py",
        **{f"cudactl/probe/{m}.py": PACKAGE / "probe" / f"{m}.py" for m in STATE},
    }
    return {name: _without_docstrings(path.read_bytes()) for name, path in files.items()}


@functools.lru_cache(maxsize=1)
def build() -> bytes:
    """Return the zipapp's bytes."""
    return b"#!/usr/bin/env python3\n" + _packed(_sources())


@functools.lru_cache(maxsize=2)
def build_state(*, compiled: bool = False) -> bytes:
    """Return the bytes of what only tells the state: a twentieth to send, and less to start.

    Args:
        compiled: With this interpreter's bytecode beside the sources. Importing is half of what a
            host pays; one with the same Python is spared it, any other one takes the sources.
    """
    sources = _state_sources()
    if compiled:
        sources.update({f"{name}c": _compiled(name, text) for name, text in sources.items()})
    return _packed(sources)


def _compiled(name: str, source: bytes) -> bytes:
    """Return a .pyc that is taken as it is by an interpreter of its version (PEP 552)."""
    import importlib.util
    import marshal

    code = compile(source, name, "exec", dont_inherit=True)
    unchecked = (1).to_bytes(4, "little") + importlib.util.source_hash(source)
    return importlib.util.MAGIC_NUMBER + unchecked + marshal.dumps(code)


def _packed(sources: dict[str, bytes]) -> bytes:
    # Imported here: the gate comes through this package and must start at once.
    import io
    import zipfile

    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in sorted(sources.items()):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content, compresslevel=9)
    return sink.getvalue()


def sha256() -> str:
    """Return the zipapp's sha256."""
    import hashlib

    return hashlib.sha256(build()).hexdigest()


def write(path: Path) -> None:
    """Write the zipapp to `path`, executable."""
    path.write_bytes(build())
    path.chmod(0o755)
