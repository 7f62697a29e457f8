"""`cudactl certify` as a user runs it: judge, sign, verify, keys, outputs, selftest."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import BIN, Cudactl

EVIDENCE = Path(__file__).parent.parent / "evidence"
RECORDED = EVIDENCE / "wheels-cuda-13.0-no-gpu.json"
LOCK = EVIDENCE / "wheels-cuda-13.0.lock"
BY_LOCK = ("--lock", str(LOCK))
Certify = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def certify(cudactl: Cudactl, tmp_path: Path) -> Certify:
    """Run `cudactl certify …` with keys and trust of its own."""
    own = {f"XDG_{name}_HOME": str(tmp_path / name.lower()) for name in ("DATA", "CONFIG")}

    def run(*arguments: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
        more["env"] = {**own, **more.get("env", {})}
        return cudactl("certify", *arguments, cwd=tmp_path, **more)

    return run


@pytest.fixture
def recent(tmp_path: Path) -> Path:
    """The recorded evidence, as if it had been measured a minute ago."""
    import time

    document = json.loads(RECORDED.read_text())
    document["taken_at"] = time.time() - 60
    path = tmp_path / "recent.json"
    path.write_text(json.dumps(document))
    return path


def broken(folder: Path) -> Path:
    """The recorded evidence with another cuBLAS in it."""
    document = json.loads(RECORDED.read_text())
    for leg in document["legs"]:
        for measured in leg["measurements"]:
            if measured["check"] == "toolkit.cublas":
                measured["values"]["version"] = "12.9.1"
    path = folder / "broken.json"
    path.write_text(json.dumps(document))
    return path


# --- judge --------------------------------------------------------------------------------------


def test_recorded_evidence_is_judged_again_without_a_host(certify: Certify, tmp_path: Path) -> None:
    done = certify("judge", RECORDED, *BY_LOCK)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Certificate for wheels-cuda-13.0-no-gpu: PASS, level linkage")
    done = certify("judge", broken(tmp_path), *BY_LOCK, "--host", "gpu-07")
    assert done.returncode == 3
    assert done.stdout.startswith("Certificate for gpu-07: FAIL, level none")


def test_a_policy_judges_as_its_lock_does_and_may_be_changed(
    certify: Certify, tmp_path: Path
) -> None:
    done = certify("policy", *BY_LOCK, "-o", "policy.json")
    assert done.returncode == 0, done.stderr
    by_policy = certify("judge", RECORDED, "--policy", "policy.json", "--json")
    by_lock = certify("judge", RECORDED, *BY_LOCK, "--json")
    first, second = json.loads(by_policy.stdout), json.loads(by_lock.stdout)
    assert first["verdicts"] == second["verdicts"]
    policy = json.loads((tmp_path / "policy.json").read_text())
    for expectation in policy["expectations"]:
        if expectation["check"] == "toolkit.cublas":
            expectation["expect"]["version"] = "99.0.0"
    (tmp_path / "policy.json").write_text(json.dumps(policy))
    done = certify("judge", RECORDED, "--policy", "policy.json")
    assert done.returncode == 3
    assert "FAIL  toolkit.cublas" in done.stdout


@pytest.mark.parametrize("arguments", [(), (*BY_LOCK, "--policy", str(RECORDED))])
def test_judging_needs_one_thing_to_judge_by(certify: Certify, arguments: tuple[str, ...]) -> None:
    done = certify("judge", RECORDED, *arguments)
    assert done.returncode == 2
    assert "JUDGE-BY-WHAT" in done.stderr


def test_what_is_left_out_is_told_and_lowers_the_level(certify: Certify) -> None:
    done = certify("judge", RECORDED, *BY_LOCK, "--skip", "nvcc", "--reason", "no compiler")
    assert done.returncode == 0
    assert "PASS, level none" in done.stdout.splitlines()[0]
    assert "SKIP  nvcc.link" in done.stdout
    assert "left out by the user: no compiler" in done.stdout
    done = certify("judge", RECORDED, *BY_LOCK, "--only", "teapot")
    assert done.returncode == 2
    assert "CHECK-UNKNOWN" in done.stderr


def test_a_waiver_file_counts_and_one_that_cannot_be_read_is_an_error(
    certify: Certify, tmp_path: Path
) -> None:
    waivers = tmp_path / "waivers.yaml"
    waivers.write_text(
        "- {check: toolkit.cublas, owner: ops, reason: a trial, expires: 9000-01-01}\n"
    )
    done = certify("judge", broken(tmp_path), *BY_LOCK, "--waivers", waivers)
    assert done.returncode == 0, done.stdout
    assert "waived by ops: a trial" in done.stdout
    waivers.write_text("- {check: toolkit.cublas, reason: a trial, expires: 9000-01-01}\n")
    done = certify("judge", broken(tmp_path), *BY_LOCK, "--waivers", waivers)
    assert done.returncode == 2
    assert "WAIVERS-UNREADABLE" in done.stderr
    assert "owner" in done.stderr


# --- outputs ------------------------------------------------------------------------------------


def test_one_run_writes_every_form(certify: Certify, tmp_path: Path) -> None:
    names = ["table", "json", "junit", "ctrf", "prometheus", "html", "line", "kubernetes", "nagios"]
    outputs = [f"--output={name}={{host}}.{name}" for name in names]
    done = certify("judge", broken(tmp_path), *BY_LOCK, "--host", "a/b", *outputs)
    assert done.returncode == 3
    for name in names:
        text = (tmp_path / f"a_b.{name}").read_text()
        assert "toolkit.cublas" in text
    assert not list(tmp_path.glob(".*"))


def test_an_output_may_be_standard_output_and_then_is_all_there_is(certify: Certify) -> None:
    done = certify("judge", RECORDED, *BY_LOCK, "--output", "line=-")
    (line,) = done.stdout.splitlines()
    assert line.startswith("cudactl: wheels-cuda-13.0-no-gpu: PASS")


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("pdf=a.pdf", "OUTPUT-FORMAT"),
        ("html", "OUTPUT-FORMAT"),
        ("html=", "OUTPUT-FORMAT"),
        ("html=nowhere/a.html", "OUTPUT-NOT-WRITTEN"),
        ("dsse=a.json", "CERTIFICATE-NOT-SIGNED"),
    ],
)
def test_an_output_that_cannot_be_is_refused(certify: Certify, output: str, code: str) -> None:
    done = certify("judge", RECORDED, *BY_LOCK, "--output", output)
    assert done.returncode == 2
    assert code in done.stderr


def test_the_textfile_keeps_the_last_success_of_a_host_that_fails_now(
    certify: Certify, tmp_path: Path
) -> None:
    out = ("--host", "h", "--output", "prometheus=h.prom")
    assert certify("judge", RECORDED, *BY_LOCK, *out).returncode == 0
    name = "cudactl_last_success_timestamp_seconds"
    (before,) = [x for x in (tmp_path / "h.prom").read_text().splitlines() if x.startswith(name)]
    assert certify("judge", broken(tmp_path), *BY_LOCK, *out).returncode == 3
    text = (tmp_path / "h.prom").read_text()
    assert before in text
    assert 'cudactl_certificate_verdict{host="h"} 2' in text


@pytest.mark.parametrize(("bad", "code", "word"), [(False, 0, "OK"), (True, 2, "CRITICAL")])
def test_monitoring_plugins_style(
    bad: bool, code: int, word: str, certify: Certify, tmp_path: Path
) -> None:
    path = broken(tmp_path) if bad else RECORDED
    done = certify("judge", path, *BY_LOCK, "--exit-style", "nagios")
    assert (done.returncode, done.stderr) == (code, "")
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"CERTIFICATE {word} - ")


def test_whatever_goes_wrong_is_unknown_to_a_monitor(certify: Certify, tmp_path: Path) -> None:
    (tmp_path / "junk.json").write_text("{")
    for arguments in (
        ("judge", "junk.json", *BY_LOCK),
        ("judge", RECORDED, "--lock", "missing.lock"),
        ("host", "nobody.invalid", *BY_LOCK),
    ):
        done = certify(*arguments, "--exit-style", "nagios")
        assert done.returncode == 3, arguments
        assert done.stdout.startswith("CERTIFICATE UNKNOWN - ")


def test_strict_tells_flags_from_a_pass(certify: Certify, tmp_path: Path) -> None:
    assert certify("judge", RECORDED, *BY_LOCK, "--strict").returncode == 0
    assert certify("judge", broken(tmp_path), *BY_LOCK, "--strict").returncode == 3


# --- hosts --------------------------------------------------------------------------------------


def test_this_machine_is_measured_without_any_option_but_the_lock(
    certify: Certify, tmp_path: Path
) -> None:
    """It does not carry the lock; what is tested is the way there and back."""
    done = certify("host", *BY_LOCK, "--only", "nvcc", "--output", "junit=r.xml")
    assert done.returncode == 3
    assert "Certificate for localhost: FAIL, level none" in done.stdout
    assert "not named by --only" in done.stdout
    assert "not signed: there is no key" in done.stderr
    assert "<failure" in (tmp_path / "r.xml").read_text()


def test_a_gpu_that_is_not_there_is_told_and_no_pass(certify: Certify) -> None:
    done = certify("host", *BY_LOCK, "--only", "nvcc.version", "--gpu", "GPU-0", "--no-sign")
    assert done.returncode == 4
    assert "GPU-NOT-THERE" in done.stderr


def test_a_run_that_would_measure_nothing_is_refused(certify: Certify) -> None:
    done = certify("host", *BY_LOCK, "--only", "stack")
    assert done.returncode == 2
    assert "CHECK-NONE-LEFT" in done.stderr


def test_many_hosts_are_told_as_they_answer(certify: Certify) -> None:
    names = ["nobody-1.invalid", "nobody-2.invalid"]
    done = certify("host", *names, *BY_LOCK)
    assert done.returncode == 4
    assert "measuring 2 hosts: smoke" in done.stderr
    for name in names:
        assert f"✗ {name}  HOST-NAME-UNKNOWN" in done.stderr
    assert "✗" not in certify("host", *names, *BY_LOCK, "-q").stderr


def measuring(folder: Path, script: str, *, terminal: bool) -> str:
    """Run a script with `Measuring` and `Step` imported; return what it says on standard error."""
    reader, writer = pty.openpty() if terminal else os.pipe()
    before = (
        "import time\n"
        "from cudactl.cli.certify_progress import Measuring\n"
        "from cudactl.workflow.certify import Step\n"
    )
    command = [str(BIN / "python"), "-c", before + script]
    subprocess.run(command, stderr=writer, check=True, cwd=folder)
    os.close(writer)
    text = os.read(reader, 65536).decode()
    os.close(reader)
    return text


LEGS = """
with Measuring(['gpu-01'], 'smoke', quiet=False) as told:
    told.step('gpu-01', Step('toolkit', None, None, 0.0))
    told.step('gpu-01', Step('toolkit', None, 'ran', 1.25))
    told.step('gpu-01', Step('driver', 'GPU-c0dac711-0000', None, 0.0))
    told.step('gpu-01', Step('cudnn', None, None, 0.0))
    time.sleep(1.5)
    told.step('gpu-01', Step('cudnn', None, 'crashed', 2.0))
