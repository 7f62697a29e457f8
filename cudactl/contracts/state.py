"""HostState: everything a plan needs to know about a machine, from one probe run.

Made by `cudactl/probe/state.py` on the target (plain dictionaries there), read here by plan and
judge. What could not be read is None, never an invented value.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cudactl.contracts.base import Contract
from cudactl.contracts.state_apt import AptFile
from cudactl.contracts.state_kernel import KernelState, ModuleState
from cudactl.contracts.state_machine import (
    CdiSpec,
    ContainerRuntime,
    Platform,
    ServiceState,
    SshState,
)
from cudactl.contracts.state_records import Records


class OsState(Contract):
    """Operating system identity, from os-release."""

    id: str
    """ID of os-release ("ubuntu", "debian")."""
    version_id: str
    """VERSION_ID ("24.04", "12")."""
    codename: str | None
    """VERSION_CODENAME."""
    pretty: str
    """PRETTY_NAME, shown to people."""
    look_alike: bool
    """True for a lab base that carries another distribution's identity."""

    @property
    def name(self) -> str:
        """The name used in specs: "ubuntu-24.04"."""
        return f"{self.id}-{self.version_id}"


class PythonState(Contract):
    """The interpreter that runs the probe."""

    version: str
    """Version, e.g. "3.11.2"."""
    executable: str
    """Absolute path."""
    tag: str
    """Wheel interpreter tag, e.g. "cp311"."""


class BrokenPackage(Contract):
    """A package that dpkg left in the middle of something."""

    name: str
    """Package name."""
    status: str
    """dpkg's status words, e.g. "install ok half-configured"."""


class AptSource(Contract):
    """One apt source entry that names an NVIDIA-like repository, or ours."""

    file: str
    """File it is written in."""
    uris: list[str]
    """Addresses."""
    signed_by: str | None
    """Signed-By value."""
    ours: bool
    """True when the file's name starts with cudactl-."""
    key: str | None = None
    """Content of the key file that Signed-By names, base64; None where it could not be read."""
    sha256: str | None = None
    """sha256 of the file."""
    others: int = 0
    """Further entries in the same file that are not NVIDIA's: it cannot be taken away whole."""


class AptAnswer(Contract):
    """What the host's apt says installing some of the distribution's packages would do."""

    asked: list[str]
    """Names that it was asked for."""
    brings: dict[str, str] = Field(default_factory=dict)
    """Package → version that would come, the asked ones too."""
    removes: list[str] = Field(default_factory=list)
    """Packages that would go."""
    error: str | None = None
    """Why it could not tell, in apt's words."""


class OwnedFile(Contract):
    """A cudactl-* file on the host."""

    path: str
    """Absolute path."""
    sha256: str
    """sha256 of its content."""
    written: float = 0.0
    """Unix time, seconds, when it was written."""


class WheelStack(Contract):
    """A wheel stack under /opt/cudactl/stacks."""

    lock: str
    """Folder name: the lock's short hash."""
    complete: bool
    """True when the unpacking finished and was verified."""
    wheels: dict[str, str] = Field(default_factory=dict)
    """Wheel file name → sha256, as the stack's manifest says."""


class ToolkitHome(Contract):
    """A CUDA toolkit's folder."""

    path: str
    """Folder, e.g. "/usr/local/cuda-12.4"."""
    version: str | None
    """What its version.json says, or the minor in the folder's name."""
    packaged: bool
    """True when a Debian package owns it, false for a runfile's or a copied one."""


class ForeignFile(Contract):
    """Something of NVIDIA's that no Debian package owns."""

    path: str
    """Absolute path: a toolkit's folder, a library, a wheel's or a conda package's record."""
    kind: Literal["toolkit", "driver", "library", "python", "conda"]
    """toolkit and driver: by a runfile or a copy; python: pip; conda."""
    version: str | None
    """Version that the name or the record says."""


class VendorFiles(Contract):
    """NVIDIA's files in the usual places, as far as dpkg does not know them."""

    active_toolkit: str | None
    """Folder that /usr/local/cuda leads to."""
    toolkits: list[ToolkitHome]
    """Toolkit folders with a runtime library or a compiler in them."""
    foreign: list[ForeignFile]
    """What no Debian package owns; at most 200. Home folders are not looked into."""
    more: int
    """How many further ones there are."""


class PciGpu(Contract):
    """A display or 3D controller from NVIDIA, as PCI shows it."""

    address: str
    """PCI address, e.g. "0000:01:00.0"."""
    device: str
    """PCI device id, four hexadecimal digits."""
    driver: str | None
    """Kernel driver bound to it."""


class GpuProcess(Contract):
    """A process that holds an NVIDIA device file open."""

    pid: int
    """Process id."""
    name: str
    """Command name."""


class DiskState(Contract):
    """Room on one file system."""

    path: str
    """Path asked about."""
    free_bytes: int
    """Bytes free for an unprivileged user."""
    total_bytes: int
    """Size in bytes."""


