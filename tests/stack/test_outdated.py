"""A lock is told what about it is no longer good, by the catalogue, the calendar and the index."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from cudactl.cli.show_outdated import outdated_text
from cudactl.contracts.errors import CudactlError, Exit
from cudactl.contracts.lock import StackLock
from cudactl.contracts.outdated import Outdated, StaleFinding
from cudactl.lab.mirror import Mirror
from cudactl.stack.facts.catalogue import Catalogue, load_catalogue
from cudactl.stack.lock.file import write_lock
from cudactl.stack.lock.outdated import END_NEAR_DAYS, EXPLANATIONS, judge_by_catalogue, last_day
from cudactl.workflow.outdated import outdated
from tests.stack.conftest import Locks
from tests.stack.test_wheels import Door, Index

DAY = date(2026, 9, 1)
OPEN = {"driver": {"branch": "580"}, "cuda": "13.0", "cudnn": "9"}
EXACT: dict[str, Any] = {
    "driver": {"branch": "580.159.04"},
    "cuda": "13.0.2",
    "cudnn": "9.20.0.48",
}
Judge = Callable[..., Outdated]


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Judge:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg-cache"))
    undisputed = known(eol="2028-08-04", contested=(), security_floor=None)
    monkeypatch.setattr("cudactl.workflow.outdated.load_catalogue", lambda: undisputed)

    def run(lock: StackLock, *, offline: bool = False, today: date = DAY) -> Outdated:
        path = tmp_path / "judged/stack.lock"
        path.parent.mkdir(exist_ok=True)
        write_lock(lock, path)
        return outdated(path, offline=offline, today=today)

    return run


def moved(lock: StackLock, mirror: Mirror) -> StackLock:
    """The lock as if it had been made from another mirror."""
    url = f"{mirror.repository('ubuntu2404').as_uri()}/"
    source = lock.sources[0].model_copy(update={"url": url})
    return lock.model_copy(update={"sources": [source]})


def of(found: Outdated, code: str) -> list[StaleFinding]:
    return [finding for finding in found.findings if finding.code == code]


def known(**changes: Any) -> Catalogue:
    """The catalogue, with something else about driver branch 580."""
    catalogue = copy.copy(load_catalogue())
    catalogue.drivers = tuple(
        row.model_copy(update=changes) if row.branch == "580" else row for row in catalogue.drivers
    )
    return catalogue


def test_a_fresh_lock_has_nothing_to_hide(lock_from: Locks, judge: Judge) -> None:
    found = judge(lock_from(**OPEN)[0])
    assert found.index_asked
    assert not [f for f in found.findings if f.level != "info"]
    assert found.exit_code(strict=True) is Exit.PASS


def test_a_version_that_left_the_index(
    mirror: Mirror, lock_from: Locks, judge: Judge, tmp_path: Path
) -> None:
    lock, _ = lock_from(**EXACT)
    gone = mirror.expired_pin("libcublas-13-0", "13.1.0.3-1", tmp_path / "gone")
    found = judge(moved(lock, gone))
    (finding,) = of(found, "OUTDATED-PIN-EXPIRED")
    assert finding.subject == "libcublas-13-0"
    assert "13.1.0.3-1 is no longer in" in finding.found
    assert "it has 13.0.0.19-1" in finding.found
    assert found.exit_code() is Exit.FAIL
    (again,) = of(found, "OUTDATED-NO-LONGER-LOCKS")
    assert "libcublas-13-0" in again.found


def test_a_hash_that_changed_is_an_alarm(lock_from: Locks, judge: Judge) -> None:
    lock, _ = lock_from(**EXACT)
    packages = [
        p.model_copy(update={"sha256": "0" * 64}) if p.name == "libcudnn9-cuda-13" else p
        for p in lock.packages
    ]
    found = judge(lock.model_copy(update={"packages": packages}))
    (finding,) = of(found, "OUTDATED-HASH-CHANGED")
    assert finding.subject == "libcudnn9-cuda-13"
    assert "do not install" in finding.remedy
    assert found.exit_code() is Exit.FAIL
    assert found.findings[0] == finding, "worst first"


def test_newer_versions_within_the_wish_are_soft(
    mirror: Mirror, lock_from: Locks, judge: Judge, tmp_path: Path
) -> None:
    lock, _ = lock_from(**OPEN)
    found = judge(moved(lock, mirror.new_release(tmp_path / "news")))
    newer = {f.component: f.found for f in of(found, "OUTDATED-NEWER")}
    assert {"cuda", "driver"} <= set(newer)
    assert f"{lock.resolved['cuda']} is locked, the same wish gives 13.0.3 today" in newer["cuda"]
    assert found.exit_code() is Exit.PASS
    assert found.exit_code(strict=True) is Exit.FLAGGED


def test_newer_versions_beyond_the_wish_are_only_said(
    mirror: Mirror, lock_from: Locks, judge: Judge, tmp_path: Path
) -> None:
    lock, _ = lock_from(**EXACT)
    found = judge(moved(lock, mirror.new_release(tmp_path / "news")))
    assert not of(found, "OUTDATED-NEWER")
    beyond = {f.component: f.found for f in of(found, "OUTDATED-NEWER-BEYOND")}
    assert set(beyond) == {"cuda", "cudnn", "driver"}
    assert "the spec asks for 9.20.0.48" in beyond["cudnn"]
    assert "the spec asks for branch 580.159.04" in beyond["driver"]
    assert found.exit_code(strict=True) is Exit.PASS


@pytest.mark.parametrize(
    ("today", "code"),
    [
        (date(2028, 5, 5), None),
        (date(2028, 5, 6), "OUTDATED-END-OF-LIFE-NEAR"),
        (date(2028, 8, 4), "OUTDATED-END-OF-LIFE-NEAR"),
        (date(2028, 8, 5), "OUTDATED-END-OF-LIFE"),
    ],
)
def test_the_end_of_a_branch(lock_from: Locks, today: date, code: str | None) -> None:
    lock, _ = lock_from(driver={"branch": "580"})
    found = judge_by_catalogue(lock, known(eol="2028-08-04", contested=()), today)
    ends = [f for f in found if f.code.startswith("OUTDATED-END")]
    assert [f.code for f in ends] == ([code] if code else [])
    assert (date(2028, 8, 4) - date(2028, 5, 6)).days == END_NEAR_DAYS
    for finding in ends:
        assert finding.level == "soft"
        assert finding.source
        assert "2028-08-04" in finding.found


def test_a_month_ends_on_its_last_day() -> None:
    assert last_day("2028-02") == date(2028, 2, 29)
    assert last_day("2028-08-04") == date(2028, 8, 4)
    assert last_day("soon") is last_day(None) is last_day("2028-13") is None


def test_an_end_that_nobody_knows_is_not_an_end(lock_from: Locks) -> None:
    lock, _ = lock_from(driver={"branch": "580"})
    found = judge_by_catalogue(lock, known(eol=None, security_floor=None), DAY)
    words = [f.found for f in found if f.code == "OUTDATED-NOT-KNOWN"]
    assert any("end of life is not known" in text for text in words)
    assert any("no security floor is known" in text for text in words)
    assert not [f for f in found if f.level == "bad"]


@pytest.mark.parametrize(
    ("floor", "bad"), [("580.95.05", False), ("580.95.06", True), ("580.126.20", True)]
)
def test_a_driver_below_the_security_floor(lock_from: Locks, floor: str, bad: bool) -> None:
    lock, _ = lock_from(driver={"branch": "580.95.05"})
    found = judge_by_catalogue(lock, known(security_floor=floor), DAY)
    below = [f for f in found if f.code == "OUTDATED-SECURITY-FLOOR"]
    assert bool(below) is bad
    for finding in below:
        assert finding.level == "bad"
        assert floor in finding.expected
        assert finding.source


def test_the_catalogues_own_floor_of_580_counts(lock_from: Locks) -> None:
    lock, _ = lock_from(driver={"branch": "580.95.05"})
    floor = load_catalogue().branch("580").security_floor  # type: ignore[union-attr]
    found = judge_by_catalogue(lock, load_catalogue(), DAY)
    assert floor is not None
    assert [floor in f.expected for f in found if f.code == "OUTDATED-SECURITY-FLOOR"] == [True]


def test_a_contested_fact_is_flagged(lock_from: Locks) -> None:
    lock, _ = lock_from(driver={"branch": "580"})
    contested = known(contested=("eol",), notes="one says May, the other August")
    (finding,) = [
        f for f in judge_by_catalogue(lock, contested, DAY) if f.code == "OUTDATED-CONTESTED"
    ]
    assert finding.level == "soft"
    assert "eol" in finding.found
    assert "one says May" in finding.found


def test_a_lock_without_a_driver_has_no_branch_to_judge(lock_from: Locks) -> None:
    for branch in ("none", "preinstalled"):
        lock, _ = lock_from(driver={"branch": branch}, cuda="13.0")
        assert not judge_by_catalogue(lock, load_catalogue(), date(2040, 1, 1))


def test_a_lock_of_another_catalogue(lock_from: Locks, judge: Judge) -> None:
    lock, _ = lock_from(**EXACT)
    found = judge(lock.model_copy(update={"catalogue_hash": "0" * 64}), offline=True)
    (finding,) = of(found, "OUTDATED-CATALOGUE")
    assert finding.level == "soft"
    assert "000000000000" in finding.found


def test_offline_asks_nobody(lock_from: Locks, judge: Judge) -> None:
    lock, _ = lock_from(**EXACT)
    source = lock.sources[0].model_copy(update={"url": "http://127.0.0.1:1/"})
    away = lock.model_copy(update={"sources": [source]})
    found = judge(away, offline=True)
    assert not found.index_asked
    assert found.exit_code() is Exit.PASS
    assert "no index was asked" in outdated_text(found)


def test_an_index_that_does_not_answer_is_no_good_news(lock_from: Locks, judge: Judge) -> None:
    lock, _ = lock_from(**EXACT)
    source = lock.sources[0].model_copy(update={"url": "http://127.0.0.1:1/"})
    found = judge(lock.model_copy(update={"sources": [source]}))
    (finding,) = of(found, "OUTDATED-INDEX-UNREACHABLE")
    assert not found.index_asked
    assert "--offline" in finding.remedy
    assert found.exit_code() is Exit.UNMEASURED


def test_an_index_by_another_key_is_refused(
    mirror: Mirror, lock_from: Locks, judge: Judge, tmp_path: Path
) -> None:
    lock, _ = lock_from(**EXACT)
    other = mirror.signed_by_other_key(tmp_path / "other")
    with pytest.raises(CudactlError) as refused:
        judge(moved(lock, other))
    assert refused.value.code == "INDEX-WRONG-KEY"
    assert lock.sources[0].fingerprint in refused.value.expected  # type: ignore[operator]


def test_the_key_comes_from_the_lock(
    mirror: Mirror, lock_from: Locks, judge: Judge, tmp_path: Path
) -> None:
    """The spec's key file is wherever the spec was; the lock is enough."""
    lock, _ = lock_from(**EXACT)
    nowhere = lock.spec.mirror.model_copy(update={"key": "no/such/key.asc"})  # type: ignore[union-attr]
    spec = lock.spec.model_copy(update={"mirror": nowhere})
    found = judge(lock.model_copy(update={"spec": spec}))
    assert found.index_asked
    assert not of(found, "OUTDATED-NO-LONGER-LOCKS")


