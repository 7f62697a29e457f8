"""The fan-out with real processes: this machine stands in for one host, or for several at once."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from cudactl.reach import fanout
from cudactl.reach.fanout import Answer, run_probe, run_python
from cudactl.reach.targets import Target

# One host is asked directly, several through ClusterShell; a reader must not see a difference.
pytestmark = pytest.mark.parametrize("count", [1, 3], ids=["one", "several"])


def targets(count: int, python: str = sys.executable, become: bool = False) -> list[Target]:
    return [
        Target(name=f"h{number}", connection="local", python=python, become=become)
        for number in range(count)
    ]


def codes(answers: list[Answer]) -> set[str | None]:
    return {a.error.code if a.error else None for a in answers}


def test_every_host_answers_its_own_question_in_the_order_asked(count: int) -> None:
    script = (
        "import sys,json,time;n=sys.stdin.read();time.sleep(.2/(1+int(n)));print('{\"n\":'+n+'}')"
    )
    asked = targets(count)
    answers = run_python(asked, script, [], requests={t.name: t.name[1:].encode() for t in asked})
    assert [a.target for a in answers] == asked
    assert [a.document for a in answers] == [{"n": number} for number in range(count)]


def test_the_probe_runs_from_memory_and_tells_its_state(count: int) -> None:
    for answer in run_probe(targets(count), ["state"]):
        assert answer.error is None
        assert answer.document is not None
        assert answer.document["python"]["executable"] == sys.executable


def test_a_greeting_before_the_document_does_no_harm(count: int) -> None:
    script = "print('Welcome to gpu-01\\n{ all use is logged }');print('{\"a\":1}')"
    assert [a.document for a in run_python(targets(count), script, [])] == [{"a": 1}] * count


def test_a_long_answer_arrives_whole(count: int) -> None:
    script = "import json;print(json.dumps({'text': 'x' * 5_000_000}))"
    for answer in run_python(targets(count), script, []):
        assert answer.document is not None
        assert len(answer.document["text"]) == 5_000_000


def test_a_host_that_hangs_is_named_when_its_time_is_over(count: int) -> None:
    begun = time.monotonic()
    answers = run_python(targets(count), "import time;time.sleep(60)", [], deadline_s=1.0)
    assert codes(answers) == {"HOST-HANGS"}
    assert time.monotonic() - begun < 20


def test_a_host_that_closes_its_output_and_hangs_is_named_too(count: int) -> None:
    script = "import os,time;os.close(1);os.close(2);time.sleep(60)"
    assert codes(run_python(targets(count), script, [], deadline_s=1.0)) == {"HOST-HANGS"}


def test_a_host_that_prints_without_end_is_stopped(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "MAX_ANSWER_BYTES", 200_000)
    script = "import sys\nwhile True: sys.stdout.write('{}\\n' * 1000)"
    assert codes(run_python(targets(count), script, [], deadline_s=30.0)) == {"HOST-FLOODS"}


def test_a_host_that_does_not_listen_is_told_by_its_exit_status_alone(
    count: int, capfd: pytest.CaptureFixture[str]
) -> None:
    script = "import sys;sys.stdin.close();sys.exit('no space left')"
    asked = targets(count)
    answers = run_python(asked, script, [], requests={t.name: b"x" * 3_000_000 for t in asked})
    assert codes(answers) == {"PROBE-FAILED"}
    assert all("no space left" in str(a.error) for a in answers)
    assert capfd.readouterr().err == "", "the reasons are the only thing that is said"


def test_a_killed_probe_is_a_failed_probe(count: int) -> None:
    script = "import os,signal;print('{\"half\":1}',flush=True);os.kill(os.getpid(),signal.SIGKILL)"
    answers = run_python(targets(count), script, [])
    assert codes(answers) == {"PROBE-FAILED"}
    assert {a.document for a in answers} == {None}


def test_a_missing_interpreter_is_named(count: int) -> None:
    answers = run_python(targets(count, python="python3.99"), "print('{}')", [])
    assert codes(answers) == {"HOST-NO-PYTHON"}
    assert all("python3.99" in str(a.error) for a in answers)


@pytest.mark.parametrize("old", ["3.6", "3.7"])
def test_a_python_that_is_too_old_is_named(count: int, old: str) -> None:
    homes = Path(os.environ.get("PYENV_ROOT", "/root/.pyenv")) / "versions"
    found = sorted(homes.glob(f"{old}.*/bin/python3"))
    if not found:
        pytest.skip(f"no Python {old} is on this machine")
    answers = run_probe(targets(count, python=str(found[0])), ["state"])
    assert codes(answers) == {"HOST-OLD-PYTHON"}
    assert all("Python 3.8" in a.error.expected for a in answers if a.error)


def test_no_more_hosts_at_once_than_forks(count: int, tmp_path: Path) -> None:
    script = (
        "import os,sys,time\n"
        "os.close(os.open(sys.argv[1], os.O_CREAT | os.O_EXCL))\n"
        "time.sleep(.2); os.unlink(sys.argv[1]); print('{}')\n"
    )
    answers = run_python(targets(count), script, [str(tmp_path / "one")], forks=1)
    assert codes(answers) == {None}


def test_answers_are_told_as_they_come(count: int) -> None:
    seen: list[str] = []
    run_probe(targets(count), ["state"], on_answer=lambda answer: seen.append(answer.target.name))
    assert sorted(seen) == [t.name for t in targets(count)]


def test_sudos_password_goes_before_what_the_script_reads(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sudo = tmp_path / "sudo"
    sudo.write_text(
        "#!/bin/sh\nread -r password\n"
        f'[ "$password" = secret ] && [ "$1" = -S ] && echo yes >>{tmp_path}/asked\n'
        'while [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n'
    )
    sudo.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    script = "import sys,json;print(json.dumps({'read': sys.stdin.read()}))"
    asked = targets(count, become=True)
    answers = run_python(
        asked,
        script,
        [],
        requests={t.name: b"request" for t in asked},
        become=True,
        become_password="secret",
    )
    assert [a.document for a in answers] == [{"read": "request"}] * count
    assert (tmp_path / "asked").read_text() == "yes\n" * count


def test_what_a_host_says_of_its_progress_is_passed_on_and_is_no_answer(count: int) -> None:
    """The leg is one that nobody has the library of: it begins, says so, and ends."""
    request = {"legs": {"driver": {"deadline_s": 20}}, "hash": False, "progress": True}
    heard: list[tuple[str, object, object]] = []
    answers = run_probe(
        targets(count),
        ["measure"],
        request=json.dumps(request).encode(),
        on_progress=lambda target, step: heard.append((target.name, step["leg"], step["outcome"])),
    )
    for answer in answers:
        assert answer.document is not None, answer.error
        steps = [(leg, outcome) for name, leg, outcome in heard if name == answer.target.name]
        assert steps == [("driver", None), ("driver", "ran")]


def test_progress_that_is_none_is_overheard(count: int) -> None:
    lines = ['{"progress": 5}', '{"progress": {', '{"progress": {"a":"%s"}}' % ("x" * 5000)]
    script = "".join(f"print({line!r});" for line in lines) + "print('{\"a\":1}')"
    assert [a.document for a in run_python(targets(count), script, [])] == [{"a": 1}] * count
    assert [fanout._progress(line.encode()) for line in lines] == [None] * 3
