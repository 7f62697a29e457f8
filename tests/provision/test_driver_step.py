"""The driver's packages and module: headers, builds, other drivers' packages, nouveau, services."""

from __future__ import annotations

import pytest

from cudactl.contracts.lock import StackLock
from cudactl.provision.steps.driver import (
    MODULES,
    NOUVEAU,
    PARAMETERS,
    PERSISTENCE,
    PERSISTENCE_DROP_IN,
    driver_files,
)
from cudactl.provision.steps.driver_facts import family, headers_missing, leftovers
from tests.provision.conftest import bare_state
from tests.provision.drivers import (
    NEW,
    OLD,
    changed,
    gpu_host,
    module_file,
    plan,
    step,
    told,
    with_driver,
)

CLOSED = (
    *("libnvidia-compute-580", "nvidia-dkms-580", "nvidia-kernel-source-580"),
    *("nvidia-compute-utils-580", "nvidia-utils-580"),
)
V = "580.95.05-1ubuntu1"


@pytest.fixture
def lock(apt_lock: StackLock) -> StackLock:
    return with_driver(apt_lock)


def text_of(lock: StackLock, path: str) -> str:
    (found,) = [f for f in driver_files(lock) if f.path == path]
    return found.content


def test_a_host_with_its_driver_in_place_needs_nothing_of_it(lock: StackLock) -> None:
    made = plan(lock, gpu_host(lock))
    assert step(made, "driver") is None
    assert step(made, "packages") is None
    assert step(made, "reboot") is None


def test_headers_of_the_running_and_the_next_kernel_come_in_the_same_transaction(
    lock: StackLock,
) -> None:
    state = changed(gpu_host(lock, packages={"linux-image-generic": "6.8"}), "kernel", headers=[])
    state = changed(state, "kernel", running=OLD)
    found = step(plan(lock, state), "packages")
    assert found is not None
    names = [f"linux-headers-{NEW}", f"linux-headers-{OLD}", "linux-headers-generic"]
    assert found.variables["install"][-3:] == names
    assert set(names) <= set(told(found, "package"))


def test_headers_alone_are_a_reason_for_a_transaction(lock: StackLock) -> None:
    found = step(plan(lock, changed(gpu_host(lock), "kernel", headers=[])), "packages")
    assert found is not None
    assert found.variables["install"] == [f"linux-headers-{NEW}"]
    assert not found.variables["from_kept"], "headers come from the archive, whose lists are read"
    assert "headers" in found.reason


@pytest.mark.parametrize(
    ("image", "headers"),
    [
        ("linux-image-generic", ["linux-headers-generic"]),
        ("linux-image-generic-hwe-24.04", ["linux-headers-generic-hwe-24.04"]),
        ("linux-image-aws", ["linux-headers-aws"]),
        ("linux-image-cloud-amd64", ["linux-headers-cloud-amd64"]),
        ("linux-image-6.8.0-31-generic", []),
        ("linux-image-unsigned-6.8.0-31-generic", []),
        ("linux-image-extra-virtual", []),
        ("linux-image-amd64-dbg", []),
    ],
)
def test_the_metapackage_of_the_kernel_in_use_says_which_headers_follow_it(
    lock: StackLock, image: str, headers: list[str]
) -> None:
    state = gpu_host(lock, packages={image: "1"})
    assert headers_missing(lock, state) == headers


def test_no_headers_where_nothing_is_built(apt_lock: StackLock) -> None:
    prebuilt = with_driver(apt_lock, "libnvidia-compute-580-server", "nvidia-utils-580-server")
    assert headers_missing(prebuilt, changed(gpu_host(prebuilt), "kernel", headers=[])) == []


def test_no_module_is_built_for_a_kernel_that_is_not_the_machines_own(lock: StackLock) -> None:
    # A container's: nothing of the running kernel lies under /lib/modules.
    state = changed(gpu_host(lock), "kernel", installed=[], headers=[], next_boot=None)
    state = changed(state, "module", files=[], on_disk={})
    assert headers_missing(lock, state) == []
    assert step(plan(lock, state), "driver") is None


