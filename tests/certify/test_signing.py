"""Signed certificates: believed only under a trusted key that stood, and only as it signed them."""

from __future__ import annotations

import base64
import json
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cudactl.certify import keys
from cudactl.certify.certificate import make_certificate
from cudactl.certify.keys import KeyProblem, Revocation, SigningKey
from cudactl.certify.signing import sign
from cudactl.certify.verifying import Trust, verify_file
from cudactl.contracts.certificate import Certificate, Policy
from cudactl.contracts.errors import Exit, UsageError
from cudactl.contracts.state import HostState
from tests.judge.healthy import NOW, fresh

DAY = 24 * 3600.0


def certificate(**changes: Any) -> Certificate:
    evidence, policy = fresh("gpu")
    made = make_certificate(evidence, Policy.model_validate(policy), "gpu-01", NOW)
    # What the checks said is not what is tested here.
    passed = [v for v in made.verdicts if v.status == "PASS"]
    good = {"verdict": "PASS", "level": "linkage", "verdicts": passed}
    return made.model_copy(update={**good, **changes})


def state(**changes: Any) -> HostState:
    document = {**fresh("gpu")[0]["state"], **changes}
    return HostState.model_validate(document)


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return keys.new_key(tmp_path / "keys", "signing")


@pytest.fixture
def trusted(key: SigningKey, tmp_path: Path) -> Path:
    folder = tmp_path / "trusted"
    keys.trust(keys.read_public_key(key.path.with_suffix(".pub")), folder, "ops")
    return folder


def trust(*folders: Path) -> Trust:
    return Trust(keys.trusted_keys(folders), keys.revocations(folders))


def write(tmp_path: Path, document: Any) -> Path:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(document))
    return path


def codes(path: Path, folder: Path, now: float = NOW, **more: Any) -> list[str]:
    found = verify_file(path, trust(folder), now, **more)
    assert found.stands == (not found.findings)
    assert all(f.text and f.remedy for f in found.findings)
    return [finding.code for finding in found.findings]


# --- what stands --------------------------------------------------------------------------------


def test_a_signed_certificate_stands_for_its_lock_and_its_machine(
    key: SigningKey, trusted: Path, tmp_path: Path
) -> None:
    made = certificate()
    path = write(tmp_path, sign(made, key))
    found = verify_file(path, trust(trusted), NOW, lock_hash=made.lock_hash, state=state())
    assert found.stands
    assert (found.host, found.verdict, found.level) == ("gpu-01", "PASS", "linkage")
    assert (found.key, found.key_name) == (key.id, "ops")
    assert found.checked == ["signature", "key", "time", "verdict", "lock", "host"]