def test_every_finding_can_be_explained(
    mirror: Mirror, lock_from: Locks, judge: Judge, tmp_path: Path
) -> None:
    lock, _ = lock_from(**EXACT)
    gone = mirror.expired_pin("libcublas-13-0", "13.1.0.3-1", tmp_path / "gone")
    old = moved(lock, gone).model_copy(update={"catalogue_hash": "0" * 64})
    found = judge(old, today=date(2040, 1, 1))
    text = " ".join(outdated_text(found, explain=True).split())
    assert {"OUTDATED-END-OF-LIFE", "OUTDATED-CATALOGUE"} <= {f.code for f in found.findings}
    for finding in found.findings:
        assert " ".join(EXPLANATIONS[finding.code].split()) in text
        assert finding.found in text


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    made = Index(tmp_path / "simple")
    made.folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Door, directory=str(made.folder)))
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_port}/"
    for part in load_catalogue().components_of("13.0.3"):
        made.wheel(part.wheel, part.version)
    made.wheel("nvidia-cudnn-cu13", "9.13.0.50")
    yield made
    server.shutdown()
    server.server_close()


def relisted(index: Index, project: str, change: Callable[[str], str]) -> None:
    page = index.folder / project / "index.html"
    page.write_text(change(page.read_text()))


def test_wheels_gone_changed_and_withdrawn(index: Index, judge: Judge) -> None:
    lock = index.lock(cuda="13.0", cudnn="9.13.0.50")
    assert not [f for f in judge(lock).findings if f.level != "info"]
    relisted(index, "nvidia-nvvm", lambda text: "<!DOCTYPE html><body></body>")
    digest = lock.package("nvidia-cublas").sha256  # type: ignore[union-attr]
    relisted(index, "nvidia-cublas", lambda text: text.replace(digest, "0" * 64))
    relisted(index, "nvidia-cudnn-cu13", lambda text: text.replace("<a ", "<a data-yanked='' "))
    found = judge(lock)
    assert [f.subject for f in of(found, "OUTDATED-PIN-EXPIRED")] == ["nvidia-nvvm"]
    assert [f.subject for f in of(found, "OUTDATED-HASH-CHANGED")] == ["nvidia-cublas"]
    assert [f.subject for f in of(found, "OUTDATED-YANKED")] == ["nvidia-cudnn-cu13"]
    assert found.exit_code() is Exit.FAIL


def test_newer_wheels(index: Index, judge: Judge) -> None:
    opened, exact = index.lock(cuda="13.0", cudnn="9"), index.lock(cuda="13.0", cudnn="9.13.0.50")
    index.wheel("nvidia-cudnn-cu13", "9.20.0.48")
    index.wheel("nvidia-cudnn-cu13", "9.21.0rc1")
    (newer,) = of(judge(opened), "OUTDATED-NEWER")
    assert "9.20.0.48" in newer.found
    (beyond,) = of(judge(exact), "OUTDATED-NEWER-BEYOND")
    assert "cudnn 9.20.0.48 exists" in beyond.found
    assert not of(judge(exact), "OUTDATED-NEWER")
