"""Evidence: what the probe measured. Values with units, never a verdict.

Made by `cudactl/probe/measure.py` (plain dictionaries there), read by the judge.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from cudactl.contracts.base import Contract
from cudactl.contracts.state import HostState

LegName = Literal[
    "driver",
    "health",
    "toolkit",
    "nvcc",
    "cudnn",
    "tensorrt",
    "frameworks",
    "collectives",
    "containers",
    "energy",
    "ingest",
]


class LoadedLibrary(Contract):
    """A vendor library that a leg had really mapped, read back from /proc/self/maps."""

    soname: str
    """Name that was asked for, e.g. "libcudart.so.13"."""
    path: str
    """Absolute real path of the mapped file."""
    size: int
    """Size in bytes."""
    sha256: str | None
    """sha256 of the file; None where hashing was not asked for."""
    package: str | None
    """Debian package that owns it, or the wheel stack's folder; None when nobody does."""
    intact: bool | None
    """True when the content is what the package's own list says (a wheel's RECORD, dpkg's md5sums);
    None when nothing says."""
    simulated: bool
    """True when the file carries the lab's mark."""


class Measurement(Contract):
    """One check's measured values."""

    check: str
    """Check id, e.g. "toolkit.cublas"."""
    values: dict[str, Any] = Field(default_factory=dict)
    """Measured values; units are in the key names (…_s, …_bytes)."""
    error: str | None = None
    """Raw error, when the value could not be had."""
    duration_s: float = 0.0
    """Seconds the measurement took."""


class LegResult(Contract):
    """One leg: a process of its own with a deadline."""

    leg: LegName
    """Name of the leg."""
    gpu: str | None = None
    """The GPU that this part of the leg ran on (its `TestedGpu.id`); None: the machine's part."""
    outcome: Literal["ran", "timeout", "crashed", "stuck", "no_output", "deferred"]
    """How the process ended; `stuck` was abandoned in the kernel, `deferred` was never started
    because somebody uses the GPU."""
    detail: str = ""
    """Exit status, signal or the end of stderr."""
    duration_s: float
    """Seconds."""
    measurements: list[Measurement]
    """What it measured."""
    libraries: list[LoadedLibrary]
    """What it had loaded."""


class TestedGpu(Contract):
    """One GPU that the device legs ran on, or would have."""

    id: str
    """Its UUID, or its PCI address where no driver tells the UUID."""
    address: str
    """PCI address, e.g. "0000:17:00.0"."""
    device: str
    """PCI device id, hexadecimal, e.g. "2335"."""
    users: list[int] = Field(default_factory=list)
    """Processes that were using it, so that nothing was run on it."""


class Evidence(Contract):
    """Everything one probe run measured on one machine."""

    schema_version: Literal[1] = 1
    """Version of this format."""
    probe_version: str
    """cudactl version of the probe."""
    probe_sha256: str | None
    """sha256 of the zipapp that measured, where it ran as one."""
    taken_at: float
    """Unix time, seconds."""
    duration_s: float
    """Seconds."""
    world: Literal["system", "user"]
    """Whose environment: scrubbed, or the caller's."""
    state: HostState
    """The machine's state, taken in the same run."""
    gpus: list[TestedGpu] = Field(default_factory=list)
    """GPUs that the device legs were asked of."""
    legs: list[LegResult]
    """The legs that were asked for, each with its outcome."""