def test_the_envelope_is_what_other_tools_read(key: SigningKey, tmp_path: Path) -> None:
    made = certificate()
    document = sign(made, key)
    assert document["payloadType"] == "application/vnd.in-toto+json"
    payload = base64.b64decode(document["payload"])
    statement = json.loads(payload)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicate"] == made.model_dump(mode="json")
    names = {s["name"]: s["digest"]["sha256"] for s in statement["subject"]}
    assert names[f"lock:{made.lock_hash[:12]}"] == made.lock_hash
    assert names["evidence"] == made.evidence_sha256
    assert f"gpu:{made.gpus[0]}" in names
    # DSSE's own encoding, checked by openssl: no code of ours takes part.
    kind = document["payloadType"].encode()
    pae = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    (tmp_path / "pae").write_bytes(pae)
    (tmp_path / "sig").write_bytes(base64.b64decode(document["signatures"][0]["sig"]))
    public = str(key.path.with_suffix(".pub"))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin"]
    command += ["-in", str(tmp_path / "pae"), "-sigfile", str(tmp_path / "sig")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# --- what does not ------------------------------------------------------------------------------


def _payload(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], None]:
    def alter(envelope: dict[str, Any]) -> None:
        statement = json.loads(base64.b64decode(envelope["payload"]))
        change(statement)
        envelope["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()

    return alter


ALTERED: dict[str, Callable[[dict[str, Any]], object]] = {
    "a better level": _payload(lambda s: s["predicate"].update(level="performance")),
    "a later expiry": _payload(lambda s: s["predicate"].update(expires=NOW * 2)),
    "another subject": _payload(lambda s: s["subject"][0].update(name="host:other")),
    "one blank more": _payload(lambda s: None),
    "another signature": lambda e: e["signatures"][0].update(
        sig=base64.b64encode(b"\0" * 64).decode()
    ),
    "a short signature": lambda e: e["signatures"][0].update(sig="AA=="),
}


@pytest.mark.parametrize("name", ALTERED)
def test_whatever_is_altered_after_signing_is_noticed(
    name: str, key: SigningKey, trusted: Path, tmp_path: Path
) -> None:
    envelope = sign(certificate(), key)
    ALTERED[name](envelope)
    found = verify_file(write(tmp_path, envelope), trust(trusted), NOW)
    assert [f.code for f in found.findings] == ["CERTIFICATE-ALTERED"]
    assert found.host is None, "nothing of it is believed"


def test_another_key_that_claims_a_trusted_ones_name_is_noticed(
    key: SigningKey, trusted: Path, tmp_path: Path
) -> None:
    thief = keys.new_key(tmp_path / "thief", "signing")
    envelope = sign(certificate(), thief)
    assert codes(write(tmp_path, envelope), trusted) == ["CERTIFICATE-KEY-UNKNOWN"]
    envelope["signatures"][0]["keyid"] = key.id
    assert codes(write(tmp_path, envelope), trusted) == ["CERTIFICATE-ALTERED"]


def test_an_unsigned_certificate_is_told_from_a_file_that_is_none(
    trusted: Path, tmp_path: Path
) -> None:
    path = write(tmp_path, certificate().model_dump(mode="json"))
    assert codes(path, trusted) == ["CERTIFICATE-NOT-SIGNED"]
    with pytest.raises(UsageError, match="no signatures") as caught:
        verify_file(write(tmp_path, {"a": 1}), trust(trusted), NOW)
    assert caught.value.code == "CERTIFICATE-UNREADABLE"


@pytest.mark.parametrize(
    ("changes", "now", "code"),
    [
        ({}, NOW + 8 * DAY, "CERTIFICATE-EXPIRED"),
        ({"issued": NOW + DAY}, NOW, "CERTIFICATE-FROM-FUTURE"),
        ({"verdict": "FAIL"}, NOW, "CERTIFICATE-NOT-PASSED"),
        ({"verdict": "ERROR"}, NOW, "CERTIFICATE-NOT-PASSED"),
        ({"level": "none"}, NOW, "CERTIFICATE-NOTHING-SHOWN"),
    ],
)
def test_what_no_longer_or_never_passed_does_not_stand(
    changes: dict[str, Any],
    now: float,
    code: str,
    key: SigningKey,
    trusted: Path,
    tmp_path: Path,
) -> None:
    path = write(tmp_path, sign(certificate(**changes), key))
    assert codes(path, trusted, now) == [code]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"machine_id": "b" * 32}, "CERTIFICATE-OTHER-MACHINE"),
        ({"boot_id": "boot-2"}, "CERTIFICATE-OTHER-BOOT"),
        (
            {"module": {"loaded": "580.82.07", "flavour": None, "on_disk": {}, "nouveau": False}},
            "CERTIFICATE-OTHER-DRIVER",
        ),
    ],
)
def test_it_stands_for_one_machine_one_boot_and_one_driver(
    changes: dict[str, Any], code: str, key: SigningKey, trusted: Path, tmp_path: Path
) -> None:
    path = write(tmp_path, sign(certificate(), key))
    assert codes(path, trusted, state=state(**changes)) == [code]
    assert codes(path, trusted) == [], "and nothing of it is asked elsewhere"


def test_a_machine_without_an_identity_is_nobodys(
    key: SigningKey, trusted: Path, tmp_path: Path
) -> None:
    path = write(tmp_path, sign(certificate(machine_id=None, boot_id=None), key))
    found = codes(path, trusted, state=state(machine_id=None, boot_id=None))
    assert found == ["CERTIFICATE-OTHER-MACHINE"]


def test_it_is_bound_to_its_lock(key: SigningKey, trusted: Path, tmp_path: Path) -> None:
    path = write(tmp_path, sign(certificate(), key))
    assert codes(path, trusted, lock_hash="0" * 64) == ["CERTIFICATE-OTHER-LOCK"]


# --- keys ---------------------------------------------------------------------------------------


