"""Stacks that NVIDIA published as working together are accepted.

tests/data/known_good.csv holds the release notes of NVIDIA's containers, tests/data/cuda_images.csv
the nvidia/cuda images and the Ubuntu that each is built on. A row whose versions the catalogue does
not cover is skipped by name, and how many those are is asserted: a table that loses rows would
otherwise pass by skipping.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest

from cudactl.contracts.spec import OsName, StackSpec
from cudactl.stack.spec.check import check_spec
from tests.stack.brute_force import satisfiable
from tests.stack.catalogue_rows import FILES, fits, table
from tests.stack.independent import why_not

DATA = Path(__file__).parents[1] / "data"
SYSTEMS: tuple[str, ...] = get_args(OsName)
VERSIONS = ("cuda", "cudnn", "nccl", "tensorrt")
LEAST_GPU = {"6.0": "P100", "7.5": "T4"}
"""A GPU of the compute capability that a release's notes name as the least."""


def read(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


STACKS, IMAGES = read("known_good.csv"), read("cuda_images.csv")
ON_OURS = [row for row in IMAGES if f"ubuntu-{row['ubuntu']}" in SYSTEMS]


def not_covered(row: dict[str, str]) -> str | None:
    """Say which version of a row the catalogue does not know, if there is one."""
    for key in VERSIONS:
        wish = row.get(key)
        if wish and not any(fits(r["version"], wish) for r in table(FILES.get(key, key))):
            return f"{key} {wish} is not in the catalogue"
    driver = row.get("driver", "").split(".")[0]
    if driver and all(r["branch"] != driver for r in table("drivers")):
        return f"driver branch {driver} is not in the catalogue"
    return None


WITH_LEAST_GPU = [row for row in STACKS if row["min_cc"] and not not_covered(row)]


def wish_of(row: dict[str, str], **more: Any) -> dict[str, Any]:
    wish: dict[str, Any] = {key: row[key] for key in VERSIONS if row.get(key)}
    if row.get("driver"):
        wish["driver"] = {"branch": row["driver"]}
    return {**wish, **more}


@cache
def _verdict(written: str) -> Any:
    return check_spec(StackSpec.model_validate_json(written))


def verdict(wish: dict[str, Any]) -> Any:
    return _verdict(StackSpec.model_validate(wish).model_dump_json())


def said(wishes: list[dict[str, Any]]) -> str:
    lines = []
    for wish in wishes:
        answer = verdict(wish)
        lines += [f"{wish}: {answer.verdict}", *(f"  {f.code}: {f.text}" for f in answer.findings)]
    return "\n".join(lines)


def accepted(wish: dict[str, Any]) -> bool:
    return bool(verdict(wish).verdict in ("ok", "flagged"))


@pytest.mark.parametrize("row", STACKS, ids=lambda row: row["id"])
class TestStackThatWasPublished:
    def test_is_accepted_on_a_distribution_of_ours(self, row: dict[str, str]) -> None:
        missing = not_covered(row)
        if missing:
            pytest.skip(f"{row['id']} ({row['container']} {row['release']}): {missing}")
        own = f"ubuntu-{row['ubuntu']}"
        wishes = [wish_of(row, os=s) for s in ([own] if own in SYSTEMS else SYSTEMS)]
        assert any(accepted(wish) for wish in wishes), said(wishes)

    def test_is_judged_alike_by_the_second_opinion(self, row: dict[str, str]) -> None:
        for system in SYSTEMS:
            wish = wish_of(row, os=system)
            answer = verdict(wish)
            if accepted(wish):
                assert satisfiable(wish), said([wish])
                assert why_not(wish, answer.resolved, answer.driver_flavour) == [], said([wish])
            else:
                assert not satisfiable(wish, strict=True), said([wish])


@pytest.mark.parametrize("row", WITH_LEAST_GPU, ids=lambda row: row["id"])
def test_a_published_stack_serves_the_oldest_gpu_that_its_notes_name(row: dict[str, str]) -> None:
    wishes = [wish_of(row, os=s, gpus=[LEAST_GPU[row["min_cc"]]]) for s in SYSTEMS]
    assert any(accepted(wish) for wish in wishes), said(wishes)


@pytest.mark.parametrize("row", ON_OURS, ids=lambda row: row["tag"])
def test_an_image_of_nvidias_can_be_made_on_its_own_ubuntu(row: dict[str, str]) -> None:
    wish = wish_of(row, os=f"ubuntu-{row['ubuntu']}", driver={"branch": "none"})
    assert accepted(wish), said([wish])


def test_most_rows_are_judged_and_the_rest_are_known() -> None:
    skipped = {row["id"]: not_covered(row) for row in STACKS if not_covered(row)}
    assert (len(STACKS), len(skipped)) == (78, 15), skipped
    assert len(WITH_LEAST_GPU) == 12
    assert (len(IMAGES), len(ON_OURS)) == (83, 42)
