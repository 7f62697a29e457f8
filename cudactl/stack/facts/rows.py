"""The catalogue's rows: one model a table, one fact a row, each with its source and date.

An empty cell means "not known", and stays unknown. `contested` names the columns whose sources
disagree: the cell holds the better founded claim, and `notes` says what the others say.
"""

from __future__ import annotations

from typing import Literal

from cudactl.contracts.spec import OsName
from cudactl.stack.facts.row import Known, Names, Unknown, Words
from cudactl.stack.facts.row import Row as Row

Flavour = Literal["open", "proprietary"]


class Distribution(Row):
    """A distribution that NVIDIA publishes a repository for."""

    name: OsName
    """Name in specs."""
    codename: Known
    """Distribution's code name."""
    family: Literal["ubuntu", "debian"]
    """Whose package names NVIDIA follows in it."""
    repository: Known
    """Folder below NVIDIA's repositories."""
    key_file: Known
    """Name of the key file in that folder."""
    fingerprint: Known
    """Full fingerprint of the key that must have signed the index."""
    first_toolkit: Known
    """First CUDA minor in that repository."""
    glibc: Known
    """C library."""
    gcc: Known
    """Default compiler."""
    python: Known
    """Interpreter tag of the distribution's Python."""
    kernel: Unknown
    """Kernel release of the first installation media, e.g. "6.8.0-31"."""
    architectures: Words
    """Architectures that NVIDIA publishes a repository folder for, as far as seen."""
    contested: Words = ()
    """Columns whose sources disagree; `notes` says how."""
    notes: str = ""
    """Remarks."""


class Toolkit(Row):
    """A CUDA toolkit release."""

    version: Known
    """Three-part version."""
    released: Unknown
    """Day of the release."""
    driver_full: Unknown
    """Least driver for all of its features (Linux)."""
    driver_minor: Known
    """Least driver with minor-version compatibility (Linux)."""
    driver_bundled: Unknown
    """Driver that the release's own installer brings, where it is another than `driver_full`."""
    sm: Words
    """Compute capabilities that its compiler targets, without the dot."""
    gcc_max: Unknown
    """Newest host gcc (major) that nvcc accepts."""
    clang_max: Unknown
    """Newest host clang (major) that nvcc accepts."""
    glibc_max: Unknown
    """Newest C library whose headers nvcc accepts."""
    notes: str
    """Remarks."""
    contested: Words = ()
    """Columns whose sources disagree; `notes` says how."""

    @property
    def minor(self) -> str:
        """E.g. "13.0"."""
        return ".".join(self.version.split(".")[:2])

    @property
    def major(self) -> str:
        """E.g. "13"."""
        return self.version.split(".")[0]


class Component(Row):
    """One part of a toolkit release, with its version as wheel and as Debian package."""

    toolkit: Known
    """Toolkit release."""
    wheel: Known
    """Wheel project."""
    version: Known
    """Upstream version."""
    apt: str
    """Debian package; empty where there is none."""
    apt_version: str
    """Debian version."""


class Cudnn(Row):
    """A cuDNN release."""

    version: Known
    """Four-part version."""
    cuda_majors: Words
    """CUDA majors it is built for."""
    min_cc: Unknown
    """Least compute capability of every build."""
    min_cc_cuda13: Unknown
    """Least compute capability of the CUDA 13 build, where it differs."""
    contested: Words
    """Columns whose sources disagree; `notes` says how."""
    notes: str
    """Remarks."""


class TensorRT(Row):
    """A TensorRT release."""

    version: Known
    """Four-part version (three where only the wheel index was seen)."""
    built_for_cuda: Words
    """CUDA minors it is built for; a 12.x build serves all of CUDA 12."""
    min_cc: Unknown
    """Least compute capability."""
    cudnn: Unknown
    """cuDNN major that it needs; empty: none, or not known."""
    pythons: Words
    """Interpreter tags that its Python bindings exist for, e.g. "cp312"."""
    contested: Words
    """Columns whose sources disagree; `notes` says how."""
    notes: str
    """Remarks."""
    cuda_majors: Words = ()
    """CUDA majors it is built for, also where the minors are not known."""


