"""A machine that is not running: what of a state is the building machine's, and not its own.

The probe runs inside the root, on the kernel of the machine that makes the image. Pure: controller
and Ansible's first task read the same state from the same answer.
"""

from __future__ import annotations

from cudactl.contracts.state import HostState
from cudactl.contracts.state_machine import Platform


def offline_state(state: HostState, kernel: str) -> HostState:
    """Return the state of a root that will run `kernel`, without what only runs elsewhere."""
    release = kernel or state.kernel.newest_installed or ""
    module = state.module.model_copy(
        update={
            "loaded": None,
            "flavour": None,
            "nouveau": False,
            "references": {},
            "parameters": {},
        }
    )
    kernels = state.kernel.model_copy(
        update={
            "running": release,
            "next_boot": release or None,
            "secure_boot": None,
            "mok_enrolled": None,
        }
    )
    services = {
        name: unit.model_copy(update={"active": False}) for name, unit in state.services.items()
    }
    return state.model_copy(
        update={
            "hostname": "offline",
            "boot_id": None,
            "virtualization": None,
            "kernel": kernels,
            "module": module,
            "platform": Platform(),
            "services": services,
            "gpus": [],
            "gpu_processes": [],
            "device_nodes": [],
            "dpkg_locked": None,
            "reboot_required": False,
            "host_lock": None,
        }
    )
