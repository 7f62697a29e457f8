"""Truncated, altered, enormous and hostile files: a clear refusal, bounded, and never a crash."""

from __future__ import annotations

import base64
import copy
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cudactl.certify import keys
from cudactl.certify.certificate import make_certificate
from cudactl.certify.formats import FORMATS, Judged, renderer
from cudactl.certify.reading import MAX_BYTES, NotJson, parse_object
from cudactl.certify.signing import NotAnEnvelope, Signed, sign
from cudactl.certify.statement import NotAStatement, certificate_of
from cudactl.certify.verifying import Trust, verify_file
from cudactl.contracts.certificate import Policy
from cudactl.contracts.errors import CudactlError, UsageError
from cudactl.workflow.certify import read_policy
from tests.certify.test_signing import certificate
from tests.judge.healthy import NOW, fresh

GPU = fresh("gpu")
SLOW = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))

HUGE = st.sampled_from([10**30, -(10**400), 1e308, -1e308, float("nan"), float("inf"), 2**63])
ODD = st.sampled_from(["", "\ud800", "\x00", "\u202e", "a" * 5000, "<b>&\"'", "\n# x 1", "{host}"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | HUGE | ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | ODD, inner),
    max_leaves=6,
)


def places(node: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = []
    for key, item in node.items() if isinstance(node, dict) else enumerate(node):
        found.append((*at, key))
        if isinstance(item, dict | list):
            found += places(item, (*at, key))
    return found


def spoiled(document: Any, place: tuple[Any, ...], junk: Any) -> Any:
    changed = copy.deepcopy(document)
    node = changed
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = junk
    return changed


def outcome(call: Callable[[], Any]) -> Any:
    """Return what a call returns, or the refusal; anything else is a crash."""
    try:
        return call()
    except (CudactlError, NotJson, NotAStatement) as refused:
        return refused


# --- bytes --------------------------------------------------------------------------------------

BYTES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "no JSON"),
    "truncated": (b'{"a": [1, 2', "no JSON"),
    "a list": (b"[]", "no JSON object"),
    "a number": (b"3", "no JSON object"),
    "not UTF-8": (b'{"a": "\xff"}', "UTF-8"),
    "said twice": (b'{"verdict": "FAIL", "verdict": "PASS"}', "twice"),
    "said twice, inside": (b'{"a": [{"b": 1, "b": 2}]}', "twice"),
    "nested": (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    "nested objects": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "nested too deeply"),
    "an endless number": (b'{"a": ' + b"9" * 100_000 + b"}", "number without end"),
    "too many values": (b'{"a": [' + b"0," * 500_000 + b"0]}", "more than"),
    "too many objects": (b'{"a": [' + b"{}," * 300_000 + b"0]}", "more than"),
    "too large": (b'{"a": "' + b"x" * MAX_BYTES + b'"}', "larger than"),
}


@pytest.mark.parametrize("name", BYTES)
def test_what_is_no_sensible_json_is_refused_in_a_sentence(name: str) -> None:
    data, says = BYTES[name]
    with pytest.raises(NotJson, match=says) as caught:
        parse_object(data)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("data", [b'{"a": NaN}', b'{"a": [-Infinity]}'])
def test_numbers_that_are_none_may_stand_in_evidence_and_nowhere_else(data: bytes) -> None:
    assert parse_object(data)
    with pytest.raises(NotJson, match="no number"):
        parse_object(data, finite=True)


@SLOW
@given(st.binary(max_size=200) | JSON.map(lambda v: json.dumps(v).encode()))
def test_any_bytes_are_an_object_or_refused(data: bytes) -> None:
    found = outcome(lambda: parse_object(data))
    assert isinstance(found, dict) or str(found)


# --- evidence and policies ----------------------------------------------------------------------

EVIDENCE_PLACES = places(GPU[0])
POLICY_PLACES = places(GPU[1])


@SLOW
@given(place=st.sampled_from(EVIDENCE_PLACES), junk=JSON)
def test_junk_anywhere_in_evidence_is_judged_and_written_in_every_form_or_refused(
    place: tuple[Any, ...], junk: Any
) -> None:
    evidence = spoiled(GPU[0], place, junk)
    made = outcome(lambda: make_certificate(evidence, _policy(), "gpu-01", NOW))
    if isinstance(made, CudactlError):
        assert made.code == "EVIDENCE-UNREADABLE"
        assert made.found.isprintable()
        return
    for name in sorted(set(FORMATS) - {"dsse"}):
        text = renderer(name)([Judged("gpu-01", made, evidence=evidence)])
        assert "\x00" not in text.encode("utf-8", "replace").decode()