class HostLock(Contract):
    """Who is changing the host just now (/run/cudactl/host.lock)."""

    run_id: str
    """Identifier of the run."""
    who: str
    """User on the controller."""
    controller: str
    """Controller's host name."""
    controller_id: str
    """Whose process ids those are: boot id and process namespace; controllers may share a name."""
    pid: int
    """cudactl's process id on the controller."""
    since: float
    """Unix time of the start, seconds."""
    expires: float
    """Unix time after which the lock may be taken over, seconds."""


class LastCertificate(Contract):
    """The newest certificate kept on the host."""

    lock: str
    """Lock hash."""
    level: str
    """Level shown."""
    verdict: str
    """Overall verdict."""
    boot_id: str | None
    """Boot it was taken in."""
    driver: str | None
    """Driver it was taken with."""
    issued: float
    """Unix time, seconds."""
    expires: float
    """Unix time, seconds."""


class HostState(Contract):
    """A machine, as one probe run saw it."""

    schema_version: Literal[1] = 1
    """Version of this format."""
    probe_version: str
    """cudactl version of the probe."""
    taken_at: float
    """Unix time of the probe on the host, seconds."""
    duration_s: float
    """Time the probe took, seconds."""
    euid: int
    """Effective user id the probe ran with."""
    hostname: str
    """Host name."""
    machine_id: str | None
    """/etc/machine-id."""
    boot_id: str | None
    """Kernel boot id."""
    os: OsState
    """Operating system."""
    machine: str
    """uname -m, e.g. "x86_64", "aarch64"."""
    dpkg_arch: str | None
    """dpkg architecture, e.g. "amd64"."""
    virtualization: str | None
    """Container or hypervisor, as far as cheap signs tell ("docker", "wsl", …)."""
    kernel: KernelState
    """Kernels."""
    python: PythonState
    """Interpreter."""
    packages: dict[str, str]
    """Installed Debian packages: name (with ":arch" where foreign) → version."""
    holds: list[str]
    """Packages on hold."""
    broken: list[BrokenPackage]
    """Packages in a broken state."""
    dpkg_interrupted: bool = False
    """dpkg was stopped before it wrote its status out: apt refuses until `dpkg --configure -a`."""
    dpkg_locked: bool | None
    """True when another process holds dpkg's lock; None when it cannot be told."""
    apt_answer: AptAnswer | None = None
    """What apt says of the distribution's packages that a lock needs; None: it was not asked."""
    apt_sources: list[AptSource]
    """NVIDIA-like apt sources."""
    apt_files: list[AptFile] = Field(default_factory=list)
    """Other people's preferences and keys about NVIDIA's packages."""
    files: list[OwnedFile]
    """Files named cudactl-* in the places cudactl writes."""
    stacks: list[WheelStack]
    """Wheel stacks."""
    active_stack: str | None
    """Lock that /opt/cudactl/active points to."""
    module: ModuleState
    """Kernel module."""
    vendor_files: VendorFiles | None = None
    """NVIDIA's files outside dpkg; None from a probe that did not look."""
    gpus: list[PciGpu]
    """NVIDIA GPUs on the PCI bus."""
    device_nodes: list[str]
    """/dev/nvidia* nodes."""
    gpu_processes: list[GpuProcess]
    """Processes with NVIDIA device files open (of other users only when root)."""
    disks: list[DiskState]
    """Room on /, /boot, /var, /opt."""
    platform: Platform = Field(default_factory=Platform)
    """What sort of machine this is."""
    services: dict[str, ServiceState] = Field(default_factory=dict)
    """Units that matter here and are installed, by full name, e.g. "docker.service"."""
    alternatives: dict[str, str] = Field(default_factory=dict)
    """Alternatives of NVIDIA's, e.g. "cuda" → "/usr/local/cuda-13.0"."""
    ssh: SshState = Field(default_factory=SshState)
    """What decides the environment of commands over SSH."""
    container_runtimes: list[ContainerRuntime] = Field(default_factory=list)
    """Container engines, with what they know of NVIDIA."""
    cdi: list[CdiSpec] = Field(default_factory=list)
    """CDI specifications of NVIDIA's under /etc/cdi and /var/run/cdi."""
    container_engines: list[str]
    """Container engines found: docker, containerd, podman."""
    owners: list[str]
    """Who else manages this host: slurm, kubernetes, gpu-operator; puppet, chef, salt, cfengine,
    ansible-pull."""
    jobs: dict[str, int] = Field(default_factory=dict)
    """Scheduler → jobs (Slurm) or containers with GPUs (Kubernetes) that run here now."""
    managed: dict[str, str] = Field(default_factory=dict)
    """Files that a lock may have to change → who writes them, by their own words or Puppet's
    record: puppet, chef, salt, ansible."""
    reboot_required: bool
    """/run/reboot-required exists."""
    unattended_upgrades: bool
    """The unattended-upgrades package is installed."""
    host_lock: HostLock | None
    """A run that is changing the host just now."""
    certificate: LastCertificate | None
    """The newest certificate kept on the host."""
    records: Records = Field(default_factory=Records)
    """What earlier runs of cudactl wrote down here."""
