"""What lies on disk: journals that were cut off, who drives, what other terminals ask for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from cudactl.contracts.errors import CudactlError, UsageError
from cudactl.contracts.lock import LockTarget, StackLock
from cudactl.contracts.rollout import RolloutOptions
from cudactl.contracts.spec import StackSpec
from cudactl.reach.targets import Target
from cudactl.workflow.rollout import processes
from cudactl.workflow.rollout.folders import RolloutFolder, create, find, known, new_id
from cudactl.workflow.rollout.host_run import HostJob
from cudactl.workflow.rollout.journal import Journal, read_journal
from cudactl.workflow.rollout.processes import ProcessRunner
from cudactl.workflow.rollout.reporting import exit_of, make_report, markdown, report_of
from cudactl.workflow.rollout.session import ask
from tests.provision.conftest import package
from tests.workflow.rollout.world import Driven, World, WorldHost


@pytest.fixture
def driven(tmp_path: Path) -> Driven:
    """A rollout over three hosts that nobody has driven yet."""
    hosts = [WorldHost(f"n{i}") for i in range(3)]
    return Driven(World(hosts, RolloutOptions()), tmp_path)


def test_a_line_that_was_cut_off_is_ignored_and_then_removed(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with closing(Journal(path)) as journal:
        journal.append("opened")
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"event": "tak')
    assert [r.event for r in read_journal(path)] == ["opened"]
    with closing(Journal(path)) as journal:
        journal.append("taken", host="n1")
    assert [r.event for r in read_journal(path)] == ["opened", "taken"]


@pytest.mark.parametrize(
    "line", ["{}", "[1]", '{"seq": 9, "at": 1, "event": "opened"}', '{"seq": 2, "at": 1, "x": 1}']
)
def test_a_history_with_a_hole_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "journal.jsonl"
    with closing(Journal(path)) as journal:
        journal.append("opened")
    with path.open("a") as file:
        file.write(line + "\n")
    for read in (read_journal, Journal):
        with pytest.raises(UsageError) as wrong:
            read(path)
        assert wrong.value.code == "ROLLOUT-UNREADABLE"
        assert "line 2" in wrong.value.found


def test_a_full_disk_stops_the_rollout_and_leaves_no_half_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with closing(Journal(path)) as journal:
        journal.append("opened")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "write", lambda fd, data: len(data) // 2)
            with pytest.raises(UsageError) as full:
                journal.append("taken", host="n1")
        assert full.value.code == "ROLLOUT-NOT-WRITTEN"
        journal.append("taken", host="n1")
    assert len(read_journal(path)) == 2


def test_two_controllers_never_drive_one_rollout(driven: Driven) -> None:
    with driven.folder.driven():
        there = driven.folder.driver()
        assert there is not None
        assert there.pid == os.getpid()
        with pytest.raises(CudactlError) as refused, driven.folder.driven():
            pass
        assert refused.value.code == "ROLLOUT-DRIVEN"
        assert str(os.getpid()) in refused.value.found
    assert driven.folder.driver() is None


def test_a_worker_that_outlives_its_controller_keeps_the_rollout_driven(driven: Driven) -> None:
    with driven.folder.driven() as lock_fd:
        worker = subprocess.Popen(["sleep", "60"], pass_fds=(lock_fd,))
    try:
        assert driven.folder.driver() is not None
    finally:
        worker.kill()
        worker.wait()
    assert driven.folder.driver() is None


def test_a_pause_is_heard_between_hosts_and_resuming_goes_on(driven: Driven) -> None:
    driven.controller(dies_at=8)
    driven.folder.ask("pause")
    # Opening again is resuming: the wish of before is fulfilled.
    end = driven.controller()
    assert end is not None
    assert end.status == "finished"
    assert driven.folder.asked("pause") is None


def test_ctrl_c_pauses_and_what_was_begun_is_finished(driven: Driven) -> None:
    driven.interrupts.count = 0
    original = driven.survey

    def press(hosts: list) -> list:
        driven.interrupts.count = 1
        return list(original(hosts))

    driven.survey = press  # type: ignore[method-assign]
    end = driven.controller()
    assert end is not None
    assert (end.status, end.code) == ("paused", "ROLLOUT-INTERRUPTED")
    assert not driven.world.working


def test_a_second_ctrl_c_stops_hosts_where_they_are_and_resuming_finishes_them(
    driven: Driven,
) -> None:
    original = driven.survey
    presses = iter([2])

    def press(hosts: list) -> list:
        driven.interrupts.count = next(presses, 0)
        return list(original(hosts))

    driven.survey = press  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        driven.controller()
    end = driven.controller()
    assert end is not None
    assert end.status == "finished"


def test_a_failed_host_that_somebody_brought_back_uses_up_no_budget_any_more(
    driven: Driven,
) -> None:
    broken = driven.world.hosts["n1"]
    broken.fault = "certify"
    end = driven.controller()
    assert end is not None
    assert end.hosts["n1"].down
    # By hand, without the rollout: it goes on with the others, and n1 counts as what it is.
    broken.certified, broken.drained_by = broken.version, None
    end = driven.controller()
    assert end is not None
    assert end.status == "finished"
    assert (end.hosts["n1"].status, end.hosts["n1"].down) == ("failed", False)
    assert end.hosts["n2"].status == "certified"


def test_a_rollout_that_nobody_drives_is_paused_and_aborted_at_once(driven: Driven) -> None:
    assert ask(driven.folder, "pause").status == "paused"
    report = ask(driven.folder, "abort")
    assert report.status == "aborted"
    assert report.counts == {"left": 3}
    with pytest.raises(CudactlError) as ended:
        ask(driven.folder, "pause")
    assert ended.value.code == "ROLLOUT-ENDED"


def test_an_abort_in_the_middle_is_finished_by_the_next_controller(driven: Driven) -> None:
    # opened, three surveyed, taken, draining: the first host is in the middle.
    assert driven.controller(dies_at=7) is None
    report = ask(driven.folder, "abort")
    assert report.status == "interrupted"
    assert "in the middle: n0 (draining)" in report.text
    end = driven.controller()
    assert end is not None
    assert end.status == "aborted"
    assert [h.status for h in end.hosts.values()] == ["certified", "left", "left"]


def test_a_wish_is_heard_by_the_controller_that_drives(driven: Driven) -> None:
    with driven.folder.driven():
        ask(driven.folder, "abort")
    end = driven.controller()
    assert end is not None
    assert end.status == "aborted"
    assert not driven.world.begun


def test_rollouts_are_found_by_a_beginning_of_their_name(driven: Driven, tmp_path: Path) -> None:
    other = driven.world.request.model_copy(update={"id": "20260102-0000-late"})
    create(other, tmp_path)
    assert [f.id for f in known(tmp_path)] == [driven.folder.id, other.id]
    assert find(None, tmp_path).id == other.id
    assert find("20260101", tmp_path).id == driven.folder.id
    for name in ("2026", "x"):
        with pytest.raises(UsageError) as unknown:
            find(name, tmp_path)
        assert unknown.value.code == "ROLLOUT-UNKNOWN"
        assert other.id in unknown.value.expected


def test_a_request_that_was_altered_is_refused(driven: Driven) -> None:
    file = driven.folder.path / "request.json"
    file.write_text(file.read_text().replace('"canary"', '"canaryy"'))
    with pytest.raises(UsageError) as wrong:
        driven.folder.request()
    assert wrong.value.code == "ROLLOUT-UNREADABLE"


def test_names_do_not_repeat() -> None:
    assert len({new_id() for _ in range(50)}) > 45


def test_the_report_tells_what_happened_to_whom_and_nothing_breaks_out_of_it(
    driven: Driven,
) -> None:
    driven.world.hosts["n1"].fault = "certify"
    end = driven.controller()
    assert end is not None
    report = make_report(driven.world.request, end, None, "f")
    assert (report.status, int(exit_of(report))) == ("held", 3)
    hosts = [h.model_copy(update={"text": h.text + " | <script>`x`"}) for h in report.hosts]
    page = markdown(driven.world.request, report.model_copy(update={"hosts": hosts}))
    rows = [line for line in page.splitlines() if line.startswith("| n")]
    assert [row.split(" | ")[0] for row in rows] == ["| n1", "| n2", "| n0"], (
        "the worst comes first"
    )
    assert "ROLLOUT-NOT-CERTIFIED" in rows[0]
    assert "\\<script\\>" in rows[0]
    assert "<script>" not in page
    assert report_of(driven.folder).counts == {"certified": 1, "failed": 1, "waiting": 1}


@pytest.fixture
def runner(driven: Driven, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ProcessRunner:
    """Works on n0 with whatever program the test puts in `worker.py`."""
    lock = StackLock(
        spec=StackSpec(os="debian-12", cuda="13.0"),
        spec_hash="1" * 64,
        catalogue_hash="2" * 64,
        target=LockTarget(os="debian-12", arch="x86_64", packages="apt"),
        resolved={"cuda": "13.0.2"},
        sources=[],
        packages=[package("cuda-cudart-13-0", "13.0.96-1")],
    )
    monkeypatch.setattr(processes, "WORKER", [sys.executable, str(tmp_path / "worker.py")])
    return ProcessRunner(
        driven.world.request,
        driven.folder,
        os.open(tmp_path, os.O_RDONLY),
        {"n0": Target("n0", become_password="geheim")},
        {"n0": lock},
    )


def heard(runner: ProcessRunner) -> list[tuple[str, str, dict]]:
    told: list[tuple[str, str, dict]] = []
    while not any(event in ("done", "deferred") for _, event, _ in told):
        told += runner.events(5.0)
    return told


def test_what_a_worker_tells_arrives_in_its_order(runner: ProcessRunner, tmp_path: Path) -> None:
    steps = [
        {"event": "phase", "values": {"phase": "draining", "text": "x" * 100_000}},
        {"event": "done", "values": {"outcome": "certified"}},
    ]
    (tmp_path / "worker.py").write_text(
        f"import json,sys\ntask=json.loads(sys.stdin.readline())\n"
        f"assert task['job']['host']=='n0' and task['target']['become_password']=='geheim'\n"
        f"for step in {steps!r}: print(json.dumps(step),flush=True)\n"
    )
    runner.start(HostJob(host="n0", rollout="r"))
    assert [event for _, event, _ in heard(runner)] == ["phase", "done"]


def test_a_worker_that_dies_has_failed_with_its_last_words(
    runner: ProcessRunner, driven: Driven, tmp_path: Path
) -> None:
    (tmp_path / "worker.py").write_text("import sys\nsys.exit('Killed: out of memory')\n")
    runner.start(HostJob(host="n0", rollout="r"))
    ((host, event, values),) = heard(runner)
    assert (host, event, values["code"]) == ("n0", "done", "ROLLOUT-WORKER-DIED")
    assert "out of memory" in values["text"]
    assert str(driven.folder.log("n0")) in values["remedy"]
    assert values["down"]


def test_stopping_waits_until_workers_have_given_their_hosts_back(
    runner: ProcessRunner, tmp_path: Path
) -> None:
    (tmp_path / "worker.py").write_text(
        "import signal,sys,time,pathlib\n"
        "def stop(*_):\n"
        " time.sleep(0.3);pathlib.Path(sys.argv[0]).with_name('given-back').touch();sys.exit(130)\n"
        "signal.signal(signal.SIGTERM,stop)\n"
        'print(\'{"event":"phase","values":{}}\',flush=True)\ntime.sleep(60)\n'
    )
    runner.start(HostJob(host="n0", rollout="r"))
    while not list(runner.events(1.0)):
        pass
    runner.stop()
    assert (tmp_path / "given-back").exists()


def test_a_worker_whose_controller_is_gone_does_nothing(driven: Driven) -> None:
    task = {"controller": 1, "lock_fd": 0, "job": {}}
    done = subprocess.run(
        [sys.executable, "-m", "cudactl.workflow.rollout.worker"],
        input=json.dumps(task) + "\n", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")


def test_names_of_hosts_make_no_paths(driven: Driven) -> None:
    log = RolloutFolder(driven.folder.path).log("../../etc/x")
    assert log.parent == driven.folder.path / "logs"
