"""Write Debian packages and signed flat repositories in NVIDIA's layout, in pure Python.

Used by the lab's package mirror and by offline bundles. A flat repository is one folder with
`InRelease`, `Release`, `Release.gpg`, `Packages`, `Packages.gz`, `<KEYID>.pub` and the `.deb` files
beside them (`Filename: ./x.deb`). The same `Deb` always gives the same bytes: times are zero,
members are sorted, owners are root. Only signing needs a program (gpg).
"""

from __future__ import annotations

import email.utils
import gzip
import hashlib
import io
import tarfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cudactl.stack.bundle.signing import RepositoryError, SigningKey

__all__ = ["Deb", "RepositoryError", "SigningKey", "Stanza", "write_deb", "write_index"]

DebArch = Literal["amd64", "arm64", "all"]
Content = bytes | tuple[bytes, int]
"""A file's bytes, with its mode where that is not 0644."""


@dataclass(frozen=True)
class Deb:
    """A Debian package to be written: what its control file says and what it installs."""

    name: str
    version: str
    arch: DebArch = "amd64"
    depends: Sequence[str] = ()
    pre_depends: Sequence[str] = ()
    recommends: Sequence[str] = ()
    provides: Sequence[str] = ()
    conflicts: Sequence[str] = ()
    breaks: Sequence[str] = ()
    replaces: Sequence[str] = ()
    section: str = "multiverse/devel"
    maintainer: str = "cudatools"
    description: str = ""
    source: str | None = None
    multi_arch: str | None = None
    files: Mapping[str, Content] = field(default_factory=dict)
    """Absolute path → content."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Absolute path → what the symbolic link points to."""
    scripts: Mapping[str, str] = field(default_factory=dict)
    """Maintainer scripts: "postinst", "prerm", … → text."""
    conffiles: Sequence[str] = ()
    triggers: str = ""
    """dpkg's triggers file, e.g. "activate-noawait ldconfig"."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Further control fields."""

    @property
    def filename(self) -> str:
        """The file's name; like NVIDIA's and Debian's, without the epoch."""
        return f"{self.name}_{self.version.split(':', 1)[-1]}_{self.arch}.deb"


@dataclass(frozen=True)
class Stanza:
    """One package's paragraph in a `Packages` index."""

    fields: Mapping[str, str]

    @property
    def name(self) -> str:
        """Package name."""
        return self.fields["Package"]

    @property
    def version(self) -> str:
        """Exact version."""
        return self.fields["Version"]

    @property
    def filename(self) -> str:
        """File name below the repository's folder, without the leading "./"."""
        return self.fields["Filename"].removeprefix("./")

    def text(self) -> str:
        """The paragraph as apt reads it, with the empty line that ends it."""
        return "".join(f"{key}: {value}\n" for key, value in self.fields.items()) + "\n"


def write_deb(deb: Deb, folder: Path) -> Stanza:
    """Write `deb` into `folder` and return its index paragraph."""
    stanza, data = render_deb(deb)
    (folder / stanza.filename).write_bytes(data)
    return stanza


def render_deb(deb: Deb) -> tuple[Stanza, bytes]:
    """Return the index paragraph and the bytes of `deb`, without writing anything."""
    control = _control_fields(deb)
    text = "".join(f"{key}: {value}\n" for key, value in control.items())
    members: dict[str, Content] = {"control": text.encode()}
    sums = [
        f"{hashlib.md5(_bytes(content), usedforsecurity=False).hexdigest()}  {path.lstrip('/')}\n"
        for path, content in sorted(deb.files.items())
    ]
    if sums:
        members["md5sums"] = "".join(sums).encode()
    if deb.conffiles:
        members["conffiles"] = "".join(f"{path}\n" for path in deb.conffiles).encode()
    if deb.triggers:
        members["triggers"] = f"{deb.triggers}\n".encode()
    for script, body in deb.scripts.items():
        members[script] = (body.encode(), 0o755)
    data = _ar(
        [
            ("debian-binary", b"2.0\n"),
            ("control.tar.gz", _tar_gz(members, {})),
            ("data.tar.gz", _tar_gz(deb.files, deb.links)),
        ]
    )
    described = control.pop("Description")
    control |= {
        "Filename": f"./{deb.filename}",
        "Size": str(len(data)),
        "MD5sum": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        "SHA1": hashlib.sha1(data, usedforsecurity=False).hexdigest(),
        "SHA256": hashlib.sha256(data).hexdigest(),
        "SHA512": hashlib.sha512(data).hexdigest(),
        "Description": described,
    }
    return Stanza(control), data


