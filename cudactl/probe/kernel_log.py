"""What the kernel said about NVIDIA GPUs since it was started: XIDs, SXIDs, and why a driver fails.

From /dev/kmsg, which is read without waiting; where it may not be read, or its beginning is already
overwritten, from the log files and the journal. Where nothing may be read, that is said.
Formats: the kernel's Documentation/ABI/testing/dev-kmsg; XID lines as NVIDIA's "XID errors" shows
them ("NVRM: Xid (PCI:0000:17:00): 79, …"), SXID lines as its fabric manager guide does
("nvidia-nvswitch3: SXid (PCI:0000:05:00.0): 24007, Fatal, …").
"""

from __future__ import annotations

import os
import re

from . import TYPE_CHECKING
from .files import Root

if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Optional, Tuple

    Log = Tuple[str, bool, str]

# Not compiled beforehand: on most machines no line is ever held against them.
XID = r"NVRM: Xid \((?:PCI:)?([0-9a-fA-F:.]+)\): (\d+)(?:, ?(.*))?"
SXID = r"nvidia-nvswitch(\d+): SXid \(PCI:([0-9a-fA-F:.]+)\): (\d+), ?(.*)"
SIGNS = {
    "api_mismatch": r"NVRM: API mismatch",
    "init_failed": r"NVRM: .*(RmInitAdapter failed|rm_init_adapter failed)",
    "needs_open_modules": r"NVRM: .*requires use of the NVIDIA open kernel modules",
}
KMSG = "/dev/kmsg"
FILES = ("/var/log/kern.log", "/var/log/messages", "/var/log/syslog", "/var/log/dmesg")
BOOT_MARK = "Linux version "
MAX_RECORD = 8192
MAX_BYTES = 16 * 1024 * 1024
KEPT_LINES = 200
JOURNAL = ("journalctl", "-k", "-b", "--no-pager", "-q", "-o", "short-monotonic")
JOURNAL_S = 1.0


def kernel_log(root: Root, *, whole: bool = True) -> Dict[str, Any]:
    """Return the log's findings: "readable", "source", "complete", "xids", "sxids", "signs".

    Args:
        root: The machine's root.
        whole: Look for what the kernel's buffer has lost; a journal may take a second of it.
    """
    tried: List[str] = []
    found = read(root, tried, whole=whole)
    if found is None:
        return {"readable": False, "tried": tried}
    source, complete, text = found
    return dict(
        _findings(messages(source, text)),
        readable=True,
        source=source,
        complete=complete,
        tried=tried,
    )


def read(
    root: Root, tried: List[str], *, whole: bool = True, journal_s: float = JOURNAL_S
) -> Optional[Log]:
    """Return the log: where it could be read, whether that is all of this boot, and its text.

    Args:
        root: The machine's root.
        tried: Takes what could not be read, and why.
        whole: Look further where one has lost its beginning.
        journal_s: How long the journal is waited for.
    """
    best: Optional[Log] = None
    for look in (_kmsg, _files, lambda r, t: _journal(r, t, journal_s)):
        found = look(root, tried)
        if found is not None and (best is None or found[1]):
            best = found
        if best is not None and (best[1] or not whole):
            break
    return best


def messages(source: str, text: str) -> Iterable[str]:
    """Return the log's lines, without what /dev/kmsg writes in front: "priority,number,time,…;"."""
    lines = text.splitlines()
    if source != KMSG:
        return lines
    return [line.partition(";")[2] for line in lines if line[:1] != " " and ";" in line]


def _findings(lines: Iterable[str]) -> Dict[str, Any]:
    xids: Dict[Tuple[str, int], Dict[str, Any]] = {}
    sxids: Dict[Tuple[str, int], Dict[str, Any]] = {}
    signs: Dict[str, str] = {}
    for line in lines:
        if "NVRM" not in line and "SXid" not in line:
            continue
        xid, sxid = re.search(XID, line), re.search(SXID, line)
        if xid:
            _note(xids, xid.group(1), xid.group(2), xid.group(3) or "")
        elif sxid:
            one = _note(sxids, sxid.group(2), sxid.group(3), sxid.group(4))
            one["fatal"] = one.get("fatal", False) or sxid.group(4).startswith("Fatal")
        for name, sign in SIGNS.items():
            if name not in signs and re.search(sign, line):
                signs[name] = line.strip()[:300]
    return {
        "xids": list(xids.values())[:KEPT_LINES],
        "sxids": list(sxids.values())[:KEPT_LINES],
        "signs": signs,
    }


def _note(
    into: Dict[Tuple[str, int], Dict[str, Any]], address: str, code: str, text: str
) -> Dict[str, Any]:
    """Count an error of a device; the first line's text is kept."""
    fresh = {"code": int(code), "address": address.lower(), "text": text[:200], "count": 0}
    one = into.setdefault((address.lower(), int(code)), fresh)
    one["count"] += 1
    return one


def _kmsg(root: Root, tried: List[str]) -> Optional[Log]:
    """Read the kernel's own buffer; it is complete while its first record is still there."""
    blocks: List[bytes] = []
    lost = False
    size = 0
    try:
        handle = os.open(root.at(KMSG), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            while size < MAX_BYTES:
                try:
                    block = os.read(handle, MAX_RECORD)  # the kernel hands out one record a read
                except BlockingIOError:
                    break  # all was read
                except BrokenPipeError:
                    lost = True  # records were overwritten while we read
                    continue
                if not block:
                    break
                blocks.append(block)
                size += len(block)
        finally:
            os.close(handle)
    except OSError as error:
        tried.append("%s: %s" % (KMSG, error.strerror))
        return None
    text = b"".join(blocks).decode("utf-8", errors="replace")
    number = text.partition(";")[0].split(",")[1:2]
    return KMSG, not lost and number == ["0"], text


def _files(root: Root, tried: List[str]) -> Optional[Log]:
    """Read a log file from its last start of the kernel on."""
    for path in FILES:
        try:
            with open(root.at(path), "rb") as stream:
                stream.seek(0, os.SEEK_END)
                stream.seek(max(0, stream.tell() - MAX_BYTES))
                text = stream.read(MAX_BYTES).decode("utf-8", errors="replace")
        except OSError as error:
            tried.append("%s: %s" % (path, error.strerror))
            continue
        began = text.rfind(BOOT_MARK)
        if began < 0 and "kernel:" not in text:
            continue
        return path, began >= 0, text[max(began, 0) :]
    return None


def _journal(root: Root, tried: List[str], patience_s: float) -> Optional[Log]:
    """Ask the journal, which keeps what the kernel's buffer has lost."""
    if not root.live:
        return None
    import subprocess  # seldom needed, and dear

    try:
        done = subprocess.run(
            JOURNAL,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=patience_s,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        tried.append("journalctl: %s" % error)
        return None
    text = done.stdout.decode("utf-8", errors="replace")
    if done.returncode or not text.strip():  # whoever may not read it is shown an empty one
        tried.append("journalctl: exit status %d, nothing from the kernel" % done.returncode)
        return None
    return "journalctl -k", BOOT_MARK in text, text
