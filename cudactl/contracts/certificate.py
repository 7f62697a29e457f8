"""Policy and Certificate: what is judged against, and what the judgement says.

`Policy` is compiled by `certify/` from lock and catalogue to plain JSON; the judge (standard
library only) applies it to evidence and returns the certificate's content.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from cudactl.contracts.base import Contract

Status = Literal["PASS", "WARN", "FAIL", "ERROR", "SKIP", "NO_REFERENCE", "WAIVED"]
Level = Literal["none", "linkage", "execution", "performance", "simulated"]


class Expectation(Contract):
    """What one check must show."""

    check: str
    """Check id."""
    expect: dict[str, Any] = Field(default_factory=dict)
    """Expected values, in the check's own words."""
    source: str
    """Where the expectation comes from: the lock, a catalogue row, a default."""
    skip: str | None = None
    """Declared reason why the check does not apply; the only way a check is skipped."""
    left_out: bool = False
    """True where somebody chose not to ask it (`skip` says why): the level is then lower."""


Tier = Literal["prolog", "smoke", "nightly", "burn-in"]


class GpuReference(Contract):
    """What a GPU's data sheet says, for the checks that hold a measurement against it."""

    name: str
    """Catalogue name."""
    cc: str
    """Compute capability, e.g. "9.0"."""
    sm_count: int | None = None
    """Streaming multiprocessors."""
    memory_gb: float | None = None
    """Memory, GB."""
    memory_gbs: float | None = None
    """Memory bandwidth, GB/s."""
    tflops: dict[str, float] = Field(default_factory=dict)
    """Dense rates by type ("fp64", "fp32", "tf32", "bf16", "fp16", "fp8"), Tflop/s."""
    watts: float | None = None
    """Board power, W."""
    nvlink_gbs: float | None = None
    """NVLink, both directions together, GB/s."""
    pcie_gen: int | None = None
    """PCIe generation."""
    data_centre: bool | None = None
    """Whether it is a data-centre GPU, which has ECC and repairs its memory."""
    nvswitch: bool | None = None
    """Whether its usual boards have NVSwitches, and need the fabric manager."""
    contested: list[str] = Field(default_factory=list)
    """Figures whose sources disagree; nothing is judged by them."""
    source: str
    """Where it was read."""


class Waiver(Contract):
    """A known finding that somebody answers for, until a day."""

    check: str
    """Check id."""
    gpu: str | None = None
    """Only on this GPU; None: everywhere."""
    host: str | None = None
    """Only on this host; None: everywhere."""
    owner: str
    """Who answers for it."""
    reason: str
    """Why it is known and harmless."""
    expires: float
    """Unix time, seconds; after it the finding counts again."""


class Policy(Contract):
    """Expectations for one lock, as plain data."""

    schema_version: Literal[1] = 1
    """Version of this format."""
    lock_hash: str
    """The lock it was compiled from."""
    resolved: dict[str, str]
    """Component → exact version, for display."""
    allowed: list[dict[str, str]] = Field(default_factory=list)
    """Overridden refusals (code, reason), shown on the certificate."""
    valid_s: int = 7 * 24 * 3600
    """How long a certificate stands, seconds."""
    tier: Tier = "smoke"
    """How much is measured."""
    legs: list[str]
    """Legs whose machine part must have run."""
    device_legs: list[str] = Field(default_factory=list)
    """Legs whose device part must have run on every tested GPU."""
    references: dict[str, GpuReference] = Field(default_factory=dict)
    """PCI device id → what that GPU should be."""
    waivers: list[Waiver] = Field(default_factory=list)
    """Known findings."""
    without_gpu: str | None = None
    """Why checks on GPUs do not apply where none is; None: they must be asked of one."""
    request: dict[str, Any]
    """What the probe is asked to measure: where to look, sonames, deadlines in seconds."""
    expectations: list[Expectation]
    """One per check."""


class Verdict(Contract):
    """One check, judged."""

    check: str
    """Check id."""
    leg: str
    """Leg it belongs to."""
    gpu: str | None = None
    """GPU it was asked of; None: the machine."""
    status: Status
    """The verdict."""
    measured: str
    """What was measured, short."""
    expected: str
    """What was expected, short."""
    reason: str
    """Why this status, one sentence."""


class Certificate(Contract):
    """What a machine was shown to be, and to what degree."""

    schema_version: Literal[1] = 1
    """Version of this format."""
    host: str
    """Name it was asked for under."""
    hostname: str
    """The machine's own name."""
    machine_id: str | None
    """/etc/machine-id."""
    os: str
    """Operating system, with "look-alike" where it is one."""
    kernel: str
    """Running kernel."""
    boot_id: str | None
    """Boot it was taken in."""
    driver: str | None
    """Loaded driver's version; None when no driver is loaded."""
    gpus: list[str]
    """GPUs seen, PCI address and device id (UUIDs once a driver answers)."""
    lock_hash: str
    """Lock it is bound to."""
    resolved: dict[str, str]
    """Component → exact version of the lock."""
    level: Level
    """What was shown; `simulated` whenever anything simulated was touched."""
    level_reason: str
    """Why this level and no higher, one sentence."""
    tier: Tier = "smoke"
    """How much was measured."""
    coverage: dict[str, Any] = Field(default_factory=dict)
    """By GPU: how much of it was reached: SMs visited of how many, bytes of memory checked."""
    verdict: Status
    """The whole, by the worst check."""
    verdicts: list[Verdict]
    """Every check."""
    libraries: list[dict[str, Any]]
    """Vendor libraries that were loaded: soname, path, sha256, package, simulated."""
    allowed: list[dict[str, str]]
    """Overridden refusals."""
    issued: float
    """Unix time, seconds."""
    expires: float
    """Unix time, seconds."""
    evidence_sha256: str
    """sha256 of the evidence's canonical JSON."""
    tool: str
    """cudactl version that judged."""
