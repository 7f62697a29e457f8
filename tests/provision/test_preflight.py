"""What a plan refuses before anything changes: one host for each case, and every reason at once."""

from __future__ import annotations

from typing import Any

import pytest

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Change, Choices, Finding, PlanStep
from cudactl.contracts.state import HostState
from cudactl.provision.plan import make_plan
from cudactl.provision.preflight.clock import clock_findings
from cudactl.provision.preflight.disk import disk_findings, room
from cudactl.provision.preflight.foreign_driver import foreign_driver_findings, origin_of
from cudactl.provision.preflight.gpus import gpu_findings
from cudactl.provision.preflight.kernel import flavour_of, kernel_findings
from cudactl.provision.preflight.mig import mig_findings
from cudactl.provision.preflight.owners import owner_findings
from cudactl.provision.preflight.platform import platform_findings
from tests.provision.conftest import bare_state, package

NOW = 2000.0
KERNEL = "6.8.0-31-generic"


def refused(findings: list[Finding]) -> dict[str, Finding]:
    """Code → refusal; each says what was found, what was expected and what to do."""
    found = {finding.code: finding for finding in findings if finding.refuses}
    assert all(f.found and f.expected and f.remedy for f in found.values())
    return found


def told(findings: list[Finding]) -> set[str]:
    return {finding.code for finding in findings if not finding.refuses}


def step(role: str = "packages", *changes: Change, **more: Any) -> PlanStep:
    values = {"id": f"{role}.x", "role": role, "summary": "s", "reason": "r", "changes": changes}
    return PlanStep.model_validate({**values, **more})


DRIVER_STEP = step(
    "packages", Change(kind="package", name="nvidia-open-580", after="1"), risk="reboot"
)


@pytest.fixture
def dkms_lock(apt_lock: StackLock) -> StackLock:
    """A lock whose kernel module is built on the host."""
    dkms = package("nvidia-dkms-580-open", "580.95.05-1ubuntu1", "driver")
    return apt_lock.model_copy(update={"packages": [*apt_lock.packages, dkms]})


@pytest.fixture
def no_driver(apt_lock: StackLock) -> StackLock:
    packages = [p for p in apt_lock.packages if p.component != "driver"]
    resolved = {k: v for k, v in apt_lock.resolved.items() if k != "driver"}
    return apt_lock.model_copy(
        update={"packages": packages, "resolved": resolved, "driver_flavour": None}
    )


def gpu(device: str) -> dict[str, str]:
    return {"address": "0000:01:00.0", "device": device, "driver": "nvidia"}


def for_gpus(lock: StackLock, *names: str, **more: object) -> StackLock:
    spec = lock.spec.model_copy(update={"gpus": list(names)})
    return lock.model_copy(update={"spec": spec, **more})


V100, H100, B200, K80 = "1db1", "2330", "2901", "102d"


# --- GPUs -----------------------------------------------------------------------------------------


def test_a_gpu_that_the_lock_serves_is_no_finding(apt_lock: StackLock) -> None:
    assert gpu_findings(for_gpus(apt_lock, "H100 SXM"), bare_state(gpus=[gpu(H100)])) == []
    assert gpu_findings(apt_lock, bare_state(gpus=[gpu(H100)])) == []


def test_a_gpu_that_the_lock_was_not_made_for(apt_lock: StackLock) -> None:
    found = refused(gpu_findings(for_gpus(apt_lock, "H200 SXM"), bare_state(gpus=[gpu(H100)])))
    assert set(found) == {"PREFLIGHT-GPU-OTHER"}
    assert "H100" in found["PREFLIGHT-GPU-OTHER"].found
    assert "H200" in found["PREFLIGHT-GPU-OTHER"].expected


def test_gpus_without_a_flavour_in_common(apt_lock: StackLock) -> None:
    found = refused(gpu_findings(apt_lock, bare_state(gpus=[gpu(V100), gpu(B200)])))
    assert "B200" in found["PREFLIGHT-GPU-NO-FLAVOUR"].found
    assert "V100" in found["PREFLIGHT-GPU-NO-FLAVOUR"].found


def test_gpus_without_a_branch_in_common(apt_lock: StackLock) -> None:
    found = refused(gpu_findings(apt_lock, bare_state(gpus=[gpu(K80), gpu(H100)])))
    assert "no driver branch drives" in found["PREFLIGHT-GPU-NO-BRANCH"].found


