"""What nvcc's program on a GPU is judged to show."""

from __future__ import annotations

from typing import Any

from cudactl.judge import judge
from cudactl.judge.checks import CHECKS
from tests.judge.healthy import NOW, fresh, value


def verdict(link: bool = True, **changed: object) -> dict[str, Any]:
    """Return the verdict on a healthy H200's program with some values changed."""
    evidence, policy = fresh("gpu")
    value(evidence, "nvcc.run").update(changed)
    (expectation,) = [e for e in policy["expectations"] if e["check"] == "nvcc.run"]
    expectation["expect"]["link"] = link
    certificate = judge(evidence, policy, "h1", NOW)
    found: dict[str, Any] = next(v for v in certificate["verdicts"] if v["check"] == "nvcc.run")
    return found


def test_the_first_wrong_value_is_told_and_what_was_expected() -> None:
    for changed in (
        {"kernel_wrong": 2, "kernel_first": 9},
        {"ptx_kernel_wrong": 2, "ptx_kernel_first": 9},
    ):
        found = verdict(**changed)
        assert found["reason"].endswith("2 of 262144 values are wrong, the first is number 9")
        assert (found["measured"], found["expected"]) == ("wrong values", "none")


def test_what_was_linked_is_said() -> None:
    assert verdict()["reason"].endswith("from PTX, with cuBLAS and cuDNN")
    assert verdict()["measured"] == "267200 values, 0 wrong"
    alone = verdict(link=False, linked=False, gemm_wrong=None, convolution_wrong=None)
    assert (alone["status"], alone["measured"]) == ("PASS", "262144 values, 0 wrong")
    assert alone["reason"].endswith("as machine code and from PTX")
    assert CHECKS["nvcc.run"].level == "execution"


def test_what_ran_is_the_code_for_this_gpu_and_on_it() -> None:
    found = verdict(arch=890)
    assert (found["measured"], found["expected"]) == ("sm_89", "sm_90")
    assert found["reason"] == "code of another architecture ran"
    other = verdict(address="0000:18:00.0")
    assert (other["measured"], other["expected"]) == ("0000:18:00.0", "0000:17:00.0")
    assert other["reason"] == "the program ran on another GPU"


def test_what_was_not_compared_or_not_linked_is_no_pass() -> None:
    titles = {
        "kernel": "the kernel",
        "gemm": "cuBLAS",
        "convolution": "cuDNN",
        "ptx_kernel": "the kernel from PTX",
    }
    for part, title in titles.items():
        none = verdict(**{part + "_compared": 0})
        assert (none["status"], none["reason"]) == ("ERROR", f"no value of {title} was compared")
        assert verdict(**{part + "_compared": 1})["status"] == "PASS"
        wrong = verdict(**{part + "_wrong": 1, part + "_compared": 5, part + "_first": 2})
        assert wrong["reason"] == f"{title}: 1 of 5 values are wrong, the first is number 2"
    unlinked = verdict(linked=False)
    assert (unlinked["status"], unlinked["reason"]) == (
        "ERROR",
        "it was not linked against cuBLAS and cuDNN",
    )
