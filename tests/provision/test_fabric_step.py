"""NVSwitch hosts: the fabric's services, at the driver's version, started when it is loaded."""

from __future__ import annotations

import pytest

from cudactl.contracts.lock import StackLock
from cudactl.contracts.state import HostState
from cudactl.provision.steps.fabric import TIMEOUT, fabric_files
from tests.provision.drivers import (
    changed,
    codes,
    driver_package,
    gpu_host,
    plan,
    step,
    told,
    with_driver,
)

FM, IMEX, NVLSM = "nvidia-fabricmanager.service", "nvidia-imex.service", "nvlsm.service"
NAMES = ("libnvidia-compute-580", "nvidia-dkms-580-open", "nvidia-fabricmanager")
RUNNING = {"enabled": True, "active": True}


@pytest.fixture
def lock(apt_lock: StackLock) -> StackLock:
    return with_driver(apt_lock, *NAMES)


def hgx(lock: StackLock, **services: dict[str, bool]) -> HostState:
    """Return a host with NVSwitches, its fabric's files in place, and these services."""
    host = gpu_host(lock, platform={"nvswitches": 4})
    files = [*host.files, *gpu_host(lock).files]
    document = host.model_dump()
    document["files"] = [f.model_dump() for f in files] + [
        {"path": f.path, "sha256": f.sha256} for f in fabric_files(lock, host)
    ]
    document["services"] = {**document["services"], **services}
    return HostState.model_validate(document)


def test_a_host_without_switches_needs_no_fabric_manager(lock: StackLock) -> None:
    assert step(plan(lock, gpu_host(lock)), "fabric") is None
    assert not plan(lock, gpu_host(lock)).refusals


def test_a_fabric_manager_that_runs_is_left_alone(lock: StackLock) -> None:
    assert step(plan(lock, hgx(lock, **{FM: RUNNING})), "fabric") is None


def test_it_is_enabled_and_started_under_the_driver_of_its_version(lock: StackLock) -> None:
    found = step(plan(lock, hgx(lock, **{FM: {"enabled": False, "active": False}})), "fabric")
    assert told(found, "service") == {FM: ("disabled", "enabled")}
    assert found is not None
    assert (found.variables["enable"], found.variables["start"]) == ([FM], [FM])
    assert found.variables["ready_s"] == 900


def test_one_that_stopped_is_started(lock: StackLock) -> None:
    found = step(plan(lock, hgx(lock, **{FM: {"enabled": True, "active": False}})), "fabric")
    assert told(found, "service") == {FM: ("stopped", "running")}
    assert found is not None
    assert (found.variables["enable"], found.variables["start"]) == ([], [FM])


def test_under_another_driver_it_waits_for_the_right_one(lock: StackLock) -> None:
    host = hgx(lock, **{FM: {"enabled": False, "active": False}})
    made = plan(lock, changed(host, "module", loaded="575.57.08"))
    found = step(made, "fabric")
    assert found is not None
    assert found.variables["start"] == []
    last = step(made, "reboot")
    assert last is not None
    assert last.variables["wait_for"] == [FM], "the reload or reboot waits until it is ready"
    assert FM in last.variables["start"]


def test_it_gets_more_time_than_systemd_gives(lock: StackLock) -> None:
    host = gpu_host(lock, platform={"nvswitches": 4}, services={FM: RUNNING})
    found = step(plan(lock, host), "fabric")
    assert set(told(found, "file")) == {TIMEOUT}
    assert "TimeoutStartSec=900" in fabric_files(lock, host)[0].content


def test_a_package_that_is_to_come_brings_the_service(lock: StackLock) -> None:
    host = hgx(lock)
    packages = {n: v for n, v in host.packages.items() if n != "nvidia-fabricmanager"}
    found = step(plan(lock, host.model_copy(update={"packages": packages})), "fabric")
    assert told(found, "service") == {FM: (None, "enabled")}


@pytest.mark.parametrize(
    ("extra", "why"),
    [((), "absent"), ((driver_package("nvidia-fabricmanager", "580.159.04"),), "another version")],
)
def test_a_lock_without_the_right_fabric_manager_is_refused(
    apt_lock: StackLock, extra: tuple[object, ...], why: str
) -> None:
    lock = with_driver(apt_lock)
    lock = lock.model_copy(update={"packages": [*lock.packages, *extra]})
    made = plan(lock, hgx(lock))
    (refusal,) = made.refusals
    assert refusal.code == "PREFLIGHT-FABRIC-NOT-LOCKED", why
    assert "nvidia-fabricmanager 580.95.05" in refusal.found
    assert "gpus:" in refusal.remedy


def test_ubuntus_fabric_manager_has_the_branch_in_its_name(apt_lock: StackLock) -> None:
    lock = with_driver(apt_lock, *NAMES[:2], "nvidia-fabricmanager-580")
    assert not plan(lock, hgx(lock, **{FM: RUNNING})).refusals


def test_nvlink_5_needs_a_subnet_manager_as_well(lock: StackLock) -> None:
    host = changed(hgx(lock, **{FM: RUNNING}), "platform", nvswitches=0, nvlink5=True)
    assert codes(plan(lock, host)) == {"PREFLIGHT-FABRIC-NOT-LOCKED"}
    there = host.model_copy(update={"packages": {**host.packages, "nvlsm": "2025.10.12-1"}})
    stopped = {**there.model_dump()["services"], NVLSM: {"enabled": True, "active": False}}
    there = HostState.model_validate({**there.model_dump(), "services": stopped})
    found = step(plan(lock, there), "fabric")
    assert found is not None
    assert found.variables["start"] == [NVLSM]


def test_imex_runs_where_the_spec_asks_for_it(apt_lock: StackLock) -> None:
    without = with_driver(apt_lock, imex=True)
    assert codes(plan(without, gpu_host(without))) == {"PREFLIGHT-FABRIC-NOT-LOCKED"}
    lock = with_driver(apt_lock, *NAMES, "nvidia-imex", imex=True)
    services = {IMEX: {"enabled": False, "active": False}}
    found = step(plan(lock, gpu_host(lock, services=services)), "fabric")
    assert set(told(found, "service")) == {IMEX}