def test_each_kernel_without_the_locked_module_is_named(lock: StackLock) -> None:
    state = changed(gpu_host(lock), "kernel", running=OLD, headers=[OLD, NEW])
    state = changed(state, "module", files=[module_file(NEW, "575.57.08")], on_disk={NEW: "575"})
    found = step(plan(lock, state), "driver")
    assert told(found, "module") == {
        f"nvidia for {OLD}": (None, "580.95.05"),
        f"nvidia for {NEW}": ("575", "580.95.05"),
    }
    assert found is not None
    assert found.variables["kernels"] == [OLD, NEW]
    assert found.variables["dkms"] is True


def test_a_module_of_the_other_flavour_is_none(lock: StackLock) -> None:
    state = changed(gpu_host(lock), "module", files=[module_file(NEW, flavour="proprietary")])
    assert f"nvidia for {NEW}" in told(step(plan(lock, state), "driver"), "module")


def test_a_build_that_failed_is_the_reason(lock: StackLock) -> None:
    failed = {"module": "nvidia", "version": "580.95.05", "kernel": NEW, "status": "failed"}
    state = changed(gpu_host(lock), "module", files=[], dkms=[failed])
    found = step(plan(lock, state), "driver")
    assert found is not None
    assert "failed" in found.reason


def test_a_prebuilt_module_is_looked_for_where_the_next_boot_is(apt_lock: StackLock) -> None:
    lock = with_driver(apt_lock, "libnvidia-compute-580-server", "nvidia-utils-580-server")
    state = changed(gpu_host(lock), "kernel", running=OLD)
    assert step(plan(lock, state), "driver") is None, "the next kernel's module is there"
    state = changed(state, "module", files=[module_file(OLD)])
    found = step(plan(lock, state), "driver")
    assert found is not None
    assert (found.variables["kernels"], found.variables["dkms"]) == ([NEW], False)


def test_a_compressed_prebuilt_module_is_told_by_its_package(apt_lock: StackLock) -> None:
    name = "linux-modules-nvidia-580-server-open"
    lock = with_driver(apt_lock, "libnvidia-compute-580-server", f"{name}-generic")
    state = gpu_host(lock)
    there = {**state.packages, f"{name}-{NEW}": "6.8.0-101.101"}
    packed = changed(state, "module", files=[module_file(NEW, None, flavour=None)])
    assert step(plan(lock, packed.model_copy(update={"packages": there})), "driver") is None
    other = {**state.packages, f"linux-modules-nvidia-535-server-{NEW}": "6.8.0-101.101"}
    found = step(plan(lock, packed.model_copy(update={"packages": other})), "driver")
    assert told(found, "module") == {f"nvidia for {NEW}": ("580.95.05", "580.95.05")}


def test_nouveau_is_kept_out_and_its_initramfs_with_it(lock: StackLock) -> None:
    host = gpu_host(lock)
    bare = host.model_copy(update={"files": [f for f in host.files if f.path != NOUVEAU]})
    found = step(plan(lock, bare), "driver")
    assert {NOUVEAU, f"/boot/initrd.img-{OLD}", f"/boot/initrd.img-{NEW}"} == set(
        told(found, "file")
    )
    assert found is not None
    assert found.variables["initramfs"] == sorted([OLD, NEW])
    text = text_of(lock, NOUVEAU)
    assert "\nblacklist nouveau\noptions nouveau modeset=0\n" in text


def test_an_initramfs_that_is_older_than_the_file_is_made_again(lock: StackLock) -> None:
    # A run that was stopped between the two.
    state = changed(gpu_host(lock), "kernel", initramfs={OLD: 99.0, NEW: 101.0})
    found = step(plan(lock, state), "driver")
    assert set(told(found, "file")) == {f"/boot/initrd.img-{OLD}"}


def test_parameters_and_modules_of_the_spec_are_files(apt_lock: StackLock) -> None:
    lock = with_driver(
        apt_lock,
        parameters={"NVreg_EnableGpuFirmware": "0", "NVreg_CreateImexChannel0": "1"},
        modules=["peermem"],
    )
    assert "\noptions nvidia NVreg_CreateImexChannel0=1 NVreg_EnableGpuFirmware=0\n" in text_of(
        lock, PARAMETERS
    )
    assert text_of(lock, MODULES).endswith("\nnvidia-peermem\n")


