"""JUnit XML, in the shape that Jenkins, GitLab and GitHub's reporters share: a suite per host.

Source of the shape: https://github.com/jenkinsci/xunit-plugin (junit-10.xsd). What was measured but
not judged, or waived, is `skipped` with its reason: it is no pass and breaks no build.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from cudactl.certify.formats.judged import Judged, said
from cudactl.contracts.certificate import Certificate, Verdict

FAILED = {"FAIL": "failure", "ERROR": "error"}
SKIPPED = ("SKIP", "NO_REFERENCE", "WAIVED")


def render(judged: Sequence[Judged]) -> str:
    """Return the report."""
    root = ET.Element("testsuites", name="cudactl certify")
    totals = {"tests": 0, "failures": 0, "errors": 0}
    for one in judged:
        suite = _suite(one)
        for key in totals:
            totals[key] += int(suite.attrib[key])
        root.append(suite)
    for key, count in totals.items():
        root.set(key, str(count))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(one: Judged) -> ET.Element:
    certificate = one.certificate
    verdicts = certificate.verdicts if certificate is not None else []
    errors = sum(v.status == "ERROR" for v in verdicts) + (certificate is None)
    suite = ET.Element(
        "testsuite",
        name=xml_text(f"cudactl.{one.host}"),
        tests=str(len(verdicts) + (certificate is None)),
        failures=str(sum(v.status == "FAIL" for v in verdicts)),
        errors=str(errors),
        skipped=str(sum(v.status in SKIPPED for v in verdicts)),
        hostname=xml_text(one.host),
    )
    if certificate is None:
        case = ET.SubElement(suite, "testcase", classname="cudactl", name="certified")
        code = one.error.code if one.error is not None else "NOT-CERTIFIED"
        found = one.error.found if one.error is not None else "there is no certificate"
        remedy = one.error.remedy if one.error is not None else ""
        told = ET.SubElement(case, "error", type=xml_text(code), message=xml_text(found))
        told.text = xml_text(remedy)
        return suite
    suite.set("timestamp", time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(certificate.issued)))
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(certificate).items():
        ET.SubElement(properties, "property", name=name, value=xml_text(value))
    for verdict in verdicts:
        suite.append(_case(verdict))
    return suite


def _properties(certificate: Certificate) -> dict[str, str]:
    return {
        "level": certificate.level,
        "level_reason": certificate.level_reason,
        "tier": certificate.tier,
        "lock": certificate.lock_hash,
        "driver": certificate.driver or "none",
        "evidence_sha256": certificate.evidence_sha256,
    }


def _case(verdict: Verdict) -> ET.Element:
    gpu = f" [{verdict.gpu}]" if verdict.gpu else ""
    case = ET.Element(
        "testcase",
        classname=xml_text(f"cudactl.{verdict.leg}"),
        name=xml_text(verdict.check + gpu),
    )
    text = xml_text(said(verdict.measured, verdict.expected, verdict.reason))
    if verdict.status in FAILED:
        kind = FAILED[verdict.status]
        told = ET.SubElement(case, kind, type=verdict.status, message=xml_text(verdict.reason))
        told.text = text
    elif verdict.status in SKIPPED:
        words = {"NO_REFERENCE": "measured, not judged: ", "WAIVED": ""}.get(verdict.status, "")
        ET.SubElement(case, "skipped", message=xml_text(words + verdict.reason))
    else:
        ET.SubElement(case, "system-out").text = f"{verdict.status}: {text}"
    return case


def xml_text(text: str) -> str:
    """Return a text without the characters that XML 1.0 cannot hold (section 2.2, Char)."""
    return "".join(c if _may_stand(ord(c)) else "�" for c in text)


def _may_stand(code: int) -> bool:
    return (
        code in (0x9, 0xA, 0xD)
        or 0x20 <= code <= 0xD7FF
        or 0xE000 <= code <= 0xFFFD
        or code >= 0x10000
    )
