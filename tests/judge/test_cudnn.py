"""Where the verdicts on cuDNN change, and what they say: on the machine and on a GPU."""

from __future__ import annotations

from typing import Any

import pytest

from tests.judge.healthy import GPU, PARTS, SYSTEM, every_library, measurement, value
from tests.judge.verdicts import Document, said

LIBRARY, PARTS_OF = "cudnn.library", "cudnn.sublibraries"
SPEED = "cudnn.speed"
SEVEN = "7 at 9.13.0"


# --- its files ----------------------------------------------------------------------------------


def test_the_library_is_for_the_locks_cuda() -> None:
    where = f"loaded from {SYSTEM}/libcudnn.so.9.13.0"
    assert said(LIBRARY) == ("PASS", "9.13.0", "9.13.0", where)
    assert said(LIBRARY, built_for_cudart=12090) == (
        "FAIL",
        "12.9",
        "CUDA 13",
        "it was built for another CUDA",
    )
    assert said(LIBRARY, built_for_cudart=13020).status == "PASS"
    assert said(LIBRARY, version_number=91400)[:3] == ("FAIL", "9.14.0", "9.13.0")


def part(name: str, kind: str = "gpu", **values: object) -> tuple[str, str, str, str]:
    def change(evidence: Document) -> None:
        files = value(evidence, PARTS_OF)["files"]
        next(f for f in files if f["name"] == name).update(values)

    return said(PARTS_OF, kind, change=change)


def test_all_parts_are_counted() -> None:
    assert said(PARTS_OF) == ("PASS", SEVEN, SEVEN, "one version throughout")


def test_missing_parts_are_named() -> None:
    def without(*names: str) -> Any:
        files = "files"
        return lambda e: value(e, PARTS_OF).update(
            files=[f for f in value(e, PARTS_OF)[files] if f["name"] not in names]
        )

    assert said(PARTS_OF, change=without("ops", "adv")) == (
        "FAIL",
        "5",
        SEVEN,
        "missing: adv, ops",
    )


def test_a_part_that_is_of_another_version_is_named_by_either_witness() -> None:
    for witness in ({"version_number": 91400}, {"file_version": "9.14.0"}):
        assert part("ops", **witness) == (
            "FAIL",
            "ops 9.14.0",
            SEVEN,
            "ops is of another version",
        )
    # The links' names hold one number only, and tell nothing.
    assert part("graph", file_version="9")[0] == "PASS"
    assert part("ops", file_version="9") == (
        "ERROR",
        "",
        SEVEN,
        "nothing tells of which version ops is",
    )


def test_a_wheels_part_is_of_the_wheels_version_while_it_is_unaltered() -> None:
    def ours(**values: object) -> Any:
        def change(evidence: Document) -> None:
            files = value(evidence, PARTS_OF)["files"]
            next(f for f in files if f["name"] == "ops")["file_version"] = None
            for known in every_library(evidence, "libcudnn_ops"):
                known.update(values)

        return change

    def owned(document: Document) -> None:
        for one in document["expectations"]:
            if one["check"] == PARTS_OF:
                one["expect"]["owners"].append("stack:abc")

    for package, intact, status in (
        ("stack:abc", True, "PASS"),
        ("stack:abc", False, "ERROR"),
        ("stack:abc", None, "ERROR"),
        ("libcudnn9-cuda-13", True, "ERROR"),
    ):
        found = said(PARTS_OF, change=ours(package=package, intact=intact), policy=owned)
        assert found.status == status, (package, intact)


def test_a_part_says_that_the_others_are_not_its_own() -> None:
    assert part("cnn", check_code=1004)[1:] == (
        "cnn",
        SEVEN,
        "cnn says that cuDNN's other parts are not its own (status 1004)",
    )


LINKS_TO = "libcuda.so.1: cannot open shared object file"


def waiting(
    names: list[str], error: str | None, path: str | None = None
) -> tuple[str, str, str, str]:
    """Leave the first two parts unloaded, where `names` may need a driver."""

    def change(evidence: Document) -> None:
        measurement(evidence, PARTS_OF)["error"] = error
        for one in value(evidence, PARTS_OF)["files"][:2]:
            one["loaded"] = False
            if path is not None:
                one["path"] = path

    return said(PARTS_OF, change=change, expect={"needs_driver": names})


def test_a_part_that_links_to_libcuda_waits_for_a_driver_where_the_policy_names_it() -> None:
    first, second = PARTS[:2]
    assert waiting([first, second], LINKS_TO) == (
        "PASS",
        "5 at 9.13.0",
        SEVEN,
        f"one version throughout; {first}, {second} loads only where a driver is "
        "(it links to libcuda)",
    )
    for names, error, path in (
        ([first], LINKS_TO, None),
        ([], LINKS_TO, None),
        ([first, second], "libfoo.so: cannot open", None),
        ([first, second], LINKS_TO, "/opt/elsewhere/libcudnn_adv.so.9"),
    ):
        assert waiting(names, error, path)[0] == "FAIL"
    assert waiting([], None)[1:] == (first, SEVEN, f"{first} does not load: no reason given")


def test_parts_after_one_that_waits_are_still_looked_at() -> None:
    def change(evidence: Document) -> None:
        measurement(evidence, PARTS_OF)["error"] = LINKS_TO
        files = value(evidence, PARTS_OF)["files"]
        files[0]["loaded"] = False
        files[-1]["file_version"] = "9.1.0"

    assert said(PARTS_OF, change=change, expect={"needs_driver": [PARTS[0]]}).status == "FAIL"


