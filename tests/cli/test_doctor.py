"""`cudactl doctor` as people call it: text, JSON, exit codes, explanations, bundles."""

from __future__ import annotations

import base64
import io
import json
import stat
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cudactl.cli.doctor import doctor
from cudactl.contracts.errors import CudactlError, UnreachableError, UsageError
from cudactl.judge.doctor.layers import FINDINGS
from cudactl.judge.doctor.registry import Finding
from cudactl.reach.fanout import Answer
from cudactl.reach.targets import Target
from cudactl.workflow import doctor as workflow
from tests.judge.doctor.machines import examine, healthy
from tests.judge.doctor.reds import RED, Red

ROOT = Path(__file__).parent.parent.parent
Call = Callable[..., Result]


def red(code: str) -> Red:
    return next(one for one in RED if one.code == code)


def examined(one: Red | None, folder: Path) -> dict[str, Any]:
    tree = one.base() if one else healthy()
    if one:
        one.change(tree)
    document = examine(tree, folder)
    if one:
        one.then(document)
    return document


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Call:
    """Call doctor with hosts that answer what they are given: a document, or an error."""

    def run(answers: dict[str, Any], *arguments: str) -> Result:
        def fan_out(targets: list[Target], verb: list[str], **how: Any) -> list[Answer]:
            assert verb[:2] == ["doctor", "--evidence"]
            return [
                Answer(t, None, found, 0.1)
                if isinstance(found := answers[t.name], CudactlError)
                else Answer(t, found, None, 0.1)
                for t in targets
            ]

        monkeypatch.setattr(workflow, "run_probe", fan_out)
        names = [] if list(answers) == ["localhost"] else list(answers)
        return CliRunner().invoke(doctor, [*arguments, *names])

    return run


def test_a_healthy_host_is_told_in_two_lines(call: Call, tmp_path: Path) -> None:
    done = call({"g1": {"examination": examined(None, tmp_path)}})
    assert done.exit_code == 0
    assert done.output.splitlines() == [
        "g1: nothing was found to be wrong",
        "  1 NVIDIA GPU on the PCI bus, driver 580.95.05 loaded, kernel 6.8.0-31-generic",
    ]


def test_the_first_thing_said_is_the_thing_to_do(call: Call, tmp_path: Path) -> None:
    done = call({"g1": {"examination": examined(red("DOCTOR-UNATTENDED"), tmp_path)}})
    assert done.exit_code == 3
    text = done.output
    assert text.index("1. unattended-upgrades changed the driver") < text.index("what to do")
    assert "what to do  reboot" in text
    assert "from it" in text
    assert "DOCTOR-VERSION-MISMATCH" in text
    assert "\n2. " not in text


def test_commands_are_never_broken_into_lines(call: Call, tmp_path: Path) -> None:
    done = call({"g1": {"examination": examined(red("DOCTOR-NOUVEAU"), tmp_path)}})
    assert "sudo update-initramfs -u -k all" in done.output


def test_json_is_one_document_for_all_hosts(call: Call, tmp_path: Path) -> None:
    gone = UnreachableError("HOST-X", "g3 does not answer", remedy="look")
    answers = {
        "g1": {"examination": examined(None, tmp_path / "1")},
        "g2": {"examination": examined(red("DOCTOR-HEADERS"), tmp_path / "2")},
        "g3": gone,
    }
    done = call(answers, "--json")
    document = json.loads(done.stdout)
    assert [one["host"] for one in document] == ["g1", "g2", "g3"]
    assert document[1]["diagnosis"]["findings"][0]["code"] == "DOCTOR-HEADERS"
    assert document[2]["error"]["code"] == "HOST-X"
    assert done.exit_code == 3


@pytest.mark.parametrize(
    ("code", "arguments", "status"),
    [
        ("DOCTOR-PERSISTENCE", (), 0),
        ("DOCTOR-PERSISTENCE", ("--strict",), 5),
        ("DOCTOR-HEADERS", ("--strict",), 3),
    ],
)
def test_risks_count_only_under_strict(
    call: Call, tmp_path: Path, code: str, arguments: tuple[str, ...], status: int
) -> None:
    answers = {"g1": {"examination": examined(red(code), tmp_path)}}
    assert call(answers, *arguments).exit_code == status


