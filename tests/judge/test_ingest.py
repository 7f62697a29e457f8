"""Other tools' results: which of them decides, and what is shown of each."""

from __future__ import annotations

from typing import Any

import pytest

from tests.judge.healthy import DRIVER, value
from tests.judge.verdicts import Document, said

RESULTS = "ingest.results"
ALL = (
    "dcgmi diag 4.5.3 says PASS (14 of 14); nvbandwidth v0.8 says PASS (1 of 1); "
    "nccl-tests says PASS (1 of 1)"
)


def given(*changed: Document) -> tuple[str, str, str, str]:
    """Change the first results: of dcgmi, nvbandwidth and nccl-tests."""

    def change(evidence: Document) -> None:
        for one, values in zip(value(evidence, RESULTS)["results"], changed, strict=False):
            one.update(values)

    return said(RESULTS, "nightly", change=change)


def test_passes_are_shown_with_their_figures() -> None:
    assert given() == (
        "PASS",
        ALL,
        "passes",
        "host_to_device_memcpy_ce, least 55.1 GB/s; all_reduce, average bus bandwidth 366 GB/s",
    )
    assert given({}, {"figures": []}, {"figures": []})[3] == "they give no figures"


def test_of_many_figures_the_first_three_are_shown() -> None:
    many = [{"name": f"f{n}", "value": n, "unit": "GB/s"} for n in range(5)]
    assert given({}, {"figures": many}, {"figures": []})[3] == "f0 0 GB/s; f1 1 GB/s; f2 2 GB/s"


def result(verdict: str, *failures: str, **counts: int) -> Document:
    return {"verdict": verdict, "failures": list(failures), "counts": counts}


@pytest.mark.parametrize(
    ("changed", "status", "reason"),
    [
        # The worst decides, whichever file it is in.
        (
            (result("WARN", "hot", WARN=1), result("FAIL", "slow", "bad", FAIL=2)),
            "FAIL",
            "/srv/results/nvb.json: slow",
        ),
        (
            (result("ERROR", "broke", ERROR=1), result("FAIL", "slow", FAIL=1)),
            "FAIL",
            "/srv/results/nvb.json: slow",
        ),
        (
            (result("SKIP", "no GPU", SKIP=1), result("ERROR", "broke", ERROR=1)),
            "ERROR",
            "/srv/results/nvb.json: broke",
        ),
        (
            (result("WARN", "hot", WARN=1), result("SKIP", "no GPU", SKIP=1)),
            "ERROR",
            "/srv/results/nvb.json tested nothing: no GPU",
        ),
        (
            (result("PASS", PASS=1, SKIP=2), result("WARN", "hot", WARN=1)),
            "WARN",
            "/srv/results/nvb.json: hot",
        ),
        (
            (result("PASS", PASS=1, SKIP=2), result("PASS", PASS=1, SKIP=1)),
            "WARN",
            "3 of their tests were skipped",
        ),
        ((result("FAIL", FAIL=1),), "FAIL", "/srv/results/dcgm.json: it gives no reason"),
    ],
)
def test_the_worst_result_decides(changed: tuple[Document, ...], status: str, reason: str) -> None:
    found = given(*changed)
    assert (found[0], found[2], found[3]) == (status, "passes", reason)


def test_each_result_is_counted_by_its_verdict() -> None:
    found = given(result("FAIL", "bad", PASS=3, WARN=1, FAIL=2, ERROR=4, SKIP=5))
    assert found[1].startswith("dcgmi diag 4.5.3 says FAIL (2 of 15); ")


def test_a_result_of_another_driver_says_nothing_of_this_one() -> None:
    assert given({}, {"driver": "570.1"}) == (
        "FAIL",
        ALL,
        "passes",
        f"/srv/results/nvb.json was run with driver 570.1, loaded is {DRIVER}",
    )

    def none_loaded(evidence: Document) -> None:
        value(evidence, RESULTS)["results"][0]["driver"] = "570.1"
        evidence["state"]["module"]["loaded"] = None

    assert said(RESULTS, "nightly", change=none_loaded).status == "PASS"


@pytest.mark.parametrize("count", [True, "3", 1.5])
def test_a_count_that_is_no_whole_number_is_none(count: Any) -> None:
    found = given({"counts": {"PASS": count}})
    assert (found[0], found[3]) == ("ERROR", "a result's counts are no numbers")


def test_a_verdict_that_nobody_knows_is_no_verdict() -> None:
    found = given({"verdict": "OK"})
    assert (found[0], found[3]) == ("ERROR", "a result has the verdict 'OK'")


def test_what_could_not_be_read_or_was_not_given_is_told() -> None:
    unread = [{"file": "/a.json", "why": "no JSON"}, {"file": "/b.json", "why": "no"}]
    assert said(RESULTS, "nightly", unread=unread) == ("ERROR", "", "passes", "/a.json: no JSON")
    assert said(RESULTS, "nightly", results=[]) == ("ERROR", "", "passes", "no result was given")