"""


def test_on_a_terminal_the_last_line_says_what_is_measured_now(tmp_path: Path) -> None:
    from cudactl.cli import certify_progress

    text = measuring(tmp_path, LEGS, terminal=True)
    assert "  · toolkit  ran  1.2 s" in text
    assert "… gpu-01: driver on GPU-c0dac711, cudnn (1 done), 1 s" in text
    assert "  ✗ cudnn  crashed  2.0 s" in text
    assert text.endswith(certify_progress.CLEAR)
    script = "with Measuring(['gpu-01', 'gpu-02'], 'smoke', quiet=False): time.sleep(1.2)"
    text = measuring(tmp_path, script, terminal=True)
    assert "2 of 2 hosts: measuring smoke, 1 s" in text
    assert text.endswith(certify_progress.CLEAR)


def test_elsewhere_each_leg_of_a_host_is_a_plain_line(tmp_path: Path) -> None:
    text = measuring(tmp_path, LEGS.replace("time.sleep(1.5)", ""), terminal=False)
    assert text == "  · toolkit  ran  1.2 s\n  ✗ cudnn  crashed  2.0 s\n"
    quiet = LEGS.replace("quiet=False", "quiet=True").replace("1.5", "0")
    end = "import sys; print('the end', file=sys.stderr)"
    assert measuring(tmp_path, quiet + end, terminal=False) == "the end\n"


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"leg": 5},
        {"leg": "driver\n\x1b[2J"},
        {"leg": "x" * 200},
        {"leg": "driver", "gpu": 5},
        {"leg": "driver", "outcome": ["ran"]},
        {"leg": "driver", "duration_s": "soon"},
    ],
)
def test_what_is_no_step_of_a_host_is_overheard(said: dict[str, Any]) -> None:
    from cudactl.workflow.certify import Step

    assert Step.of(said) is None
    assert Step.of({"leg": "driver", "outcome": None}) == Step("driver", None, None, 0.0)


def test_a_certificate_that_could_not_be_kept_is_no_success(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from click.testing import CliRunner

    from cudactl.cli.certify import certify as group
    from cudactl.contracts.errors import UnreachableError
    from cudactl.reach.targets import Target
    from cudactl.workflow import certify as workflow
    from cudactl.workflow import choosing, provision
    from tests.certify.test_signing import certificate as made

    target = Target(name="n1", connection="local")
    result = workflow.Certified(target, made(), {}, None)
    lost = UnreachableError("HOST-SUDO", "n1: sudo asks for a password", remedy="--ask-sudo")
    errors: list[UnreachableError] = []
    monkeypatch.setattr(choosing, "choose", lambda *_, **__: ([target], {}))
    monkeypatch.setattr(workflow, "certify_targets", lambda *_, **__: [result])
    monkeypatch.setattr(provision, "store_certificates", lambda *_: errors)
    assert CliRunner().invoke(group, ["host", "--store", "--no-sign"]).exit_code == 0
    errors.append(lost)
    assert CliRunner().invoke(group, ["host", "--store", "--no-sign"]).exit_code == 4
    assert CliRunner().invoke(group, ["host", "--no-sign"]).exit_code == 0


# --- keys and verify ----------------------------------------------------------------------------


def signed(certify: Certify, evidence: Path, *more: str) -> Path:
    done = certify(
        "judge", evidence, *BY_LOCK, "--key", "signing", "--output", "dsse=c.json", *more
    )
    assert done.returncode in (0, 3), done.stderr
    return Path("c.json")


def test_from_a_key_to_a_certificate_that_another_machine_believes(
    certify: Certify, recent: Path, tmp_path: Path
) -> None:
    made = certify("key", "new", "--json")
    assert made.returncode == 0, made.stderr
    key = json.loads(made.stdout)
    path = signed(certify, recent)
    assert certify("verify", path, *BY_LOCK).returncode == 0
    elsewhere = {"XDG_CONFIG_HOME": str(tmp_path / "elsewhere")}
    done = certify("verify", path, env=elsewhere)
    assert done.returncode == 3
    assert "CERTIFICATE-KEY-UNKNOWN" in done.stdout
    assert "certify key trust" in done.stdout
    trusted = certify("key", "trust", key["public"], "--name", "ops", env=elsewhere)
    assert key["id"] in trusted.stdout
    done = certify("verify", path, "--json", env=elsewhere)
    (found,) = json.loads(done.stdout)
    assert (done.returncode, found["key_name"], found["host"]) == (0, "ops", "recent")


def test_a_certificate_of_another_machine_does_not_stand_here(
    certify: Certify, recent: Path
) -> None:
    certify("key", "new")
    done = certify("verify", signed(certify, recent), "--host-state")
    assert done.returncode == 3
    assert "CERTIFICATE-OTHER-MACHINE" in done.stdout


def test_a_failed_host_gets_a_signed_certificate_that_does_not_stand(
    certify: Certify, tmp_path: Path
) -> None:
    certify("key", "new")
    done = certify("verify", signed(certify, broken(tmp_path)))
    assert done.returncode == 3
    assert "CERTIFICATE-NOT-PASSED" in done.stdout


def test_a_rotated_keys_certificates_stand_and_a_revoked_ones_do_not(
    certify: Certify, recent: Path
) -> None:
    certify("key", "new")
    path = signed(certify, recent)
    old = json.loads(certify("key", "list", "--json").stdout)[0]["id"]
    done = certify("key", "rotate", "--yes")
    assert done.returncode == 0, done.stderr
    now = json.loads(certify("key", "list", "--json").stdout)
    assert [k["id"] == old for k in now] == [False, True]
    assert now[1]["private"] is None, "the old key's private half is gone"
    assert certify("verify", path).returncode == 0
    done = certify("key", "revoke", old[:12], "--reason", "it was stolen")
    assert done.returncode == 0, done.stderr
    done = certify("verify", path)
    assert done.returncode == 3
    assert "CERTIFICATE-KEY-REVOKED" in done.stdout
    assert "it was stolen" in done.stdout


def test_a_revoked_key_signs_nothing_more(certify: Certify) -> None:
    certify("key", "new")
    certify("key", "revoke", "signing", "--reason", "lost")
    done = certify("judge", RECORDED, *BY_LOCK, "--key", "signing")
    assert done.returncode == 2
    assert "KEY-REVOKED" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("key", "show", "nobody"), "KEY-UNKNOWN"),
        (("key", "new", "--name", "../x"), "KEY-NAME"),
        (("key", "trust", "missing.pub"), "KEY-MISSING"),
        (("key", "rotate", "--yes"), "KEY-MISSING"),
        (("judge", str(RECORDED), *BY_LOCK, "--key", "nobody"), "KEY-MISSING"),
        (("verify", "missing.json"), "CERTIFICATE-UNREADABLE"),
        (("verify", str(RECORDED)), "CERTIFICATE-UNREADABLE"),
    ],
)
def test_what_cannot_be_meant_exits_2_with_its_code(
    certify: Certify, arguments: tuple[str, ...], code: str
) -> None:
    done = certify(*arguments)
    assert done.returncode == 2, done.stdout
    assert code in done.stderr
    assert "what to do" in done.stderr


def test_a_key_is_shown_with_its_public_half(certify: Certify) -> None:
    made = json.loads(certify("key", "new", "--json").stdout)
    for name in ("signing", made["id"][:8]):
        done = certify("key", "show", name)
        assert made["id"] in done.stdout
        assert "BEGIN PUBLIC KEY" in done.stdout
        assert "PRIVATE" not in done.stdout


# --- selftest -----------------------------------------------------------------------------------


def test_the_selftest_counts_faults_and_false_alarms(certify: Certify) -> None:
    done = certify("selftest")
    assert done.returncode == 0, done.stdout
    assert "0 false alarms" in done.stdout
    document = json.loads(certify("selftest", "--json").stdout)
    assert document["injected"] == document["detected"] >= 60
    assert len(certify("selftest", "-v").stdout.splitlines()) == document["injected"] + 1
