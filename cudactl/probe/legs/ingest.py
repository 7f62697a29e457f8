"""ingest: results of dcgmi diag, nvbandwidth and nccl-tests, read as their own tools wrote them.

Formats: NVIDIA's sources. dcgmi diag -j: test_categories → tests → results → status (DCGM 3 and 4);
nvbandwidth -j: json_output.cpp; nccl-tests -J and its text: util.cu (writeResultFooter). What each
tool says of itself is kept as its verdict; nothing is judged here, and what is not exactly one of
these formats is named as unread.
"""

from __future__ import annotations

import json
import math
import os
import re
from typing import Any, Dict, List, Optional, Tuple

from . import Emit, Values

MOST_FILES = 64
LARGEST_BYTES = 8 * 1024 * 1024
ENDINGS = (".json", ".txt", ".log", ".out")
MOST_FIGURES = 80
DCGM_TITLES = ("DCGM Diagnostic", "DCGM GPU Diagnostic")
DCGM_STATUS = {"pass": "PASS", "fail": "FAIL", "warn": "WARN", "skip": "SKIP", "not run": "SKIP"}
NVB_STATUS = {"Passed": "PASS", "Waived": "SKIP", "Error": "ERROR", "Not Found": "ERROR"}
NCCL_HEAD = re.compile(r"^#\s+nThread\s+\d+\s+nGpus\s+\d+.*?validation:\s*(\d+)", re.MULTILINE)
NCCL_BOUNDS = re.compile(r"^#\s*Out of bounds values\s*:\s*(\d+)\s+(OK|FAILED)\s*$", re.MULTILINE)
NCCL_AVERAGE = re.compile(
    r"^#\s*Avg bus bandwidth\s*:\s*([0-9.eE+-]+|nan)\s*(OK|FAILED)?\s*$", re.MULTILINE
)
NCCL_NAME = re.compile(r"^# Collective test starting:\s*(\S+)", re.MULTILINE)
UNIT = re.compile(r"\(([^()]*/s|ns|us)\)")
Result = Dict[str, Any]


class UnknownFormat(Exception):
    """A file is not what one of the tools writes."""


def measure(request: Values, emit: Emit) -> None:
    """Measure ingest.results.

    Args:
        request: "files": files or folders on this machine; "documents": name → text, where the
            files are on the controller.
        emit: Takes the result.
    """
    results: List[Result] = []
    unread: List[Dict[str, str]] = []
    for name, text, why in _texts(request):
        if text is None:
            unread.append({"file": name, "why": why})
            continue
        try:
            results.append(dict(parse(text), file=name))
        except (UnknownFormat, RecursionError) as error:
            unread.append({"file": name, "why": str(error)})
    emit("ingest.results", {"results": results, "unread": unread}, None)


def _texts(request: Values) -> List[Tuple[str, Optional[str], str]]:
    """Return name, text (None: unread), and why it was not read."""
    found: List[Tuple[str, Optional[str], str]] = []
    for name, text in sorted((request.get("documents") or {}).items()):
        found.append((str(name), str(text), ""))
    paths: List[str] = []
    for place in request.get("files") or []:
        if os.path.isdir(place):
            inside = sorted(n for n in os.listdir(place) if n.endswith(ENDINGS))
            paths += [os.path.join(place, name) for name in inside]
            if not inside:
                found.append((place, None, "the folder holds no results"))
        else:
            paths.append(str(place))
    for path in paths[:MOST_FILES]:
        found.append((path, *_read(path)))
    if len(paths) > MOST_FILES:
        found.append((paths[MOST_FILES], None, "more than %d files" % MOST_FILES))
    return found


