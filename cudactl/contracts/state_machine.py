"""Part of HostState: what sort of machine it is, its services and container engines."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cudactl.contracts.base import Contract


class ServiceState(Contract):
    """A systemd unit."""

    enabled: bool
    """It starts at boot."""
    active: bool
    """It has processes now; a timer, path or socket never has."""


class ContainerRuntime(Contract):
    """A container engine and what it knows of NVIDIA."""

    name: Literal["docker", "containerd", "podman", "crio", "enroot", "apptainer"]
    """Engine."""
    config: str | None
    """Its configuration file, where it has one."""
    nvidia: bool | None
    """The NVIDIA runtime is configured in it; None where that does not apply or is unreadable."""
    default: bool | None
    """The NVIDIA runtime is its default one."""
    cdi: bool | None
    """It takes devices by CDI; None where that cannot be told from its configuration."""
    problem: str | None = None
    """Why its configuration could not be read."""
    running: list[str] = Field(default_factory=list)
    """docker: names of the containers that run; empty also for who may not read them."""
    live_restore: bool = False
    """docker: containers outlive a restart of the engine."""


class CdiSpec(Contract):
    """A CDI specification of NVIDIA's."""

    path: str
    """File."""
    driver: str | None
    """Driver version in it, as its library names say."""
    written: float
    """Unix time, seconds."""


class Platform(Contract):
    """What sort of machine this is, as far as that changes how it is provisioned."""

    vendor: str | None = None
    """DMI system vendor."""
    product: str | None = None
    """DMI product name."""
    dgx_os: str | None = None
    """Version in /etc/dgx-release; None when this is not DGX OS."""
    vgpu_guest: bool | None = None
    """True when a GPU is a vGPU (by its PCI subsystem or the loaded GRID driver)."""
    nvswitches: int = 0
    """NVSwitches on the PCI bus."""
    nvlink5: bool = False
    """An NVLink 5 system, whose NVLink subnet manager is a service of its own."""
    mig_instances: int | None = None
    """MIG GPU instances that exist; None without a loaded driver."""
    driver_container: bool = False
    """A container (GPU Operator's) keeps a driver under /run/nvidia/driver."""


class SshState(Contract):
    """What decides the environment of `ssh HOST COMMAND`, which reads no profile."""

    drop_ins: bool = False
    """The SSH server reads /etc/ssh/sshd_config.d/*.conf."""
    set_env: list[str] = Field(default_factory=list)
    """Files, not cudactl's, with a SetEnv line: the server heeds the first such line only."""
    path: str | None = None
    """PATH in /etc/environment."""