def write_index(
    folder: Path,
    stanzas: Iterable[Stanza],
    *,
    key: SigningKey | None,
    origin: str = "NVIDIA",
    label: str = "NVIDIA CUDA",
    architecture: str = "x86_64",
    valid_until: float | None = None,
    date: float | None = None,
) -> None:
    """Write `Packages`, `Release` and the signatures of a flat repository into `folder`.

    `date` and `valid_until` are Unix times in seconds; without `key` the index stays unsigned.
    """
    packages = "".join(stanza.text() for stanza in stanzas).encode()
    write_release(
        folder,
        {"Packages": packages, "Packages.gz": gzip.compress(packages, 6, mtime=0)},
        key=key,
        origin=origin,
        label=label,
        architecture=architecture,
        valid_until=valid_until,
        date=date,
    )


def write_release(
    folder: Path,
    indexes: Mapping[str, bytes],
    *,
    key: SigningKey | None,
    origin: str = "NVIDIA",
    label: str = "NVIDIA CUDA",
    architecture: str = "x86_64",
    valid_until: float | None = None,
    date: float | None = None,
) -> None:
    """Write the given index files with a `Release` that lists their hashes, and sign it."""
    fields = {
        "Origin": origin,
        "Label": label,
        "Architecture": architecture,
        "Date": _date(time.time() if date is None else date),
    }
    if valid_until is not None:
        fields["Valid-Until"] = _date(valid_until)
    text = "".join(f"{name}: {value}\n" for name, value in fields.items())
    for title, algorithm in (("MD5Sum", "md5"), ("SHA1", "sha1"), ("SHA256", "sha256")):
        text += f"{title}:\n"
        for name, content in indexes.items():
            digest = hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()
            text += f" {digest} {len(content):>16} {name}\n"
    release = text.encode()
    signatures: dict[str, bytes] = {}
    if key is not None:
        signed = key.sign(release)
        signatures = {
            "InRelease": signed.inline,
            "Release.gpg": signed.detached,
            f"{key.keyid}.pub": key.public_key.encode(),
        }
    for name in ("InRelease", "Release.gpg"):
        (folder / name).unlink(missing_ok=True)
    for name, content in {**indexes, "Release": release, **signatures}.items():
        # A mirror's situations share files by hard link: replace, never write through.
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_bytes(content)


def read_stanzas(folder: Path) -> list[Stanza]:
    """Read the `Packages` file in `folder` back into paragraphs, in its own order."""
    stanzas = []
    for paragraph in (folder / "Packages").read_text(encoding="utf-8").split("\n\n"):
        fields: dict[str, str] = {}
        name = ""
        for line in paragraph.splitlines():
            if line.startswith((" ", "\t")):
                fields[name] += f"\n{line}"
            else:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        if fields:
            stanzas.append(Stanza(fields))
    return stanzas


def _control_fields(deb: Deb) -> dict[str, str]:
    installed = sum(-(-len(_bytes(content)) // 1024) for content in deb.files.values())
    fields = {
        "Package": deb.name,
        "Version": deb.version,
        "Architecture": deb.arch,
        "Multi-Arch": deb.multi_arch or "",
        "Priority": "optional",
        "Section": deb.section,
        "Source": deb.source or "",
        "Maintainer": deb.maintainer,
        "Installed-Size": str(max(installed, 1)),
        "Provides": ", ".join(deb.provides),
        "Pre-Depends": ", ".join(deb.pre_depends),
        "Depends": ", ".join(deb.depends),
        "Recommends": ", ".join(deb.recommends),
        "Conflicts": ", ".join(deb.conflicts),
        "Breaks": ", ".join(deb.breaks),
        "Replaces": ", ".join(deb.replaces),
        **deb.extra,
        "Description": deb.description or deb.name,
    }
    return {name: value for name, value in fields.items() if value}


def _bytes(content: Content) -> bytes:
    return content if isinstance(content, bytes) else content[0]


def _tar_gz(files: Mapping[str, Content], links: Mapping[str, str]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as tar:
        made = set()
        for path in sorted({*files, *links}):
            parts = path.strip("/").split("/")
            for depth in range(len(parts)):
                parent = "./" + "/".join(parts[:depth])
                if parent not in made:
                    made.add(parent)
                    entry = tarfile.TarInfo(parent)
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(_owned(entry))
            entry = tarfile.TarInfo("./" + "/".join(parts))
            if path in links:
                entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, links[path], 0o777
                tar.addfile(_owned(entry))
            else:
                content = files[path]
                entry.mode = 0o644 if isinstance(content, bytes) else content[1]
                entry.size = len(_bytes(content))
                tar.addfile(_owned(entry), io.BytesIO(_bytes(content)))
    return gzip.compress(raw.getvalue(), 6, mtime=0)


def _owned(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uname = entry.gname = "root"
    entry.mtime = 0
    return entry


def _ar(members: Sequence[tuple[str, bytes]]) -> bytes:
    out = b"!<arch>\n"
    for name, content in members:
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n"
        out += header.encode() + content + b"\n" * (len(content) % 2)
    return out


def _date(moment: float) -> str:
    return email.utils.formatdate(moment, usegmt=True).replace("GMT", "UTC")