def _read(path: str) -> Tuple[Optional[str], str]:
    try:
        with open(path, "rb") as stream:
            data = stream.read(LARGEST_BYTES + 1)
    except OSError as error:
        return None, error.strerror or str(error)
    if len(data) > LARGEST_BYTES:
        return None, "it is larger than %d MiB" % (LARGEST_BYTES // 1024**2)
    try:
        return data.decode("utf-8"), ""
    except UnicodeDecodeError:
        return None, "it is no text"


def parse(text: str) -> Result:
    """Return one tool's result: tool, version, driver, verdict, counts, failures, figures.

    Raises:
        UnknownFormat: when no tool writes so.
    """
    if text.lstrip()[:1] != "{":
        return _nccl_text(text)
    try:
        document = json.loads(text, parse_constant=_no_constant)
    except ValueError as error:
        raise UnknownFormat("it is no JSON: %s" % error) from error
    for title in DCGM_TITLES:
        if title in document:
            return _dcgm(document, _object(document, title))
    if "nvbandwidth" in document:
        return _nvbandwidth(_object(document, "nvbandwidth"))
    if "average_bus_bandwidth" in document or "nccl_version" in document:
        return _nccl_json(document)
    raise UnknownFormat("it is JSON of none of dcgmi diag, nvbandwidth, nccl-tests")


def _no_constant(name: str) -> float:
    raise ValueError("%s is no number" % name)


def _object(document: Any, key: str) -> Dict[str, Any]:  # noqa: ANN401
    value = document.get(key)
    if not isinstance(value, dict):
        raise UnknownFormat("%s is no object" % key)
    return value


def _list(document: Dict[str, Any], key: str) -> List[Dict[str, Any]]:
    value = document.get(key)
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise UnknownFormat("%s is no list of objects" % key)
    return value


def _text(document: Dict[str, Any], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str) or not value:
        raise UnknownFormat("%s is no text" % key)
    return value


def _number(value: Any) -> Optional[float]:  # noqa: ANN401
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _result(tool: str, **values: Any) -> Result:  # noqa: ANN401
    base: Result = {"tool": tool, "version": None, "driver": None, "failures": [], "figures": []}
    base.update(values)
    base["figures"] = base["figures"][:MOST_FIGURES]
    return base


def _verdict(counts: Dict[str, int]) -> str:
    """Return the worst; a tool that passed nothing has tested nothing."""
    for status in ("FAIL", "ERROR", "WARN"):
        if counts.get(status):
            return status
    return "PASS" if counts.get("PASS") else "SKIP"


def _dcgm(document: Dict[str, Any], said: Dict[str, Any]) -> Result:
    metadata = document.get("metadata") if isinstance(document.get("metadata"), dict) else document
    assert isinstance(metadata, dict)
    error = said.get("Error") or said.get("runtime_error") or said.get("error")
    about = {
        "version": _or_none(metadata.get("version")),
        "driver": _or_none(metadata.get("Driver Version Detected")),
    }
    if error and "test_categories" not in said:
        counts = {"ERROR": 1}
        return _result("dcgmi diag", verdict="ERROR", counts=counts, failures=[str(error)], **about)
    counts = {}
    failures = []
    for category in _list(said, "test_categories"):
        for test in _list(category, "tests"):
            name = _text(test, "name")
            for result in _list(test, "results"):
                status = DCGM_STATUS.get(_text(result, "status").lower())
                if status is None:
                    raise UnknownFormat("%s has the status %r" % (name, result["status"]))
                counts[status] = counts.get(status, 0) + 1
                if status in ("FAIL", "WARN"):
                    failures.append("%s on %s: %s" % (name, _entity(result), _why(result)))
    if not counts:
        raise UnknownFormat("it holds no result")
    if error:
        counts["ERROR"] = 1
        failures.append(str(error))
    return _result(
        "dcgmi diag", verdict=_verdict(counts), counts=counts, failures=failures[:20], **about
    )


def _or_none(value: Any) -> Optional[str]:  # noqa: ANN401
    return value if isinstance(value, str) and value else None


def _entity(result: Dict[str, Any]) -> str:
    if "entity_id" in result:
        return "%s %s" % (result.get("entity_group") or "GPU", result["entity_id"])
    if result.get("gpu_id") is not None or result.get("gpu_ids") is not None:
        return "GPU %s" % (result["gpu_id"] if "gpu_id" in result else result["gpu_ids"])
    return "the machine"


def _why(result: Dict[str, Any]) -> str:
    warnings = result.get("warnings")
    said = []
    for one in warnings if isinstance(warnings, list) else [warnings]:
        text = one.get("warning") if isinstance(one, dict) else one
        if isinstance(text, str) and text:
            said.append(text)
    return "; ".join(said)[:300] or "no reason was given"


def _nvbandwidth(said: Dict[str, Any]) -> Result:
    counts: Dict[str, int] = {}
    failures: List[str] = []
    figures: List[Dict[str, Any]] = []
    for case in _list(said, "testcases") if "testcases" in said else []:
        name, status = _text(case, "name"), NVB_STATUS.get(_text(case, "status"))
        if status is None:
            raise UnknownFormat("%s has the status %r" % (name, case["status"]))
        if case.get("error"):
            status = "ERROR"
        counts[status] = counts.get(status, 0) + 1
        if status == "ERROR":
            failures.append("%s: %s" % (name, case.get("error") or case["status"]))
        if status == "PASS":
            figures += _cells(name, case)
    if said.get("error"):
        counts["ERROR"] = counts.get("ERROR", 0) + 1
        failures.append(str(said["error"])[:300])
    if not counts:
        raise UnknownFormat("it holds no test case")
    return _result(
        "nvbandwidth",
        version=_or_none(said.get("version")),
        driver=_or_none(said.get("Driver Version")),
        verdict=_verdict(counts),
        counts=counts,
        failures=failures[:20],
        figures=figures,
    )


def _cells(name: str, case: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Return the least and the largest value of a test's matrix, with its unit."""
    match = UNIT.search(str(case.get("bandwidth_description") or ""))
    matrix = case.get("bandwidth_matrix")
    if match is None or not isinstance(matrix, list):
        raise UnknownFormat("%s passed without a matrix or a unit" % name)
    values = []
    for row in matrix:
        for cell in row if isinstance(row, list) else []:
            try:
                number = None if cell == "N/A" else _number(float(cell))
            except (TypeError, ValueError):
                raise UnknownFormat("%s holds %r, which is no number" % (name, cell)) from None
            if number is not None:
                values.append(number)
    if not values:
        raise UnknownFormat("%s passed and holds no value" % name)
    return [
        {"name": "%s, least" % name, "value": min(values), "unit": match.group(1)},
        {"name": "%s, largest" % name, "value": max(values), "unit": match.group(1)},
    ]


def _nccl_json(document: Dict[str, Any]) -> Result:
    arguments = document.get("args")
    program = (
        os.path.basename(str(arguments[0])) if isinstance(arguments, list) and arguments else ""
    )
    name = program or "nccl-tests"
    if "out_of_bounds" not in document or "average_bus_bandwidth" not in document:
        return _nccl(name, None, None, None, None, "it ended before its summary")
    bounds, average = _object(document, "out_of_bounds"), _object(document, "average_bus_bandwidth")
    checked = _number(_object(document, "config").get("validation")) or 0.0
    fast = {"true": True, "false": False, "unchecked": None}
    right = {"true": True, "false": False}
    if bounds.get("okay") not in right or average.get("okay") not in fast:
        raise UnknownFormat("its summary says neither true nor false")
    result = _nccl(
        name,
        right[bounds["okay"]],
        fast[average["okay"]],
        _number(average.get("bandwidth")),
        checked > 0,
        "; ".join(str(e) for e in document.get("errors") or [] if e),
    )
    rows = [r for r in _list(document, "results") if r.get("size") is not None]
    for place in ("out_of_place", "in_place"):
        best = [
            (number, row["size"])
            for row in rows
            for number in [_number((row.get(place) or {}).get("bus_bw"))]
            if number is not None
        ]
        if best:
            number, size = max(best)
            label = "%s, largest bus bandwidth, %s, %s bytes" % (name, place, size)
            result["figures"].append({"name": label, "value": number, "unit": "GB/s"})
    return result


def _nccl_text(text: str) -> Result:
    head = NCCL_HEAD.search(text)
    if head is None:
        raise UnknownFormat("it is neither JSON nor what nccl-tests prints")
    named = NCCL_NAME.search(text)
    name = named.group(1) if named else "nccl-tests"
    bounds, average = NCCL_BOUNDS.search(text), NCCL_AVERAGE.search(text)
    if bounds is None or average is None:
        return _nccl(name, None, None, None, None, "it ended before its summary")
    fast = {"OK": True, "FAILED": False}.get(average.group(2) or "")
    right = bounds.group(2) == "OK" and int(bounds.group(1)) == 0
    number = _number(float(average.group(1)))
    return _nccl(name, right, fast, number, int(head.group(1)) > 0, "")


def _nccl(
    name: str,
    right: Optional[bool],
    fast: Optional[bool],
    average: Optional[float],
    checked: Optional[bool],
    error: str,
) -> Result:
    """Return the result; a run whose data was not checked has shown nothing about them."""
    failures = [error] if error else []
    if right is False:
        failures.append("%s: wrong values" % name)
    if fast is False:
        failures.append("%s: below the bandwidth that was asked for" % name)
    if right is None or average is None or error:
        status = "ERROR"
    elif not right or fast is False:
        status = "FAIL"
    else:
        status = "PASS" if checked else "SKIP"
        failures += [] if checked else ["%s: the data was not checked" % name]
    figures = []
    if average is not None:
        label = "%s, average bus bandwidth" % name
        figures.append({"name": label, "value": average, "unit": "GB/s"})
    return _result(
        "nccl-tests", verdict=status, counts={status: 1}, failures=failures, figures=figures
    )
