"""A Debian machine in QEMU: its own kernel, real modules, a real initramfs, real reboots.

The emulator needs no virtualization from the machine it runs on (TCG), so it is slow: a boot takes
about a minute. There is no boot loader in it; in its place this module reads what GRUB would: the
first entry of the guest's own /boot/grub/grub.cfg, from its disk, at every start.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from cudactl.lab.archive import machine_archive

PACKAGES = [
    "systemd", "systemd-sysv", "udev", "dbus", "openssh-server", "sudo", "procps", "iproute2",
    "kmod", "ca-certificates", "gpg", "gpgv", "python3", "python3-apt", "initramfs-tools", "zstd",
    "linux-image-amd64", "linux-headers-amd64", "dkms", "gcc", "make", "grub2-common",
    "grub-pc-bin", "build-essential",
]  # fmt: skip
SIZE = "6G"
BOOT_S = 600
"""A boot takes about 60 s on a quiet machine."""
SETUP = """\
set -e
mkdir -p "$1/root/.ssh" && cp "$KEY" "$1/root/.ssh/authorized_keys"
chmod 700 "$1/root/.ssh" && chmod 600 "$1/root/.ssh/authorized_keys"
echo machine > "$1/etc/hostname"
printf '127.0.0.1 localhost machine\\n' > "$1/etc/hosts"
printf '[Match]\\nName=e*\\n[Network]\\nDHCP=yes\\n' > "$1/etc/systemd/network/10.network"
chroot "$1" systemctl -q enable systemd-networkd ssh
chroot "$1" systemctl -q mask systemd-networkd-wait-online apt-daily.timer apt-daily-upgrade.timer
echo '/dev/vda / ext4 defaults 0 1' > "$1/etc/fstab"
rm -f "$1/etc/resolv.conf" && echo 'nameserver 10.0.2.3' > "$1/etc/resolv.conf"
echo nouveau >> "$1/etc/initramfs-tools/modules"
chroot "$1" update-initramfs -u -k all
kernel=$(ls "$1/lib/modules" | head -n 1)
mkdir -p "$1/boot/grub"
entry='menuentry "Debian" {\\n\\tlinux /boot/vmlinuz-%s root=/dev/vda ro\\n'
printf "$entry"'\\tinitrd /boot/initrd.img-%s\\n}\\n' "$kernel" "$kernel" > "$1/boot/grub/grub.cfg"
"""


class MachineError(Exception):
    """The machine did not do what it had to; says what, and the last words of its console."""


def cache() -> Path:
    """Return where disks are kept between runs."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "cudactl" / "machine"


def base_disk() -> tuple[Path, Path]:
    """Return a disk to copy and the private key that opens it; made once, in about five minutes."""
    recipe = hashlib.sha256(repr((PACKAGES, SIZE, SETUP)).encode()).hexdigest()[:12]
    folder = cache() / recipe
    disk, key = folder / "disk.raw", folder / "key"
    if (folder / "ready").exists():
        return disk, key
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    hook = folder / "setup.sh"
    hook.write_text(SETUP)
    archive = machine_archive()
    command = ["mmdebstrap", "--quiet", "--variant=minbase", "--mode=root"]
    command += ["--include=" + ",".join(PACKAGES), '--aptopt=Acquire::Languages "none"']
    command += ["--dpkgopt=path-exclude=/usr/share/doc/*", f"--customize-hook=sh {hook} $1"]
    root = folder / "root"
    lines = archive.lines("bookworm")
    subprocess.run(
        [*command, "bookworm", str(root), *lines],
        check=True,
        env={**os.environ, "KEY": f"{key}.pub"},
    )
    mkfs = ["mke2fs", "-q", "-t", "ext4", "-d", str(root), str(disk), SIZE]
    subprocess.run(mkfs, check=True)
    shutil.rmtree(root)
    (folder / "ready").touch()
    return disk, key


