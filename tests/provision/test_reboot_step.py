"""A reload, a reboot, or neither: decided by what the host's state is."""

from __future__ import annotations

from typing import Any

import pytest

from cudactl.contracts.lock import StackLock
from cudactl.contracts.state import HostState
from cudactl.provision.steps.driver import PARAMETERS
from cudactl.provision.steps.reboot import next_boot_lacks
from tests.provision.conftest import bare_state
from tests.provision.drivers import (
    NEW,
    OLD,
    VERSION,
    changed,
    codes,
    gpu_host,
    module_file,
    plan,
    step,
    told,
    with_driver,
)


@pytest.fixture
def lock(apt_lock: StackLock) -> StackLock:
    return with_driver(apt_lock)


def how(lock: StackLock, state: HostState, **choices: Any) -> str | None:
    found = step(plan(lock, state, **choices), "reboot")
    return found.variables["how"] if found is not None else None


def test_the_locked_driver_in_use_needs_nothing(lock: StackLock) -> None:
    assert how(lock, gpu_host(lock)) is None


def test_a_host_without_a_gpu_is_never_rebooted_for_its_driver(lock: StackLock) -> None:
    bare = changed(gpu_host(lock, gpus=[]), "module", loaded=None, flavour=None)
    assert how(lock, bare) is None
    assert how(lock, bare_state()) is None, "nor is one that gets everything now"


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ({"loaded": "575.57.08"}, "the loaded module is 575.57.08"),
        ({"flavour": "proprietary"}, "the loaded module is the proprietary one"),
        ({"loaded": None, "flavour": None}, "no NVIDIA module is loaded"),
    ],
)
def test_another_module_is_exchanged_without_a_reboot(
    lock: StackLock, module: dict[str, Any], said: str
) -> None:
    made = plan(lock, changed(gpu_host(lock), "module", **module))
    found = step(made, "reboot")
    assert found is not None
    assert found is made.steps[-1], "nothing is left to do after it"
    assert found.variables["how"] == "reload"
    assert (found.reason, found.risk) == (said, "restart")
    assert told(found, "module") == {
        "nvidia": (module.get("loaded", VERSION), VERSION),
    }


def test_services_of_nvidias_stop_for_it_and_start_again_in_the_other_order(
    lock: StackLock,
) -> None:
    running = {"enabled": True, "active": True}
    units = ("nvidia-dcgm.service", "nvidia-fabricmanager.service", "nvidia-persistenced.service")
    host = changed(gpu_host(lock), "module", loaded="575.57.08")
    services = {**dict.fromkeys(units, running), "docker.service": running}
    host = HostState.model_validate({**host.model_dump(), "services": services})
    found = step(plan(lock, host), "reboot")
    assert found is not None
    assert found.variables["stop"] == list(units)
    assert found.variables["start"] == list(reversed(units))
    assert set(told(found, "service")) == set(units)


@pytest.mark.parametrize(
    ("part", "values", "said"),
    [
        ("module", {"nouveau": True, "loaded": None}, "nouveau is loaded"),
        ("module", {"references": {"nvidia": 2, "nvidia_drm": 1}}, "nvidia_drm is in use"),
        (
            "module",
            {"references": {"nvidia_drm": 0, "nvidia_modeset": 2}},
            "nvidia_modeset is in use",
        ),
        ("services", {"gdm3.service": {"enabled": True, "active": True}}, "gdm3.service runs"),
        ("kernel", {"running": "6.8.0-1-generic"}, "6.8.0-1-generic are gone"),
    ],
)
def test_what_cannot_be_exchanged_while_the_host_runs_needs_a_reboot(
    lock: StackLock, part: str, values: dict[str, Any], said: str
) -> None:
    state = changed(gpu_host(lock), "module", loaded="575.57.08")
    found = step(plan(lock, changed(state, part, **values)), "reboot")
    assert found is not None
    assert said in found.reason
    assert (found.variables["how"], found.risk) == ("boot", "reboot")
    assert set(told(found, "boot")) == {"boot"}


def test_modules_that_only_serve_each_other_are_no_obstacle(lock: StackLock) -> None:
    held = {"nvidia": 10, "nvidia_uvm": 4, "nvidia_modeset": 1, "nvidia_drm": 0}
    state = changed(gpu_host(lock), "module", loaded="575.57.08", references=held)
    assert how(lock, state) == "reload"


def test_a_prebuilt_module_for_the_next_kernel_needs_that_kernel(apt_lock: StackLock) -> None:
    lock = with_driver(apt_lock, "libnvidia-compute-580-server", "nvidia-utils-580-server")
    state = changed(gpu_host(lock), "module", loaded=None, flavour=None)
    assert how(lock, state) == "reload"
    found = step(plan(lock, changed(state, "kernel", running=OLD)), "reboot")
    assert told(found, "boot") == {"boot": (OLD, NEW)}


