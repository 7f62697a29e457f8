"""Cases of `explained.py` that belong to one part of a stack: driver, containers, environment."""

from __future__ import annotations

from typing import Literal, NamedTuple

Declared = Literal["refused", "taken over", "told"]


class Case(NamedTuple):
    """One declared case."""

    declared: Declared
    what: str
    """What was met."""
    more: str
    """Why it matters, and the way out."""


OF_PARTS: dict[str, Case] = {
    "PREFLIGHT-FABRIC-NOT-LOCKED": Case(
        "refused",
        "NVSwitches or NVLink 5, and a lock without the fabric's services",
        "Until the fabric manager runs, at exactly the driver's version, CUDA fails with error 802 "
        "while nvidia-smi looks healthy. A spec that names the GPUs gets them locked.",
    ),
    "PREFLIGHT-NO-GDRCOPY": Case(
        "refused",
        "`modules: [gdrcopy]` on a host without gdrdrv-dkms",
        "It is not in NVIDIA's CUDA repository, so no lock can hold it.",
    ),
    "DRIVER-NEEDS-REBOOT": Case(
        "told",
        "a driver that only a reboot brings into use, and --reboot never",
        "Until then the old module runs under new libraries: NVML says that versions differ.",
    ),
    "DRIVER-PARAMETERS-IGNORED": Case(
        "told",
        "module parameters that the loaded driver does not show",
        "Other modprobe configuration wins, or the driver takes another value.",
    ),
    "DRIVER-NO-GPU": Case(
        "told", "a preinstalled driver on a host without a GPU", "None is needed."
    ),
    "DRIVER-MIXED": Case(
        "told",
        "a preinstalled driver whose libraries are of another version than its module",
        "Somebody upgraded it without a reboot; NVML fails with a version mismatch.",
    ),
    "DRIVER-NEXT-BOOT": Case(
        "told",
        "a next kernel without the preinstalled driver's module",
        "The GPUs are gone after the next boot.",
    ),
    "CONTAINERS-NO-TOOLKIT": Case(
        "refused",
        "a `container_runtime` without the container toolkit in the lock",
        "Engines are told of its runtime. Add `container_toolkit` to the spec.",
    ),
    "CONTAINERS-NO-ENGINE": Case(
        "refused",
        "a `container_runtime` that is not installed",
        "cudactl configures the engine that is there; it brings none.",
    ),
    "CONTAINERS-OPERATOR": Case(
        "refused",
        "an engine that NVIDIA's GPU Operator configures",
        "Two that write one configuration undo each other's work.",
    ),
    "CONTAINERS-UNREADABLE": Case(
        "refused",
        "an engine's configuration that cannot be read",
        "It is merged, never written anew, so it must be readable first.",
    ),
    "CONTAINERS-SNAP": Case(
        "refused", "Docker as a snap", "A snap is confined and does not see NVIDIA's runtime."
    ),
    "CONTAINERS-PODMAN-OLD": Case(
        "refused",
        "a podman before 4.1",
        "Devices come to it by CDI, which it has from 4.1 on (Ubuntu 22.04 has 3.4).",
    ),
    "CONTAINERS-ENROOT-HOOK": Case(
        "told", "Enroot without its NVIDIA hook", "Its containers then see no GPU."
    ),
    "CONTAINERS-CDI-TWICE": Case(
        "told",
        "other people's CDI specification for the same devices",
        "An engine refuses a device that two specifications name.",
    ),
    "CONTAINERS-CDI-OLD": Case(
        "told",
        "other people's CDI specification of another driver version",
        "The libraries that it names are gone.",
    ),
    "ENVIRONMENT-CUDA-FOLDER": Case(
        "refused",
        "/usr/local/cuda is a folder where a link belongs",
        "The link says which toolkit is the active one; a folder is somebody's own installation.",
    ),
    "ENVIRONMENT-SSH": Case(
        "told",
        "an SSH server that will not tell commands of the toolkit",
        "`ssh HOST COMMAND` reads no profile; only the server can set its environment.",
    ),
    "ROLLBACK-NOT-KEPT": Case(
        "told",
        "a way back whose packages are not kept on the host",
        "It works while the repository still has these versions.",
    ),
    "UNINSTALL-LEFT": Case(
        "told", "packages that were there before cudactl", "They stay, at today's version."
    ),
    "UNINSTALL-ALONG": Case(
        "told", "packages of the distribution that came along", "apt-get autoremove shows them."
    ),
    "APT-LISTS-OLD": Case(
        "told",
        "a host whose apt cannot tell yet what the distribution brings",
        "The run reads the lists first, and refuses where they still cannot.",
    ),
}
