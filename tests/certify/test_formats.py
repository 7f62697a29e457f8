"""Outputs of one run: each is what its readers expect, and escapes what hosts say."""

from __future__ import annotations

import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import xmlschema
from jsonschema import Draft202012Validator
from prometheus_client.parser import text_string_to_metric_families

from cudactl.certify.formats import FORMATS, Judged, prometheus, renderer
from cudactl.certify.formats.judged import STATUSES, counts, summary
from cudactl.contracts.certificate import Certificate, Verdict
from cudactl.contracts.errors import UnreachableError
from tests.certify.test_signing import certificate
from tests.judge.healthy import NOW, fresh

ROOT = Path(__file__).parent.parent.parent
GPU = "GPU-00000000-1111-2222-3333-444444444444"
HOSTILE = "\"'<script>alert(1)</script>]]>&\\\n\x00\x1b[2J\u202e\ud800|{%}\ufffe"


def of_every_status(**changes: Any) -> Certificate:
    """A certificate with one verdict of each status, two of them of a GPU."""
    verdicts = [
        Verdict(
            check=f"toolkit.{status.lower()}",
            leg="toolkit",
            gpu=GPU if status in ("FAIL", "PASS") else None,
            status=status,
            measured="12.9.1",
            expected="13.1.0",
            reason=f"why it is {status}",
        )
        for status in STATUSES
    ]
    return certificate(verdict="FAIL", level="none", verdicts=verdicts, **changes)


def unreachable() -> Judged:
    error = UnreachableError("HOST-REFUSED", "gpu-03: connection refused", remedy="start sshd")
    return Judged("gpu-03", None, error)


def run() -> list[Judged]:
    """Three hosts: one with everything, one that passed, one that does not answer."""
    evidence = fresh("lab")[0]
    return [
        Judged("gpu-01", of_every_status()),
        Judged("gpu-02", certificate(host="gpu-02"), evidence=evidence),
        unreachable(),
    ]


def hostile() -> list[Judged]:
    """A host that says what breaks naive writers, wherever it may say something."""
    verdict = Verdict(
        check=HOSTILE,
        leg=HOSTILE,
        gpu=HOSTILE,
        status="FAIL",
        measured=HOSTILE,
        expected=HOSTILE,
        reason=HOSTILE,
    )
    made = certificate(
        host=HOSTILE,
        hostname=HOSTILE,
        os=HOSTILE,
        kernel=HOSTILE,
        driver=HOSTILE,
        gpus=[HOSTILE],
        resolved={HOSTILE: HOSTILE},
        level_reason=HOSTILE,
        coverage={HOSTILE: {HOSTILE: HOSTILE}},
        verdict="FAIL",
        verdicts=[verdict],
        libraries=[{"path": HOSTILE, "package": HOSTILE, "sha256": HOSTILE, "simulated": True}],
        allowed=[{"code": HOSTILE, "reason": HOSTILE}],
    )
    evidence = fresh("lab")[0]
    evidence["legs"][0]["measurements"].append(
        {"check": HOSTILE, "values": {HOSTILE: 1, "x": float("nan"), "y": 10**400}, "error": None}
    )
    evidence["legs"][0]["gpu"] = HOSTILE
    error = UnreachableError(HOSTILE, HOSTILE, expected=HOSTILE, remedy=HOSTILE)
    return [Judged(HOSTILE, made, evidence=evidence), Judged("b", None, error)]


# --- every form ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"dsse"}))
def test_every_form_is_written_for_every_outcome_and_breaks_for_no_text(name: str) -> None:
    for judged in (run(), hostile(), run()[:1], [unreachable()], []):
        text = renderer(name)(judged)
        text.encode("utf-8", errors="replace")
        assert "\x1b" not in text
        assert "\x00" not in text
    assert "gpu-01" in renderer(name)(run())


def test_the_same_run_gives_the_same_bytes() -> None:
    for name in sorted(set(FORMATS) - {"dsse"}):
        assert renderer(name)(run()) == renderer(name)(run())


