"""Waivers: read from a file that people write, each with an owner, a reason and a last day."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cudactl.certify.certificate import make_certificate
from cudactl.certify.waivers import read_waivers
from cudactl.contracts.certificate import Policy
from cudactl.contracts.errors import UsageError
from tests.judge.healthy import NOW, fresh, value

GOOD = """\
- check: toolkit.cublas
  host: gpu-01
  owner: ops@example.org
  reason: a newer build for a trial
  expires: {expires}
"""


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "waivers.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def status(waivers: Any, host: str = "gpu-01") -> tuple[str, str]:
    evidence, policy = fresh("wheels")
    value(evidence, "toolkit.cublas")["version"] = "12.9.1"
    chosen = Policy.model_validate(policy).model_copy(update={"waivers": waivers})
    made = make_certificate(evidence, chosen, host, NOW)
    (found,) = [v for v in made.verdicts if v.check == "toolkit.cublas"]
    return found.status, found.reason


def test_a_waiver_holds_until_the_end_of_its_last_day(tmp_path: Path) -> None:
    # NOW is 2026-11-18 11:06 UTC.
    for day, expected in (("2026-11-18", "WAIVED"), ("2026-11-17", "FAIL")):
        waivers = read_waivers(write(tmp_path, GOOD.format(expires=day)))
        assert status(waivers)[0] == expected
    for moment, expected in (
        ("2026-11-18T13:00:00+01:00", "WAIVED"),
        ("2026-11-18T11:00:00Z", "FAIL"),
    ):
        waivers = read_waivers(write(tmp_path, GOOD.format(expires=moment)))
        assert status(waivers)[0] == expected


def test_a_waiver_is_told_with_its_owner_and_reason_and_for_its_host_only(tmp_path: Path) -> None:
    waivers = read_waivers(write(tmp_path, GOOD.format(expires="2027-01-31")))
    found, reason = status(waivers)
    assert found == "WAIVED"
    assert "ops@example.org" in reason
    assert "a newer build for a trial" in reason
    assert status(waivers, "gpu-02")[0] == "FAIL"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("check: toolkit.cublas", "no list"),
        ("- toolkit.cublas", "entry 1 is no mapping"),
        (GOOD.format(expires="soon"), "expires"),
        (GOOD.format(expires="2026-11-18T10:00:00"), "expires"),
        (GOOD.format(expires="9999-12-31"), "expires"),
        (GOOD.replace("toolkit.cublas", "toolkit.teapot").format(expires="2027-01-31"), "no check"),
        (GOOD.replace("ops@example.org", "''").format(expires="2027-01-31"), "answers for it"),
        (GOOD.replace("  owner: ops@example.org\n", "").format(expires="2027-01-31"), "owner"),
        (GOOD.format(expires="2027-01-31") + "  level: 3\n", "level"),
        ("- &a [*a]", "alias"),
        ("- [", "no YAML"),
        (b"\xff\xfe\x00", "no YAML"),
        ("[" * 10_000, "no YAML"),
        ("x" * 300_000, "larger than"),
        ("- {? [a] : b}", "no YAML"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_with_the_place(
    text: str | bytes, says: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        read_waivers(write(tmp_path, text))
    assert caught.value.code == "WAIVERS-UNREADABLE"
    assert says in caught.value.found
    with pytest.raises(UsageError):
        read_waivers(tmp_path / "missing.yaml")
