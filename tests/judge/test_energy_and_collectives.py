"""Where the verdicts on energy and on several GPUs together change, and what they say."""

from __future__ import annotations

from typing import Any

import pytest

from cudactl.judge.checks.collectives import nccl_version
from tests.judge.healthy import GPU, value
from tests.judge.verdicts import Document, said

DRAW = "energy.draw"
PEERS, SUMS, BUS = "collectives.peers", "collectives.allreduce", "collectives.bandwidth"
TOGETHER = (PEERS, SUMS, BUS)


# --- energy -------------------------------------------------------------------------------------


def draw(reference: Document | None = None, **values: object) -> tuple[str, str, str, str]:
    def policy(document: Document) -> None:
        document["references"][GPU["device"]].update(reference or {})

    return said(DRAW, "nightly", policy=policy, **values)


def test_a_draw_shows_joules_watts_and_the_rate_per_watt_beside_the_data_sheets() -> None:
    sheet = {"tflops": {"fp32": 60.0}, "watts": 600.0, "contested": []}
    assert draw(sheet, tflops=50.0) == (
        "PASS",
        "1010 J in 2.0 s: 500 W (118 W at rest)",
        "above 118 W, at most 770 W",
        "0.100 Tflop/s per W in FP32, by NVML's counter; the data sheet's 0.100 "
        "(60 Tflop/s at 600 W)",
    )
    assert "by samples of the power;" in draw(sheet, by="samples")[3]
    for unknown in ({"watts": None}, {"contested": ["watts"]}, {"tflops": {}}, {"tflops": None}):
        found = draw({**sheet, **unknown}, tflops=50.0)
        assert found[3] == (
            "0.100 Tflop/s per W in FP32, by NVML's counter; no data sheet to hold it beside"
        )
    assert "the data sheet's" in draw({**sheet, "contested": ["sm_count"]})[3]


@pytest.mark.parametrize(
    ("values", "status", "says"),
    [
        ({"average_w": 770.0, "sampled_w": None}, "PASS", ""),
        ({"average_w": 770.5, "sampled_w": None}, "FAIL", "more than the enforced limit of 700 W"),
        ({"average_w": 118.0}, "FAIL", "no more than at rest"),
        ({"average_w": 118.1}, "PASS", ""),
        ({"average_w": 0.0, "idle_w": -5.0}, "FAIL", "stands still or runs backwards"),
        ({"average_w": 640.0, "sampled_w": 512.0}, "PASS", ""),
        ({"average_w": 641.0, "sampled_w": 512.0}, "FAIL", "than any sample of the power (512 W)"),
        ({"sampled_w": None}, "PASS", ""),
        ({"threads": 1}, "PASS", ""),
        ({"threads": 0}, "FAIL", "the load itself computed something wrong"),
        ({"wrong_threads": 1}, "FAIL", "the load itself computed something wrong"),
        ({"tflops": 0.0}, "ERROR", "the load did nothing"),
        ({"tflops": 0.5}, "PASS", ""),
        ({"limit_w": 0.0}, "ERROR", "the load did nothing"),
    ],
)
def test_a_draw_is_plausible_up_to_its_edges(values: Document, status: str, says: str) -> None:
    found = draw(**values)
    assert found[0] == status
    assert says in found[3]


def test_threads_that_computed_wrongly_are_counted() -> None:
    assert draw(threads=100, wrong_threads=3)[1:3] == ("3 of 100 threads", "0 wrong")


# --- GPUs together ------------------------------------------------------------------------------


def together(check: str, **values: Any) -> tuple[str, str, str, str]:
    return said(check, "nightly", **values)


def gpus_there(count: int) -> Any:
    def change(evidence: Document) -> None:
        evidence["state"]["gpus"] = (evidence["state"]["gpus"] * 2)[:count]

    return change


@pytest.mark.parametrize("check", TOGETHER)
def test_one_gpu_has_nothing_to_sum_with(check: str) -> None:
    found = together(check, change=gpus_there(1))
    assert found[:3] == ("SKIP", "1 GPU", "")
    assert found[3].startswith("one GPU is in this machine")


@pytest.mark.parametrize("check", TOGETHER)
def test_no_gpu_is_skipped_only_where_the_lock_says_so(check: str) -> None:
    declared = {"without_gpu": "the lock names no GPU"}
    assert together(check, change=gpus_there(0), expect=declared) == (
        "SKIP",
        "no GPU",
        "",
        "the lock names no GPU",
    )
    assert together(check, change=gpus_there(0), expect={"without_gpu": None})[0] == "FAIL"
    assert together(check, expect=declared)[0] == "PASS"


@pytest.mark.parametrize("check", TOGETHER)
def test_gpus_that_somebody_uses_or_that_cuda_does_not_see(check: str) -> None:
    busy = together(check, users=[1, 2, 3, 4, 5, 6])
    assert busy == (
        "ERROR",
        "",
        "",
        "not measured: process 1, 2, 3, 4, 5 computes on a GPU",
    )
    assert together(check, gpus=3) == (
        "FAIL",
        "3 GPUs",
        "2 GPUs",
        "CUDA sees other GPUs than the bus holds",
    )


