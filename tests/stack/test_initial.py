"""A first spec: the newest that fits, nothing flagged that need not be, remarks that hold."""

from __future__ import annotations

import itertools
import re
from typing import Any, get_args

import pytest

from cudactl.contracts.spec import OsName
from cudactl.stack.facts.catalogue import assemble, load_catalogue
from cudactl.stack.refusals import StackRefused
from cudactl.stack.spec.check import check_spec
from cudactl.stack.spec.file import parse_spec
from cudactl.stack.spec.initial import PURPOSES, Beginning, Initial, begin
from cudactl.stack.spec.initial_text import initial_text
from cudactl.stack.versions import numbers

GPUS = ("H200 SXM", "V100", "B200", "GB200", "RTX 4090", "A100", "T4", "K80")
COMMAND = "cudactl stack init"


def first(*gpus: str, **more: Any) -> Initial:
    return begin(Beginning(gpus, **more), load_catalogue())


def written(initial: Initial) -> str:
    return initial_text(initial, load_catalogue(), COMMAND)


def flags(values: dict[str, Any], initial: Initial) -> list[str]:
    spec = type(initial.spec).model_validate(values)
    return [f.code for f in check_spec(spec).findings if f.severity in ("refused", "flagged")]


# Every ninth of all combinations: each GPU, purpose and distribution is among them.
SOME = list(itertools.product(GPUS, PURPOSES, get_args(OsName), (False, True)))[::9]


def made(gpu: str, purpose: Any, os: str, wheels: bool) -> Initial | None:
    """Return the first spec, or None where it was refused with findings."""
    try:
        return first(gpu, purpose=purpose, os=os, wheels=wheels)
    except StackRefused as refused:
        return None if refused.findings else pytest.fail(f"no reason: {refused}")


def test_every_first_spec_stands_or_is_refused_with_the_reason() -> None:
    found = [(combination, made(*combination)) for combination in SOME]
    stand = [(combination, initial) for combination, initial in found if initial is not None]
    assert len(SOME) > len(stand) > len(SOME) / 2
    for combination, initial in stand:
        text = written(initial)
        spec = parse_spec(text, "x")
        assert spec == initial.spec, combination
        assert check_spec(spec).verdict == initial.verdict.verdict != "refused"


@pytest.mark.parametrize("gpu", ["H200 SXM", "V100", "RTX 4090", "T4", "A100"])
@pytest.mark.parametrize("purpose", ["training", "ci", "workstation"])
def test_nothing_is_flagged_where_nothing_has_to_be(gpu: str, purpose: Any) -> None:
    initial = first(gpu, purpose=purpose, os="ubuntu-24.04")
    assert initial.verdict.verdict == "ok"


def test_no_newer_cuda_would_do() -> None:
    initial = first("H200 SXM", purpose="workstation", os="ubuntu-24.04")
    values = initial.spec.model_dump(exclude_unset=True)
    newer = {
        row.minor
        for row in load_catalogue().toolkits
        if numbers(row.minor) > numbers(str(initial.spec.cuda))
    }
    assert newer, "the catalogue has one"
    for minor in newer:
        anew = {**values, "cuda": minor, "driver": None, "cudnn": None}
        assert flags({k: v for k, v in anew.items() if v is not None}, initial)


def test_the_driver_is_long_term_or_production() -> None:
    kinds = {row.branch: row.kind for row in load_catalogue().drivers}
    for gpu in ("H200 SXM", "V100", "RTX 4090", "B200"):
        driver = first(gpu, os="ubuntu-24.04").spec.driver
        assert driver is not None
        assert kinds[str(driver.branch)] in ("LTS", "PB")


@pytest.mark.parametrize(
    ("purpose", "keys"),
    [
        ("training", {"driver", "cuda", "cudnn", "nccl", "container_toolkit"}),
        ("inference", {"driver", "cuda", "cudnn", "nccl", "tensorrt", "container_toolkit"}),
        ("ci", {"driver", "cuda", "cudnn"}),
        ("workstation", {"driver", "cuda", "cudnn"}),
    ],
)
def test_a_purpose_decides_what_is_asked_for(purpose: Any, keys: set[str]) -> None:
    initial = first("H200 SXM", purpose=purpose)
    assert initial.spec.model_fields_set - {"os", "arch", "gpus"} == keys
    assert initial.spec.driver is not None
    assert (initial.spec.driver.branch == "none") == (purpose == "ci")