# --- JUnit --------------------------------------------------------------------------------------


def junit(judged: list[Judged]) -> ET.Element:
    text = renderer("junit")(judged)
    xmlschema.XMLSchema(Path(__file__).parent / "junit.xsd").validate(text)
    return ET.fromstring(text.split("\n", 1)[1])


@pytest.mark.parametrize("judged", [run(), hostile(), [unreachable()], []])
def test_junit_is_valid(judged: list[Judged]) -> None:
    junit(judged)


def test_junit_counts_what_it_holds() -> None:
    root = junit(run())
    for suite in root:
        cases = suite.findall("testcase")
        assert int(suite.attrib["tests"]) == len(cases)
        for attribute, element in (
            ("failures", "failure"),
            ("errors", "error"),
            ("skipped", "skipped"),
        ):
            held = len(suite.findall(f"testcase/{element}"))
            assert int(suite.attrib.get(attribute, "0")) == held
    assert (root.attrib["failures"], root.attrib["errors"]) == ("1", "2")


def test_junit_calls_nothing_a_pass_that_was_not_judged() -> None:
    suite = junit(run())[0]
    plain = {
        c.attrib["name"] for c in suite.findall("testcase") if c.find("system-out") is not None
    }
    assert plain == {f"toolkit.pass [{GPU}]", "toolkit.warn"}
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.attrib["message"] == "why it is FAIL"
    assert "measured 12.9.1; expected 13.1.0" in (failure.text or "")


# --- CTRF ---------------------------------------------------------------------------------------


TEXT, WHOLE, FREE = {"type": "string"}, {"type": "integer"}, {"type": "object"}
NAMED = {"type": "string", "minLength": 1}
CTRF_STATUSES = ("passed", "failed", "skipped", "pending", "other")


def shape(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    """A JSON Schema of an object with these fields and no other."""
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **optional},
        "additionalProperties": False,
    }


# Fields, types and which are required, of what a run without retries and attachments may hold; by
# https://github.com/ctrf-io/ctrf/blob/08703df/schema/ctrf.schema.json (looked at on 2026-11-25).
CTRF_TEST = shape(
    {"name": NAMED, "status": {"enum": list(CTRF_STATUSES)}, "duration": WHOLE},
    id=TEXT,
    start=WHOLE,
    stop=WHOLE,
    suite={"type": "array", "minItems": 1, "items": TEXT},
    message=TEXT,
    trace=TEXT,
    rawStatus=TEXT,
    tags={"type": "array", "items": TEXT},
    labels=FREE,
    type=TEXT,
    device=TEXT,
    parameters=FREE,
    extra=FREE,
)
CTRF_SUMMARY = shape(
    dict.fromkeys(("tests", *CTRF_STATUSES, "start", "stop"), WHOLE),
    suites=WHOLE,
    flaky=WHOLE,
    duration=WHOLE,
    extra=FREE,
)
CTRF_ENVIRONMENT = shape(
    {},
    **dict.fromkeys(("reportName", "appName", "appVersion", "testEnvironment"), TEXT),
    **dict.fromkeys(("osPlatform", "osRelease", "osVersion"), TEXT),
    healthy={"type": "boolean"},
    extra=FREE,
)
CTRF = shape(
    {
        "reportFormat": {"const": "CTRF"},
        "specVersion": {"type": "string", "pattern": r"^[0-9]+\.[0-9]+\.[0-9]+$"},
        "results": shape(
            {
                "tool": shape({"name": NAMED}, version=TEXT, extra=FREE),
                "summary": CTRF_SUMMARY,
                "tests": {"type": "array", "items": CTRF_TEST},
            },
            environment=CTRF_ENVIRONMENT,
            extra=FREE,
        ),
    },
    reportId=TEXT,
    timestamp=TEXT,
    generatedBy=TEXT,
    extra=FREE,
)


