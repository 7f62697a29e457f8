"""The kernel log's lines that speak of NVIDIA, nouveau or the PCI slots.

/dev/kmsg and the journal need root or the group adm; where neither can be read, the files that
syslog wrote are tried, and what remains unread is said.
"""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any, Dict, List, Optional, Tuple

from ..files import Root
from . import ROOT_OR_ADM, Unread

OF_INTEREST = re.compile(
    r"NVRM|nvidia|nouveau|\bXid\b|SXid|nvswitch|AER|PCIe Bus Error|unsigned module|taint"
    r"|Key was rejected|PKCS#7|Lockdown:|I/O error|No space left",
    re.IGNORECASE,
)
MOST_LINES = 600
READ_BYTES = 8 * 1024 * 1024
FILES = ("/var/log/kern.log", "/var/log/syslog", "/var/log/messages", "/var/log/dmesg")


def kernel_log(root: Root, unread: Unread) -> Dict[str, Any]:
    """Return {"source", "lines"}; source is None where no log could be read."""
    source, text = whole(root)
    if source is None:
        why = "/dev/kmsg may not be read"
        unread.append({"what": "kernel log", "needs": ROOT_OR_ADM, "why": why})
    return {"source": source, "lines": chosen(text)}


def whole(root: Root) -> Tuple[Optional[str], str]:
    """Return where the kernel log could be read, and all of it."""
    text = _kmsg(root)
    # The kernel keeps a ring: where its beginning is gone, the journal may still have it.
    if text is None or _begins_late(text):
        kept = _journal(root)
        if kept is not None:
            return "journalctl -k", kept
    if text is not None:
        return "/dev/kmsg", text
    for path in FILES:
        text = _end_of(root, path)
        if text is not None:
            return path, text
    return None, ""


def _begins_late(text: str) -> bool:
    """Return whether the first record is not the first of this boot: "priority,number,time,…;"."""
    number = text.partition(";")[0].split(",")
    return len(number) > 1 and number[1].isdigit() and int(number[1]) > 0


def chosen(text: str) -> List[str]:
    """Return the last lines of interest, without what /dev/kmsg writes in front."""
    lines = []
    for line in text.splitlines():
        if OF_INTEREST.search(line):
            head, mark, rest = line.partition(";")
            lines.append((rest if mark and head[:1].isdigit() else line)[:500])
    return lines[-MOST_LINES:]


def _kmsg(root: Root) -> Optional[str]:
    try:
        handle = os.open(root.at("/dev/kmsg"), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    blocks: List[bytes] = []
    size = 0
    try:
        while size < READ_BYTES:
            try:
                block = os.read(handle, 8192)
            except BlockingIOError:
                break  # the end of what the kernel kept
            except BrokenPipeError:
                continue  # the oldest record was overwritten meanwhile
            if not block:
                break
            blocks.append(block)
            size += len(block)
    except OSError:
        return None
    finally:
        os.close(handle)
    return b"".join(blocks).decode("utf-8", errors="replace")


def _journal(root: Root) -> Optional[str]:
    if not root.live:
        return None
    command = ["journalctl", "-k", "-b", "--no-pager", "-q", "-o", "short-monotonic"]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", errors="replace") if done.stdout else None


def _end_of(root: Root, path: str) -> Optional[str]:
    try:
        with open(root.at(path), "rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - READ_BYTES))
            return stream.read().decode("utf-8", errors="replace")
    except OSError:
        return None
