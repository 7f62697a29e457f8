"""The driver leg on each GPU, and the lock's packages and files: what verdicts say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.judge.healthy import GPU, every_library
from tests.judge.verdicts import Document, said

DEVICE, KERNELS, MEMORY = "driver.device", "driver.kernels", "driver.memory"
COMPUTE, COPY, BANDWIDTH = "driver.compute", "driver.copy", "driver.bandwidth"
GIB = 1 << 30
CARD = "NVIDIA H200, CC 9.0, 132 SMs, 140.4 GiB"
COPIED = "to the GPU 55.0, from it 54.0, on it 2000.0 GB/s"


def table(**figures: object) -> Any:
    return lambda policy: policy["references"][GPU["device"]].update(figures)


def unknown(policy: Document) -> None:
    policy["references"] = {}


# --- the card -----------------------------------------------------------------------------------


def test_a_card_is_what_its_pci_id_names() -> None:
    named = table(name="H200 SXM")
    assert said(DEVICE, policy=named) == (
        "PASS",
        CARD,
        "H200 SXM",
        "it is the card that its PCI id names",
    )
    assert said(DEVICE, policy=unknown) == (
        "NO_REFERENCE",
        CARD,
        "",
        f"nothing is known of a GPU with the PCI id {GPU['device']}",
    )


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        (
            {"bus_id": "0000:18:00.0"},
            (
                "0000:18:00.0",
                "0000:17:00.0",
                "the driver computed on another GPU than the one asked for",
            ),
        ),
        ({"uuid": "GPU-9"}, ("GPU-9", GPU["id"], "the UUID is another GPU's")),
        (
            {"cc": "8.0"},
            (
                "NVIDIA H200, CC 8.0, 132 SMs, 140.4 GiB",
                "H, CC 9.0",
                "the compute capability is another model's",
            ),
        ),
        (
            {"sm_count": 66},
            (
                "NVIDIA H200, CC 9.0, 66 SMs, 140.4 GiB",
                "H, 132 SMs",
                "it has other SMs than a H: a part of one (MIG, vGPU), or another card",
            ),
        ),
        (
            {"total_bytes": 80 * GIB},
            (
                "NVIDIA H200, CC 9.0, 132 SMs, 80.0 GiB",
                "H, about 141 GiB",
                "its memory is not that of a H",
            ),
        ),
    ],
)
def test_what_makes_it_another_card_is_told(values: Document, verdict: tuple[str, ...]) -> None:
    assert said(DEVICE, policy=table(name="H"), **values) == ("FAIL", *verdict)


def test_a_uuid_is_the_same_in_capitals() -> None:
    assert said(DEVICE, uuid=GPU["id"].upper()).status == "PASS"


# --- kernels and memory -------------------------------------------------------------------------


def test_kernels_are_counted() -> None:
    assert said(KERNELS) == ("PASS", "5 kernels in 0.20 s", "", "compiled from PTX by the driver")
    assert said(KERNELS, kernels=1).status == "PASS"
    assert said(KERNELS, kernels=0)[0::3] == ("ERROR", "no kernel was loaded")


FIRST = {"address": "0x1000", "expected": "0x1", "found": "0x0", "bits": "0x1"}


def test_memory_says_how_much_was_checked_and_what_was_wrong() -> None:
    assert said(MEMORY, checked_bytes=7 * GIB) == (
        "PASS",
        "7.00 GiB in 6 patterns",
        "no wrong word",
        "every word was what was written",
    )
    wrong = {"wrong_words": 2, "wrong_in": ["ones", "address"]}
    told = "2 words were not what was written (pattern ones, address)"
    assert said(MEMORY, **wrong) == ("FAIL", "2 wrong words", "0", told)
    assert said(MEMORY, first_wrong=FIRST, **wrong).reason == (
        told + "; first at 0x1000: 0x1 was written, 0x0 was read, bits 0x1 differ"
    )
    assert said(MEMORY, planted_found=False)[2:] == (
        "",
        "a word that was made wrong on purpose was not found",
    )


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({"rounds": 0}, "ERROR"),
        ({"rounds": 1, "free_bytes": 4 * GIB}, "PASS"),
        ({"checked_bytes": 0}, "ERROR"),
        ({"checked_bytes": 1, "free_bytes": 0}, "PASS"),
        ({"checked_bytes": 2 * GIB, "free_bytes": 4 * GIB}, "PASS"),
        ({"checked_bytes": 2 * GIB - 1, "free_bytes": 4 * GIB}, "FAIL"),
    ],
)
def test_as_much_memory_was_checked_as_was_asked_for(values: Document, status: str) -> None:
    found = said(MEMORY, expect={"share": 0.5}, **values)
    assert found.status == status
    if status == "FAIL":
        assert found.expected == "2.00 GiB"


# --- computing ----------------------------------------------------------------------------------


def test_every_sm_computed() -> None:
    assert said(COMPUTE) == (
        "PASS",
        "132 of 132 SMs, 6336 products",
        "all exact",
        "bit for bit, in s32, f32, f64",
    )


def test_wrong_elements_are_told_by_sm() -> None:
    sms = {str(sm): 1 for sm in (100, 9, 8, 7, 6, 5, 4, 3, 2)}
    told = "3 elements are wrong, on SM 2, 3, 4, 5, 6, 7, 8, 9"
    assert said(COMPUTE, wrong_elements=3, wrong_sms=sms) == (
        "FAIL",
        "3 wrong elements",
        "0",
        told,
    )
    first = {"kind": "f32", "sm": 17, "expected": "-12", "found": "-11"}
    found = said(COMPUTE, wrong_elements=3, wrong_sms=sms, first_wrong=first)
    assert found.reason == told + "; first in f32 on SM 17: -12 is right, -11 was found"


@pytest.mark.parametrize(
    ("values", "status", "expected", "reason"),
    [
        (
            {"planted_found": {"s32": True}},
            "FAIL",
            "",
            "a result made wrong on purpose was not noticed in f32, f64",
        ),
        ({"blocks_counted": 6335}, "FAIL", "6336 products", "some of what was started never ran"),
        ({"sms_visited": 130}, "FAIL", "132 SMs", "2 SMs never ran anything"),
        ({"blocks_launched": 0, "blocks_counted": 0}, "ERROR", "", "nothing was computed"),
        ({"sm_count": 0, "sms_visited": 0}, "ERROR", "", "nothing was computed"),
        ({"blocks_launched": 1, "blocks_counted": 1}, "PASS", "all exact", "bit for bit"),
        ({"sm_count": 1, "sms_visited": 1}, "PASS", "all exact", "bit for bit"),
    ],
)
def test_what_did_not_run_is_no_pass(
    values: Document, status: str, expected: str, reason: str
) -> None:
    found = said(COMPUTE, **values)
    assert (found.status, found.expected) == (status, expected)
    assert found.reason.startswith(reason)


# --- copies and bandwidth -----------------------------------------------------------------------


def test_copies_arrive() -> None:
    assert said(COPY) == ("PASS", COPIED, "unaltered", "33554432 bytes there and back")
    assert said(COPY, wrong_bytes=3, first_wrong={"offset_bytes": 64}) == (
        "FAIL",
        "3 wrong bytes",
        "0",
        "3 of 33554432 bytes were altered on the way, first at byte 64",
    )
    assert said(COPY, wrong_bytes=3).reason.endswith("first at byte None")
    assert said(COPY, wrong_bytes_unaligned=2) == (
        "FAIL",
        "2 wrong bytes",
        "0",
        "2 bytes of an unaligned copy were altered on the way",
    )
    assert said(COPY, copied_bytes=0)[0::3] == ("ERROR", "nothing was copied")
    assert said(COPY, copied_bytes=1).status == "PASS"


def test_bandwidth_is_shown_as_a_share_of_the_data_sheets() -> None:
    sheet = table(memory_gbs=5000.0, contested=[])
    half = {"share": 0.5}
    assert said(BANDWIDTH, policy=sheet, expect=half) == (
        "PASS",
        "4000 GB/s, 80 % of the data sheet",
        "2500 GB/s (50 % of 5000)",
        "copied within the GPU, read and written bytes together",
    )
    assert said(BANDWIDTH, policy=sheet, expect=half, copy_gbs_median=2500.0).status == "PASS"
    assert said(BANDWIDTH, policy=sheet, expect=half, copy_gbs_median=2499.0)[0::3] == (
        "FAIL",
        "the memory is slower than this GPU's should be",
    )
    assert said(BANDWIDTH, policy=table(memory_gbs=None))[:3] == ("NO_REFERENCE", "4000 GB/s", "")
    assert said(BANDWIDTH, wrong_words=1)[1:] == (
        "1 wrong words",
        "0",
        "the copy is fast, and not what was copied",
    )


# --- the lock's packages and files --------------------------------------------------------------

PACKAGES, WHEELS, LIBRARIES, OS = "stack.packages", "stack.wheels", "stack.libraries", "stack.os"


def state(**values: object) -> Any:
    return lambda evidence: evidence["state"].update(values)


def test_the_os_is_the_locks_and_a_look_alike_says_so() -> None:
    assert said(OS) == (
        "PASS",
        "ubuntu-24.04 x86_64",
        "ubuntu-24.04 x86_64",
        "the lock's",
    )
    assert said(OS, "lab").reason == "a look-alike of it"
    assert said(OS, change=state(machine="aarch64")) == (
        "FAIL",
        "ubuntu-24.04 aarch64",
        "ubuntu-24.04 x86_64",
        "the lock is for another system",
    )


def held(**packages: str | None) -> Any:
    def change(evidence: Document) -> None:
        evidence["state"]["packages"] = {k: v for k, v in packages.items() if v is not None}

    return change


def wanted(count: int) -> Document:
    return {"packages": {f"p{n}": "1" for n in range(count)}}


def test_packages_that_differ_are_named_up_to_five() -> None:
    six = {f"p{n}": "1" for n in range(6)}
    assert said(PACKAGES, change=held(**six), expect=wanted(6)) == (
        "PASS",
        "6 packages",
        "6 packages",
        "each is installed at exactly its locked version",
    )
    assert said(PACKAGES, change=held(**{**six, "p0": "2", "p1": ""}), expect=wanted(6)) == (
        "FAIL",
        "2 differ",
        "6 packages",
        "p0 is 2, not 1; p1 is absent, not 1",
    )
    five = "; ".join(f"p{n} is absent, not 1" for n in range(5))
    assert said(PACKAGES, change=held(), expect=wanted(5)).reason == five
    assert said(PACKAGES, change=held(), expect=wanted(6)).reason == five + "; …"
    assert said(PACKAGES, expect={"packages": {}})[0::3] == (
        "ERROR",
        "the lock names no packages",
    )


def test_half_installed_packages_of_the_lock_are_named_up_to_five() -> None:
    def change(evidence: Document) -> None:
        held(**{f"p{n}": "1" for n in range(6)})(evidence)
        names = [*(f"p{n}" for n in range(6)), "other"]
        evidence["state"]["broken"] = [{"name": n, "status": "half-configured"} for n in names]

    found = said(PACKAGES, change=change, expect=wanted(6))
    assert found[:3] == ("FAIL", "6 broken", "6 packages")
    assert found.reason == "; ".join(f"p{n} is 'half-configured'" for n in range(5))


def stack(**values: object) -> Any:
    def change(evidence: Document) -> None:
        (one,) = evidence["state"]["stacks"]
        one.update(values)

    return change


def test_a_wheel_stack_is_whole_and_the_locks() -> None:
    healthy = said(WHEELS, "wheels")
    total = healthy.expected
    assert healthy[0::3] == ("PASS", "complete, each wheel with its locked sha256")
    found = said(WHEELS, "wheels", change=stack(complete=False))
    assert found[:3] == ("FAIL", "incomplete", total)
    assert found.reason.endswith(" is not complete")
    assert said(WHEELS, "wheels", change=stack(complete="yes")).status == "FAIL"
    found = said(WHEELS, "wheels", change=stack(lock="another"))
    assert found[:3] == ("FAIL", "no stack", total)
    assert found.reason.endswith(" is not there")
    found = said(WHEELS, "wheels", change=stack(wheels={"a-wheel": "00"}))
    assert found == ("FAIL", "other wheels", total, "a-wheel differs from the lock")
    found = said(WHEELS, "wheels", expect={"wheels": {}})
    assert found[0::3] == ("ERROR", "the lock names no wheels")


def test_of_several_stacks_the_locks_is_looked_at() -> None:
    def change(evidence: Document) -> None:
        evidence["state"]["stacks"].insert(0, {"lock": "other", "wheels": {}, "complete": False})

    assert said(WHEELS, "wheels", change=change).status == "PASS"


def libraries(part: str, **values: object) -> Any:
    def change(evidence: Document) -> None:
        for known in every_library(evidence, part):
            known.update(values)

    return change


def test_every_mapped_library_is_the_locks() -> None:
    found = said(LIBRARIES)
    count = int(found.measured.split()[0])
    assert found == (
        "PASS",
        f"{count} libraries",
        "only the lock's",
        f"{count} verified by hash against their package's own record",
    )
    unverified = said(LIBRARIES, change=libraries("libcudart", intact=None))
    assert unverified.reason.startswith(f"{count - 1} verified")
    none = said(LIBRARIES, change=lambda e: [leg.update(libraries=[]) for leg in e["legs"]])
    assert none == ("ERROR", "", "only the lock's", "no vendor library was mapped by any leg")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"intact": False}, " is not the file that its package brought"),
        ({"package": "other"}, " was mapped, which belongs to other"),
        ({"package": None}, " was mapped, which belongs to nobody"),
    ],
)
def test_a_library_that_is_not_the_locks_is_named(values: Document, reason: str) -> None:
    found = said(LIBRARIES, change=libraries("libcudart", **values))
    assert found[:3] == ("FAIL", "libcudart.so.13.0.96", "only the lock's")
    assert found.reason.endswith("libcudart.so.13.0.96" + reason)


def test_what_the_lock_leaves_to_the_machine_must_still_be_unaltered() -> None:
    theirs = {"foreign": ["libcudart"]}
    change = libraries("libcudart", package="other")
    assert said(LIBRARIES, change=change, expect=theirs).status == "PASS"
    assert said(LIBRARIES, change=change, expect={"foreign": ["libcuda.so"]}).status == "FAIL"
    altered = libraries("libcudart", package="other", intact=False)
    assert said(LIBRARIES, change=altered, expect=theirs).status == "FAIL"

    def both(evidence: Document) -> None:
        libraries("libcudart", package="other")(evidence)
        libraries("libnvinfer", package="other")(evidence)

    # One that is the machine's does not hide those after it.
    assert said(LIBRARIES, change=both, expect=theirs).measured == "libnvinfer.so.10.13.3"


def test_the_lock_names_gpus_and_one_is_there() -> None:
    assert said("gpu.present") == ("PASS", "1 on the PCI bus", "H200 SXM", "a GPU is there")
    found = said("gpu.present", change=state(gpus=[]), expect={"gpus": ["A", "B"]})
    assert found == ("FAIL", "none", "A, B", "the lock names GPUs and none is there")


# --- TensorRT for RTX ---------------------------------------------------------------------------

RTX = "tensorrt_rtx.build"


@pytest.mark.parametrize(
    ("values", "status", "shown"),
    [
        ({"engine_bytes": 65_792}, "PASS", "65792 bytes in "),
        ({"engine_bytes": 65_791}, "FAIL", "65791 bytes"),
        ({"engine_sha256": "ab"}, "FAIL", "no hash"),
        ({"output_shape": [1, 10]}, "FAIL", "[1, 10]"),
        ({"targets": ["SM80", "SM90"]}, "FAIL", "SM80, SM90"),
        ({"version": "1.0"}, "FAIL", "1.0"),
    ],
)
def test_an_engine_for_rtx_is_whole(values: Document, status: str, shown: str) -> None:
    found = said(RTX, "wheels", **values)
    assert found.status == status
    assert found.measured.startswith(shown)