@pytest.mark.parametrize(
    ("device", "flavour", "code"),
    [
        (V100, "open", "PREFLIGHT-GPU-FLAVOUR"),
        (B200, "proprietary", "PREFLIGHT-GPU-FLAVOUR"),
        (H100, "open", None),
        (H100, "proprietary", None),
    ],
)
def test_a_flavour_that_does_not_drive_the_gpu(
    apt_lock: StackLock, device: str, flavour: str, code: str | None
) -> None:
    lock = apt_lock.model_copy(
        update={"driver_flavour": flavour, "resolved": {"driver": "580.95.05"}}
    )
    assert set(refused(gpu_findings(lock, bare_state(gpus=[gpu(device)])))) == ({code} - {None})


def test_a_branch_that_does_not_drive_the_gpu(apt_lock: StackLock) -> None:
    lock = apt_lock.model_copy(update={"resolved": {"driver": "550.90.07"}})
    found = refused(gpu_findings(lock, bare_state(gpus=[gpu(B200)])))
    assert "550" in found["PREFLIGHT-GPU-BRANCH"].found
    assert "580" in found["PREFLIGHT-GPU-BRANCH"].expected


def test_a_toolkit_that_has_dropped_the_gpu(no_driver: StackLock) -> None:
    found = refused(gpu_findings(no_driver, bare_state(gpus=[gpu(V100)])))
    assert set(found) == {"PREFLIGHT-GPU-TOOLKIT"}, "without a driver only the toolkit is held"
    assert "12.9" in found["PREFLIGHT-GPU-TOOLKIT"].expected


def test_a_gpu_that_nobody_knows_is_told_and_no_gpu_too(apt_lock: StackLock) -> None:
    assert told(gpu_findings(apt_lock, bare_state(gpus=[gpu("ffff")]))) == {"GPU-UNKNOWN"}
    assert told(gpu_findings(for_gpus(apt_lock, "H100 SXM"), bare_state())) == {"NO-GPU"}
    assert gpu_findings(apt_lock, bare_state()) == []


def test_a_gpus_name_of_another_catalogue_says_nothing(no_driver: StackLock) -> None:
    lock = for_gpus(no_driver, "H900 Nova")
    assert gpu_findings(lock, bare_state(gpus=[gpu(H100)])) == []


# --- kernels --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("release", "flavour"),
    [
        ("6.8.0-31-generic", "generic"),
        ("6.8.0-1015-aws", "aws"),
        ("6.8.0-1004-gcp-64k", "gcp-64k"),
        ("6.1.0-31-cloud-amd64", "cloud-amd64"),
        ("6.12.43+deb13-amd64", "amd64"),
        ("6.1.0-0.deb11.13-amd64", "amd64"),
        ("6.9.3", None),
        ("5.15.0-1-lowlatency-hwe", "lowlatency-hwe"),
    ],
)
def test_a_releases_flavour(release: str, flavour: str | None) -> None:
    assert flavour_of(release) == flavour


def kernel(**more: object) -> dict[str, object]:
    values = {"running": KERNEL, "newest_installed": KERNEL, "installed": [KERNEL]}
    return {**values, "headers": [KERNEL], "secure_boot": None, **more}


def with_kernel(lock: StackLock, wish: str) -> StackLock:
    return lock.model_copy(update={"target": lock.target.model_copy(update={"kernel": wish})})


@pytest.mark.parametrize(
    ("wish", "running", "following", "code"),
    [
        ("generic", KERNEL, KERNEL, None),
        ("generic-hwe-24.04", "7.0.0-43-generic", "7.0.0-43-generic", None),
        (KERNEL, KERNEL, KERNEL, None),
        ("generic", "6.8.0-1015-aws", "6.8.0-1015-aws", "PREFLIGHT-KERNEL"),
        ("aws", "6.8.0-1015-aws", KERNEL, "PREFLIGHT-KERNEL"),
        (KERNEL, KERNEL, "6.8.0-101-generic", "PREFLIGHT-KERNEL"),
    ],
)
def test_the_kernel_that_runs_and_the_next_one_are_held_against_the_wish(
    apt_lock: StackLock, wish: str, running: str, following: str, code: str | None
) -> None:
    state = bare_state(kernel=kernel(running=running, installed=[running], next_boot=following))
    assert set(refused(kernel_findings(with_kernel(apt_lock, wish), state))) == ({code} - {None})