class TensorRTRtx(Row):
    """A TensorRT for RTX release."""

    version: Known
    """Four-part version."""
    cuda_majors: Words
    """CUDA majors it is built for."""
    sm: Words
    """Compute capabilities that engines can be built for."""
    notes: str
    """Remarks."""


class Nccl(Row):
    """An NCCL release."""

    version: Known
    """Three-part version."""
    built_for_cuda: Words
    """CUDA minors it is built for."""
    notes: str
    """Remarks."""
    cuda_majors: Words = ()
    """CUDA majors it was seen for, as package or wheel."""


class ContainerToolkit(Row):
    """An NVIDIA container toolkit release."""

    version: Known
    """Three-part version."""
    notes: str
    """Remarks."""


class DriverBranch(Row):
    """A driver branch."""

    branch: Known
    """First number of its versions."""
    kind: Literal["LTS", "PB", "NFB", ""]
    """Long-term support, production, new feature; empty: not known."""
    released: Unknown
    """Day of the first release."""
    eol: Unknown
    """Last day of support."""
    newest: Unknown
    """Newest version for data-centre GPUs; Ubuntu's archive can have a newer one (see notes)."""
    flavours: Words
    """Kernel module flavours it offers: open, proprietary."""
    default_flavour: Flavour
    """Flavour that `auto` means."""
    names: Literal["suffixed", "unsuffixed"]
    """Whether NVIDIA's Ubuntu packages carry the branch in their names."""
    fabric_manager: Literal["suffixed", "unsuffixed"]
    """Whether fabric manager, NSCQ and IMEX carry the branch in their names."""
    security_floor: Unknown
    """Least version without a published vulnerability; empty: not known."""
    contested: Words
    """Columns whose sources disagree; `notes` says how."""
    notes: str
    """Remarks."""


class DriverRelease(Row):
    """A driver version."""

    version: Known
    """Version."""
    released: Unknown
    """Day of the release."""


class ArchiveDriver(Row):
    """A driver package of a distribution's own archive."""

    os: OsName
    """Distribution."""
    branch: Known
    """Branch in the package's name, or of its version where no name has one (Debian)."""
    variant: Literal["open", "proprietary", "server-open", "server-proprietary"]
    """Kernel module flavour, and whether it is the server's series."""
    package: Known
    """Package name: "nvidia-driver-580-open"; of Debian the module's, "nvidia-kernel-dkms"."""
    version: Known
    """Debian version in the newest pocket seen."""
    becomes: Unknown
    """Package that it really installs in the end, where it is transitional."""


class Kernel(Row):
    """A kernel series that a distribution publishes signed driver modules for."""

    os: OsName
    """Distribution."""
    series: Known
    """Kernel series, e.g. "6.8"."""
    flavour: Known
    """Kernel flavour, e.g. "generic"."""
    branches: Words
    """Driver branches that modules are published for."""


class Torch(Row):
    """A PyTorch release as the package index serves it by default."""

    version: Known
    """Three-part version."""
    released: Unknown
    """Day of the release."""
    cuda: Unknown
    """CUDA minor that the default x86_64 wheel brings."""
    cudnn: Unknown
    """cuDNN that the default wheel pins."""
    nccl: Unknown
    """NCCL that the default wheel pins."""
    pythons: Words
    """Interpreter tags."""
    sbsa: Literal["cuda", "cpu", ""]
    """What the default aarch64 wheel is; empty: not known."""
    contested: Words
    """Columns whose sources disagree; `notes` says how."""
    notes: str
    """Remarks."""


