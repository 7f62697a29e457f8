"""File trees that stand for machines, and the binary files in them."""

from __future__ import annotations

import struct
from pathlib import Path

from cudactl.probe.files import Root


def make(folder: Path, files: dict[str, str | bytes], links: dict[str, str] | None = None) -> Root:
    """Write the files and links below `folder` and return it as a root."""
    for name, content in files.items():
        path = folder / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    for name, target in (links or {}).items():
        path = folder / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
    return Root(str(folder))


def kernel_module(
    version: str = "580.95.05", licence: str = "Dual MIT/GPL", signer: str | None = None
) -> bytes:
    """Return a module: an ELF file with a .modinfo section, signed as the kernel has it."""
    facts = f"license={licence}\0version={version}\0srcversion=ABC\0license=second\0".encode()
    names = b"\0.text\0.modinfo\0.shstrtab\0"
    body = b"\x90" * 64
    at = {"text": 64, "modinfo": 64 + len(body), "names": 64 + len(body) + len(facts)}
    table = at["names"] + len(names)
    head = b"\x7fELF\x02\x01\x01" + b"\0" * 9
    head += struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, table, 0, 64, 0, 0, 64, 4, 3)

    def section(name: bytes, offset: int, size: int) -> bytes:
        return struct.pack("<IIQQQQIIQQ", names.index(name), 1, 0, 0, offset, size, 0, 0, 1, 0)

    sections = b"\0" * 64
    sections += section(b".text\0", at["text"], len(body))
    sections += section(b".modinfo\0", at["modinfo"], len(facts))
    sections += section(b".shstrtab\0", at["names"], len(names))
    return head + body + facts + names + sections + (signature(signer) if signer else b"")


def signature(signer: str) -> bytes:
    """Return what scripts/sign-file puts behind a module; only the name in it is real."""
    name = signer.encode()
    content = b"\x30\x82\x01\x00\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02" + b"\0" * 20
    content += b"\x31\x10\x30\x0e\x06\x03\x55\x04\x03" + bytes([0x0C, len(name)]) + name
    content += b"\x02\x01\x07" + b"\xaa" * 64
    return content + b"\0\0\x02" + b"\0" * 5 + struct.pack(">I", len(content)) + SIGNED


SIGNED = b"~Module signature appended~\n"
