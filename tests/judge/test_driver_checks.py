"""The driver's checks at their edges: unknown or contested figures, limits exactly met."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cudactl.certify.expectations.driver_gpu import MEMORY_LEAST, MEMORY_MOST
from cudactl.certify.floors import floor
from cudactl.judge import judge
from tests.judge.healthy import NOW, fresh, value

Document = dict[str, Any]
GIB = 1 << 30


def verdict(check: str, change: Callable[[Document, Document], object]) -> Document:
    """Judge a healthy H200 after a change to (evidence, its reference); return one verdict."""
    evidence, policy = fresh("gpu")
    change(evidence, policy["references"]["2335"])
    verdicts = judge(evidence, policy, "h1", NOW)["verdicts"]
    found: Document = next(v for v in verdicts if v["check"] == check)
    return found


@pytest.mark.parametrize(
    ("reference", "measured", "status"),
    [
        ({"sm_count": None}, {"sm_count": 60}, "PASS"),
        ({"contested": ["sm_count"]}, {"sm_count": 60}, "PASS"),
        ({"memory_gb": None}, {"total_bytes": 5 * GIB}, "PASS"),
        ({"contested": ["memory_gb"]}, {"total_bytes": 5 * GIB}, "PASS"),
        ({"contested": ["watts"]}, {"sm_count": 60}, "FAIL"),
        ({"sm_count": None, "memory_gb": None}, {}, "NO_REFERENCE"),
        ({"contested": ["sm_count", "memory_gb"]}, {}, "NO_REFERENCE"),
        ({"cc": "10.0"}, {}, "FAIL"),
    ],
)
def test_a_card_is_held_against_the_figures_that_are_certain(
    reference: Document, measured: Document, status: str
) -> None:
    def change(evidence: Document, figures: Document) -> None:
        figures.update(reference)
        value(evidence, "driver.device").update(measured)

    assert verdict("driver.device", change)["status"] == status


@pytest.mark.parametrize(
    ("share", "status"),
    [
        (MEMORY_LEAST, "PASS"),
        (MEMORY_LEAST - 0.001, "FAIL"),
        (MEMORY_MOST, "PASS"),
        (MEMORY_MOST + 0.001, "FAIL"),
    ],
)
def test_memory_may_be_a_little_less_than_the_name_says(share: float, status: str) -> None:
    def change(evidence: Document, figures: Document) -> None:
        figures["memory_gb"] = 1000.0  # so that shares are exact
        value(evidence, "driver.device")["total_bytes"] = share * 1000 * GIB

    assert verdict("driver.device", change)["status"] == status


@pytest.mark.parametrize(
    ("bus_id", "status"),
    [
        ("0000:17:00.0", "PASS"),
        ("00000000:17:00.0", "PASS"),
        ("0000:17:00.1", "FAIL"),
        ("0010:17:00.0", "FAIL"),
    ],
)
def test_an_address_is_the_same_in_every_spelling(bus_id: str, status: str) -> None:
    found = verdict("driver.device", lambda e, r: value(e, "driver.device").update(bus_id=bus_id))
    assert found["status"] == status


def test_a_gpu_without_a_uuid_is_known_by_its_address() -> None:
    evidence, policy = fresh("gpu")
    before = evidence["gpus"][0]["id"]
    evidence["gpus"][0]["id"] = "0000:17:00.0"
    for leg in evidence["legs"]:
        if leg.get("gpu") == before:
            leg["gpu"] = "0000:17:00.0"
    value(evidence, "driver.device").pop("uuid")
    verdicts = judge(evidence, policy, "h1", NOW)["verdicts"]
    assert next(v for v in verdicts if v["check"] == "driver.device")["status"] == "PASS"


@pytest.mark.parametrize(("part", "status"), [(1.0, "PASS"), (0.999, "FAIL")])
def test_as_much_memory_as_was_asked_for_is_enough(part: float, status: str) -> None:
    def change(evidence: Document, figures: Document) -> None:
        free = 1000 * GIB
        least = int(0.0475 * free)  # 95 % of the tier's share of 5 %
        value(evidence, "driver.memory").update(
            free_bytes=least / 0.0475, checked_bytes=int(part * least)
        )

    assert verdict("driver.memory", change)["status"] == status


def test_one_round_of_all_patterns_is_enough() -> None:
    found = verdict("driver.memory", lambda e, r: value(e, "driver.memory").update(rounds=1))
    assert found["status"] == "PASS"
    assert found["measured"] == "6.98 GiB in 6 patterns"


def test_a_speed_of_exactly_the_floor_is_enough_and_its_share_is_told() -> None:
    share = floor("driver.bandwidth").share

    def change(evidence: Document, figures: Document) -> None:
        figures["memory_gbs"] = 1000.0
        value(evidence, "driver.bandwidth")["copy_gbs_median"] = share * 1000.0

    found = verdict("driver.bandwidth", change)
    assert found["status"] == "PASS"
    assert found["measured"] == "600 GB/s, 60 % of the data sheet"
    assert found["expected"] == "600 GB/s (60 % of 1000)"


def test_a_contested_bandwidth_judges_nobody() -> None:
    def change(evidence: Document, figures: Document) -> None:
        figures["contested"] = ["memory_gbs"]
        value(evidence, "driver.bandwidth")["copy_gbs_median"] = 1.0

    assert verdict("driver.bandwidth", change)["status"] == "NO_REFERENCE"


@pytest.mark.parametrize(("major", "status"), [(195, "PASS"), (194, "FAIL")])
def test_the_driver_is_known_by_either_name_that_the_kernel_gives_it(
    major: int, status: str
) -> None:
    """Newer modules are "nvidia" in /proc/devices, older ones "nvidia-frontend"."""
    majors = {"nvidia": major, "nvidia-uvm": 510}
    found = verdict("driver.nodes", lambda e, r: value(e, "driver.nodes").update(majors=majors))
    assert found["status"] == status


def test_every_gpu_on_the_bus_needs_its_device_file() -> None:
    def one_more(evidence: Document, figures: Document) -> None:
        evidence["state"]["gpus"].append(
            {"address": "0000:65:00.0", "device": "2335", "driver": "nvidia"}
        )

    found = verdict("driver.nodes", one_more)
    assert (found["status"], found["measured"]) == ("FAIL", "1 of 2 GPUs")


def test_the_next_kernel_needs_the_locks_driver_whatever_is_loaded_now() -> None:
    def pending(evidence: Document, figures: Document) -> None:
        evidence["state"]["module"]["loaded"] = "570.86.15"

    assert verdict("driver.next_kernel", pending)["status"] == "PASS"


def test_where_the_next_kernel_is_unknown_the_running_ones_module_must_be_signed() -> None:
    def unsigned(evidence: Document, figures: Document) -> None:
        signed = {"6.8.0-31-generic": [False]}
        value(evidence, "driver.secure_boot").update(next=None, signed=signed)

    found = verdict("driver.secure_boot", unsigned)
    assert found["status"] == "FAIL"
    assert "6.8.0-31-generic is not signed" in found["reason"]


def test_a_domain_is_a_hexadecimal_number() -> None:
    evidence, policy = fresh("gpu")
    evidence["gpus"][0]["address"] = "0010:17:00.0"
    value(evidence, "driver.device")["bus_id"] = "00000010:17:00.0"
    found = {v["check"]: v for v in judge(evidence, policy, "h1", NOW)["verdicts"]}
    assert found["driver.device"]["status"] == "PASS"
    value(evidence, "driver.device")["bus_id"] = "0011:17:00.0"
    found = {v["check"]: v for v in judge(evidence, policy, "h1", NOW)["verdicts"]}
    assert found["driver.device"]["measured"] == "0011:17:00.0"


def test_all_that_agrees_is_told() -> None:
    found = verdict("driver.agreement", lambda e, r: None)["measured"]
    assert found == "module 580.95.05, libcuda 580.95.05, on disk 580.95.05"


@pytest.mark.parametrize(
    ("check", "level"),
    [
        ("driver.device", "linkage"),
        ("driver.kernels", "linkage"),
        ("driver.copy", "linkage"),
        ("driver.memory", "execution"),
        ("driver.compute", "execution"),
    ],
)
def test_each_check_shows_as_much_as_it_did_and_no_more(check: str, level: str) -> None:
    evidence, policy = fresh("gpu")
    policy["expectations"] = [e for e in policy["expectations"] if e["check"] == check]
    policy["legs"] = policy["device_legs"] = []
    certificate = judge(evidence, policy, "h1", NOW)
    assert (certificate["verdict"], certificate["level"]) == ("PASS", level)


def test_performance_is_fast_and_right_both() -> None:
    evidence, policy = fresh("gpu")
    both = ("driver.compute", "driver.bandwidth")
    policy["expectations"] = [e for e in policy["expectations"] if e["check"] in both]
    policy["legs"] = policy["device_legs"] = []
    assert judge(evidence, policy, "h1", NOW)["level"] == "performance"
    del policy["expectations"][0]
    assert judge(evidence, policy, "h1", NOW)["level"] == "linkage"


@pytest.mark.parametrize("check", ["agreement", "next_kernel", "nouveau", "secure_boot", "nodes"])
def test_where_no_gpu_is_and_none_was_promised_nothing_of_it_need_be_there(check: str) -> None:
    """But a GPU that is there is never left out."""
    evidence, policy = fresh("driverless")
    found = {v["check"]: v for v in judge(evidence, policy, "h1", NOW)["verdicts"]}
    assert found[f"driver.{check}"]["status"] == "SKIP"
    assert found[f"driver.{check}"]["reason"].startswith("no GPU is in this machine")
    evidence["state"]["gpus"] = [{"address": "0000:17:00.0", "device": "2335", "driver": None}]
    found = {v["check"]: v for v in judge(evidence, policy, "h1", NOW)["verdicts"]}
    assert found[f"driver.{check}"]["status"] != "SKIP"


def test_a_driver_that_was_there_before_is_held_against_itself() -> None:
    evidence, policy = fresh("gpu")
    for expectation in policy["expectations"]:
        if expectation["check"] == "driver.next_kernel":
            expectation["expect"].pop("version")
    verdicts = judge(evidence, policy, "h1", NOW)["verdicts"]
    assert next(v for v in verdicts if v["check"] == "driver.next_kernel")["status"] == "PASS"
    evidence["state"]["module"]["loaded"] = "570.86.15"
    verdicts = judge(evidence, policy, "h1", NOW)["verdicts"]
    assert next(v for v in verdicts if v["check"] == "driver.next_kernel")["status"] == "FAIL"
