"""Wishes that cannot stand together are refused with a reason, and what can be overridden is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cudactl.contracts.errors import CudactlError, UsageError
from cudactl.contracts.lock import Allowance
from cudactl.contracts.spec import StackSpec
from cudactl.contracts.verdict import SpecFinding, SpecVerdict
from cudactl.stack.bundle.repository import Deb
from cudactl.stack.spec.check import check_spec
from tests.stack.conftest import Locks, Repository


def judged(*allowed: Allowance, **wishes: Any) -> SpecVerdict:
    spec = StackSpec.model_validate({"os": "ubuntu-24.04", **wishes})
    return check_spec(spec, allowed=allowed)


def refused(**wishes: Any) -> SpecFinding:
    verdict = judged(**wishes)
    assert verdict.verdict == "refused"
    assert verdict.resolved == {}
    finding = verdict.findings[0]
    assert finding.facts
    assert finding.source
    assert finding.remedy
    return finding


def said(code: str, **wishes: Any) -> list[str]:
    verdict = judged(**wishes)
    assert verdict.verdict != "refused", verdict.findings
    return [finding.text for finding in verdict.findings if finding.code == code]


@pytest.mark.parametrize(
    ("wishes", "code", "found"),
    [
        ({"cuda": "12.7"}, "STACK-UNKNOWN-VERSION", "there is no CUDA 12.7"),
        ({"cuda": "13.0.9"}, "STACK-UNKNOWN-VERSION", "13.0.9"),
        ({"cuda": "99"}, "STACK-UNKNOWN-VERSION", "not known to the catalogue"),
        ({"os": "ubuntu-20.04"}, "STACK-OS-NOT-SUPPORTED", "ubuntu-20.04"),
        ({"os": "ubuntu-24.4", "cuda": "13"}, "STACK-OS-NOT-SUPPORTED", "ubuntu-24.4"),
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
        ({"cuda": "13.0", "cudnn": "9.99"}, "STACK-UNKNOWN-VERSION", "not known"),
        ({"cuda": "13.0", "cudnn": "9.6.1"}, "STACK-UNKNOWN-VERSION", "cuDNN 9.6.1"),
        ({"cuda": "13.0", "tensorrt": "10.12"}, "STACK-TENSORRT-CUDA", "11.8 and 12.9"),
        ({"cuda": "13.0", "tensorrt": "10.15"}, "STACK-TENSORRT-CUDA", "13.1"),
        ({"cuda": "13.0", "tensorrt": "10.99"}, "STACK-UNKNOWN-VERSION", "10.99"),
        ({"cudnn": "9"}, "STACK-CUDA-MISSING", "cudnn"),
        ({"packages": "wheels"}, "STACK-EMPTY", "no package"),
        ({"cuda": "13.0", "tensorrt_rtx": "1.7"}, "STACK-WHEELS-ONLY", "wheels"),
        (
            {"packages": "wheels", "cuda": "13.0", "driver": {"branch": "580"}},
            "STACK-NO-DRIVER-WHEELS",
            "driver",
        ),
        (
            {"packages": "wheels", "cuda": "13.0", "container_toolkit": "1"},
            "STACK-APT-ONLY",
            "container_toolkit",
        ),
        ({"gpus": ["V100"], "cuda": "13.0"}, "STACK-GPU-TOOLKIT", "V100"),
        ({"gpus": ["V100"], "driver": {"branch": "595"}}, "STACK-GPU-DRIVER", "580"),
        ({"gpus": ["B200"], "driver": {"branch": "565"}}, "STACK-GPU-DRIVER-OLD", "570"),
        (
            {"gpus": ["V100"], "driver": {"branch": "580", "flavour": "open"}},
            "STACK-GPU-FLAVOUR",
            "Turing",
        ),
        (
            {"gpus": ["B200"], "driver": {"branch": "580", "flavour": "proprietary"}},
            "STACK-GPU-FLAVOUR",
            "open kernel module only",
        ),
        ({"gpus": ["V100", "B200"], "cuda": "12.9"}, "STACK-GPU-FLAVOUR", "B200"),
        ({"gpus": ["V100"], "cuda": "12.9", "tensorrt": "10.13"}, "STACK-TENSORRT-GPU", "7.5"),
        ({"gpus": ["Voodoo 2"]}, "STACK-GPU-UNKNOWN", "Voodoo 2"),
        (
            {"os": "debian-13", "packages": "wheels", "cuda": "12.6"},
            "STACK-HOST-GLIBC",
            "glibc 2.41",
        ),
        (
            {"frameworks": {"torch": "2.15"}, "os": "ubuntu-22.04"},
            "STACK-FRAMEWORK-PYTHON",
            "cp310",
        ),
        (
            {"frameworks": {"torch": "1.13"}, "arch": "sbsa", "os": "ubuntu-22.04"},
            "STACK-FRAMEWORK-ARCH",
            "processor only",
        ),
        (
            {"driver": {"branch": "535", "source": "distro"}},
            "STACK-DRIVER-TRANSITIONAL",
            "nvidia-driver-580",
        ),
        (
            {"os": "debian-12", "driver": {"branch": "580", "source": "distro"}},
            "STACK-DRIVER-SOURCE",
            "it has 470, 525, 535",
        ),
        (
            {"os": "debian-12", "driver": {"source": "distro"}, "gpus": ["H100 SXM5"]},
            "STACK-NO-FABRIC-MANAGER",
            "nvidia-kernel-dkms",
        ),
        (
            {
                "os": "ubuntu-22.04",
                "driver": {"branch": "545", "source": "distro"},
                "gpus": ["H100 SXM5"],
            },
            "STACK-NO-FABRIC-MANAGER",
            "nvidia-driver-545",
        ),
    ],
)
def test_a_wish_that_cannot_be_is_refused_for_its_reason(
    wishes: dict[str, Any], code: str, found: str
) -> None:
    refused(**wishes)
    texts = {finding.code: finding.text for finding in judged(**wishes).findings}
    assert found in texts[code]


def test_a_refusal_names_the_smallest_set_of_wishes() -> None:
    finding = refused(
        gpus=["V100", "T4"], cuda="13.0", cudnn="9", tensorrt="10.13", container_toolkit="1"
    )
    assert finding.wishes == ["gpus: V100", "cuda: 13.0"]
    finding = refused(cuda="12.4", cudnn="9")
    assert finding.wishes == ["os: ubuntu-24.04", "cuda: 12.4"]
    assert refused(gpus=["V100", "B200"], cuda="12.9").wishes == ["gpus: V100", "gpus: B200"]


def test_a_refusal_offers_what_would_work_and_it_does() -> None:
    wishes: dict[str, Any] = {"cuda": "13.0", "cudnn": "9.10", "gpus": ["H100"]}
    offered = refused(**wishes).nearest
    assert [change.text for change in offered][:2] == ['cudnn: "9.12"', 'cuda: "12.9"']
    for change in offered:
        assert judged(**{**wishes, change.key: change.value}).verdict != "refused"
    assert refused(os="ubuntu-24.4", cuda="13.0").nearest[0].text == "os: ubuntu-24.04"
    assert "12.8" in [c.value for c in refused(cuda="12.7").nearest]
    assert refused(driver={"branch": "535", "source": "distro"}).nearest[0].value == "580"


def test_every_conflict_is_told_at_once() -> None:
    verdict = judged(gpus=["V100"], cuda="13.0", driver={"branch": "580", "flavour": "open"})
    codes = {finding.code for finding in verdict.findings}
    assert codes == {"STACK-GPU-TOOLKIT", "STACK-GPU-FLAVOUR"}


def test_the_default_driver_serves_every_gpu_and_the_toolkit() -> None:
    assert judged(gpus=["V100"], cuda="12.9").resolved["driver"].startswith("580.")
    assert judged(gpus=["V100"], cuda="12.9").driver_flavour == "proprietary"
    assert judged(gpus=["H200 SXM"], cuda="13.0").driver_flavour == "open"
    kepler = judged(gpus=["K80"], cuda="11.8", os="ubuntu-22.04")
    assert kepler.resolved["driver"].startswith("470."), "past its end of life, and the only one"
    assert "STACK-DRIVER-EOL" in {finding.code for finding in kepler.findings}
    finding = refused(gpus=["K80"], driver={"branch": "580"}, os="ubuntu-22.04")
    assert finding.nearest[0].text == 'driver: {branch: "470"}'


def test_a_prefix_takes_the_highest_that_stands_with_the_rest() -> None:
    old = judged(cuda="12", os="debian-12", driver={"branch": "535"}).resolved
    assert old["cuda"] == "12.9.2"
    assert judged(cuda="12.9", tensorrt="10", gpus=["V100"]).resolved["tensorrt"] == "10.4.0.26"
    assert "cuda" not in judged(driver={"branch": "580"}).resolved


@pytest.mark.parametrize(
    ("wishes", "code", "found"),
    [
        ({"cuda": "13.3", "driver": {"branch": "580"}}, "STACK-MINOR-COMPATIBILITY", "PTX"),
        ({"gpus": ["H200 SXM"], "driver": {"branch": "535"}}, "STACK-GPU-UNSEEN", "H200"),
        ({"gpus": ["GH200"], "driver": {"branch": "580"}}, "STACK-GPU-ARCH", "sbsa"),
        (
            {"gpus": ["B200"], "frameworks": {"tensorflow": "2.20"}},
            "STACK-FRAMEWORK-GPU",
            "12.5",
        ),
        ({"driver": {"branch": "570"}}, "STACK-DRIVER-EOL", "end of life"),
        ({"driver": {"branch": "580.1.2"}}, "STACK-RELEASE-UNKNOWN", "580.1.2"),
        ({"driver": {"branch": "620"}}, "STACK-SUPPORT-UNKNOWN", "620"),
        ({"cuda": "13.0", "tensorrt": "10.13"}, "STACK-TENSORRT-SHARED-NAMES", "libnvinfer-dev"),
        ({"cuda": "13.0.0"}, "STACK-PARTS-FLOAT", ">="),
        ({"cuda": "13.0", "frameworks": {"torch": "2.9"}}, "STACK-FRAMEWORK-VARIANT", "+cu130"),
        ({"cuda": "13.0", "frameworks": {"torch": "2.8"}}, "STACK-FRAMEWORK-CUDA", "12.8"),
        (
            {"frameworks": {"torch": "2.9"}, "arch": "sbsa", "driver": {"branch": "none"}},
            "STACK-FRAMEWORK-ARCH",
            "not known",
        ),
        (
            {"os": "debian-12", "packages": "wheels", "cuda": "11.8"},
            "STACK-HOST-COMPILER",
            "gcc 12",
        ),
    ],
)
def test_what_is_not_what_it_seems_is_flagged(
    wishes: dict[str, Any], code: str, found: str
) -> None:
    assert judged(**wishes).verdict == "flagged"
    assert any(found in text for text in said(code, **wishes))


def test_a_plain_stack_is_ok() -> None:
    verdict = judged(cuda="13.0.2", cudnn="9.20", driver={"branch": "580"}, os="ubuntu-22.04")
    flags = [f.code for f in verdict.findings if f.severity == "flagged"]
    assert flags == ["STACK-PARTS-FLOAT"]
    assert judged(driver={"branch": "580"}, container_toolkit="1").verdict == "ok"


def test_a_refusal_is_overridden_with_a_reason_and_only_when_needed() -> None:
    allowance = Allowance(code="STACK-DRIVER-TOO-OLD", reason="compat package on these hosts")
    verdict = judged(allowance, cuda="13.0", driver={"branch": "570"})
    assert verdict.verdict == "flagged"
    assert verdict.resolved["driver"].startswith("570.")
    overridden = [f for f in verdict.findings if f.allowed]
    assert [(f.code, f.allowed) for f in overridden] == [(allowance.code, allowance.reason)]
    assert not [f for f in judged(allowance, cuda="13.0").findings if f.allowed]
    remedy = refused(cuda="13.0", driver={"branch": "570"}).remedy
    assert "--allow STACK-DRIVER-TOO-OLD" in remedy
    assert "--allow" not in refused(gpus=["V100"], cuda="13.0").remedy


@pytest.mark.parametrize(("code", "reason"), [("STACK-EMPTY", "x"), ("STACK-DRIVER-TOO-OLD", " ")])
def test_what_cannot_be_overridden(repository: Repository, code: str, reason: str) -> None:
    with pytest.raises(UsageError):
        repository.lock(cuda="13.0", allowed=[Allowance(code=code, reason=reason)])


def test_what_was_overridden_is_in_the_lock(repository: Repository) -> None:
    old = Deb(name="cuda-toolkit-12-4", version="12.4.1-1")
    allowed = [
        Allowance(code="STACK-TOOLKIT-NOT-FOR-OS", reason="our mirror has it"),
        Allowance(code="STACK-HOST-GLIBC", reason="not needed"),
    ]
    lock, notes = repository.write([old]).lock(cuda="12.4", allowed=allowed)
    assert lock.allowed == allowed[:1]
    assert lock.resolved == {"cuda": "12.4.1"}
    assert any("our mirror has it" in note for note in notes)
    assert any("STACK-HOST-GLIBC was not needed" in note for note in notes)


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


def test_of_the_archives_series_the_servers_is_taken() -> None:
    verdict = judged(driver={"branch": "595", "source": "distro"}, gpus=["H100 SXM5"])
    assert verdict.resolved["driver"] == "595.91.07", "595.99.02 is the desktop's"


def test_debians_versions_are_told_apart_by_flavour() -> None:
    def resolved(flavour: str) -> str:
        wish = {"branch": "535", "source": "distro", "flavour": flavour}
        return judged(os="debian-12", driver=wish).resolved["driver"]

    assert resolved("proprietary") == "535.309.01"
    assert resolved("open") == "535.261.03"