def test_a_container_with_a_gpu_leaves_the_driver_to_its_host(lock: StackLock) -> None:
    state = changed(gpu_host(lock), "kernel", installed=[], next_boot=None, newest_installed=None)
    assert how(lock, changed(state, "module", loaded="575.57.08")) is None


# What the caller decides --------------------------------------------------------------------------


def test_never_says_that_a_reboot_is_due_and_why_a_reload_is_no_way(lock: StackLock) -> None:
    state = changed(gpu_host(lock), "module", loaded=None, nouveau=True)
    made = plan(lock, state, reboot="never")
    assert step(made, "reboot") is None
    (said,) = [f for f in made.findings if f.code == "DRIVER-NEEDS-REBOOT"]
    assert "nouveau" in said.found
    assert VERSION in said.remedy
    assert not made.refusals


def test_never_still_reloads(lock: StackLock) -> None:
    state = changed(gpu_host(lock), "module", loaded="575.57.08")
    assert how(lock, state, reboot="never") == "reload"
    assert "DRIVER-NEEDS-REBOOT" not in codes(plan(lock, state, reboot="never"))


def test_always_reboots_when_anything_changes_and_not_otherwise(lock: StackLock) -> None:
    host = gpu_host(lock)
    assert plan(lock, host).steps, "the repository's files are not there"
    assert how(lock, host) is None
    assert how(lock, host, reboot="always") == "boot"
    state = changed(host, "module", loaded="575.57.08")
    assert how(lock, state, reboot="always") == "boot", "also where a reload would do"


# Parameters ---------------------------------------------------------------------------------------


@pytest.fixture
def tuned(apt_lock: StackLock) -> StackLock:
    return with_driver(apt_lock, parameters={"NVreg_EnableGpuFirmware": "0", "NVreg_Other": "1"})


def written(state: HostState, at: float) -> HostState:
    files = [
        f.model_copy(update={"written": at}) if f.path == PARAMETERS else f for f in state.files
    ]
    return state.model_copy(update={"files": files})


def test_parameters_that_came_after_the_start_need_the_module_loaded_again(
    tuned: StackLock,
) -> None:
    state = changed(gpu_host(tuned), "module", parameters={"EnableGpuFirmware": "18"})
    found = step(plan(tuned, written(state, 600.0)), "reboot")
    assert found is not None
    assert found.reason == "the module runs with NVreg_EnableGpuFirmware=18"
    without = state.model_copy(update={"files": []})
    assert how(tuned, without) == "reload", "and so do those of a file that comes now"


def test_parameters_in_another_notation_are_the_same(tuned: StackLock) -> None:
    state = changed(gpu_host(tuned), "module", parameters={"EnableGpuFirmware": "0x0"})
    assert how(tuned, written(state, 600.0)) is None


def test_what_the_driver_made_of_a_parameter_is_told_and_does_not_reboot_for_ever(
    tuned: StackLock,
) -> None:
    state = changed(gpu_host(tuned), "module", parameters={"EnableGpuFirmware": "18"})
    made = plan(tuned, written(state, 100.0))
    assert step(made, "reboot") is None
    assert "DRIVER-PARAMETERS-IGNORED" in codes(made)


# Before a reboot ----------------------------------------------------------------------------------


def test_the_next_boot_has_its_module(lock: StackLock) -> None:
    assert next_boot_lacks(lock, gpu_host(lock)) is None


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "which has none"),
        ([module_file(OLD)], "which has none"),
        ([module_file(NEW, "575.57.08")], "which has 575.57.08 open"),
        ([module_file(NEW, flavour="proprietary")], f"which has {VERSION} proprietary"),
    ],
)
def test_a_next_boot_without_the_module_is_no_reason_to_reboot(
    lock: StackLock, files: list[dict[str, Any]], said: str
) -> None:
    lacks = next_boot_lacks(lock, changed(gpu_host(lock), "module", files=files))
    assert lacks is not None
    assert NEW in lacks
    assert said in lacks


@pytest.mark.parametrize(
    ("enrolled", "file", "refused"),
    [
        (True, {"signer": "host MOK"}, False),
        (False, {"signer": "host MOK"}, True),
        (None, {"signer": "host MOK"}, True),
        (
            None,
            {"signer": "Canonical", "path": "/lib/modules/x/kernel/nvidia-580/nvidia.ko"},
            False,
        ),
        (None, {"signer": None, "path": "/lib/modules/x/kernel/nvidia-580/nvidia.ko"}, True),
        # Of a compressed module the signature is not read: the archive's are all signed.
        (None, {"signer": None, "path": "/lib/modules/x/kernel/nvidia-580/nvidia.ko.zst"}, False),
    ],
)
def test_under_secure_boot_the_firmware_must_know_the_modules_key(
    lock: StackLock, enrolled: bool | None, file: dict[str, Any], refused: bool
) -> None:
    state = changed(gpu_host(lock), "module", files=[module_file(NEW, **file)])
    state = changed(state, "kernel", secure_boot=True, mok_enrolled=enrolled)
    lacks = next_boot_lacks(lock, state)
    assert (lacks is not None) == refused
    assert lacks is None or "Secure Boot" in lacks


