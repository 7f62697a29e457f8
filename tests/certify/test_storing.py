"""What `certify host --store` leaves on a host: the certificate, plain and signed, of one run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from cudactl.certify.keys import new_key
from cudactl.certify.signing import sign
from cudactl.contracts.certificate import Certificate
from cudactl.provision.records import BASE
from cudactl.reach.targets import Target
from cudactl.workflow import provision
from tests.certify.test_signing import certificate

PLAIN, SIGNED, HISTORY = "certificate.json", "certificate.dsse.json", "history.jsonl"


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This machine stands in for a host, with a folder of the test's in BASE's place."""
    folder = tmp_path / "lib"
    assert BASE in provision.STORE
    monkeypatch.setattr(provision, "STORE", provision.STORE.replace(BASE, str(folder)))
    return folder


def store(made: Certificate, envelope: dict[str, Any] | None = None) -> list[str]:
    """Store a certificate; return the codes of what went wrong."""
    host = Target(name="n1", connection="local", python=sys.executable, become=False)
    envelopes = {"n1": envelope} if envelope is not None else {}
    errors = provision.store_certificates({"n1": made}, [host], None, envelopes)
    return [error.code for error in errors]


def test_a_signed_certificate_is_kept_beside_the_plain_one(kept: Path, tmp_path: Path) -> None:
    made = certificate()
    envelope = sign(made, new_key(tmp_path, "signing"))
    assert store(made, envelope) == []
    assert json.loads((kept / PLAIN).read_text()) == made.model_dump(mode="json")
    assert json.loads((kept / SIGNED).read_text()) == envelope
    # Whoever asks the gate need not be root.
    assert [(kept / name).stat().st_mode & 0o777 for name in (PLAIN, SIGNED)] == [0o644, 0o644]


def test_an_unsigned_certificate_takes_an_earlier_signed_one_away(
    kept: Path, tmp_path: Path
) -> None:
    first = certificate()
    assert store(first, sign(first, new_key(tmp_path, "signing"))) == []
    second = certificate(issued=first.issued + 60)
    assert store(second) == []
    assert json.loads((kept / PLAIN).read_text())["issued"] == second.issued
    assert not (kept / SIGNED).exists(), "it would speak of another run"
    assert store(second) == [], "where there is none, none is missed"


def test_the_hosts_history_learns_of_every_certificate(kept: Path) -> None:
    assert store(certificate()) == []
    assert store(certificate(verdict="FAIL", level="none")) == []
    events = [json.loads(line) for line in (kept / HISTORY).read_text().splitlines()]
    assert [(e["event"], e["verdict"]) for e in events] == [
        ("certified", "PASS"),
        ("not-certified", "FAIL"),
    ]


def test_a_host_without_a_certificate_keeps_what_it_has(kept: Path) -> None:
    assert store(certificate()) == []
    other = Target(name="n2", connection="local", python=sys.executable, become=False)
    assert provision.store_certificates({}, [other]) == []
    assert (kept / PLAIN).exists()


def test_what_cannot_be_kept_is_an_error_of_that_host(kept: Path) -> None:
    kept.write_text("a file where the folder should be")
    assert len(store(certificate())) == 1