def test_a_kernel_that_is_not_the_machines_own_is_not_held(apt_lock: StackLock) -> None:
    """A container sees its host's kernel, and has no modules for it."""
    state = bare_state(kernel=kernel(running="6.18.0-custom", installed=[]))
    assert kernel_findings(with_kernel(apt_lock, "generic"), state) == []


def test_a_kernel_that_somebody_built_has_no_headers_in_any_archive(dkms_lock: StackLock) -> None:
    built = kernel(running="6.9.3-site", installed=["6.9.3-site"], headers=[])
    assert set(refused(kernel_findings(dkms_lock, bare_state(kernel=built)))) == {
        "PREFLIGHT-KERNEL-FOREIGN"
    }
    there = kernel(running="6.9.3-site", installed=["6.9.3-site"], headers=["6.9.3-site"])
    assert kernel_findings(dkms_lock, bare_state(kernel=there)) == []
    packaged = bare_state(kernel=built, packages={"linux-image-6.9.3-site": "1"})
    assert kernel_findings(dkms_lock, packaged) == []


def test_secure_boot_needs_a_key_or_signed_modules(
    dkms_lock: StackLock, apt_lock: StackLock
) -> None:
    def on(enrolled: bool | None) -> HostState:
        return bare_state(kernel=kernel(secure_boot=True, mok_enrolled=enrolled))

    for enrolled in (False, None):
        found = refused(kernel_findings(dkms_lock, on(enrolled)))
        assert "action required" in found["PREFLIGHT-SECURE-BOOT"].expected
    assert told(kernel_findings(dkms_lock, on(True))) == {"SECURE-BOOT-OWN-KEY"}
    signed = package("linux-modules-nvidia-580-open-generic", "6.8.0-31.31", "driver")
    prebuilt = apt_lock.model_copy(update={"packages": [*dkms_lock.packages, signed]})
    assert kernel_findings(prebuilt, on(False)) == []
    off = bare_state(kernel=kernel(secure_boot=False, mok_enrolled=False))
    assert kernel_findings(dkms_lock, off) == []


# --- whose driver, whose machine ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("platform", "code"),
    [
        ({"vgpu_guest": True}, "PREFLIGHT-VGPU"),
        ({"dgx_os": "6.3.2"}, "PREFLIGHT-DGX-OS"),
        ({"driver_container": True}, "PREFLIGHT-DRIVER-CONTAINER"),
    ],
)
def test_a_driver_that_is_somebody_elses_business(
    apt_lock: StackLock, no_driver: StackLock, platform: dict[str, object], code: str
) -> None:
    state = bare_state(platform=platform)
    assert set(refused(platform_findings(apt_lock, state))) == {code}
    assert not refused(platform_findings(no_driver, state)), "the rest of a stack is welcome"


def test_an_ordinary_machine_and_an_unknown_vgpu_are_no_findings(apt_lock: StackLock) -> None:
    state = bare_state(platform={"vendor": "Dell Inc.", "vgpu_guest": None, "nvswitches": 4})
    assert platform_findings(apt_lock, state) == []


def vendor_files(*foreign: tuple[str, str]) -> dict[str, object]:
    files = [{"path": path, "kind": kind, "version": None} for path, kind in foreign]
    return {"active_toolkit": None, "toolkits": [], "foreign": files, "more": 0}


@pytest.mark.parametrize(
    ("path", "kind", "hit"),
    [
        ("/usr/bin/nvidia-uninstall", "driver", True),
        ("/usr/lib/x86_64-linux-gnu/libcuda.so.550.54.14", "library", True),
        ("/usr/local/lib/libcudart.so.12", "library", False),
        ("/opt/conda/conda-meta/cudnn-9.1.0-h1.json", "conda", False),
    ],
)
def test_a_driver_that_no_package_owns(
    apt_lock: StackLock, no_driver: StackLock, path: str, kind: str, hit: bool
) -> None:
    state = bare_state(vendor_files=vendor_files((path, kind)))
    found = refused(foreign_driver_findings(apt_lock, state, []))
    assert set(found) == ({"PREFLIGHT-DRIVER-RUNFILE"} if hit else set())
    assert foreign_driver_findings(no_driver, state, []) == []