# Whose work it would end --------------------------------------------------------------------------


def test_a_gpu_at_work_refuses_a_change_of_its_driver(lock: StackLock) -> None:
    busy = [{"pid": 77, "name": "python3"}]
    state = gpu_host(lock, gpu_processes=busy)
    assert "PREFLIGHT-GPU-BUSY" not in codes(plan(lock, state))
    exchanged = changed(state, "module", loaded="575.57.08")
    assert "PREFLIGHT-GPU-BUSY" in codes(plan(lock, exchanged))


def test_nvidias_own_daemons_are_nobodys_work(lock: StackLock) -> None:
    daemons = [{"pid": 1, "name": "nvidia-persiste"}, {"pid": 2, "name": "nv-hostengine"}]
    state = changed(gpu_host(lock, gpu_processes=daemons), "module", loaded="575.57.08")
    assert "PREFLIGHT-GPU-BUSY" not in codes(plan(lock, state))


# A driver that is somebody else's -----------------------------------------------------------------


@pytest.fixture
def preinstalled(apt_lock: StackLock) -> StackLock:
    packages = [p for p in apt_lock.packages if p.component != "driver"]
    resolved = {**apt_lock.resolved, "driver": "preinstalled"}
    return apt_lock.model_copy(
        update={"packages": packages, "resolved": resolved, "driver_minimum": "580.65.06"}
    )


def host_with(lock: StackLock, loaded: str | None, **module: Any) -> HostState:
    libraries = {"libnvidia-compute-580": f"{loaded}-1ubuntu1"} if loaded else {}
    state = gpu_host(lock, packages=libraries, files=[], services={})
    there = [module_file(NEW, loaded)] if loaded else []
    return changed(state, "module", **{"loaded": loaded, "files": there, **module})


def test_a_preinstalled_driver_is_touched_by_nothing(preinstalled: StackLock) -> None:
    made = plan(preinstalled, host_with(preinstalled, "580.65.06"))
    assert not codes(made)
    assert not {s.role for s in made.steps} & {"driver", "fabric", "reboot"}
    assert not any(
        c.name.startswith(("libnvidia", "linux-")) for s in made.steps for c in s.changes
    )


@pytest.mark.parametrize(
    ("loaded", "module", "code", "refused"),
    [
        ("575.57.08", {}, "PREFLIGHT-DRIVER-TOO-OLD", True),
        (None, {}, "PREFLIGHT-DRIVER-ABSENT", True),
        (None, {"nouveau": True}, "PREFLIGHT-DRIVER-ABSENT", True),
        ("590.48.01", {"files": [module_file(NEW, "580.95.05")]}, "DRIVER-NEXT-BOOT", False),
        ("590.48.01", {"files": []}, "DRIVER-NEXT-BOOT", False),
    ],
)
def test_a_preinstalled_driver_is_held_to_what_the_lock_needs(
    preinstalled: StackLock,
    loaded: str | None,
    module: dict[str, Any],
    code: str,
    refused: bool,
) -> None:
    made = plan(preinstalled, host_with(preinstalled, loaded, **module))
    assert codes(made) == {code}
    assert bool(made.refusals) == refused


def test_a_preinstalled_driver_whose_libraries_moved_on_is_told(preinstalled: StackLock) -> None:
    state = host_with(preinstalled, "580.95.05")
    moved = state.model_copy(update={"packages": {"libnvidia-compute-580": "580.159.04-1ubuntu1"}})
    assert codes(plan(preinstalled, moved)) == {"DRIVER-MIXED"}


def test_without_a_gpu_no_preinstalled_driver_is_missed(preinstalled: StackLock) -> None:
    state = host_with(preinstalled, None).model_copy(update={"gpus": []})
    made = plan(preinstalled, state)
    assert codes(made) == {"DRIVER-NO-GPU"}
    assert not made.refusals


def test_gdrcopy_without_its_module_is_refused(apt_lock: StackLock) -> None:
    lock = with_driver(apt_lock, modules=["gdrcopy"])
    assert codes(plan(lock, gpu_host(lock))) == {"PREFLIGHT-NO-GDRCOPY"}
    there = {"module": "gdrdrv", "version": "2.5", "kernel": NEW, "status": "installed"}
    assert not plan(lock, changed(gpu_host(lock), "module", dkms=[there])).refusals
