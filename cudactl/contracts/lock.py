"""StackLock: every package of a stack, exactly; what hosts, images and certificates are held to.

The lock's hash covers target and packages only: a mirror, a comment or a reason never changes it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cudactl.contracts.base import Contract, canonical_hash, short
from cudactl.contracts.spec import Arch, OsName, StackSpec

Component = Literal[
    "driver",
    "cuda",
    "cudnn",
    "tensorrt",
    "tensorrt_rtx",
    "nccl",
    "dcgm",
    "container_toolkit",
    "frameworks",
]


class LockTarget(Contract):
    """What the lock is for."""

    os: OsName
    """Distribution and release."""
    arch: Arch
    """Architecture in NVIDIA's words."""
    kernel: str | None = None
    """Kernel flavour or release, where the driver's modules depend on it."""
    packages: Literal["apt", "wheels"]
    """Package source of the stack."""
    python: str | None = None
    """Wheels only: the target's interpreter tag ("cp311") that compiled wheels were chosen for."""


class LockSource(Contract):
    """One place that packages come from, and the key that vouches for it."""

    name: str
    """Name that packages refer to ("nvidia", "pypi"; "debian", "ubuntu-security")."""
    kind: Literal["apt", "wheels"]
    """Repository layout."""
    url: str
    """apt: the flat repository's folder, or the archive's base where there are suites, ending in
    "/". wheels: the Simple index."""
    vendor: bool
    """True where this is the vendor's own address, false for a mirror."""
    fingerprint: str | None = None
    """apt: full fingerprint of the key that signed the index; of several suites, the first's."""
    signing_key: str | None = None
    """apt: that key, ASCII-armoured, so that a host can be set up from the lock alone; every key
    that signed, where suites were signed by several."""
    index_sha256: str | None = None
    """apt: sha256 of the `Packages` file that was locked from; of several, over their hashes."""
    distribution: bool = False
    """apt: True for the distribution's own archive. A host trusts and knows its archive already,
    so provisioning writes neither source nor key for it."""
    suites: list[str] = Field(default_factory=list)
    """apt: suites of the archive ("noble-updates"); empty for a flat repository."""
    components: list[str] = Field(default_factory=list)
    """apt: components of those suites ("restricted"); empty for a flat repository."""


class LockedPackage(Contract):
    """One package at one version."""

    name: str
    """Package name in its own naming (Debian name, or normalised wheel project name)."""
    version: str
    """Exact version, with epoch and revision where it has them."""
    arch: str
    """Debian architecture ("amd64", "all"), or the wheel's platform tag."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """sha256 of the file."""
    size: int = Field(ge=0)
    """Size of the file in bytes."""
    source: str
    """Name of its `LockSource`."""
    component: Component
    """Which wish it serves."""
    filename: str
    """apt: path below the source's folder. wheels: the file's name."""
    top_level: bool = False
    """True for a package that is asked for by name; the others come as dependencies."""
    why: str
    """One plain sentence: why this package, why this version."""
    requires: list[str] = Field(default_factory=list)
    """Names inside this lock that it depends on."""
    installed_bytes: int | None = None
    """Room it takes when installed, in bytes, where the index says so."""


class ExternalDependency(Contract):
    """A package that the closure needs from the distribution; named, not locked."""

    name: str
    """Debian package name, first alternative."""
    needed_by: list[str]
    """Locked packages that need it."""


class Allowance(Contract):
    """A refusal that somebody overrode with `--allow CODE --reason TEXT`."""

    code: str
    """Code of the refusal."""
    reason: str
    """The reason given; shown on every certificate."""


class StackLock(Contract):
    """A stack, exactly: target, sources, packages, and why."""

    schema_version: Literal[1] = 1
    """Version of this format."""
    spec: StackSpec
    """The wish it answers."""
    spec_hash: str
    """sha256 of the wish's canonical JSON."""
    catalogue_hash: str
    """sha256 of the catalogue that was used."""
    target: LockTarget
    """What it is for."""
    resolved: dict[Component, str]
    """Exact upstream version of each component, e.g. {"cuda": "13.0.2", "driver": "580.95.05"}."""
    driver_flavour: Literal["open", "proprietary"] | None = None
    """Kernel module flavour, where the lock holds a driver."""
    driver_minimum: str | None = None
    """Least driver version that runs the lock's toolkit, where the host brings the driver."""
    sources: list[LockSource]
    """Where packages come from."""
    packages: list[LockedPackage]
    """The closure, sorted by name."""
    external: list[ExternalDependency] = Field(default_factory=list)
    """What the distribution must bring, sorted by name."""
    allowed: list[Allowance] = Field(default_factory=list)
    """Overridden refusals."""
    base_image: str | None = None
    """Digest of the base image, for image builds."""

    @property
    def hash(self) -> str:
        """The lock's hash: sha256 over target and packages (name, version, arch, sha256, size)."""
        identity = {
            "target": self.target.model_dump(mode="json"),
            "packages": [
                [p.name, p.version, p.arch, p.sha256, p.size]
                for p in sorted(self.packages, key=lambda p: (p.name, p.arch))
            ],
        }
        return canonical_hash(identity)

    @property
    def short_hash(self) -> str:
        """The 12 digits that people see, and the name of a wheel stack's folder."""
        return short(self.hash)

    def package(self, name: str) -> LockedPackage | None:
        """Return the locked package called `name`, or None."""
        return next((p for p in self.packages if p.name == name), None)

    def of(self, component: Component) -> list[LockedPackage]:
        """Return the packages that serve `component`, in the lock's order."""
        return [p for p in self.packages if p.component == component]