def test_wheels_bring_no_driver_and_no_container_toolkit() -> None:
    initial = first("A100", purpose="inference", wheels=True)
    assert initial.spec.packages == "wheels"
    assert initial.spec.driver is None
    assert initial.spec.container_toolkit is None
    assert initial.spec.tensorrt is not None
    # No driver is there to be flagged, and yet one has to run it.
    assert initial.spec.cuda == first("A100", purpose="inference").spec.cuda
    assert "to run, " in written(initial)


def test_grace_boards_make_it_an_arm_stack_and_that_is_said() -> None:
    initial = first("GB200", os="ubuntu-24.04")
    assert initial.spec.arch == "sbsa"
    assert any("sbsa" in text for text in initial.assumed)
    assert first("H200 SXM", os="ubuntu-24.04").spec.arch == "x86_64"


def test_what_nobody_said_is_assumed_and_written_down() -> None:
    initial = begin(Beginning(), load_catalogue())
    assert [text.partition(":")[0] for text in initial.assumed] == [
        *("purpose", "os"),
        "any GPU that the newest driver branch still serves",
    ]
    assert initial.spec.gpus == []
    head = " ".join(written(initial).replace("# ", " ").split())
    assert all(text in head for text in initial.assumed)
    assert not first("T4", purpose="ci", os="debian-12").assumed


def test_a_name_of_several_boards_stays_as_it_was_typed() -> None:
    assert first("H200").spec.gpus == ["H200"]
    assert "H200 NVL, H200 SXM" in written(first("H200"))
    assert first("4090").spec.gpus == ["RTX 4090"]
    assert first("4090", "rtx 4090").spec.gpus == ["RTX 4090"]


def test_what_could_be_added_adds_no_flag() -> None:
    for gpu, purpose in (("H200 SXM", "workstation"), ("V100", "training"), ("T4", "ci")):
        initial = first(gpu, purpose=purpose)
        values = initial.spec.model_dump(exclude_unset=True)
        assert initial.suggested or gpu == "T4"
        for key, prefix in initial.suggested.items():
            assert flags({**values, key: prefix}, initial) == flags(values, initial)


def test_lines_that_are_commented_out_can_be_taken_in() -> None:
    initial = first("H200 SXM", purpose="workstation")
    for line in written(initial).partition("What could be added:")[2].splitlines():
        wish = line.removeprefix("# ")
        if wish and "mirror" not in wish:
            text = re.sub(r"^# .*\n", "", written(initial), flags=re.M) + wish + "\n"
            assert check_spec(parse_spec(text, "x")).verdict != "refused", wish


def test_what_the_purpose_needs_and_nothing_can_give_is_said() -> None:
    catalogue = assemble()
    # A world with one TensorRT, which is built for CUDA 12.0 at most.
    catalogue.__dict__["tensorrt"] = tuple(
        row for row in catalogue.tensorrt if row.version == "8.6.1.6"
    )
    initial = begin(Beginning(("H200 SXM",), "inference", "ubuntu-24.04"), catalogue)
    assert initial.left_out == {"tensorrt": ("STACK-TENSORRT-CUDA",)}
    assert initial.spec.tensorrt is None
    assert initial.spec.nccl is not None
    text = initial_text(initial, catalogue, COMMAND)
    assert "# tensorrt is left out: every version is refused here (STACK-TENSORRT-CUDA)" in text


@pytest.mark.parametrize(
    ("gpus", "more", "code"),
    [
        (("H2000",), {}, "STACK-GPU-UNKNOWN"),
        ((), {"os": "rocky-9.4"}, "STACK-OS-NOT-SUPPORTED"),
        (("K80",), {"os": "ubuntu-24.04"}, "STACK-GPU-TOOLKIT"),
        (("V100", "B200"), {}, "STACK-GPU-FLAVOUR"),
    ],
)
def test_what_cannot_be_is_refused_with_its_code(
    gpus: tuple[str, ...], more: dict[str, Any], code: str
) -> None:
    with pytest.raises(StackRefused) as caught:
        first(*gpus, **more)
    assert caught.value.code == code
    assert caught.value.remedy


def test_the_same_question_gives_the_same_file() -> None:
    assert written(first("H100", purpose="inference")) == written(
        first("H100", purpose="inference")
    )
