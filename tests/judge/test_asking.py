"""How every check is asked: what is missing or cannot be read is an error, and says so."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from cudactl.judge import JudgeError, judge
from cudactl.judge.checks import CHECKS
from cudactl.judge.checks.registry import check
from cudactl.judge.context import (
    MAX_ENTRIES,
    Context,
    Unmeasured,
    cuda_version,
    dotted,
    integer,
    need,
    number,
    text,
)
from tests.judge.healthy import NOW, fresh, leg, measurement, value
from tests.judge.verdicts import Document, said

CUBLAS = "toolkit.cublas"


def test_an_error_of_a_measurement_is_a_finding_about_the_host() -> None:
    def change(evidence: Document) -> None:
        measurement(evidence, CUBLAS)["error"] = "libcublas.so.13: no such file"

    assert said(CUBLAS, change=change) == ("FAIL", "", "13.1.0", "libcublas.so.13: no such file")
    assert said("health.nvlink", change=_error_of("health.nvlink"))[1:3] == ("", "")


def _error_of(name: str) -> Any:
    return lambda e: measurement(e, name).update(error="it broke")


def test_everything_that_is_missing_is_named() -> None:
    found = said("driver.libcuda", path=None, loaded=None)
    assert found[1:] == ("", "", "path, loaded was not measured")
    assert found.status == "ERROR"


def test_a_value_of_the_wrong_shape_is_one_that_cannot_be_read() -> None:
    found = said("cudnn.sublibraries", files=[5])
    assert found.status == "ERROR"
    assert found.reason.startswith("the values cannot be read (TypeError: ")


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        ("ran", "the leg toolkit measured no toolkit.cublas"),
        ("timeout", "not measured: the leg toolkit did not end in time"),
        ("stuck", "not measured: the leg toolkit hangs in the kernel and cannot be killed"),
        ("no_output", "not measured: the leg toolkit said nothing"),
        ("deferred", "not measured: the leg toolkit was not started: somebody uses the GPU"),
    ],
)
def test_why_nothing_was_measured_is_told(outcome: str, why: str) -> None:
    def change(evidence: Document) -> None:
        leg(evidence, "toolkit").update(outcome=outcome, measurements=[])

    assert said(CUBLAS, change=change)[1:] == ("", "", why)


def test_a_leg_that_did_not_run_measured_nothing() -> None:
    def change(evidence: Document) -> None:
        evidence["legs"].remove(leg(evidence, "toolkit"))

    assert said(CUBLAS, change=change).reason == "the leg toolkit did not run"
    assert said("toolkit.ran", change=change)[1:] == ("", "ran", "the leg toolkit did not run")


@pytest.mark.parametrize(
    ("outcome", "detail", "verdict"),
    [
        ("ran", "", ("PASS", "ran", "ran", "the process ended by itself")),
        ("crashed", "", ("FAIL", "crashed", "ran", "the leg crashed")),
        ("timeout", "60 s", ("FAIL", "timeout", "ran", "the leg did not end in time: 60 s")),
        ("no_output", "", ("ERROR", "", "ran", "the leg said nothing")),
        (
            "deferred",
            "pid 5",
            ("ERROR", "", "ran", "the leg was not started: somebody uses the GPU: pid 5"),
        ),
    ],
)
def test_how_a_leg_ended_is_told(outcome: str, detail: str, verdict: tuple[str, ...]) -> None:
    def change(evidence: Document) -> None:
        leg(evidence, "toolkit").update(outcome=outcome, detail=detail)

    assert said("toolkit.ran", change=change) == verdict


def test_each_check_shows_as_much_as_it_did_and_no_more() -> None:
    """A level is claimed by these checks alone: a wrong word here would claim it for nothing."""
    by_level: dict[str, set[str]] = {}
    for one in CHECKS.values():
        by_level.setdefault(one.level, set()).add(one.id)
    assert set(by_level) == {"linkage", "execution", "performance"}
    fast = {f"toolkit.speed.{kind}" for kind in ("fp32", "tf32", "bf16", "fp16", "fp8")}
    fast |= {"toolkit.tensor_gain", "driver.bandwidth"}
    fast |= {f"frameworks.{name}.throughput" for name in ("torch", "tensorflow")}
    assert by_level["performance"] == fast
    ran = {"driver.memory", "driver.compute", "nvcc.run", "toolkit.gemm", "toolkit.nvrtc_run"}
    ran |= {f"cudnn.{what}" for what in ("forward", "backward_data", "backward_filter", "speed")}
    ran |= {f"toolkit.matmul.{kind}" for kind in ("fp64", "fp32", "tf32", "bf16", "fp16")}
    ran |= {"toolkit.matmul.fp8", "toolkit.matmul.int8", "containers.gpus"}
    ran |= {f"tensorrt.{what}" for what in ("engine", "accuracy", "latency")}
    ran |= {"energy.draw"}
    ran |= {
        f"frameworks.{name}.{what}"
        for name in ("torch", "tensorflow")
        for what in ("matmul", "convolution", "training", "digest")
    }
    assert by_level["execution"] == ran


def test_each_check_is_of_a_leg_or_of_the_state() -> None:
    legs = {"driver", "health", "toolkit", "nvcc", "cudnn", "tensorrt", "frameworks"}
    legs |= {"collectives", "containers", "energy", "ingest"}
    assert {one.leg for one in CHECKS.values()} == {*legs, "stack"}
    assert {one.id for one in CHECKS.values() if one.leg == "stack"} == {
        *("stack.os", "stack.packages", "stack.wheels", "stack.libraries", "gpu.present")
    }


def test_a_check_is_declared_once() -> None:
    with pytest.raises(ValueError, match=r"toolkit\.cublas is declared twice"):
        check(CUBLAS, "toolkit", "again")(lambda c, v, e: ("PASS", "", "", ""))


# --- evidence -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "kind", "refusal"),
    [
        (True, int, "is missing or of the wrong type"),
        (True, (int, float), "is missing or of the wrong type"),
        ("1", int, "is missing or of the wrong type"),
        (None, str, "is missing or of the wrong type"),
        (float("nan"), (int, float), "is no finite number"),
        (float("inf"), (int, float), "is no finite number"),
        ([0] * (MAX_ENTRIES + 1), list, f"has {MAX_ENTRIES + 1} entries"),
        (dict.fromkeys(range(MAX_ENTRIES + 1)), dict, f"has {MAX_ENTRIES + 1} entries"),
    ],
)
def test_what_is_not_of_its_kind_is_refused_with_its_place(
    value: object, kind: Any, refusal: str
) -> None:
    with pytest.raises(JudgeError, match=r"the evidence's here\.key " + refusal):
        need({"key": value}, "key", kind, "here")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, bool),
        (5, int),
        (1.5, (int, float)),
        ("", str),
        ([0] * MAX_ENTRIES, list),
        ("x" * (MAX_ENTRIES + 1), str),
    ],
)
def test_what_is_of_its_kind_is_taken(value: object, kind: Any) -> None:
    assert need({"key": value}, "key", kind, "here") is value


@pytest.fixture
def evidence() -> Document:
    return fresh("gpu")[0]


def refused(evidence: Document) -> str:
    with pytest.raises(JudgeError) as caught:
        Context(evidence)
    return str(caught.value)


@pytest.mark.parametrize(
    "path",
    [
        "taken_at",
        "state",
        "state/hostname",
        "state/os",
        "state/os/id",
        "state/os/version_id",
        "state/kernel",
        "state/kernel/running",
        "state/module",
        "state/packages",
        "state/gpus",
        "state/gpus/0/address",
        "state/gpus/0/device",
        "state/stacks",
        "gpus/0/id",
        "gpus/0/device",
        "legs",
        "legs/0/leg",
        "legs/0/outcome",
        "legs/0/measurements",
        "legs/0/measurements/0/check",
        "legs/0/measurements/0/values",
        "legs/0/libraries",
        "legs/0/libraries/0/path",
    ],
)
def test_every_part_of_evidence_that_is_relied_on_is_there_or_refused(
    evidence: Document, path: str
) -> None:
    node: Any = evidence
    *way, last = [int(p) if p.isdigit() else p for p in path.split("/")]
    for step in way:
        node = node[step]
    node[last] = 5.5 if last != "taken_at" else "now"
    words = [str(step) for step in way if isinstance(step, str)]
    place = ".".join(words) or "evidence"
    if "legs" in words and len(way) > 1 and last != "leg":  # the leg, or its check, by its name
        place = evidence["legs"][0]["leg"]
        place = ".".join([place, "libraries"]) if "libraries" in words else place
        if last == "values":
            place = node["check"]
    assert refused(evidence) == f"the evidence's {place}.{last} is missing or of the wrong type"


@pytest.mark.parametrize(("key", "junk"), [("lock", 5), ("wheels", [])])
def test_a_stack_without_its_parts_is_refused(evidence: Document, key: str, junk: object) -> None:
    evidence["state"]["stacks"] = [{"lock": "abc", "wheels": {}, key: junk}]
    assert refused(evidence) == f"the evidence's state.stacks.{key} is missing or of the wrong type"


def test_gpus_may_be_left_out_and_none_is_there_twice(evidence: Document) -> None:
    without = {**evidence, "gpus": None, "legs": []}
    assert Context(without).tested == []
    evidence["gpus"] *= 2
    assert refused(evidence) == "the evidence holds a GPU twice"


def test_nothing_is_there_twice_or_in_two_ways(evidence: Document) -> None:
    first = evidence["legs"][0]
    again = copy.deepcopy(evidence)
    again["legs"].append(first)
    assert refused(again) == f"the evidence holds the leg {first['leg']} twice"
    again = copy.deepcopy(evidence)
    again["legs"][0]["measurements"] *= 2
    name = first["measurements"][0]["check"]
    assert refused(again) == f"the evidence holds {name} twice"
    again = copy.deepcopy(evidence)
    library = again["legs"][0]["libraries"][0]
    again["legs"][1]["libraries"].append({**library, "sha256": "00"})
    assert refused(again) == f"the evidence says two different things of {library['path']}"
    library["simulated"] = None
    assert refused(again).endswith(f"does not say whether {library['path']} is simulated")


def test_a_leg_ran_on_a_gpu_that_was_tested_and_ended_somehow(evidence: Document) -> None:
    part = next(one for one in evidence["legs"] if one["gpu"])
    part["gpu"] = "GPU-other"
    assert refused(evidence) == (
        f"the evidence's leg {part['leg']} ran on a GPU that was not tested"
    )
    evidence["legs"] = [{**part, "gpu": None, "outcome": "fine"}]
    assert refused(evidence) == f"the evidence's leg {part['leg']} ended in an unknown way"


@pytest.mark.parametrize("junk", [None, [], 5, {}, {"schema_version": 2}, {"schema_version": "1"}])
def test_another_versions_evidence_is_refused(junk: Any) -> None:
    assert refused(junk) == "this is no evidence of a version that this judge reads"


def test_a_library_is_listed_once_however_many_legs_loaded_it(evidence: Document) -> None:
    context = Context(evidence)
    paths = [one["path"] for one in context.libraries]
    assert len(paths) == len(set(paths))
    assert context.library(paths[0]) is context.libraries[0]
    assert context.library("/nowhere") is None


# --- values -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "right", "wrong"),
    [
        (integer, [0, -3, 5], [True, 1.0, "1", None]),
        (number, [0, 1.5, -2], [True, "1", None, float("nan"), float("inf")]),
        (text, ["x"], ["", None, 5, ["x"]]),
    ],
)
def test_a_value_is_of_its_kind_or_was_not_measured(
    read: Any, right: list[Any], wrong: list[Any]
) -> None:
    for one in right:
        assert read({"key": one}, "key") == one
    for one in wrong:
        with pytest.raises(Unmeasured, match="key was not measured"):
            read({"key": one}, "key")


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (8907, "8.9.7"),
        (8500, "8.5.0"),
        (90000, "9.0.0"),
        (91300, "9.13.0"),
        (91301, "9.13.1"),
        (101303, "10.13.3"),
        (130100, "13.1.0"),
        (89999, "89.9.99"),
    ],
)
def test_a_version_number_as_people_write_it(number: int, written: str) -> None:
    assert dotted(number) == written


@pytest.mark.parametrize(("number", "written"), [(13000, "13.0"), (12090, "12.9"), (11080, "11.8")])
def test_a_cuda_version_as_people_write_it(number: int, written: str) -> None:
    assert cuda_version(number) == written


def test_what_was_measured_before_decides_over_what_another_leg_says(evidence: Document) -> None:
    _, policy = fresh("gpu")
    value(evidence, CUBLAS)["version"] = "1.0.0"
    leg(evidence, "cudnn")["measurements"].append(
        {"check": CUBLAS, "values": {"version": "13.1.0"}, "error": None, "duration_s": 0}
    )
    made = judge(evidence, policy, "h", NOW)
    assert next(v for v in made["verdicts"] if v["check"] == CUBLAS)["status"] == "FAIL"