@pytest.mark.parametrize("judged", [run(), hostile(), [unreachable()], []])
def test_ctrf_is_what_its_published_schema_asks_for(judged: list[Judged]) -> None:
    Draft202012Validator.check_schema(CTRF)
    document = json.loads(renderer("ctrf")(judged))
    assert [e.message for e in Draft202012Validator(CTRF).iter_errors(document)] == []


def test_ctrf_counts_what_it_holds() -> None:
    for judged in (run(), hostile()):
        document = json.loads(renderer("ctrf")(judged))
        results = document["results"]
        tests, found = results["tests"], results["summary"]
        for status in CTRF_STATUSES:
            assert found[status] == sum(t["status"] == status for t in tests)
        assert found["tests"] == len(tests)
        assert found["start"] <= found["stop"]
    assert results["environment"]["healthy"] is False


def test_ctrf_keeps_our_own_status() -> None:
    tests = json.loads(renderer("ctrf")(run()[:1]))["results"]["tests"]
    assert {t["rawStatus"]: t["status"] for t in tests} == {
        "PASS": "passed",
        "WARN": "passed",
        "FAIL": "failed",
        "ERROR": "failed",
        "SKIP": "skipped",
        "NO_REFERENCE": "other",
        "WAIVED": "other",
    }


# --- Prometheus ---------------------------------------------------------------------------------


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        assert family.type == "gauge"
        for sample in family.samples:
            series = (sample.name, tuple(sorted(sample.labels.items())))
            assert series not in found, "a series is written once"
            found[series] = sample.value
    return found


def value(text: str, name: str, **labels: str) -> float | None:
    return samples(text).get((name, tuple(sorted(labels.items()))))