def test_what_was_not_looked_at_is_said_and_counts_under_strict(call: Call, tmp_path: Path) -> None:
    document = examined(None, tmp_path)
    document["signs"]["unread"] = [
        {"what": "kernel log", "why": "/dev/kmsg may not be read", "needs": "root"}
    ]
    done = call({"g1": {"examination": document}})
    assert done.exit_code == 0
    assert "kernel log (/dev/kmsg may not be read): needs root" in done.output
    assert call({"g1": {"examination": document}}, "--strict").exit_code == 4


def test_a_host_that_does_not_answer_is_not_healthy(call: Call) -> None:
    done = call({"g1": UnreachableError("HOST-X", "g1 does not answer")})
    assert done.exit_code == 4
    assert "HOST-X" in done.output


@pytest.mark.parametrize(
    "answer",
    [{}, {"examination": []}, {"examination": {"schema_version": 1}}, {"examination": None}],
)
def test_an_answer_that_is_no_examination_is_an_error(call: Call, answer: Any) -> None:
    done = call({"g1": answer})
    assert done.exit_code == 4
    assert "DOCTOR-UNREADABLE" in done.output


def test_a_host_whose_clock_is_off_is_told_by_ours(call: Call, tmp_path: Path) -> None:
    document = examined(None, tmp_path)
    document["signs"]["clock"] = {"now": time.time() - 5000, "surely_passed": {}}
    assert "the clock is wrong" in call({"g1": {"examination": document}}).output


def test_explain_tells_of_one_code_and_asks_no_host(call: Call) -> None:
    done = call({"localhost": {}}, "--explain", "doctor-stub")
    assert done.exit_code == 0
    assert "34 (stub library)" in " ".join(done.output.split())
    assert "explains: DOCTOR-CUDA-INIT" in done.output


def test_an_unknown_code_is_a_wrong_call(call: Call) -> None:
    done = call({"localhost": {}}, "--explain", "DOCTOR-NO-SUCH")
    assert isinstance(done.exception, UsageError)
    assert done.exception.code == "DOCTOR-CODE"


# --- bundles ------------------------------------------------------------------------------------


def packed(text: str = "x") -> str:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as archive:
        entry = tarfile.TarInfo("cudactl-evidence/contents.txt")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text.encode()))
    return base64.b64encode(sink.getvalue()).decode()


def test_one_hosts_bundle_is_the_file_that_was_named(call: Call, tmp_path: Path) -> None:
    answer = {"examination": examined(None, tmp_path / "root"), "bundle": packed()}
    place = tmp_path / "e.tar.gz"
    assert call({"g1": answer}, "--bundle", str(place)).exit_code == 0
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    with tarfile.open(place) as archive:
        assert archive.getnames() == ["cudactl-evidence/contents.txt"]


def test_evidence_is_never_written_over(call: Call, tmp_path: Path) -> None:
    answer = {"examination": examined(None, tmp_path / "root"), "bundle": packed()}
    place = tmp_path / "e.tar.gz"
    place.write_text("older evidence")
    done = call({"g1": answer}, "--bundle", str(place))
    assert isinstance(done.exception, UsageError)
    assert place.read_text() == "older evidence"


def test_several_hosts_go_into_a_folder(call: Call, tmp_path: Path) -> None:
    answers = {
        name: {"examination": examined(None, tmp_path / name), "bundle": packed()}
        for name in ("g1", "g2")
    }
    call(answers, "--bundle", str(tmp_path / "kept"))
    assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == ["g1.tar.gz", "g2.tar.gz"]


def test_a_bundle_that_is_none_is_an_error(call: Call, tmp_path: Path) -> None:
    answer = {"examination": examined(None, tmp_path / "root"), "bundle": "%%%"}
    done = call({"g1": answer}, "--bundle", str(tmp_path / "e"))
    assert done.exit_code == 4
    assert not (tmp_path / "e").exists()


# --- the documentation --------------------------------------------------------------------------


@pytest.mark.parametrize("one", FINDINGS, ids=lambda one: one.code)
def test_the_documentation_lists_every_finding_as_it_is_said(one: Finding) -> None:
    row = f"| `{one.code}` | {one.severity} | {one.title} | {one.needs} |"
    assert row in (ROOT / "docs/doctor.md").read_text()
