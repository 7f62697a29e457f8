"""From a lock to what is measured and what every check must show; nothing else is ever expected."""

from __future__ import annotations

from typing import Any

import pytest

from cudactl.certify.policy import compile_policy
from cudactl.contracts.certificate import Policy
from cudactl.contracts.lock import Allowance, StackLock
from cudactl.judge.checks import CHECKS
from cudactl.probe.legs import LEGS
from cudactl.stack.lock.file import read_lock
from tests.judge.healthy import DRIVER, LIB, RECORDED, SYSTEM, apt_lock


@pytest.fixture
def apt() -> StackLock:
    return apt_lock()


@pytest.fixture
def wheels() -> StackLock:
    return read_lock(RECORDED / "wheels-cuda-13.0.lock")


def expected(policy: Policy, check: str) -> dict[str, Any]:
    (found,) = [e for e in policy.expectations if e.check == check]
    return found.expect


def checks(policy: Policy) -> set[str]:
    return {e.check for e in policy.expectations}


def without(lock: StackLock, *names: str, **resolved: str | None) -> StackLock:
    """The lock without some packages, and with other resolved versions (None takes one out)."""
    kept = [p for p in lock.packages if p.name not in names]
    left = {k: v for k, v in {**lock.resolved, **resolved}.items() if v is not None}
    return lock.model_copy(update={"packages": kept, "resolved": left})


# --- every policy -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["apt", "wheels"])
def test_a_policy_is_one_that_probe_and_judge_understand(
    kind: str, request: pytest.FixtureRequest
) -> None:
    lock = request.getfixturevalue(kind)
    policy = compile_policy(lock)
    assert policy.lock_hash == lock.hash
    assert checks(policy) <= set(CHECKS)
    assert set(policy.legs) == set(policy.request["legs"]) <= set(LEGS)
    assert all(leg["deadline_s"] > 0 for leg in policy.request["legs"].values())
    assert all(e.source for e in policy.expectations), "where each expectation comes from is said"
    asked = {name for leg in policy.request["legs"].values() for name in leg["libraries"]}
    assert asked, "something is loaded"


@pytest.mark.parametrize("kind", ["apt", "wheels"])
def test_the_probe_is_never_told_which_version_would_be_right(
    kind: str, request: pytest.FixtureRequest
) -> None:
    lock = request.getfixturevalue(kind)
    asked = str(compile_policy(lock).request)
    for version in {p.version for p in lock.packages} | set(lock.resolved.values()):
        # A minor names the folder where a toolkit lies; an exact version names nothing.
        if version.count(".") > 1:
            assert version not in asked


def test_what_was_allowed_is_carried_along(apt: StackLock) -> None:
    allowed = [Allowance(code="STACK-GPU-TOOLKIT", reason="a trial for a week")]
    policy = compile_policy(apt.model_copy(update={"allowed": allowed}))
    assert policy.allowed == [{"code": "STACK-GPU-TOOLKIT", "reason": "a trial for a week"}]


# --- apt ----------------------------------------------------------------------------------------


def test_every_package_must_be_there_exactly(apt: StackLock) -> None:
    packages = expected(compile_policy(apt), "stack.packages")["packages"]
    assert packages == {p.name: p.version for p in apt.packages}


def test_libraries_are_looked_for_where_packages_put_them_then_where_the_loader_looks(
    apt: StackLock,
) -> None:
    legs = compile_policy(apt).request["legs"]
    assert legs["toolkit"]["libraries"]["cublas"] == {
        "soname": "libcublas.so.13",
        "folders": [LIB, "loader"],
    }
    assert legs["cudnn"]["libraries"]["cudnn"] == {
        "soname": "libcudnn.so.9",
        "folders": [SYSTEM, "loader"],
    }
    assert legs["tensorrt"]["libraries"]["nvinfer"]["soname"] == "libnvinfer.so.10"
    assert legs["nvcc"]["nvcc"] == "/usr/local/cuda-13.0/bin/nvcc"


@pytest.mark.parametrize(
    ("check", "version", "owner"),
    [
        ("toolkit.cudart", "13.0", "cuda-cudart-13-0"),
        ("toolkit.cublas", "13.1.0", "libcublas-13-0"),
        ("toolkit.cublaslt", "13.1.0", "libcublas-13-0"),
        ("toolkit.nvrtc", "13.0", "cuda-nvrtc-13-0"),
        ("cudnn.library", "9.13.0", "libcudnn9-cuda-13"),
        ("tensorrt.library", "10.13.3", "libnvinfer10"),
        ("driver.libcuda", DRIVER, "libnvidia-compute-580"),
        ("health.nvml", DRIVER, "libnvidia-compute-580"),
    ],
)
def test_each_library_must_answer_its_version_and_be_its_packages(
    apt: StackLock, check: str, version: str, owner: str
) -> None:
    expect = expected(compile_policy(apt), check)
    assert (expect["version"], expect["owners"]) == (version, [owner])
    assert expect["prefixes"]


