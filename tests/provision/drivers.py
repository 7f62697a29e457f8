"""Locks with a driver, and hosts with kernels, modules and GPUs of their own."""

from __future__ import annotations

from typing import Any

from cudactl.contracts.lock import LockedPackage, StackLock
from cudactl.contracts.plan import Choices, Plan, PlanStep
from cudactl.contracts.spec import DriverSpec, StackSpec
from cudactl.contracts.state import HostState
from cudactl.provision.plan import make_plan
from cudactl.provision.steps.driver import driver_files
from tests.provision.conftest import bare_state, package

OLD, NEW = "6.8.0-31-generic", "6.8.0-101-generic"
VERSION = "580.95.05"
GPU = {"address": "0000:17:00.0", "device": "2335", "driver": None}
SERVICES = {"nvidia-persistenced.service": {"enabled": True, "active": True}}


def driver_package(name: str, version: str = VERSION) -> LockedPackage:
    return package(name, f"{version}-1ubuntu1", "driver", top_level=True)


def with_driver(
    lock: StackLock,
    *names: str,
    version: str = VERSION,
    flavour: str = "open",
    **spec: Any,
) -> StackLock:
    """Return the lock with a driver as NVIDIA packages it for Ubuntu, or with these packages."""
    wanted = names or (
        *("libnvidia-compute-580", "nvidia-dkms-580-open", "nvidia-compute-utils-580"),
        "nvidia-utils-580",
    )
    others = [p for p in lock.packages if p.component != "driver"]
    wish = StackSpec(os=lock.spec.os, cuda="13.0", cudnn="9", driver=DriverSpec(**spec))
    return lock.model_copy(
        update={
            "spec": wish,
            "packages": [*others, *(driver_package(n, version) for n in wanted)],
            "resolved": {**lock.resolved, "driver": version},
            "driver_flavour": flavour,
        }
    )


def module_file(kernel: str, version: str | None = VERSION, **more: Any) -> dict[str, Any]:
    path = f"/lib/modules/{kernel}/updates/dkms/nvidia.ko"
    facts = {"kernel": kernel, "path": path, "version": version, "flavour": "open"}
    return {**facts, "signer": None, **more}


def gpu_host(lock: StackLock, **more: Any) -> HostState:
    """Return a host with a GPU on which the lock's driver runs and nothing of it is left to do."""
    files = driver_files(lock)
    values: dict[str, Any] = {
        "kernel": {
            "running": NEW,
            "newest_installed": NEW,
            "next_boot": NEW,
            "installed": [OLD, NEW],
            "booted_at": 500.0,
            "headers": [NEW],
            "secure_boot": False,
            "initramfs": {OLD: 200.0, NEW: 200.0},
        },
        "packages": {**{p.name: p.version for p in lock.packages}, "libc6": "2.39"},
        "holds": [p.name for p in lock.packages],
        "files": [{"path": f.path, "sha256": f.sha256, "written": 100.0} for f in files],
        "gpus": [GPU],
        "services": SERVICES,
        "module": {
            "loaded": VERSION,
            "flavour": lock.driver_flavour,
            "on_disk": {NEW: VERSION},
            "nouveau": False,
            "nouveau_blocked": True,
            "files": [module_file(NEW, flavour=lock.driver_flavour)],
        },
    }
    return bare_state(**{**values, **more})


def changed(state: HostState, part: str, **values: Any) -> HostState:
    """Return the state with some of one part's fields changed."""
    document = state.model_dump()
    document[part] = {**document[part], **values}
    return HostState.model_validate(document)


def plan(lock: StackLock, state: HostState, **choices: Any) -> Plan:
    return make_plan("h1", lock, state, now=2000.0, choices=Choices(**choices))


def step(made: Plan, role: str) -> PlanStep | None:
    """Return the plan's step of a role, or None."""
    return next((s for s in made.steps if s.role == role and s.id != "packages.mend"), None)


def told(found: PlanStep | None, kind: str) -> dict[str, tuple[str | None, str | None]]:
    """Return name → before and after of a step's changes of one kind."""
    assert found is not None
    return {c.name: (c.before, c.after) for c in found.changes if c.kind == kind}


def codes(made: Plan) -> set[str]:
    """Return what the plan has to say of the driver; other subjects have tests of their own."""
    subjects = ("DRIVER", "FABRIC", "GPU", "GDRCOPY")
    return {f.code for f in made.findings if any(word in f.code for word in subjects)}
