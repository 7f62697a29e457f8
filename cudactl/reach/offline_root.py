"""Into a mounted root: what package scripts need is there meanwhile, and gone whatever ends us.

Everything is mounted in a mount namespace of this process: nobody else sees it, and the kernel
takes it away with the process, also when that is killed. Of the machine that makes the image the
root sees neither GPUs nor services: the scripts must not act on them.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cudactl.contracts.errors import CudactlError, UsageError

CLONE_NEWNS = 0x00020000
POLICY = "usr/sbin/policy-rc.d"
REFUSE = "#!/bin/sh\n# No service starts in a root that is not running.\nexit 101\n"
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}


def check_root(root: str) -> None:
    """Refuse a folder that is no system's root, and a user who may not enter it.

    Raises:
        UsageError: ROOT-NOT-A-SYSTEM, ROOT-NOT-ROOT.
    """
    top = Path(root)
    if top.resolve() == Path("/") or not (top / "var/lib/dpkg/status").is_file():
        raise UsageError(
            "ROOT-NOT-A-SYSTEM",
            f"{root} is not the root of another Debian or Ubuntu system",
            expected="a folder with var/lib/dpkg/status in it, and not this machine's own /",
            remedy="name the folder that the image is mounted or unpacked in",
        )
    if os.geteuid() != 0:
        raise UsageError(
            "ROOT-NOT-ROOT",
            "a mounted root can only be entered by root",
            expected="root",
            remedy="run cudactl with sudo",
        )


@contextmanager
def entered(root: str) -> Iterator[None]:
    """Mount what a root needs, for this process and its children only.

    Raises:
        CudactlError: ROOT-NO-MOUNT.
    """
    top = Path(root)
    try:
        _private_mounts()
        placed = _mount_all(top)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise CudactlError(
            "ROOT-NO-MOUNT",
            f"{root} could not be made ready: {said.strip()}",
            expected="the right to mount in a namespace of one's own (CAP_SYS_ADMIN)",
            remedy="run on a machine, or in a container, that may mount",
        ) from error
    try:
        yield
    finally:
        for path in placed:
            subprocess.run(["umount", "--lazy", str(path)], check=False, capture_output=True)
            path.unlink(missing_ok=True)


def _private_mounts() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    _mount("--make-rprivate", "/")


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True, text=True)


def _mount_all(top: Path) -> list[Path]:
    """Mount everything; return the placeholders that were made and have to go again."""
    _mount("-t", "proc", "proc", f"{top}/proc")
    _mount("-t", "tmpfs", "cudactl", f"{top}/proc/driver")
    for name in ("sys", "run"):
        _mount("-t", "tmpfs", "-o", "mode=755", "cudactl", f"{top}/{name}")
    _mount("-t", "tmpfs", "-o", "mode=755", "cudactl", f"{top}/dev")
    for name in ("pts", "shm"):
        (top / "dev" / name).mkdir()
    for name in DEVICES:
        (top / "dev" / name).touch()
        _mount("--bind", f"/dev/{name}", f"{top}/dev/{name}")
    _mount("-t", "devpts", "-o", "newinstance,ptmxmode=0666,mode=620", "devpts", f"{top}/dev/pts")
    for name, target in LINKS.items():
        (top / "dev" / name).symlink_to(target)
    (top / "run" / "cudactl-offline").mkdir()
    refuse = top / "run" / "cudactl-offline" / "policy-rc.d"
    refuse.write_text(REFUSE)
    refuse.chmod(0o755)
    placed = _cover(top / POLICY, refuse)
    return placed + _names(top)


def _names(top: Path) -> list[Path]:
    """Let names be resolved as on this machine, without a change to the root."""
    place = top / "etc/resolv.conf"
    ours = Path("/etc/resolv.conf")
    if not ours.exists():
        return []
    if place.is_symlink():
        target = str(place.readlink())
        inside = top / target.lstrip("/") if target.startswith("/") else place.parent / target
        inside = Path(os.path.normpath(inside))
        if (top / "run") not in inside.parents:
            return []
        inside.parent.mkdir(parents=True, exist_ok=True)
        inside.write_text(ours.read_text())
        return []
    return _cover(place, ours)


def _cover(path: Path, by: Path) -> list[Path]:
    """Show another file in a file's place; an empty one is made, and goes again, where none is."""
    # An empty policy is what a killed run left; an empty resolv.conf is how images are shipped.
    made = not path.exists() or (path.name == "policy-rc.d" and path.stat().st_size == 0)
    path.touch()
    _mount("--bind", str(by), str(path))
    return [path] if made else []
