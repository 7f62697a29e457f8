"""Several toolkits of one spec: each is judged like a spec of its own, and all share a driver."""

from __future__ import annotations

from typing import Any

import pytest

from cudactl.contracts.spec import StackSpec
from cudactl.contracts.verdict import SpecVerdict
from cudactl.stack.refusals import StackRefused
from cudactl.stack.spec.check import check_spec
from tests.stack.conftest import Locks


def verdict(**wishes: Any) -> SpecVerdict:
    return check_spec(StackSpec.model_validate({"os": "ubuntu-24.04", **wishes}))


def test_the_written_one_is_the_active_one() -> None:
    said = verdict(cuda="12.9", cuda_also=["13.0"], cudnn="9")
    assert said.verdict != "refused", said.findings
    assert said.resolved["cuda"].startswith("12.9")


def test_the_driver_serves_the_newest_of_them() -> None:
    alone = verdict(cuda="12.9", cudnn="9").resolved["driver"]
    newest = verdict(cuda="13.3").resolved["driver"]
    beside = verdict(cuda="12.9", cuda_also=["13.3"], cudnn="9").resolved["driver"]
    assert beside == newest
    assert int(beside.split(".")[0]) >= int(alone.split(".")[0])


def test_each_is_refused_as_it_would_be_alone_and_is_named() -> None:
    said = verdict(gpus=["V100 SXM2 32GB"], cuda="12.9", cuda_also=["13.0"])
    assert said.verdict == "refused"
    (finding,) = said.findings
    (alone,) = verdict(gpus=["V100 SXM2 32GB"], cuda="13.0").findings
    assert finding.code == alone.code == "STACK-GPU-TOOLKIT"
    assert finding.text == f"cuda_also 13.0: {alone.text}"


def test_a_driver_that_was_named_must_serve_all() -> None:
    said = verdict(os="ubuntu-22.04", driver={"branch": "535"}, cuda="12.2", cuda_also=["13.0"])
    assert said.verdict == "refused"
    assert {f.code for f in said.findings} == {"STACK-DRIVER-TOO-OLD"}
    assert all(f.text.startswith("cuda_also 13.0: ") for f in said.findings)


@pytest.mark.parametrize(
    "wishes",
    [
        {"cuda": "13.0", "cuda_also": ["13.0.1"]},
        {"cuda": "13.0", "cuda_also": ["12.9", "12.9.0"]},
        {"cuda_also": ["12.9"]},
        {"cuda": "13.0", "cuda_also": ["12.9"], "packages": "wheels"},
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_to_do(wishes: dict[str, Any]) -> None:
    (finding,) = verdict(**wishes).findings
    assert (finding.code, finding.severity) == ("STACK-CUDA-ALSO", "refused")
    assert finding.remedy


def test_a_lock_holds_both_closures_each_at_what_it_was_released_with(lock_from: Locks) -> None:
    lock, _ = lock_from(cuda="13.0.0", cuda_also=["12.9"], cudnn="9", driver={"branch": "none"})
    versions = {p.name: p.version for p in lock.packages}
    assert versions["cuda-nvcc-13-0"] == "13.0.48-1"
    assert versions["cuda-nvcc-12-9"] == "12.9.86-1"
    assert "libcudnn9-cuda-13" in versions, "cuDNN is the active one's"
    assert "libcudnn9-cuda-12" not in versions
    assert lock.resolved["cuda"] == "13.0.0"
    asked = [p.name for p in lock.packages if p.top_level and p.component == "cuda"]
    assert asked == ["cuda-toolkit-12-9", "cuda-toolkit-13-0"]


def test_toolkits_whose_packages_break_each_other_are_refused(lock_from: Locks) -> None:
    """NVIDIA's cccl-13-3 breaks cuda-cccl-12-X: no apt installs both."""
    with pytest.raises(StackRefused) as refused:
        lock_from(cuda="13.3", cuda_also=["12.9"], driver={"branch": "none"})
    assert refused.value.code == "STACK-CLOSURE"
    assert "cccl-13-3" in refused.value.found
    assert "cuda-cccl-12-9" in refused.value.found