@SLOW
@given(place=st.sampled_from(POLICY_PLACES), junk=JSON)
def test_junk_anywhere_in_a_policy_is_judged_by_or_refused(
    place: tuple[Any, ...], junk: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "policy.json"
    path.write_text(json.dumps(spoiled(GPU[1], place, junk)))
    evidence = copy.deepcopy(GPU[0])
    made = outcome(lambda: make_certificate(evidence, read_policy(path), "gpu-01", NOW))
    if isinstance(made, CudactlError):
        assert made.code in ("POLICY-UNREADABLE", "EVIDENCE-UNREADABLE")
        return
    for name in sorted(set(FORMATS) - {"dsse"}):
        renderer(name)([Judged("gpu-01", made, evidence=GPU[0])])


@SLOW
@given(JSON)
def test_any_document_is_evidence_a_policy_and_a_certificate_or_refused(document: Any) -> None:
    with pytest.raises(CudactlError):
        make_certificate(document, _policy(), "h", NOW)
    if isinstance(document, dict):
        with pytest.raises(NotAnEnvelope):
            Signed(document)


@lru_cache(maxsize=1)
def _policy() -> Policy:
    return Policy.model_validate(GPU[1])


# --- certificates -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Trust, Path]:
    folder = tmp_path_factory.mktemp("keys")
    key = keys.new_key(folder, "signing")
    return sign(certificate(), key), Trust(keys.trusted_keys([folder])), folder / "c.json"


@SLOW
@given(data=st.data())
def test_an_envelope_with_junk_in_it_never_stands(
    signed: tuple[dict[str, Any], Trust, Path], data: st.DataObject
) -> None:
    envelope, trust, path = signed
    place = data.draw(st.sampled_from(places(envelope)))
    junk = data.draw(JSON)
    path.write_text(json.dumps(spoiled(envelope, place, junk)))
    found = outcome(lambda: verify_file(path, trust, NOW))
    if isinstance(found, UsageError):
        assert found.code == "CERTIFICATE-UNREADABLE"
        return
    assert not found.stands


@SLOW
@given(cut=st.integers(0, 4000), put=st.binary(max_size=3))
def test_an_envelope_cut_or_changed_anywhere_never_stands(
    signed: tuple[dict[str, Any], Trust, Path], cut: int, put: bytes
) -> None:
    envelope, trust, path = signed
    whole = json.dumps(envelope).encode()
    path.write_bytes(whole[: cut % len(whole)] + put + whole[cut % len(whole) + len(put) + 1 :])
    found = outcome(lambda: verify_file(path, trust, NOW))
    if isinstance(found, UsageError):
        assert found.code == "CERTIFICATE-UNREADABLE"
        return
    assert not found.stands or _same(path.read_bytes(), whole)


def _same(one: bytes, other: bytes) -> bool:
    """Return True when two envelopes sign the same bytes: base64 has unused bits at its end."""
    first, second = json.loads(one), json.loads(other)
    return base64.b64decode(first["payload"]) == base64.b64decode(second["payload"])


@SLOW
@given(place=st.sampled_from(places(certificate().model_dump(mode="json"))), junk=JSON)
def test_a_statement_that_a_trusted_key_signed_may_still_be_junk_and_is_refused(
    place: tuple[Any, ...], junk: Any
) -> None:
    from cudactl.certify.statement import statement

    document = json.loads(statement(certificate()))
    document["predicate"] = spoiled(document["predicate"], place, junk)
    made = outcome(lambda: certificate_of(json.dumps(document).encode()))
    if isinstance(made, NotAStatement):
        assert str(made)
        return
    for name in sorted(set(FORMATS) - {"dsse"}):
        renderer(name)([Judged("h", made)])


# --- memory -------------------------------------------------------------------------------------

WITHIN = """
import json, os, resource, sys, tempfile
import cudactl.workflow.certify, cudactl.workflow.keys
from cudactl.cli import main
for line in sys.stdin:
    said = tempfile.TemporaryFile()
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_AS, (700 * 1024**2,) * 2)
        os.dup2(said.fileno(), 1), os.dup2(said.fileno(), 2)
        main(json.loads(line))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said.seek(0)
    print(json.dumps([code, said.read().decode()]), flush=True)
"""
BOMBS: dict[str, Callable[[], bytes]] = {
    "zeros": lambda: b'{"legs":[' + b"0," * 15_000_000 + b"0]}",
    "objects": lambda: b'{"legs":[' + b"{}," * 10_000_000 + b"0]}",
    "keys": lambda: b"{" + b",".join(b'"%d":0' % n for n in range(2_000_000)) + b"}",
    "depth": lambda: b"[" * 30_000_000,
    "a text": lambda: b'{"a":"' + b"x" * 31_000_000 + b'"}',
    "as many values as may be": lambda: b'{"legs":[' + b"{}," * 49_000 + b"0]}",
    "more objects than may be": lambda: b'{"legs":[' + b"{}," * 51_000 + b"0]}",
    "escapes": lambda: b'{"a":"' + b"\\ud83d\\ude00" * 2_600_000 + b'"}',
}


@pytest.fixture(scope="module")
def bounded() -> Iterator[Callable[[list[str]], tuple[int, str]]]:
    """Run commands within 700 MB each; what they import is imported once, for all of them."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", WITHIN], text=True, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def run(command: list[str]) -> tuple[int, str]:
            print(json.dumps(command), file=process.stdin, flush=True)
            code, said = json.loads(process.stdout.readline())
            return code, said

        yield run
        process.stdin.close()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", BOMBS)
def test_no_file_costs_much_memory_or_time(
    name: str, tmp_path: Path, bounded: Callable[[list[str]], tuple[int, str]]
) -> None:
    path = tmp_path / "bomb.json"
    path.write_bytes(BOMBS[name]())
    lock = Path(__file__).parent.parent / "evidence/wheels-cuda-13.0.lock"
    for command in (
        ["certify", "judge", str(path), "--lock", str(lock)],
        ["certify", "judge", str(path), "--policy", str(path)],
        ["certify", "verify", str(path)],
    ):
        code, said = bounded(command)
        assert code == 2, said[-2000:]
        assert "Traceback" not in said
        assert "-UNREADABLE" in said
        assert len(said) < 2000
