"""What the catalogue and the calendar say about a lock that was made some time ago. Pure.

Ends of life, security floors, contested facts. What an index says (expired pins, changed hashes,
newer versions) is in `outdated_index.py`. `EXPLANATIONS` is what `--explain` says of a code.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator, Sequence
from datetime import date, timedelta

from cudactl.contracts.base import short
from cudactl.contracts.lock import Component, StackLock
from cudactl.contracts.outdated import StaleFinding
from cudactl.stack.facts.catalogue import Catalogue
from cudactl.stack.facts.rows import Cudnn, DriverBranch, Row, TensorRT, Torch
from cudactl.stack.versions import numbers

END_NEAR_DAYS = 90
"""An end of life within so many days is said."""

_WORST_FIRST = ("bad", "unmeasured", "soft", "info")
_UPGRADE = "cudactl stack upgrade"

EXPLANATIONS = {
    "OUTDATED-PIN-EXPIRED": "The index no longer has this version, as archives that keep only the "
    "newest do. Hosts that carry it keep working; a new host cannot be provisioned from this lock, "
    "and there is nothing to roll back to. Lock again, or keep locked files with "
    "`cudactl stack bundle`.",
    "OUTDATED-HASH-CHANGED": "The index gives the same version another content. Rebuilding without "
    "a new version is a mistake of the archive at best; at worst somebody replaced the file. Do "
    "not lock again before you know which.",
    "OUTDATED-SECURITY-FLOOR": "Every version below the floor has a published vulnerability.",
    "OUTDATED-END-OF-LIFE": "The branch gets no fixes any more, security fixes included.",
    "OUTDATED-END-OF-LIFE-NEAR": f"The branch gets no fixes from that day on, which is less than "
    f"{END_NEAR_DAYS} days away: plan the move to another branch.",
    "OUTDATED-NEWER": "Locking the same spec again gives this newer version. `stack upgrade` shows "
    "the whole difference and writes it when you agree.",
    "OUTDATED-NEWER-BEYOND": "A newer version exists, and the spec does not admit it. Whether it "
    "would fit the rest of the stack is for `stack check` to say, once the spec asks for it. Not "
    "counted by --strict: a spec that names exact versions would never be clean.",
    "OUTDATED-YANKED": "The wheel's makers withdrew it from the index; pip installs it only when "
    "it is named exactly, as a lock does.",
    "OUTDATED-NO-LONGER-LOCKS": "The spec in the lock, asked of today's catalogue and index, gives "
    "no lock. What stands in the way is said with the finding.",
    "OUTDATED-CONTESTED": "Sources disagree about a fact that this stack rests on. The catalogue "
    "keeps what each says; try it on one host, or read the sources.",
    "OUTDATED-CATALOGUE": "The lock was made by another edition of the catalogue. Locking again "
    "judges the same wish by what is known now, and may give the same packages.",
    "OUTDATED-NOT-KNOWN": "The catalogue has no such fact about this version, so nothing can be "
    "said: neither that it is good nor that it is not.",
    "OUTDATED-INDEX-UNREACHABLE": "Without the index nobody knows whether the locked files can "
    "still be had. --offline judges by the catalogue alone.",
}


def judge_by_catalogue(lock: StackLock, catalogue: Catalogue, today: date) -> list[StaleFinding]:
    """Return what the catalogue and the calendar say about a lock."""
    found = [*_driver(lock, catalogue, today), *_contested(lock, catalogue)]
    if lock.catalogue_hash != catalogue.hash:
        found.append(
            StaleFinding(
                code="OUTDATED-CATALOGUE",
                level="soft",
                subject="catalogue",
                found=f"the lock was made by catalogue {short(lock.catalogue_hash)}, this cudactl "
                f"has {short(catalogue.hash)}, collected up to {catalogue.day}",
                expected="the catalogue that the lock was made by",
                remedy=f"judge the wish anew: {_UPGRADE}",
            )
        )
    return found


def worst_first(findings: Sequence[StaleFinding]) -> list[StaleFinding]:
    """Return findings in the order in which they are read."""
    return sorted(findings, key=lambda f: _WORST_FIRST.index(f.level))


def _driver(lock: StackLock, catalogue: Catalogue, today: date) -> Iterator[StaleFinding]:
    version = lock.resolved.get("driver", "")
    if not numbers(version):
        return
    name = version.split(".")[0]
    branch = catalogue.branch(name)
    if branch is None:
        yield _not_known(f"driver branch {name}", "it is not in the catalogue", "")
        return
    yield from _floor(version, branch)
    yield from _end_of_life(branch, today)


def _floor(version: str, branch: DriverBranch) -> Iterator[StaleFinding]:
    if branch.security_floor is None:
        yield _not_known(
            f"driver {version}",
            f"no security floor is known for branch {branch.branch}",
            _source(branch),
        )
    elif numbers(version) < numbers(branch.security_floor):
        yield StaleFinding(
            code="OUTDATED-SECURITY-FLOOR",
            level="bad",
            subject=f"driver {version}",
            component="driver",
            found=f"driver {version} has published vulnerabilities",
            expected=f"{branch.security_floor} or later in branch {branch.branch}",
            remedy=f'admit it in the spec (driver.branch: "{branch.branch}"), then: {_UPGRADE}',
            source=_source(branch),
        )


def _end_of_life(branch: DriverBranch, today: date) -> Iterator[StaleFinding]:
    end = last_day(branch.eol)
    subject = f"driver branch {branch.branch}"
    if end is None:
        yield _not_known(subject, "its end of life is not known", _source(branch))
        return
    contested = " (contested)" if "eol" in branch.contested else ""
    if end < today:
        code, words = "OUTDATED-END-OF-LIFE", f"reached its end of life on {branch.eol}{contested}"
    elif end - today <= timedelta(days=END_NEAR_DAYS):
        days = (end - today).days
        code = "OUTDATED-END-OF-LIFE-NEAR"
        words = f"reaches its end of life on {branch.eol}{contested}, in {days} days"
    else:
        return
    yield StaleFinding(
        code=code,
        level="soft",
        subject=subject,
        component="driver",
        found=f"{subject} {words}",
        expected="a branch that is supported",
        remedy="choose a newer branch in the spec (driver.branch), then: " + _UPGRADE,
        source=_source(branch),
    )


def last_day(text: str | None) -> date | None:
    """Return the last day that "2028-08-04" or "2028-08" means, or None where it means none."""
    parts = re.fullmatch(r"(\d{4})-(\d{2})(?:-(\d{2}))?", text or "")
    if parts is None:
        return None
    year, month = int(parts.group(1)), int(parts.group(2))
    try:
        day = int(parts.group(3)) if parts.group(3) else calendar.monthrange(year, month)[1]
        return date(year, month, day)
    except ValueError:
        return None


def _contested(lock: StackLock, catalogue: Catalogue) -> Iterator[StaleFinding]:
    """Yield the facts that sources disagree about, of the versions in the lock."""
    for component, subject, row in _rows(lock, catalogue):
        if row.contested:
            yield StaleFinding(
                code="OUTDATED-CONTESTED",
                level="soft",
                subject=subject,
                component=component,
                found=f"sources disagree about {', '.join(row.contested)} of {subject}"
                + (f": {row.notes}" if row.notes else ""),
                expected="one answer",
                remedy="try this stack on one host first",
                source=_source(row),
            )


def _rows(
    lock: StackLock, catalogue: Catalogue
) -> Iterator[tuple[Component, str, DriverBranch | Cudnn | TensorRT | Torch]]:
    """Yield the catalogue's rows about the versions in a lock."""
    branch = catalogue.branch(lock.resolved.get("driver", "").split(".")[0])
    if branch is not None:
        yield "driver", f"driver branch {branch.branch}", branch
    for cudnn in catalogue.cudnn:
        if cudnn.version == lock.resolved.get("cudnn"):
            yield "cudnn", f"cuDNN {cudnn.version}", cudnn
    for tensorrt in catalogue.tensorrt:
        if tensorrt.version == lock.resolved.get("tensorrt"):
            yield "tensorrt", f"TensorRT {tensorrt.version}", tensorrt
    package = lock.package("torch")
    for torch in catalogue.torch if package is not None else ():
        if package is not None and numbers(torch.version) == numbers(package.version):
            yield "frameworks", f"torch {torch.version}", torch


def _not_known(subject: str, found: str, source: str) -> StaleFinding:
    return StaleFinding(
        code="OUTDATED-NOT-KNOWN",
        level="info",
        subject=subject,
        found=found,
        source=source,
    )


def _source(row: Row) -> str:
    return f"{row.source} ({row.date})"
