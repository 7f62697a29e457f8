"""May the driver be exchanged now, will it work, and does a preinstalled one do?"""

from __future__ import annotations

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Choices, Finding, PlanStep
from cudactl.contracts.state import HostState
from cudactl.provision.preflight.findings import refuse, remark
from cudactl.provision.steps.driver_facts import driver_version, family, upstream_version
from cudactl.provision.steps.fabric import not_locked
from cudactl.provision.steps.reboot import differing_parameters, next_kernel, reasons
from cudactl.provision.steps.reboot import reload_obstacles as obstacles

# NVIDIA's own services, as /proc names them: cut at 15 characters. A run stops them by itself.
OWN_SERVICES = ("nv-hostengine", "nvidia-imex", "nv-fabricmanage", "nvlsm", "nvidia-persiste")


def driver_findings(
    lock: StackLock, state: HostState, steps: list[PlanStep], choices: Choices
) -> list[Finding]:
    """Refuse what cannot become a working driver; say what is left for a person to do."""
    if lock.resolved.get("driver") == "preinstalled":
        return _preinstalled(lock, state)
    if driver_version(lock) is None:
        return []
    findings = [*_busy(state, steps), *_fabric(lock, state), *_gdrcopy(lock, state)]
    why = reasons(lock, state)
    if why and choices.reboot == "never" and not any(s.role == "reboot" for s in steps):
        held = "; ".join(obstacles(lock, state))
        findings.append(
            remark(
                "DRIVER-NEEDS-REBOOT",
                f"{'; '.join(why)}, and --reboot never was given"
                + (f" ({held}, so reloading the module is no way)" if held else ""),
                f"reboot the host: driver {driver_version(lock)} is in use from then on",
            )
        )
    if not why and state.module.loaded is not None:
        findings += _ignored_parameters(lock, state)
    return findings


def _busy(state: HostState, steps: list[PlanStep]) -> list[Finding]:
    """Refuse to take the driver away under somebody's work."""
    strangers = [p for p in state.gpu_processes if p.name not in OWN_SERVICES]
    if not strangers or not any(s.risk in ("reboot", "drain") or s.role == "reboot" for s in steps):
        return []
    names = ", ".join(f"{p.name} ({p.pid})" for p in strangers[:5])
    return [
        refuse(
            "PREFLIGHT-GPU-BUSY",
            f"processes use the GPU: {names}",
            "an idle GPU, because the driver is replaced under them",
            "stop them (or drain the node) first",
        )
    ]


def _fabric(lock: StackLock, state: HostState) -> list[Finding]:
    """Refuse a host whose NVSwitches would be left without their manager."""
    missing = not_locked(lock, state)
    if not missing:
        return []
    version = lock.resolved["driver"]
    names = [s.package + (f" {version}" if s.same_version else "") for s in missing]
    remedy = (
        "write the host's GPUs into the spec (for example gpus: [H100 SXM]) and lock again: the "
        "lock then has them at the driver's version"
    )
    if any(not s.same_version for s in missing):
        remedy += "; nvlsm is not part of a lock yet: install it from NVIDIA's repository first"
    return [
        refuse(
            "PREFLIGHT-FABRIC-NOT-LOCKED",
            f"{'; '.join(s.why for s in missing)}, and the lock has not {', '.join(names)}",
            "the fabric's services at exactly the driver's version: without them CUDA fails with "
            "error 802",
            remedy,
        )
    ]


def _gdrcopy(lock: StackLock, state: HostState) -> list[Finding]:
    spec = lock.spec.driver
    if spec is None or "gdrcopy" not in spec.modules:
        return []
    there = any(b.module.startswith("gdrdrv") for b in state.module.dkms)
    if there or "gdrdrv-dkms" in state.packages:
        return []
    return [
        refuse(
            "PREFLIGHT-NO-GDRCOPY",
            "the spec asks for gdrcopy, and the host has no gdrdrv module",
            "gdrdrv-dkms, which is not in NVIDIA's CUDA repository",
            "install gdrdrv-dkms of GDRCopy's own release first; cudactl loads it at boot",
        )
    ]


def _ignored_parameters(lock: StackLock, state: HostState) -> list[Finding]:
    wanted = lock.spec.driver.parameters if lock.spec.driver is not None else {}
    differing = differing_parameters(wanted, state)
    if not differing:
        return []
    return [
        remark(
            "DRIVER-PARAMETERS-IGNORED",
            f"the driver runs with {', '.join(differing)} although it was started with the lock's",
            "the driver takes another value for these, or other modprobe configuration wins: "
            "modprobe --showconfig | grep nvidia",
        )
    ]


def _preinstalled(lock: StackLock, state: HostState) -> list[Finding]:
    """Hold a driver that is somebody else's to what the lock needs; touch nothing."""
    loaded, least = state.module.loaded, lock.driver_minimum
    findings = []
    if loaded is None:
        if not state.gpus:
            return [
                remark(
                    "DRIVER-NO-GPU",
                    "the lock says that the host brings its driver; none is loaded, and no NVIDIA "
                    "GPU is there",
                )
            ]
        by = " (nouveau has the GPUs)" if state.module.nouveau else ""
        return [
            refuse(
                "PREFLIGHT-DRIVER-ABSENT",
                f"the lock says that the host brings its driver, and none is loaded{by}",
                f"driver {least} or later" if least else "a loaded driver",
                "install and load one, or let the lock bring it: driver: {branch: …}",
            )
        ]
    if least is not None and _older(loaded, least):
        findings.append(
            refuse(
                "PREFLIGHT-DRIVER-TOO-OLD",
                f"the host's driver is {loaded}",
                f"{least} or later: CUDA {lock.resolved.get('cuda')} does not run with less",
                "update the host's driver, or lock an older toolkit",
            )
        )
    libraries = {
        name: version
        for name, version in family(state).items()
        if name.startswith(("libnvidia-compute", "libcuda1"))
    }
    others = sorted(f"{n} {v}" for n, v in libraries.items() if upstream_version(v) != loaded)
    if others:
        findings.append(
            remark(
                "DRIVER-MIXED",
                f"the loaded module is {loaded}, the installed libraries are {', '.join(others)}",
                "reboot the host, or mend its driver: NVML fails with a version mismatch",
            )
        )
    following = next_kernel(state)
    there = {f.version for f in state.module.files if f.kernel == following}
    if following in state.kernel.installed and loaded not in there:
        has = ", ".join(sorted(v for v in there if v)) or "no NVIDIA module"
        findings.append(
            remark(
                "DRIVER-NEXT-BOOT",
                f"the next boot takes kernel {following}, which has {has}; {loaded} is loaded now",
                "see that the host's driver is built for that kernel before it reboots",
            )
        )
    return findings


def _older(one: str, other: str) -> bool:
    return [int(part) for part in one.split(".")] < [int(part) for part in other.split(".")]