def test_files_that_the_lock_does_not_want_any_more_go(apt_lock: StackLock) -> None:
    before = with_driver(apt_lock, parameters={"NVreg_X": "1"}, modules=["peermem"])
    lock = with_driver(apt_lock)
    state = gpu_host(lock, files=gpu_host(before).model_dump()["files"])
    files = told(step(plan(lock, state), "driver"), "file")
    assert {name for name, (_, after) in files.items() if after is None} == {PARAMETERS, MODULES}
    assert f"/boot/initrd.img-{NEW}" in files, "parameters are in the initramfs too"


def test_without_a_driver_in_the_lock_its_files_go_and_nothing_else_happens(
    apt_lock: StackLock,
) -> None:
    state = gpu_host(with_driver(apt_lock))
    lock = apt_lock.model_copy(update={"resolved": {"cuda": "13.0.2"}, "driver_flavour": None})
    lock = lock.model_copy(update={"packages": apt_lock.packages[:3]})
    found = step(plan(lock, state), "driver")
    assert {NOUVEAU, PERSISTENCE_DROP_IN} <= set(told(found, "file"))
    assert all(after in (None, "without them") for _, after in told(found, "file").values())
    assert step(plan(lock, bare_state()), "driver") is None


def test_the_persistence_daemon_is_enabled_and_asked_for_persistence_mode(lock: StackLock) -> None:
    off = gpu_host(lock, services={PERSISTENCE: {"enabled": False, "active": False}})
    found = step(plan(lock, off), "driver")
    assert told(found, "service") == {PERSISTENCE: ("disabled", "enabled")}
    assert "--persistence-mode=1" in text_of(lock, PERSISTENCE_DROP_IN)


def test_a_daemon_that_comes_with_the_packages_is_in_the_plan(lock: StackLock) -> None:
    without = gpu_host(lock, packages={}, services={})
    assert told(step(plan(lock, without), "driver"), "service") == {PERSISTENCE: (None, "enabled")}
    # The packages are there and brought no unit: there is nothing to enable.
    assert step(plan(lock, gpu_host(lock, services={})), "driver") is None


def test_persistence_may_be_unwanted(apt_lock: StackLock) -> None:
    lock = with_driver(apt_lock, persistence=False)
    found = step(plan(lock, gpu_host(lock)), "driver")
    assert told(found, "service") == {PERSISTENCE: ("enabled", "disabled")}
    assert PERSISTENCE_DROP_IN not in {f.path for f in driver_files(lock)}


# What goes ---------------------------------------------------------------------------------------


def test_a_branch_change_names_every_package_that_goes(lock: StackLock) -> None:
    old = "535.261.03-1ubuntu1"
    there = {
        **dict.fromkeys(("libnvidia-compute-535", "nvidia-dkms-535-open", "nvidia-utils-535"), old),
        "libnvidia-container1": "1.19.1-1",
        "nvidia-driver-pinning-535": "535.261.03-1",
        "nvidia-settings": "535.261.03-1",
        "cuda-compat-12-2": "535.261.03-1",
        "libc6": "2.39",
    }
    found = step(plan(lock, gpu_host(lock, packages=there)), "packages")
    gone = {n: before for n, (before, after) in told(found, "package").items() if after is None}
    assert gone == dict.fromkeys(
        ("libnvidia-compute-535", "nvidia-dkms-535-open", "nvidia-utils-535"), old
    )
    assert found is not None
    assert found.variables["remove"] == sorted(gone)


def test_the_hold_of_a_package_that_goes_is_in_the_plan(lock: StackLock) -> None:
    there = {"libnvidia-compute-535": "535.261.03-1ubuntu1", "nvidia-utils-535": "535.261.03-1"}
    state = gpu_host(lock, packages=there, holds=["libnvidia-compute-535"])
    holds = told(step(plan(lock, state), "packages"), "hold")
    assert holds == {"libnvidia-compute-535": ("hold", None)}


