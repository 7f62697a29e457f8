"""StackSpec: the wish, as a user writes it in stack.yaml.

Only `os` is required. A key that is not written is not part of the stack, except `arch`, `packages`
and `driver`. A version is a prefix by dotted component: "10.1" admits 10.1.3 and not 10.13.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, get_args

from pydantic import Field, StringConstraints, field_validator

from cudactl.contracts.base import Contract

OsName = Literal["ubuntu-22.04", "ubuntu-24.04", "ubuntu-26.04", "debian-12", "debian-13"]
Arch = Literal["x86_64", "sbsa"]

OsWish = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z]+(-[a-z]+)*-[0-9]+(\.[0-9]+)*$", max_length=40),
    Field(json_schema_extra={"examples": list(get_args(OsName))}),
]
"""A distribution and its release; one that cudactl does not support is refused, with the reason."""

VersionPrefix = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=40),
]

Engine = Literal["docker", "containerd", "podman", "enroot", "apptainer"]
"""A container engine that can be configured for GPUs."""

ModuleParameter = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=80)
]
# Goes into a line of modprobe's configuration: nothing that would end it or quote.
ParameterValue = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_.,:;=/+-]+$", max_length=200)
]

DRIVER_BRANCH = re.compile(r"^([0-9]{3}|[0-9]{3}(\.[0-9]+){1,2}|preinstalled|none)$")


class DriverSpec(Contract):
    """Which NVIDIA driver the host gets."""

    branch: str | None = None
    """A branch ("580"), an exact version ("580.95.05"), `preinstalled`, or `none` (images)."""
    flavour: Literal["auto", "open", "proprietary"] = "auto"
    """Kernel module flavour; `auto` is open wherever every GPU accepts it."""
    source: Literal["nvidia", "distro"] = "nvidia"
    """Whose packages: NVIDIA's repository, or the distribution's archive."""
    parameters: dict[ModuleParameter, ParameterValue] = Field(default_factory=dict)
    """Parameters of the nvidia kernel module, e.g. {NVreg_EnableGpuFirmware: 0}."""
    modules: list[Literal["peermem", "gdrcopy"]] = Field(default_factory=list)
    """Further kernel modules that are loaded at boot: peer memory (RDMA), GDRCopy."""
    persistence: bool = True
    """Whether the persistence daemon runs."""
    imex: bool = False
    """Whether IMEX runs, for memory shared between nodes over NVLink."""

    @field_validator("branch")
    @classmethod
    def _known_form(cls, value: str | None) -> str | None:
        if value is not None and not DRIVER_BRANCH.match(value):
            raise ValueError(
                "expected a branch such as '580', an exact version such as '580.95.05', "
                "'preinstalled' or 'none'"
            )
        return value


class MirrorSpec(Contract):
    """A repository to use instead of the vendor's; it never changes a lock's hash."""

    url: Annotated[str, StringConstraints(pattern=r"^(https?|file)://")]
    """Base address. For apt the vendor's folders follow it: <url>/ubuntu2404/x86_64/. For wheels
    it is a Simple index (PEP 503/691)."""
    key: str | None = None
    """Path of the mirror's OpenPGP public key; absent: the vendor's own key must have signed."""


class ArchiveSpec(Contract):
    """The distribution's archive, for `driver.source: distro`; it never changes a lock's hash."""

    url: Annotated[str, StringConstraints(pattern=r"^(https?|file)://")] | None = None
    """Base address, with dists/ and pool/ below it; absent: the distribution's public archive."""
    security: Annotated[str, StringConstraints(pattern=r"^(https?|file)://")] | None = None
    """Base address of the security suite; absent: Debian's public one, and for Ubuntu `url`."""
    key: str | None = None
    """Path of the OpenPGP keys that sign it; absent: the distribution's keyring on this machine."""


class StackSpec(Contract):
    """What a machine should carry: driver, CUDA, cuDNN, TensorRT and what goes with them."""

    schema_version: Literal[1] = 1
    """Version of this format."""
    os: OsWish
    """Distribution and release of the target: ubuntu-22.04, ubuntu-24.04, ubuntu-26.04, debian-12
    or debian-13."""
    arch: Arch = "x86_64"
    """Processor architecture, in NVIDIA's words (sbsa = 64-bit Arm servers)."""
    gpus: list[str] = Field(default_factory=list)
    """Catalogue names or aliases of the GPUs that the stack must serve."""
    kernel: str | None = None
    """Kernel flavour ("generic") or an exact release, where modules depend on it."""
    driver: DriverSpec | None = None
    """The driver; absent means the newest branch that everything else accepts."""
    cuda: VersionPrefix | None = None
    """CUDA toolkit: a minor ("13.0") or an exact version ("13.0.2"); the host's active one."""
    cuda_also: list[VersionPrefix] = Field(default_factory=list)
    """apt: further toolkits, installed beside the active one: minors or exact versions."""
    cudnn: VersionPrefix | None = None
    """cuDNN version or prefix."""
    tensorrt: VersionPrefix | None = None
    """TensorRT version or prefix."""
    tensorrt_rtx: VersionPrefix | None = None
    """TensorRT for RTX version or prefix (a product of its own)."""
    nccl: VersionPrefix | None = None
    """NCCL version or prefix."""
    dcgm: VersionPrefix | None = None
    """DCGM version or prefix."""
    container_toolkit: VersionPrefix | None = None
    """NVIDIA container toolkit version or prefix."""
    frameworks: dict[Literal["torch", "tensorflow"], VersionPrefix] = Field(default_factory=dict)
    """Python frameworks for a virtual environment or an image."""
    container_runtime: Engine | list[Engine] | None = None
    """Container engine, or several, that is configured for GPUs; it must be installed already."""
    default_runtime: bool = False
    """docker, containerd: make NVIDIA's runtime the one of every container that names none."""
    packages: Literal["apt", "wheels"] = "apt"
    """Where the libraries come from: NVIDIA's apt repository or NVIDIA's Python wheels."""
    activate: bool = False
    """wheels: make this stack the one that login shells use; otherwise it only lies beside."""
    mirror: MirrorSpec | None = None
    """A repository to use instead of the vendor's."""
    archive: ArchiveSpec | None = None
    """The distribution's archive to use, where the driver comes from it."""

    @property
    def engines(self) -> list[Engine]:
        """The container engines that are asked for, as a list."""
        if self.container_runtime is None:
            return []
        if isinstance(self.container_runtime, list):
            return list(dict.fromkeys(self.container_runtime))
        return [self.container_runtime]