@pytest.mark.parametrize("judged", [run(), hostile()])
def test_the_textfile_is_read_by_prometheus(judged: list[Judged]) -> None:
    text = prometheus.render(judged)
    assert samples(text)
    if shutil.which("promtool"):
        clean = text.encode("utf-8", errors="replace")
        done = subprocess.run(
            ["promtool", "check", "metrics"], input=clean, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()


def test_the_textfile_says_what_was_judged_measured_and_until_when() -> None:
    text = prometheus.render(run())
    of_gpu = {"host": "gpu-01", "check": "toolkit.fail", "leg": "toolkit", "gpu": GPU}
    assert value(text, "cudactl_check_status", **of_gpu) == 2
    assert value(text, "cudactl_certificate_verdict", host="gpu-01") == 2
    assert value(text, "cudactl_certificate_verdict", host="gpu-02") == 0
    assert value(text, "cudactl_certificate_verdict", host="gpu-03") == 3
    expiry = "cudactl_certificate_expiry_timestamp_seconds"
    assert value(text, expiry, host="gpu-02") == certificate().expires
    measured = {"host": "gpu-02", "check": "nvcc.link", "gpu": "", "value": "compile_s"}
    assert value(text, "cudactl_measure", **measured) == 4.5


def test_a_host_that_fails_now_keeps_the_day_of_its_last_success() -> None:
    name = "cudactl_last_success_timestamp_seconds"
    good = prometheus.render([Judged("gpu-01", certificate(issued=NOW - 5))])
    assert value(good, name, host="gpu-01") == NOW - 5
    bad = prometheus.render([Judged("gpu-01", of_every_status())], good)
    assert value(bad, name, host="gpu-01") == NOW - 5
    assert (
        value(prometheus.render([Judged("gpu-01", of_every_status())]), name, host="gpu-01") is None
    )
    odd = 'a"\\b\nc'
    kept = prometheus.render([Judged(odd, certificate())])
    again = prometheus.render([Judged(odd, None, None)], kept)
    assert value(again, name, host=odd) == certificate().issued


# --- HTML ---------------------------------------------------------------------------------------


class Page(html.parser.HTMLParser):
    """Which elements a page really has, and what it says."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.addresses: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.addresses += [v or "" for n, v in attrs if n in ("src", "href", "action", "style")]
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def page(judged: list[Judged]) -> Page:
    read = Page()
    read.feed(renderer("html")(judged))
    return read


def test_the_page_needs_nothing_from_outside_and_runs_nothing() -> None:
    for judged in (run(), hostile()):
        read = page(judged)
        assert not {"script", "img", "link", "iframe", "object", "form"} & set(read.elements)
        assert all(re.fullmatch(r"#host-\d+", address) for address in read.addresses)
        assert "url(" not in renderer("html")(judged)
        assert "<script>alert(1)</script>" in "".join(read.text) or judged[0].host == "gpu-01"


def test_the_page_says_everything_red_first() -> None:
    text = "".join(page(run()[:1]).text)
    for verdict in of_every_status().verdicts:
        assert verdict.reason in text
    assert (
        text.index("why it is FAIL") < text.index("why it is WARN") < text.index("why it is PASS")
    )
    assert "Signed by" in text
    assert GPU in text
    overview = "".join(page(run()).text)
    assert "Certificates of 3 hosts" in overview
    assert "connection refused" in overview


def test_the_page_is_for_light_dark_and_paper() -> None:
    text = renderer("html")(run())
    for word in ("prefers-color-scheme:dark", "@media print", "color-scheme:light dark"):
        assert word in text


# --- short forms --------------------------------------------------------------------------------


@pytest.mark.parametrize("judged", [run(), hostile()])
def test_a_line_is_one_printable_line_of_at_most_200_characters(judged: list[Judged]) -> None:
    lines = renderer("line")(judged).splitlines()
    assert len(lines) == len(judged)
    assert all(len(line) <= 200 and line.isprintable() for line in lines)


def test_the_line_names_what_is_wrong() -> None:
    line = summary(run()[0])
    assert line.startswith("cudactl: gpu-01: FAIL at level none, lock ")
    assert line.endswith("toolkit.warn, toolkit.fail, toolkit.error")
    many = [
        v.model_copy(update={"check": f"toolkit.check_{n}"})
        for n in range(50)
        for v in of_every_status().verdicts
    ]
    assert summary(Judged("h", of_every_status().model_copy(update={"verdicts": many})))[-1] == "…"


@pytest.mark.parametrize(
    ("one", "status", "reason"),
    [
        (Judged("h", certificate()), "True", "ChecksPassed"),
        (Judged("h", certificate(verdict="WARN")), "True", "ChecksWarned"),
        (Judged("h", certificate(verdict="FAIL")), "False", "ChecksFailed"),
        (Judged("h", certificate(verdict="ERROR")), "Unknown", "NotMeasured"),
        (unreachable(), "Unknown", "NotMeasured"),
    ],
)
def test_a_node_condition_is_what_kubernetes_takes(one: Judged, status: str, reason: str) -> None:
    (condition,) = json.loads(renderer("kubernetes")([one]))["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("CudactlCertified", status)
    assert condition["reason"] == reason
    assert re.fullmatch(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", condition["reason"])
    if one.certificate is not None:
        stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
        assert re.fullmatch(stamp, condition["lastTransitionTime"])


def test_a_monitoring_plugins_line_has_its_word_first_and_figures_after_the_only_bar() -> None:
    first = renderer("nagios")(run()).splitlines()[0]
    assert first.startswith("CERTIFICATE CRITICAL - ")
    assert "fail=1" in first.split("|")[1]
    assert renderer("nagios")([unreachable()]).startswith("CERTIFICATE UNKNOWN")
    assert renderer("nagios")([Judged("h", certificate())]).startswith("CERTIFICATE OK")
    assert renderer("nagios")(hostile()).count("|") == 1


# --- JSON and counts ----------------------------------------------------------------------------


def test_json_follows_its_published_schema() -> None:
    schema = json.loads((ROOT / "docs/schemas/certified.schema.json").read_text())
    for judged in (run(), [unreachable()]):
        for document in json.loads(renderer("json")(judged)):
            Draft202012Validator(schema).validate(document)


def test_counts_add_up() -> None:
    assert counts(of_every_status()) == dict.fromkeys(STATUSES, 1)