class TorchVariant(Row):
    """A build of PyTorch on its own index for one CUDA minor."""

    version: Known
    """PyTorch version, without the local part."""
    cuda: Known
    """CUDA minor ("13.0"); builds for the processor are left out."""
    cudnn: Unknown
    """cuDNN it was built with."""
    sm: Words
    """Compute capabilities it has machine code for, without the dot; empty: not known."""
    experimental: Literal["yes", ""]
    """Whether its makers call this build experimental."""
    sm_sbsa: Words = ()
    """The same as `sm` for aarch64; empty: not known."""
    contested: Words = ()
    """Columns whose sources disagree; `notes` says how."""
    notes: str = ""
    """Remarks."""


class Tensorflow(Row):
    """A TensorFlow release."""

    version: Known
    """Three-part version."""
    released: Unknown
    """Day of the release."""
    tested_cuda: Unknown
    """CUDA minor that its makers tested."""
    tested_cudnn: Unknown
    """cuDNN prefix that its makers tested."""
    cuda_major: Unknown
    """CUDA major that `tensorflow[and-cuda]` brings."""
    cudnn_least: Unknown
    """Least cuDNN that `tensorflow[and-cuda]` asks for."""
    pythons: Words
    """Interpreter tags."""
    prerelease: Literal["yes", ""] = ""
    """Whether it is a release candidate, which nobody gets without naming it."""
    notes: str = ""
    """Remarks."""


class Dcgm(Row):
    """A DCGM release."""

    version: Known
    """Three-part version."""
    epoch: str
    """Debian epoch, e.g. "1"; empty: none."""
    cuda_majors: Words
    """CUDA majors that it has packages for."""
    notes: str
    """Remarks."""


class Gpu(Row):
    """A GPU, with what its stack depends on and what its data sheet says (dense rates)."""

    name: Known
    """Catalogue name, e.g. "H100 SXM5 80GB"."""
    aliases: Names
    """Other names that people write; one that covers several rows means all of them."""
    form: str
    """Board, e.g. "SXM5" or "PCIe"."""
    pci_ids: Words
    """PCI device ids, hexadecimal, lower case."""
    architecture: Known
    """E.g. "Hopper"."""
    cc: Known
    """Compute capability, e.g. "9.0"."""
    data_centre: Literal["yes", "no"]
    """Whether forward compatibility packages serve it."""
    nvswitch: Literal["yes", "no"]
    """Whether its usual boards need the fabric manager."""
    open_module: Literal["unsupported", "supported", "required"]
    """Whether the open kernel module drives it."""
    first_toolkit: Known
    """First CUDA minor whose compiler targets it."""
    first_driver: Unknown
    """First driver known to drive it."""
    last_branch: Unknown
    """Last driver branch; empty: still supported."""
    sm_count: Unknown
    """Streaming multiprocessors."""
    memory_gb: Unknown
    """Memory, GB."""
    memory_gbs: Unknown
    """Memory bandwidth, GB/s."""
    fp64: Unknown
    """FP64, Tflop/s."""
    fp32: Unknown
    """FP32, Tflop/s."""
    tf32: Unknown
    """TF32, dense Tflop/s."""
    bf16: Unknown
    """BF16, dense Tflop/s."""
    fp16: Unknown
    """FP16, dense Tflop/s."""
    fp8: Unknown
    """FP8, dense Tflop/s."""
    watts: Unknown
    """Board power, W."""
    nvlink_gbs: Unknown
    """NVLink, both directions together, GB/s."""
    pcie_gen: Unknown
    """PCIe generation."""
    contested: Words
    """Columns whose sources disagree; `notes` says how."""
    notes: str
    """Remarks."""


class PackageMeaning(Row):
    """A package name that means something else than it says, or that no repository has."""

    pattern: Known
    """Names, as a regular expression that must match whole."""
    code: Known
    """Stable code, e.g. "PKG-PULLS-DRIVER"."""
    where: Known
    """Which repository: "nvidia", "ubuntu", "pypi"."""
    means: Known
    """What it really does, one sentence."""
    instead: Known
    """What cudactl takes, or what to write."""
