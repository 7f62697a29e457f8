"""Wishes that cannot stand together are refused with a reason, and what can be overridden is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cudactl.contracts.errors import CudactlError, UsageError
from cudactl.contracts.lock import Allowance
from cudactl.contracts.spec import StackSpec
from cudactl.stack.catalogue import load_catalogue
from cudactl.stack.refusals import Ruling, StackRefused
from cudactl.stack.repository import Deb
from cudactl.stack.rules import Prospects, prospects
from tests.stack.conftest import Locks, Repository


def judge(ruling: Ruling | None = None, **wishes: Any) -> Prospects:
    spec = StackSpec.model_validate({"os": "ubuntu-24.04", **wishes})
    return prospects(spec, load_catalogue(), ruling or Ruling())


def refused(**wishes: Any) -> StackRefused:
    with pytest.raises(StackRefused) as error:
        judge(**wishes)
    assert error.value.expected
    assert error.value.remedy
    return error.value


@pytest.mark.parametrize(
    ("wishes", "code", "found"),
    [
        ({"cuda": "12.7"}, "STACK-UNKNOWN-VERSION", "there is no CUDA 12.7"),
        ({"cuda": "13.0.9"}, "STACK-UNKNOWN-VERSION", "13.0.9"),
        ({"cuda": "99"}, "STACK-UNKNOWN-VERSION", "not known to the catalogue"),
        ({"cuda": "12.4"}, "STACK-TOOLKIT-NOT-FOR-OS", "ubuntu-24.04"),
        ({"os": "ubuntu-26.04", "cuda": "13.0"}, "STACK-TOOLKIT-NOT-FOR-OS", "ubuntu-26.04"),
        ({"cuda": "13.0", "driver": {"branch": "570"}}, "STACK-DRIVER-TOO-OLD", "570"),
        ({"cuda": "13.0", "driver": {"branch": "575.57.08"}}, "STACK-DRIVER-TOO-OLD", "575"),
        ({"cuda": "12.9", "driver": {"branch": "525.53"}}, "STACK-DRIVER-TOO-OLD", "525.53"),
        ({"driver": {"branch": "581"}}, "STACK-UNKNOWN-VERSION", "581"),
        ({"driver": {"branch": "620", "flavour": "proprietary"}}, "STACK-FLAVOUR", "620"),
        ({"driver": {"branch": "510", "flavour": "open"}}, "STACK-FLAVOUR", "510"),
        ({"cuda": "13.0", "cudnn": "9.10"}, "STACK-CUDNN-CUDA", "CUDA 11 and 12"),
        ({"cuda": "13.0", "cudnn": "8"}, "STACK-CUDNN-CUDA", "cuDNN 8"),
        ({"cuda": "13.0", "cudnn": "9.99"}, None, ""),
        ({"cuda": "13.0", "cudnn": "9.6.1"}, "STACK-UNKNOWN-VERSION", "cuDNN 9.6.1"),
        ({"cuda": "13.0", "tensorrt": "10.12"}, "STACK-TENSORRT-CUDA", "11.8, 12.9"),
        ({"cuda": "13.0", "tensorrt": "10.15"}, "STACK-TENSORRT-CUDA", "13.1"),
        ({"cuda": "13.0", "tensorrt": "10.99"}, "STACK-UNKNOWN-VERSION", "10.99"),
        ({"cudnn": "9"}, "STACK-CUDA-MISSING", "cudnn"),
        ({"packages": "wheels"}, "STACK-EMPTY", "wheels"),
        ({"dcgm": "4"}, "STACK-NOT-SUPPORTED-YET", "dcgm"),
        ({"kernel": "generic"}, "STACK-NOT-SUPPORTED-YET", "kernel"),
        ({"frameworks": {"torch": "2.11"}}, "STACK-NOT-SUPPORTED-YET", "frameworks"),
        ({"container_runtime": "docker"}, "STACK-NOT-SUPPORTED-YET", "container_runtime"),
        ({"driver": {"source": "distro"}}, "STACK-NOT-SUPPORTED-YET", "distro"),
        ({"cuda": "13.0", "tensorrt_rtx": "1.7"}, "STACK-NOT-SUPPORTED-YET", "tensorrt_rtx"),
        (
            {"packages": "wheels", "cuda": "13.0", "driver": {"branch": "580"}},
            "STACK-NOT-SUPPORTED-YET",
            "driver",
        ),
    ],
)
def test_what_the_catalogue_says(wishes: dict[str, Any], code: str | None, found: str) -> None:
    if code is None:  # newer than everything known: the index decides
        assert judge(**wishes).toolkits
        return
    error = refused(**wishes)
    assert error.code == code
    assert found in error.found


def test_a_refusal_offers_what_exists() -> None:
    assert "12.6" in refused(cuda="12.7").expected
    assert "12.8" in refused(cuda="12.7").expected
    assert "9.12.0.46" in refused(cuda="13.0", cudnn="9.10").expected
    assert "10.14.1.48" in refused(cuda="13.0", tensorrt="10.15").expected


def test_a_prefix_leaves_out_what_the_system_or_the_driver_cannot_have() -> None:
    assert [t.minor for t in judge(cuda="12").toolkits][-1] == "12.5"
    found = judge(cuda="12", os="debian-12", driver={"branch": "535"}).toolkits
    assert found[0].version == "12.9.2"


def test_a_refusal_is_overridden_with_a_reason_and_only_when_needed() -> None:
    allowed = [Allowance(code="STACK-DRIVER-TOO-OLD", reason="compat package on these hosts")]
    ruling = Ruling(allowed)
    judge(ruling, cuda="13.0", driver={"branch": "570"})
    assert ruling.used == allowed
    assert any("compat package on these hosts" in note for note in ruling.notes)
    ruling = Ruling(allowed)
    judge(ruling, cuda="13.0", driver={"branch": "580"})
    assert not ruling.used
    assert ruling.unused() == ["STACK-DRIVER-TOO-OLD"]
    assert "--allow STACK-DRIVER-TOO-OLD" in refused(cuda="13.0", driver={"branch": "570"}).remedy


@pytest.mark.parametrize(("code", "reason"), [("STACK-EMPTY", "x"), ("STACK-DRIVER-TOO-OLD", " ")])
def test_what_cannot_be_overridden(code: str, reason: str) -> None:
    with pytest.raises(UsageError):
        Ruling([Allowance(code=code, reason=reason)])


def test_what_was_overridden_is_in_the_lock(repository: Repository) -> None:
    old = Deb(name="cuda-toolkit-12-4", version="12.4.1-1")
    allowed = [Allowance(code="STACK-TOOLKIT-NOT-FOR-OS", reason="our mirror has it")]
    lock, notes = repository.write([old]).lock(cuda="12.4", allowed=allowed)
    assert lock.allowed == allowed
    assert lock.resolved == {"cuda": "12.4.1"}
    assert any("our mirror has it" in note for note in notes)


def test_what_a_compiler_will_not_accept_is_said() -> None:
    ruling = Ruling()
    judge(ruling, os="ubuntu-26.04", cuda="13.3")
    assert not ruling.notes
    judge(ruling, os="debian-13", cuda="13.1", gpus=["H200"])
    assert any("not yet checked" in note for note in ruling.notes)
    wheels = Ruling()
    judge(wheels, os="debian-13", cuda="12.6", packages="wheels")
    assert any("gcc" in note for note in wheels.notes)
    assert any("glibc 2.41" in note for note in wheels.notes)


def test_an_end_of_life_is_said() -> None:
    ruling = Ruling()
    judge(ruling, driver={"branch": "570"})
    assert any("end of life" in note for note in ruling.notes)


versions = st.sampled_from(
    [
        *("8", "9", "9.13", "10", "10.13", "10.16", "11", "12", "12.7", "12.9", "13", "13.0"),
        *("13.3", "2", "2.28.9", "1", "1.19", "580", "99", "0", "13.0.2.1"),
    ]
)
branches = st.sampled_from(["none", "preinstalled", "535", "580", "580.95.05", "595", "620", "999"])


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.fixed_dictionaries(
        {"os": st.sampled_from(["ubuntu-24.04", "debian-12"])},
        optional={
            **dict.fromkeys(("cuda", "cudnn", "tensorrt", "nccl", "container_toolkit"), versions),
            "driver": st.fixed_dictionaries(
                {"branch": branches},
                optional={"flavour": st.sampled_from(["auto", "open", "proprietary"])},
            ),
        },
    )
)
def test_every_wish_becomes_a_consistent_lock_or_a_refusal(
    lock_from: Locks, wishes: dict[str, Any]
) -> None:
    error: CudactlError | None = None
    try:
        lock, _ = lock_from(**wishes)
    except CudactlError as wrong:
        error = wrong
    if error is not None:
        assert error.code.startswith("STACK-")
        assert error.expected
        assert error.remedy
        return
    names = {p.name for p in lock.packages}
    assert {name for p in lock.packages for name in p.requires} <= names
    for key in ("cuda", "cudnn", "tensorrt", "nccl", "container_toolkit"):
        if key in wishes:
            assert (lock.resolved[key] + ".").startswith(wishes[key] + ".")  # type: ignore[index]
            assert lock.of(key)  # type: ignore[arg-type]
        else:
            assert key not in lock.resolved
