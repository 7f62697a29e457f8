"""A bundle's indexes: `Packages` from what the packages say themselves, a Simple index of wheels.

A package's paragraph is read from its own control file, which its sha256 in the lock vouches for;
so a bundle needs no index of the source, and can be added to when the source has moved on.
"""

from __future__ import annotations

import hashlib
import html
import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path

from debian.arfile import ArError
from debian.deb822 import Deb822
from debian.debfile import DebError, DebFile

from cudactl.contracts.errors import CudactlError
from cudactl.stack.bundle.repository import SigningKey, Stanza, write_index

ORIGIN = "cudactl bundle"


def stanza_of(path: Path, sha256: str) -> Stanza:
    """Return the index paragraph of a Debian package whose sha256 was verified.

    Raises:
        CudactlError: BUNDLE-BAD-PACKAGE.
    """
    fields = dict(Deb822(_control(path)).items())
    if not {"Package", "Version", "Architecture"} <= set(fields):
        raise _bad(path, "its control file names no package, version or architecture")
    described = fields.pop("Description", "")
    fields |= {
        "Filename": f"./{path.name}",
        "Size": str(path.stat().st_size),
        "SHA256": sha256,
    }
    return Stanza({**fields, "Description": described} if described else fields)


def _control(path: Path) -> str:
    try:
        with DebFile(str(path)) as deb:
            content = deb.control.get_content("control")
    except (DebError, ArError, OSError, EOFError) as error:
        # Python's tarfile reads no zstd before 3.14; dpkg-deb does, where there is one.
        if shutil.which("dpkg-deb") is None:
            raise _bad(path, f"it cannot be read here ({error})") from None
        done = subprocess.run(["dpkg-deb", "--field", str(path)], capture_output=True, check=False)
        if done.returncode:
            raise _bad(path, done.stderr.decode(errors="replace").strip()) from None
        content = done.stdout
    text = content.decode("utf-8", errors="replace") if isinstance(content, bytes) else content
    return text or ""


def _bad(path: Path, why: str) -> CudactlError:
    return CudactlError(
        "BUNDLE-BAD-PACKAGE",
        f"{path.name}: {why}",
        expected="a Debian package",
        remedy="it is the file that the lock names: lock again without it, or read it on a machine "
        "that has dpkg-deb",
    )


def write_apt(folder: Path, stanzas: Sequence[Stanza], key: SigningKey) -> list[Path]:
    """Write and sign a flat repository's index, unless it says the same already.

    Returns:
        The index's files, `Packages` first.
    """
    ordered = sorted(stanzas, key=lambda s: (s.name, s.version, s.fields["Architecture"]))
    packages = "".join(stanza.text() for stanza in ordered).encode()
    if not _is_current(folder, packages, key):
        for stale in folder.glob("*.pub"):
            stale.unlink()
        write_index(folder, ordered, key=key, origin=ORIGIN, label=ORIGIN, architecture=folder.name)
    names = ("Packages", "Packages.gz", "Release", "Release.gpg", "InRelease", f"{key.keyid}.pub")
    return [folder / name for name in names]


def _is_current(folder: Path, packages: bytes, key: SigningKey) -> bool:
    """Return True when a finished index of the same packages by the same key is there."""
    digest = hashlib.sha256(packages).hexdigest().encode()
    try:
        return (
            (folder / "Packages").read_bytes() == packages
            and digest in (folder / "InRelease").read_bytes()
            and all((folder / name).is_file() for name in ("Packages.gz", "Release", "Release.gpg"))
            and (folder / f"{key.keyid}.pub").read_text() == key.public_key
        )
    except OSError:
        return False


def write_simple(folder: Path, wheels: Sequence[tuple[str, Path, str]]) -> list[Path]:
    """Write a Simple index (PEP 503) with hashes, and METADATA beside each wheel (PEP 658).

    Args:
        folder: The index; each project has a folder of its normalised name in it.
        wheels: Project, file and verified sha256 of each wheel; the files lie in those folders.

    Returns:
        The index's files.
    """
    written: list[Path] = []
    links: dict[str, list[str]] = {}
    for project, path, sha256 in sorted(wheels):
        attribute = ""
        metadata = _metadata(path)
        if metadata is not None:
            written.append(_write(path.with_name(f"{path.name}.metadata"), metadata))
            attribute = f' data-core-metadata="sha256={hashlib.sha256(metadata).hexdigest()}"'
        name = html.escape(path.name)
        links.setdefault(project, []).append(
            f'<a href="{name}#sha256={sha256}"{attribute}>{name}</a><br>\n'
        )
    for project, lines in links.items():
        page = _page(f"Links for {project}", "".join(lines))
        written.append(_write(folder / project / "index.html", page))
    projects = "".join(f'<a href="{name}/">{name}</a><br>\n' for name in links)
    return [*written, _write(folder / "index.html", _page("Simple index", projects))]


def _metadata(path: Path) -> bytes | None:
    try:
        with zipfile.ZipFile(path) as wheel:
            names = [n for n in wheel.namelist() if n.endswith(".dist-info/METADATA")]
            return wheel.read(names[0]) if len(names) == 1 else None
    except (zipfile.BadZipFile, OSError):
        return None


def _page(title: str, body: str) -> bytes:
    head = f'<meta name="pypi:repository-version" content="1.0"><title>{title}</title>'
    return f"<!DOCTYPE html>\n<html><head>{head}</head><body>\n{body}</body></html>\n".encode()


def _write(path: Path, data: bytes) -> Path:
    if not path.is_file() or path.read_bytes() != data:
        partial = path.with_name(f".{path.name}.part")
        partial.write_bytes(data)
        partial.replace(path)
    return path