@pytest.mark.parametrize(
    ("version", "whose"),
    [
        ("580.95.05-1ubuntu1", "NVIDIA"),
        ("580.95.05-1", "NVIDIA"),
        ("535.183.01-0ubuntu0.24.04.1", "Ubuntu"),
        ("535.247.01-1~deb12u1", "Debian"),
        ("550.90.07-0lambda1", "Lambda Stack"),
        ("580.95.05-0ubuntu0~gpu24.04.2", "a PPA"),
        ("strange", None),
    ],
)
def test_a_versions_ending_tells_whose_it_is(version: str, whose: str | None) -> None:
    assert origin_of(version) == whose


def test_driver_packages_of_another_origin(apt_lock: StackLock) -> None:
    mine = apt_lock.packages[-1]
    state = bare_state(
        packages={
            "libnvidia-gl-580": "580.95.05-0ubuntu0.24.04.1",
            "libnvidia-compute-580": "580.95.05-0lambda1",
            "libnvidia-container1": "1.18.0-1~deb12u1",
            "nginx": "1.24.0-2ubuntu7.24.04.1",
            mine.name: mine.version,
        }
    )
    found = foreign_driver_findings(apt_lock, state, [])
    assert [f.code for f in found] == ["PREFLIGHT-DRIVER-ORIGIN"] * 2
    assert "Lambda Stack: libnvidia-compute-580" in found[0].found
    assert "Ubuntu: libnvidia-gl-580" in found[1].found


def test_a_change_of_origin_that_is_planned_is_none_of_it(apt_lock: StackLock) -> None:
    packages = {"nvidia-utils-535": "535.183.01-0ubuntu0.24.04.1"}
    leaving = [Change(kind="package", name=n, before=v) for n, v in packages.items()]
    state = bare_state(packages=packages)
    assert not foreign_driver_findings(apt_lock, state, [step("packages", *leaving)])
    assert foreign_driver_findings(apt_lock, state, [step("packages")])
    # What belongs to a whole stack of somebody else's is not torn out of it.
    lambda_ = {"nvidia-utils-535": "535.183.01-0lambda1"}
    state = bare_state(packages=lambda_)
    assert foreign_driver_findings(apt_lock, state, [step("packages", *leaving)])


# --- in use ---------------------------------------------------------------------------------------


def test_mig_instances_end_with_the_driver(apt_lock: StackLock) -> None:
    state = bare_state(platform={"mig_instances": 3})
    assert set(refused(mig_findings(apt_lock, state, [DRIVER_STEP]))) == {"PREFLIGHT-MIG"}
    calm = step("environment", Change(kind="file", name="/etc/x", after="1"))
    assert mig_findings(apt_lock, state, [calm]) == []
    for instances in (0, None):
        none = bare_state(platform={"mig_instances": instances})
        assert mig_findings(apt_lock, none, [DRIVER_STEP]) == []


def test_mig_instances_that_are_made_again_are_told(apt_lock: StackLock) -> None:
    keeper = {"nvidia-mig-manager.service": {"enabled": True, "active": False}}
    state = bare_state(platform={"mig_instances": 3}, services=keeper)
    assert told(mig_findings(apt_lock, state, [DRIVER_STEP])) == {"MIG-MADE-AGAIN"}


UPGRADE = step("packages", Change(kind="package", name="libcudnn9", before="1", after="2"))
NEW = step("packages", Change(kind="package", name="libcudnn9", after="2"))


@pytest.mark.parametrize("scheduler", ["slurm", "kubernetes"])
@pytest.mark.parametrize(
    ("work", "jobs", "code"),
    [
        (DRIVER_STEP, 2, "PREFLIGHT-SCHEDULER-BUSY"),
        (UPGRADE, 2, "PREFLIGHT-SCHEDULER-BUSY"),
        (NEW, 2, None),
        (DRIVER_STEP, 0, None),
    ],
)
def test_jobs_are_not_disturbed(
    scheduler: str, work: PlanStep, jobs: int, code: str | None
) -> None:
    state = bare_state(owners=[scheduler], jobs={scheduler: jobs})
    findings = owner_findings(state, [work])
    assert set(refused(findings)) == ({code} - {None})
    assert code or told(findings) == {"PREFLIGHT-SCHEDULER"}


@pytest.mark.parametrize("owner", ["puppet", "chef", "salt", "cfengine", "ansible-pull"])
def test_configuration_management_is_told(owner: str) -> None:
    assert told(owner_findings(bare_state(owners=[owner]), [NEW])) == {"PREFLIGHT-MANAGED"}
    assert owner_findings(bare_state(), [NEW]) == []


