"""Judge specs from the catalogue alone, and say what package names mean: no index, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cudactl.contracts.errors import CudactlError, Exit
from cudactl.contracts.lock import Allowance
from cudactl.contracts.verdict import SpecFact, SpecFinding, SpecVerdict
from cudactl.stack.facts.catalogue import load_catalogue
from cudactl.stack.facts.package_names import explain_package
from cudactl.stack.refusals import check_allowances
from cudactl.stack.solver.constraints import ALLOWABLE
from cudactl.stack.spec.check import check_spec
from cudactl.stack.spec.file import read_spec


@dataclass(frozen=True)
class CheckedFile:
    """One spec file and what was said of it."""

    path: Path
    verdict: SpecVerdict
    error: CudactlError | None = None
    """Why the file could not be read as a spec; the verdict says it too."""


def check_files(paths: Sequence[Path], allowed: Sequence[Allowance] = ()) -> list[CheckedFile]:
    """Judge spec files, each by itself; one that cannot be read does not hide the others.

    Raises:
        UsageError: STACK-NOT-ALLOWABLE, STACK-REASON-MISSING.
    """
    check_allowances(allowed, ALLOWABLE)
    catalogue = load_catalogue()
    found = []
    for path in paths:
        try:
            spec = read_spec(path)
        except CudactlError as error:
            found.append(CheckedFile(path, _unreadable(error), error))
            continue
        found.append(CheckedFile(path, check_spec(spec, catalogue, allowed)))
    return found


def exit_code(checked: Sequence[CheckedFile], *, strict: bool) -> Exit:
    """Return how `stack check` ends: unreadable, refused, flagged under --strict, or well."""
    verdicts = {one.verdict.verdict for one in checked}
    if any(one.error is not None for one in checked):
        return Exit.USAGE
    if "refused" in verdicts:
        return Exit.FAIL
    return Exit.FLAGGED if strict and "flagged" in verdicts else Exit.PASS


def explain_name(name: str, os: str) -> list[SpecFinding]:
    """Return what is to be said of a package name on a distribution; empty: nothing known."""
    return explain_package(load_catalogue(), name, os)


def _unreadable(error: CudactlError) -> SpecVerdict:
    finding = SpecFinding(
        code=error.code,
        severity="refused",
        text=error.found,
        facts=[SpecFact(text=f"expected: {error.expected}", source="the spec's format")],
        remedy=error.remedy or "mend the file",
    )
    return SpecVerdict(verdict="refused", findings=[finding])