def test_the_driver_needs_to_reach_the_toolkits_major_only(apt: StackLock) -> None:
    """Minor-version compatibility: a 13.x toolkit starts on any driver that brings CUDA 13."""
    expect = expected(compile_policy(apt), "driver.libcuda")
    assert (expect["cuda"], expect["cuda_number"]) == ("13.0", 13000)


def test_a_gpu_that_is_named_must_be_there(apt: StackLock) -> None:
    policy = compile_policy(apt)
    assert "gpu.present" not in checks(policy)
    assert "without_gpu" in expected(policy, "driver.module")
    policy = compile_policy(apt_lock(("H200 SXM",)))
    assert expected(policy, "gpu.present") == {"gpus": ["H200 SXM"]}
    assert "without_gpu" not in expected(policy, "driver.module")
    assert "without_gpu" not in expected(policy, "health.nvml")


@pytest.mark.parametrize("driver", ["none", "preinstalled"])
def test_a_driver_that_the_lock_does_not_hold_is_the_machines(apt: StackLock, driver: str) -> None:
    policy = compile_policy(without(apt, "libnvidia-compute-580", "nvidia-open-580", driver=driver))
    held = {"driver.libcuda", "driver.module", "health.nvml"}
    assert not held & checks(policy), "its version is nobody's promise"
    # Whether it works is another matter, wherever there is one.
    assert ("driver.compute" in checks(policy)) == (driver == "preinstalled")
    assert "libcuda.so" in expected(policy, "stack.libraries")["foreign"]
    assert expected(compile_policy(apt), "stack.libraries")["foreign"] == []


def test_drivers_without_a_suffix_are_found_too(apt: StackLock) -> None:
    """From 590 on package names carry no branch any more."""
    renamed = [
        p.model_copy(update={"name": "libnvidia-compute", "version": "590.44.01-1ubuntu1"})
        if p.name == "libnvidia-compute-580"
        else p
        for p in apt.packages
    ]
    lock = apt.model_copy(
        update={"packages": renamed, "resolved": {**apt.resolved, "driver": "590.44.01"}}
    )
    assert expected(compile_policy(lock), "health.nvml")["owners"] == ["libnvidia-compute"]


def test_nothing_is_linked_against_headers_that_the_lock_does_not_hold(apt: StackLock) -> None:
    policy = compile_policy(without(apt, "libcudnn9-dev-cuda-13"))
    assert policy.request["legs"]["nvcc"]["link"] is False
    assert "nvcc.link" not in checks(policy)
    assert "nvcc.version" in checks(policy)
    assert "nvcc.link" in checks(compile_policy(apt))


def test_only_what_the_lock_holds_is_expected(apt: StackLock) -> None:
    names = [p.name for p in apt.packages if not p.name.startswith("libcudnn9-cuda")]
    alone = without(apt, *names, cuda=None, driver="none", tensorrt=None)
    policy = compile_policy(alone)
    assert set(policy.legs) == {"cudnn"}
    assert expected(policy, "cudnn.library")["cuda_major"] == "13"


# --- wheels -------------------------------------------------------------------------------------


def test_wheels_are_expected_in_their_stack_and_nowhere_else(wheels: StackLock) -> None:
    policy = compile_policy(wheels)
    site = f"/opt/cudactl/stacks/{wheels.short_hash}/site"
    for expectation in policy.expectations:
        for prefix in expectation.expect.get("prefixes", []):
            assert prefix.startswith(site)
    assert expected(policy, "toolkit.cudart")["owners"] == [f"stack:{wheels.short_hash}"]
    assert expected(policy, "stack.wheels")["wheels"] == {
        p.filename: p.sha256 for p in wheels.packages
    }


def test_an_engine_is_built_where_tensorrt_for_rtx_is_locked(wheels: StackLock) -> None:
    policy = compile_policy(wheels)
    assert policy.request["legs"]["tensorrt"]["rtx"]["site"].endswith("/site")
    assert expected(policy, "tensorrt_rtx.build")["version"] == wheels.resolved["tensorrt_rtx"]


def test_a_library_that_needs_a_driver_is_declared_where_none_is_locked(
    wheels: StackLock, apt: StackLock
) -> None:
    assert expected(compile_policy(wheels), "cudnn.sublibraries")["needs_driver"]
    assert not expected(compile_policy(apt), "cudnn.sublibraries")["needs_driver"]


def test_arm_hosts_have_their_own_folders(apt: StackLock) -> None:
    target = apt.target.model_copy(update={"arch": "sbsa"})
    policy = compile_policy(apt.model_copy(update={"target": target}))
    folders = policy.request["legs"]["toolkit"]["libraries"]["cudart"]["folders"]
    assert folders[0] == "/usr/local/cuda-13.0/targets/sbsa-linux/lib"
    assert expected(policy, "stack.os")["machine"] == "aarch64"