def test_a_flavour_change_takes_the_other_module_away(apt_lock: StackLock) -> None:
    lock = with_driver(apt_lock, *CLOSED, flavour="proprietary")
    there = {
        **{p.name: p.version for p in lock.packages},
        "nvidia-dkms-580-open": V,
        "nvidia-kernel-source-580-open": V,
        "libnvidia-gl-580": V,
    }
    state = gpu_host(lock, packages=there)
    assert leftovers(lock, state) == ["nvidia-dkms-580-open", "nvidia-kernel-source-580-open"]
    found = step(plan(lock, state), "packages")
    assert found is not None
    assert "nvidia-dkms-580-open" in found.reason


def test_a_downgrade_is_a_change_and_what_is_left_of_the_newer_driver_goes(
    lock: StackLock,
) -> None:
    newer = "590.48.01-1ubuntu1"
    there = {
        **dict.fromkeys(("libnvidia-compute", "nvidia-dkms-open", "nvidia-utils"), newer),
        **{p.name: p.version for p in lock.packages},
        "nvidia-compute-utils-580": "580.159.04-1ubuntu1",
    }
    packages = told(step(plan(lock, gpu_host(lock, packages=there)), "packages"), "package")
    assert packages["nvidia-compute-utils-580"] == ("580.159.04-1ubuntu1", V)
    assert {n for n, (_, after) in packages.items() if after is None} == {
        *("libnvidia-compute", "nvidia-dkms-open", "nvidia-utils"),
    }


def test_a_desktop_part_of_another_version_cannot_stay_and_of_the_same_one_may(
    lock: StackLock,
) -> None:
    base = {p.name: p.version for p in lock.packages}
    same = gpu_host(lock, packages={**base, "libnvidia-gl-580": V})
    other = gpu_host(lock, packages={**base, "libnvidia-gl-580:i386": "580.159.04-1ubuntu1"})
    assert leftovers(lock, same) == []
    assert leftovers(lock, other) == ["libnvidia-gl-580:i386"]


def test_debians_metapackage_takes_either_flavour(apt_lock: StackLock) -> None:
    lock = with_driver(apt_lock, "nvidia-kernel-open-dkms", "nvidia-driver-cuda")
    target = lock.target.model_copy(update={"os": "debian-12"})
    state = gpu_host(lock, packages={"nvidia-driver": V, "nvidia-kernel-dkms": V})
    assert leftovers(lock.model_copy(update={"target": target}), state) == ["nvidia-kernel-dkms"]


def test_prebuilt_modules_of_another_series_go_and_of_the_same_one_stay(
    apt_lock: StackLock,
) -> None:
    name = "linux-modules-nvidia-580-server-open-generic"
    lock = with_driver(apt_lock, "libnvidia-compute-580-server", name)
    kept = "linux-modules-nvidia-580-server-open-6.8.0-31-generic"
    gone = "linux-modules-nvidia-535-server-6.8.0-31-generic"
    state = gpu_host(lock, packages={kept: "6.8.0-31.31", gone: "6.8.0-31.31"})
    assert leftovers(lock, state) == [gone]


def test_the_drivers_packages_are_told_from_what_only_looks_like_them() -> None:
    ours = {
        "libcuda1": "580.95.05-1",
        "nvidia-fabricmanager": "580.95.05-1",
        "xserver-xorg-video-nvidia-580": V,
        "cuda-drivers": "580.95.05-1",
        "linux-modules-nvidia-580-generic": "6.8.0-31.31",
    }
    others = {
        "nvidia-kernel-common": "20220217+3~deb12u1",
        "nvidia-container-toolkit": "1.19.1-1",
        "nvidia-cuda-toolkit": "12.0.140~12.0.1-4build4",
        "libnvidia-egl-wayland1": "1.1.10-1",
        "cuda-compat-13-0": "580.95.05-1ubuntu1",
        "cuda-toolkit-13-0": "13.0.2-1",
    }
    assert family(bare_state(packages={**ours, **others})) == ours


def test_without_a_driver_in_the_lock_nobodys_driver_goes(apt_lock: StackLock) -> None:
    lock = apt_lock.model_copy(update={"packages": apt_lock.packages[:3], "resolved": {}})
    assert leftovers(lock, gpu_host(with_driver(apt_lock))) == []
