"""The evidence that a reset or a reboot would destroy, in one file: read, redacted, limited.

Everything is read; the one program that is started is nvidia-smi -q, and only where the driver is
loaded. The first member of the archive says what is in it, what is not, and what was removed.
"""

from __future__ import annotations

import glob
import gzip
import io
import json
import os
import subprocess
import tarfile
import time
from typing import Any, Dict, List, Optional, Tuple

from . import VERSION
from .files import Root
from .redaction import KEPT, WHAT, Redaction

EACH_BYTES = 2 * 1024 * 1024
ALL_BYTES = 24 * 1024 * 1024
MOST_FILES = 400
# What is kept of each place: (patterns, what it is). Of long files the end is kept.
PLACES: Tuple[Tuple[str, str], ...] = (
    ("/proc/version", "kernel"),
    ("/proc/cmdline", "kernel"),
    ("/proc/modules", "kernel"),
    ("/proc/uptime", "kernel"),
    ("/proc/meminfo", "kernel"),
    ("/proc/devices", "kernel"),
    ("/proc/interrupts", "kernel"),
    ("/proc/driver/nvidia/version", "driver"),
    ("/proc/driver/nvidia/params", "driver"),
    ("/proc/driver/nvidia/registry", "driver"),
    ("/proc/driver/nvidia/gpus/*/information", "driver"),
    ("/proc/driver/nvidia/gpus/*/power", "driver"),
    ("/sys/module/nvidia*/parameters/*", "module parameters"),
    ("/sys/module/nvidia*/version", "module parameters"),
    ("/etc/modprobe.d/*.conf", "module parameters"),
    ("/sys/bus/pci/drivers/nvidia/0*/current_link_*", "PCI"),
    ("/sys/bus/pci/drivers/nvidia/0*/max_link_*", "PCI"),
    ("/sys/bus/pci/drivers/nvidia/0*/aer_dev_*", "PCI"),
    ("/var/log/kern.log", "kernel log"),
    ("/var/log/dmesg", "kernel log"),
    ("/var/log/dpkg.log", "packages"),
    ("/var/log/apt/history.log", "packages"),
    ("/var/log/apt/term.log", "packages"),
    ("/var/log/unattended-upgrades/*.log", "packages"),
    ("/etc/apt/sources.list.d/*", "packages"),
    ("/etc/apt/preferences.d/*", "packages"),
    ("/var/lib/dkms/nvidia*/*/build/make.log", "DKMS"),
    ("/var/lib/dkms/nvidia*/*/*/*/log/make.log", "DKMS"),
    ("/etc/ld.so.conf.d/*.conf", "loader"),
    ("/etc/docker/daemon.json", "containers"),
    ("/etc/containerd/config.toml", "containers"),
    ("/etc/nvidia-container-runtime/config.toml", "containers"),
    ("/etc/cdi/*", "containers"),
    ("/var/run/cdi/*", "containers"),
    ("/var/log/fabricmanager.log", "NVIDIA's logs"),
    ("/var/log/nvidia-*.log", "NVIDIA's logs"),
    ("/var/log/nvidia-bug-report*.log*", "NVIDIA's logs"),
    ("/root/nvidia-bug-report.log*", "NVIDIA's logs"),
    ("/var/lib/cudactl/certificate.json", "certificates"),
    ("/var/lib/cudactl/certificates/*.json", "certificates"),
    ("/var/lib/cudactl/history/*.json", "certificates"),
)