# --- convolutions on a GPU ----------------------------------------------------------------------


def run(algorithm: str, operation: str = "forward", **values: object) -> tuple[str, str, str, str]:
    def change(evidence: Document) -> None:
        runs = value(evidence, f"cudnn.{operation}")["runs"]
        next(r for r in runs if r["algorithm"] == algorithm).update(values)

    return said(f"cudnn.{operation}", change=change)


def test_right_algorithms_are_counted_and_refused_ones_named() -> None:
    assert said("cudnn.forward") == (
        "PASS",
        "20 runs, 0 wrong",
        "0 wrong",
        "4 algorithms right; cuDNN refuses winograd on this GPU",
    )
    assert said("cudnn.backward_filter").reason == "4 algorithms right"


@pytest.mark.parametrize(
    ("code", "stage", "status"),
    [
        (9, "run", "PASS"),
        (8, "run", "FAIL"),
        (3000, "run", "PASS"),
        (3999, "run", "PASS"),
        (4000, "run", "FAIL"),
        (2999, "run", "FAIL"),
        (2000, "run", "FAIL"),
        (3, "run", "FAIL"),
        (3, "workspace", "PASS"),
        (2000, "workspace", "PASS"),
        (2999, "workspace", "PASS"),
        (1999, "workspace", "FAIL"),
        (4, "workspace", "FAIL"),
        (10, "workspace", "FAIL"),
    ],
)
def test_a_status_tells_a_refusal_from_a_failure(code: int, stage: str, status: str) -> None:
    found = run("gemm", code=code, stage=stage, text="cuDNN answers")
    assert found[0] == status
    if status == "FAIL":
        assert found[1:] == ("1 of 22 runs", "none", "gemm in FP32 NCHW: cuDNN answers")


def test_several_faults_are_told_by_the_first() -> None:
    def change(evidence: Document) -> None:
        for one in value(evidence, "cudnn.forward")["runs"][:3]:
            one.update(code=5000, text="broke")

    found = said("cudnn.forward", change=change)
    assert found.measured == "3 of 22 runs"
    assert found.reason == "implicit_gemm in FP32 NCHW: broke; and 2 more"


@pytest.mark.parametrize(
    ("algorithm", "values", "status"),
    [
        # A transform rounds; it is right while every number rounds to the right integer.
        ("winograd_nonfused", {"worst_error": 0.2499, "wrong_values": 5}, "PASS"),
        ("winograd_nonfused", {"worst_error": 0.25, "wrong_values": 5}, "FAIL"),
        ("gemm", {"worst_error": 0.0, "wrong_values": 1}, "FAIL"),
        ("gemm", {"compared_values": 1000}, "PASS"),
        ("gemm", {"compared_values": 999}, "ERROR"),
    ],
)
def test_a_run_is_right_up_to_its_edges(algorithm: str, values: Document, status: str) -> None:
    expect = {"compared": 1000}

    def change(evidence: Document) -> None:
        runs = value(evidence, "cudnn.forward")["runs"]
        next(r for r in runs if r["algorithm"] == algorithm).update(values)

    assert said("cudnn.forward", change=change, expect=expect).status == status


def test_a_transform_that_is_off_says_by_how_much() -> None:
    found = run("winograd_nonfused", worst_error=0.5, wrong_values=5)
    assert found[3] == "winograd_nonfused in FP32 NCHW: 5 values, off by up to 0.5"


def test_every_type_needs_an_algorithm_that_is_exact() -> None:
    def only_transforms(evidence: Document) -> None:
        for one in value(evidence, "cudnn.forward")["runs"]:
            if one["kind"] == "fp32" and "winograd" not in one["algorithm"]:
                one.update(code=3000, text="refused")

    found = said("cudnn.forward", change=only_transforms)
    assert found[:3] == ("FAIL", "0 of 10", "at least 1")
    assert found.reason == "no exact algorithm computes in FP32: refused"


# --- speed --------------------------------------------------------------------------------------


def speed(rate: float | None = 1000.0, **values: Any) -> tuple[str, str, str, str]:
    def policy(document: Document) -> None:
        document["references"][GPU["device"]]["tflops"] = {"fp16": rate}

    return said(SPEED, policy=policy, **values)


def test_a_rate_that_can_be_is_shown_with_its_share() -> None:
    shown = "500.0 Tflop/s (±0.40 %), 140000 images/s"
    assert speed(tflops_median=500.0) == (
        "PASS",
        shown,
        "right and repeatable",
        "right under load; 0.50 of the data sheet, for which no floor is known",
    )
    assert speed(None, tflops_median=500.0)[:2] == ("NO_REFERENCE", shown)
    assert speed(tflops_median=2000.0)[0] == "PASS"
    assert speed(tflops_median=2001.0)[2] == "at most 2000 Tflop/s"


def test_an_error_under_load_may_be_a_rounding() -> None:
    most = {"error_sigma": 0.5}
    assert said(SPEED, expect=most, worst_error_sigma=0.5).status == "PASS"
    assert said(SPEED, expect=most, worst_error_sigma=0.51).status == "FAIL"
    assert said(SPEED, repeats_differ="no").status == "FAIL"
