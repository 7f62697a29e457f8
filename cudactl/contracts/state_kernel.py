"""Part of HostState: kernels, and the NVIDIA module for each of them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cudactl.contracts.base import Contract


class KernelState(Contract):
    """Kernels: the running one and the one the next boot will take."""

    running: str
    """Release of the running kernel (uname -r)."""
    newest_installed: str | None
    """Newest kernel under /lib/modules or /boot, where one is installed."""
    installed: list[str] = Field(default_factory=list)
    """Releases whose modules lie under /lib/modules; without the running one, that kernel is not
    this machine's own (a container's host's), and no module is built for it here."""
    booted_at: float | None = None
    """Unix time of the kernel's start, seconds."""
    headers: list[str] = Field(default_factory=list)
    """Releases whose headers are installed."""
    secure_boot: bool | None
    """Secure Boot state from EFI variables; None where there is no EFI or it cannot be read."""
    next_boot: str | None = None
    """Release that the boot loader takes next; None where no boot loader can be read."""
    mok_enrolled: bool | None = None
    """True when the key that DKMS signs with is enrolled in the firmware (MokListRT); None where
    there is no such key or it cannot be told."""
    initramfs: dict[str, float] = Field(default_factory=dict)
    """Kernel release → Unix time, seconds, when its initramfs under /boot was written."""
    largest_initramfs_bytes: int | None = None
    """Size of the largest of them, bytes; None where there is none."""


class ModuleFile(Contract):
    """An nvidia.ko under /lib/modules."""

    kernel: str
    """Kernel release it is for."""
    path: str
    """Absolute path."""
    version: str | None
    """Version it names."""
    flavour: Literal["open", "proprietary"] | None
    """From its licence."""
    signer: str | None
    """Name of the key that signed it; None when it is unsigned or that cannot be read."""


class DkmsBuild(Contract):
    """What DKMS has of a module for one kernel."""

    module: str
    """DKMS name, e.g. "nvidia"."""
    version: str
    """Module version."""
    kernel: str | None
    """Kernel release; None for a source that is added and built for no kernel."""
    status: Literal["added", "built", "installed", "failed"]
    """failed: the last build left a log and no module."""


class ModuleState(Contract):
    """The NVIDIA kernel module, loaded and on disk."""

    loaded: str | None
    """Version of the loaded module; None when it is not loaded."""
    flavour: Literal["open", "proprietary"] | None
    """Flavour of the loaded module."""
    on_disk: dict[str, str] = Field(default_factory=dict)
    """Kernel release → module version found on disk."""
    nouveau: bool
    """True when nouveau is loaded."""
    nouveau_blocked: bool | None = None
    """True when modprobe's configuration keeps nouveau from loading."""
    files: list[ModuleFile] = Field(default_factory=list)
    """Every nvidia.ko on disk."""
    dkms: list[DkmsBuild] = Field(default_factory=list)
    """DKMS's NVIDIA modules."""
    references: dict[str, int] = Field(default_factory=dict)
    """Loaded NVIDIA modules → how many users each has."""
    parameters: dict[str, str] = Field(default_factory=dict)
    """Parameters of the loaded module (/proc/driver/nvidia/params)."""