def bundle(
    root: Root,
    documents: Dict[str, Any],
    texts: Dict[str, str],
    hostname: str,
    keep_host_name: bool = False,
) -> bytes:
    """Return a tar.gz of the machine's evidence.

    Args:
        root: The machine's root.
        documents: Name → document to be kept as JSON (examination, diagnosis).
        texts: Name → text to be kept (the kernel log that the examination could read).
        hostname: The host's name, which is removed too.
        keep_host_name: Leave it in.
    """
    redaction = Redaction(root, hostname, keep_host_name)
    kept: List[Tuple[str, bytes, str]] = []
    left: List[str] = []
    room = ALL_BYTES
    members = [(n + ".json", json.dumps(d, indent=1, sort_keys=True)) for n, d in documents.items()]
    members += sorted(texts.items())
    members += [(name, text) for name, text in _answers(root)]
    sources = [(name, text, "cudactl") for name, text in members]
    for path, kind in _paths(root):
        text = _read(root, path)
        if text is None:
            left.append("%s: not readable (%s)" % (path, _needs(root, path)))
        elif text:
            sources.append(("files" + path, text, kind))
    for name, text, kind in sources:
        data = redaction.apply(text).encode("utf-8", errors="replace")
        if len(data) > EACH_BYTES and not name.endswith(".json"):
            left.append("%s: the first %d bytes" % (name, len(data) - EACH_BYTES))
            data = data[-EACH_BYTES:]
        if len(data) > room or len(kept) >= MOST_FILES:
            left.append("%s: no room left (%d bytes)" % (name, len(data)))
            continue
        room -= len(data)
        kept.append((redaction.apply(name), data, kind))
    return _packed([("contents.txt", _contents(kept, left, keep_host_name), ""), *kept])


def _contents(kept: List[Tuple[str, bytes, str]], left: List[str], keep_host_name: bool) -> bytes:
    lines = [
        "Evidence collected by cudactl %s, doctor --bundle" % VERSION,
        time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "",
        "Contents (bytes, what, name):",
        *("%9d  %-18s %s" % (len(data), kind, name) for name, data, kind in kept),
        "",
        "Not in it:" if left else "Nothing was left out.",
        *("  " + line for line in left),
        "",
        "Removed everywhere, the same value always by the same word:",
        *("  " + line for line in WHAT if not (keep_host_name and line.startswith("the host"))),
        "Left in:",
        *("  " + line for line in KEPT),
        *(["  the host's name, as asked"] if keep_host_name else []),
        "Read it before you pass it on: no list of secrets is complete.",
    ]
    return ("\n".join(lines) + "\n").encode()


def _packed(members: List[Tuple[str, bytes, str]]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz", compresslevel=6) as archive:
        for name, data, _ in members:
            entry = tarfile.TarInfo("cudactl-evidence/" + name)
            entry.size = len(data)
            entry.mode = 0o600
            entry.mtime = int(time.time())
            archive.addfile(entry, io.BytesIO(data))
    return sink.getvalue()


def _paths(root: Root) -> List[Tuple[str, str]]:
    found: Dict[str, str] = {}
    for pattern, kind in PLACES:
        if "*" not in pattern:
            if root.exists(pattern):
                found.setdefault(pattern, kind)
            continue
        for path in sorted(glob.glob(root.at(pattern)))[:50]:
            inside = path if root.live else path[len(root.path) :]
            if os.path.isfile(path):
                found.setdefault(inside, kind)
    return list(found.items())


def _read(root: Root, path: str) -> Optional[str]:
    """Return the end of a file as text; gzip is unpacked, so that it can be redacted."""
    try:
        if path.endswith(".gz"):
            with gzip.open(root.at(path), "rb") as stream:
                data = stream.read(8 * EACH_BYTES)
        else:
            with open(root.at(path), "rb") as stream:
                if os.fstat(stream.fileno()).st_size > 2 * EACH_BYTES:
                    stream.seek(-2 * EACH_BYTES, os.SEEK_END)
                data = stream.read(2 * EACH_BYTES)
    except (OSError, EOFError):
        return None
    return data.decode("utf-8", errors="replace")


def _needs(root: Root, path: str) -> str:
    return "root" if os.geteuid() else "it cannot be read at all"


def _answers(root: Root) -> List[Tuple[str, str]]:
    """Return what nvidia-smi says of counters that a reset clears, where a driver is loaded."""
    node = root.exists("/proc/driver/nvidia/version") and root.exists("/dev/nvidiactl")
    if not root.live or not node:
        return []
    try:
        done = subprocess.run(
            ["nvidia-smi", "-q"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30
        )
        text = done.stdout.decode("utf-8", errors="replace")
    except (OSError, subprocess.SubprocessError) as error:
        text = "nvidia-smi -q: %s\n" % error
    return [("nvidia-smi-q.txt", text)]