def test_a_private_key_is_its_owners_only(key: SigningKey) -> None:
    assert stat.S_IMODE(key.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.path.parent.stat().st_mode) == 0o700
    key.path.chmod(0o640)
    with pytest.raises(KeyProblem) as caught:
        keys.read_signing_key(key.path)
    assert (caught.value.code, caught.value.exit_code) == ("KEY-EXPOSED", Exit.USAGE)


def test_a_key_is_never_overwritten(key: SigningKey) -> None:
    with pytest.raises(UsageError, match="already"):
        keys.new_key(key.path.parent, "signing")
    assert keys.read_signing_key(key.path).id == key.id


@pytest.mark.parametrize(
    ("since", "issued", "code"),
    [
        (None, NOW - 300 * DAY, True),
        (NOW - DAY, NOW - 2 * DAY, False),
        (NOW - DAY, NOW - DAY, True),
        (NOW - DAY, NOW, True),
    ],
)
def test_a_revoked_key_counts_no_longer_from_its_day_on_or_never(
    since: float | None,
    issued: float,
    code: bool,
    key: SigningKey,
    trusted: Path,
    tmp_path: Path,
) -> None:
    keys.revoke(Revocation(key=key.id, since=since, reason="a laptop was lost"), trusted)
    path = write(tmp_path, sign(certificate(issued=issued), key))
    found = verify_file(path, trust(trusted), NOW)
    assert [f.code for f in found.findings] == ["CERTIFICATE-KEY-REVOKED"] * code
    if code:
        assert "a laptop was lost" in found.findings[0].text


def test_a_narrower_revocation_brings_no_key_back(key: SigningKey, trusted: Path) -> None:
    keys.revoke(Revocation(key=key.id, since=None, reason="stolen"), trusted)
    keys.revoke(Revocation(key=key.id, since=NOW, reason="rotated"), trusted)
    (one,) = keys.revocations([trusted])[key.id]
    assert (one.since, one.reason) == (None, "stolen")
    # A wider one replaces a narrower one.
    other = Revocation(key="f" * 64, since=NOW, reason="rotated")
    keys.revoke(other, trusted)
    keys.revoke(other.model_copy(update={"since": NOW - DAY, "reason": "earlier"}), trusted)
    assert keys.revocations([trusted])["f" * 64][0].since == NOW - DAY


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.pub", b"no key"),
        ("a.pub", b""),
        ("a.pub", b"x" * 100_000),
        ("a.revoked.json", b"{}"),
        ("a.revoked.json", b'{"key": "a", "since": NaN, "reason": ""}'),
        ("a.revoked.json", b"[" * 100_000),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_and_never_silently_nothing(
    name: str, content: bytes, trusted: Path
) -> None:
    (trusted / name).write_bytes(content)
    with pytest.raises(KeyProblem) as caught:
        trust(trusted)
    assert caught.value.code == "KEY-UNREADABLE"
    assert name in caught.value.found


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    for kind, options in (("RSA", []), ("EC", ["-pkeyopt", "ec_paramgen_curve:P-256"])):
        path = tmp_path / f"{kind}.key"
        command = ["openssl", "genpkey", "-algorithm", kind, *options, "-out", str(path)]
        subprocess.run(command, check=True, capture_output=True)
        path.chmod(0o600)
        with pytest.raises(KeyProblem, match="another kind"):
            keys.read_signing_key(path)


def test_a_key_that_openssl_made_signs_too(tmp_path: Path) -> None:
    path = tmp_path / "own.key"
    command = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    path.chmod(0o600)
    own = keys.read_signing_key(path)
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "own.pub").write_bytes(keys.public_pem(own.private.public_key()))
    assert codes(write(tmp_path, sign(certificate(), own)), tmp_path / "t") == []


def test_one_good_signature_of_several_is_enough(
    key: SigningKey, trusted: Path, tmp_path: Path
) -> None:
    other = keys.new_key(tmp_path / "other", "signing")
    envelope = sign(certificate(), other)
    envelope["signatures"] += sign(certificate(), key)["signatures"]
    assert codes(write(tmp_path, envelope), trusted) == []
    keys.trust(keys.read_public_key(other.path.with_suffix(".pub")), trusted, "other")
    keys.revoke(Revocation(key=key.id, since=None, reason="stolen"), trusted)
    assert codes(write(tmp_path, envelope), trusted) == []