@dataclass
class Machine:
    """One machine: a disk of its own, started and stopped at will."""

    folder: Path
    key: Path
    port: int
    memory_mb: int = 2048
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @classmethod
    def make(cls, folder: Path) -> Machine:
        """Copy the base disk into `folder`."""
        disk, key = base_disk()
        folder.mkdir(parents=True, exist_ok=True)
        copy = ["cp", "--sparse=always", "--reflink=auto", str(disk), str(folder / "disk.raw")]
        subprocess.run(copy, check=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        return cls(folder, key, port)

    @property
    def disk(self) -> Path:
        """The disk."""
        return self.folder / "disk.raw"

    def next_boot(self) -> tuple[str, str]:
        """Return kernel and initramfs of the first entry in the guest's GRUB configuration."""
        text = self._read("/boot/grub/grub.cfg").decode()
        entry = text[text.index("menuentry ") :]
        found = [re.search(rf"^\s*{word}\s+(\S+)", entry, re.M) for word in ("linux", "initrd")]
        if None in found:
            raise MachineError("GRUB's configuration names no kernel")
        return tuple(m[1] for m in found if m)  # type: ignore[return-value]

    def _read(self, path: str) -> bytes:
        out = self.folder / "dumped"
        ask = ["debugfs", "-R", f"dump {path} {out}", str(self.disk)]
        subprocess.run(ask, check=True, capture_output=True)
        return out.read_bytes()

    def start(self) -> None:
        """Boot what its boot loader would, and wait until it takes people in."""
        for name, path in zip(("vmlinuz", "initrd"), self.next_boot(), strict=True):
            (self.folder / name).write_bytes(self._read(path))
        console = (self.folder / "console.log").open("ab")
        self._process = subprocess.Popen(
            [
                "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi",
                "-cpu", "max", "-m", str(self.memory_mb), "-smp", "2", "-nographic", "-no-reboot",
                "-kernel", str(self.folder / "vmlinuz"), "-initrd", str(self.folder / "initrd"),
                "-append", "root=/dev/vda rw console=ttyS0 quiet",
                "-drive", f"file={self.disk},if=virtio,format=raw,cache=writeback",
                "-nic", f"user,model=virtio,hostfwd=tcp:127.0.0.1:{self.port}-:22",
            ],
            stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
        )  # fmt: skip
        self.wait_for_login()

    def wait_for_login(self, deadline_s: float = BOOT_S) -> None:
        """Wait until ssh works.

        Raises:
            MachineError: it ended, or did not come up in time; with the console's end.
        """
        until = time.monotonic() + deadline_s
        while time.monotonic() < until:
            if self._process is None or self._process.poll() is not None:
                raise MachineError(f"the machine ended: {self.console()}")
            if self.run("true", check=False, timeout=20).returncode == 0:
                return
            time.sleep(1)
        raise MachineError(f"no login after {deadline_s:.0f} s: {self.console()}")

    def console(self) -> str:
        """Return the last lines of the console."""
        text = (self.folder / "console.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-15:])

    def ssh_options(self) -> list[str]:
        """Return what ssh needs to know."""
        return [
            "-i", str(self.key), "-p", str(self.port), "-o", "StrictHostKeyChecking=no",
            "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
            "-o", "ConnectTimeout=10",
        ]  # fmt: skip

    def run(
        self, command: str, *, check: bool = True, timeout: float = 1800
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command as root in the machine."""
        try:
            done = subprocess.run(
                ["ssh", *self.ssh_options(), "root@127.0.0.1", command],
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            if check:
                raise
            return subprocess.CompletedProcess(command, 255, "", "timeout")
        if check and done.returncode != 0:
            raise MachineError(f"{command}: {done.stdout}{done.stderr}")
        return done

    def follow_reboot(self, deadline_s: float = BOOT_S) -> None:
        """Wait until the guest has ended to boot again (as `-no-reboot` makes it), and boot it."""
        assert self._process is not None
        self._process.wait(deadline_s)
        self.start()

    def cut_power(self) -> None:
        """End it as a power cut does: nothing is written any more."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def inventory(self, path: Path) -> Path:
        """Write an inventory that reaches this machine."""
        path.write_text(
            f"[all]\nmachine ansible_host=127.0.0.1 ansible_port={self.port} ansible_user=root "
            f"ansible_ssh_private_key_file={self.key} ansible_python_interpreter=/usr/bin/python3 "
            "ansible_ssh_common_args='-o StrictHostKeyChecking=no "
            "-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR'\n"
        )
        return path
