"""ingest: what other tools said of the machine, shown as theirs."""

from __future__ import annotations

from typing import Any, Dict, List

from ..context import Answer, Context, Unmeasured, entries, text
from .registry import Values, check, failed, passed, unmeasured

VERDICTS = ("PASS", "WARN", "FAIL", "ERROR", "SKIP")


@check(
    "ingest.results",
    "ingest",
    "Every result that was given of dcgmi diag, nvbandwidth and nccl-tests is a pass of its own "
    "tool",
    needs=("results", "unread"),
)
def ingest_results(context: Context, values: Values, expect: Values) -> Answer:
    wanted = "passes"
    for one in entries(values, "unread"):
        return unmeasured("%s: %s" % (text(one, "file"), text(one, "why")), wanted)
    results = entries(values, "results")
    if not results:
        return unmeasured("no result was given", wanted)
    found = "; ".join(_said(one) for one in results)
    loaded = context.state["module"].get("loaded")
    for one in results:
        driver = one.get("driver")
        if driver and loaded and driver != loaded:
            reason = "%s was run with driver %s, loaded is %s" % (one["file"], driver, loaded)
            return failed(found, wanted, reason)
    for status in ("FAIL", "ERROR"):
        bad = [one for one in results if one["verdict"] == status]
        if bad:
            reason = "%s: %s" % (text(bad[0], "file"), _first(bad[0]))
            return failed(found, wanted, reason) if status == "FAIL" else unmeasured(reason, wanted)
    # A tool that skipped everything has shown nothing.
    nothing = [one for one in results if one["verdict"] == "SKIP"]
    if nothing:
        return unmeasured(
            "%s tested nothing: %s" % (nothing[0]["file"], _first(nothing[0])), wanted
        )
    warned = [one for one in results if one["verdict"] == "WARN"]
    if warned:
        return "WARN", found, wanted, "%s: %s" % (text(warned[0], "file"), _first(warned[0]))
    skipped = sum(_count(one, "SKIP") for one in results)
    if skipped:
        return "WARN", found, wanted, "%d of their tests were skipped" % skipped
    return passed(found, wanted, "; ".join(_figures(results)) or "they give no figures")


def _said(one: Dict[str, Any]) -> str:
    verdict = text(one, "verdict")
    if verdict not in VERDICTS:
        raise Unmeasured("a result has the verdict %r" % verdict)
    tool = text(one, "tool") + (" " + str(one["version"]) if one.get("version") else "")
    return "%s says %s (%d of %d)" % (tool, verdict, _count(one, verdict), _total(one))


def _total(one: Dict[str, Any]) -> int:
    return sum(_count(one, status) for status in VERDICTS)


def _count(one: Dict[str, Any], status: str) -> int:
    number = one["counts"].get(status, 0)
    if not isinstance(number, int) or isinstance(number, bool):
        raise Unmeasured("a result's counts are no numbers")
    return number


def _first(one: Dict[str, Any]) -> str:
    failures = entries(one, "failures")
    return str(failures[0]) if failures else "it gives no reason"


def _figures(results: List[Dict[str, Any]]) -> List[str]:
    return [
        "%s %.4g %s" % (figure["name"], float(figure["value"]), figure["unit"])
        for one in results
        for figure in entries(one, "figures")[:3]
    ]