def test_every_pair_copies_every_byte() -> None:
    assert together(PEERS) == (
        "PASS",
        "2 pairs, 2 direct, slowest 310.0 GB/s",
        "2 pairs, every byte",
        "every byte arrived",
    )


def pair(expect: Document | None = None, **values: object) -> tuple[str, str, str, str]:
    change = lambda e: value(e, PEERS)["pairs"][1].update(values)  # noqa: E731
    return together(PEERS, change=change, expect=expect)


def test_the_slowest_pair_and_those_that_go_through_the_host_are_told() -> None:
    indirect = {"direct": False, "gbs": 20.5}
    shown = "2 pairs, 1 direct, slowest 20.5 GB/s"
    assert pair(**indirect) == (
        "FAIL",
        shown,
        "all direct",
        "GPUs that are linked do not reach each other",
    )
    assert pair({"direct": None}, **indirect)[:2] == ("PASS", shown)


def test_a_pair_that_loses_bytes_or_compared_none_is_named() -> None:
    assert pair(wrong_bytes=3) == (
        "FAIL",
        "3 bytes wrong",
        "2 pairs, every byte",
        "GPU 1 to GPU 0: 3 of 4194304 bytes arrived wrong",
    )
    assert pair(checked_bytes=0)[3] == "GPU 1 to GPU 0: 0 of 0 bytes arrived wrong"
    assert pair(checked_bytes=1)[0] == "PASS"


def test_a_pair_that_is_left_out_is_an_error() -> None:
    found = together(PEERS, change=lambda e: value(e, PEERS)["pairs"].pop())
    assert found == ("ERROR", "", "2 pairs, every byte", "1 of 2 pairs were copied")
    # A GPU's copy to itself is none of them.
    found = pair(**{"to": 1})
    assert found[3] == "2 of 2 pairs were copied"


def test_sums_are_counted_over_all_gpus() -> None:
    assert together(SUMS) == (
        "PASS",
        "8388632 sums on 2 GPUs",
        "0 wrong",
        "exact in bf16, fp16, fp32, int32",
    )


def test_sums_that_must_be_there() -> None:
    for kind in ("int32", "fp32"):
        found = together(SUMS, change=lambda e, k=kind: value(e, SUMS)["by_type"].pop(k))
        assert (found[0], found[3]) == ("ERROR", f"{kind} was not measured")
    found = together(SUMS, by_type={})
    assert found[3] == "int32, fp32 was not measured"
    found = together(SUMS, change=lambda e: value(e, SUMS)["by_type"]["fp16"].pop())
    assert (found[0], found[3]) == ("ERROR", "fp16: 1 of 2 GPUs were read")


def sums(**values: object) -> tuple[str, str, str, str]:
    return together(SUMS, change=lambda e: value(e, SUMS)["by_type"]["fp32"][1].update(values))


def test_wrong_sums_are_told_with_the_first() -> None:
    first = {"at": 31, "found_hex": "41000000", "expected_hex": "41100000"}
    assert sums(wrong=2, first=first) == (
        "FAIL",
        "2 wrong",
        "0 wrong",
        "fp32 on GPU 1: 2 of 1048579 sums are wrong, first at 31 (41000000 for 41100000)",
    )
    assert sums(wrong=2, untouched=5, checked=5)[3] == "fp32 on GPU 1: nothing was written"
    assert "5 of 6 sums" in sums(wrong=5, untouched=5, checked=6)[3]
    assert sums(checked=0)[3] == "fp32: nothing was compared"
    assert sums(checked=1)[0] == "PASS"


def test_bandwidth_is_judged_by_the_policys_own_figure() -> None:
    shown = "366.0 GB/s on the bus over 2 GPUs"
    assert together(BUS) == ("PASS", shown, "at least 300 GB/s", "as fast as the policy demands")
    assert together(BUS, expect={"bus_gbs": 366.0})[0] == "PASS"
    assert together(BUS, expect={"bus_gbs": 367}) == (
        "FAIL",
        shown,
        "at least 367 GB/s",
        "slower than the policy demands",
    )
    assert together(BUS, expect={"bus_gbs": None})[:3] == ("NO_REFERENCE", shown, "")
    assert together(BUS, bus_gbs=0.0)[2:] == ("more than nothing", "nothing was moved")
    assert together(BUS, bus_gbs=0.5)[2] == "at least 300 GB/s"


@pytest.mark.parametrize(
    ("number", "written"), [(22703, "2.27.3"), (21510, "2.15.10"), (30001, "3.0.1")]
)
def test_nccls_version_as_people_write_it(number: int, written: str) -> None:
    assert nccl_version(number) == written