def test_a_file_with_two_writers_is_refused() -> None:
    work = step("container_runtime", Change(kind="file", name="/etc/docker/daemon.json", after="1"))
    managed = {"/etc/docker/daemon.json": "puppet", "/etc/modprobe.d/x.conf": "chef"}
    found = refused(owner_findings(bare_state(managed=managed), [work]))
    assert "which puppet writes" in found["PREFLIGHT-MANAGED-FILE"].found
    assert "puppet" in found["PREFLIGHT-MANAGED-FILE"].remedy


# --- clock and room -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("taken_at", "words"),
    [(NOW + 301, "5 min ahead of"), (NOW - 3600, "60 min behind"), (1e300, "ahead of")],
)
def test_a_clock_that_is_off(taken_at: float, words: str) -> None:
    found = refused(clock_findings(bare_state(taken_at=taken_at), NOW))
    assert words in found["PREFLIGHT-CLOCK"].found


@pytest.mark.parametrize("off", [-300.0, 0.0, 300.0])
def test_a_clock_within_five_minutes_is_right(off: float) -> None:
    assert clock_findings(bare_state(taken_at=NOW + off), NOW) == []


def disk(path: str, free: int, total: int = 10**12) -> dict[str, object]:
    return {"path": path, "free_bytes": free, "total_bytes": total}


def test_boot_needs_room_for_another_initramfs_when_the_driver_changes(
    apt_lock: StackLock,
) -> None:
    state = bare_state(kernel=kernel(largest_initramfs_bytes=80_000_000))
    assert room(apt_lock, state, [DRIVER_STEP])["/boot"] == 160_000_000
    calm = step("environment", Change(kind="file", name="/etc/x", after="1"))
    assert "/boot" not in room(apt_lock, state, [calm])
    full = bare_state(disks=[disk("/", 10**11), disk("/boot", 159_000_000, 500_000_000)])
    found = refused(disk_findings(full, {"/boot": 160_000_000, "/": 1}))
    assert "0.16 GB free for /boot" in found["PREFLIGHT-DISK-FULL"].found
    assert "old kernels" in found["PREFLIGHT-DISK-FULL"].remedy
    enough = bare_state(disks=[disk("/", 10**11), disk("/boot", 160_000_000, 500_000_000)])
    assert disk_findings(enough, {"/boot": 160_000_000, "/": 1}) == []


# --- all at once ----------------------------------------------------------------------------------


def test_every_reason_is_given_at_once(dkms_lock: StackLock) -> None:
    state = bare_state(
        taken_at=NOW + 4000,
        gpus=[gpu(V100), gpu(B200)],
        kernel=kernel(secure_boot=True, running="6.9.3-site", installed=["6.9.3-site"], headers=[]),
        platform={
            "vgpu_guest": True,
            "dgx_os": "6.3",
            "driver_container": True,
            "mig_instances": 1,
        },
        vendor_files=vendor_files(("/usr/bin/nvidia-uninstall", "driver")),
        packages={"libnvidia-compute-580": "580.95.05-0lambda1"},
        owners=["slurm", "puppet"],
        jobs={"slurm": 1},
        broken=[{"name": "libfoo", "status": "install ok half-configured"}],
        disks=[disk("/", 1)],
        gpu_processes=[{"pid": 7, "name": "python3"}],
    )
    made = make_plan("h1", dkms_lock, state, now=NOW, choices=Choices(take_over=True))
    assert {f.code for f in made.refusals} >= {
        *("PREFLIGHT-CLOCK", "PREFLIGHT-GPU-NO-FLAVOUR", "PREFLIGHT-SECURE-BOOT"),
        *("PREFLIGHT-KERNEL-FOREIGN", "PREFLIGHT-VGPU", "PREFLIGHT-DGX-OS", "PREFLIGHT-MIG"),
        *("PREFLIGHT-DRIVER-CONTAINER", "PREFLIGHT-DRIVER-RUNFILE", "PREFLIGHT-DRIVER-ORIGIN"),
        *("PREFLIGHT-SCHEDULER-BUSY", "PREFLIGHT-DPKG-BROKEN", "PREFLIGHT-DISK-FULL"),
        "PREFLIGHT-GPU-BUSY",
    }
