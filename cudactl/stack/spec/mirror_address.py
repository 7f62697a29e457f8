"""What a mirror's address and key say by their names: meant for another distribution?

NVIDIA signs its folders with different keys, and newer distributions refuse the older one, so a
folder or key of another distribution is a mistake that shows late. Only names are looked at here;
the signature itself is checked when the index is read.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from cudactl.contracts.spec import StackSpec
from cudactl.contracts.verdict import SpecFact, SpecFinding
from cudactl.stack.facts.catalogue import Catalogue
from cudactl.stack.facts.rows import Distribution
from cudactl.stack.solver.constraints.rule import fact


def mirror_findings(spec: StackSpec, catalogue: Catalogue) -> list[SpecFinding]:
    """Return what is wrong with a spec's mirror and archive by their names alone."""
    if spec.packages != "apt":
        return []
    if spec.archive is not None and (spec.driver is None or spec.driver.source != "distro"):
        return [*_unused_archive(), *_mirror(spec, catalogue)]
    return _mirror(spec, catalogue)


def _unused_archive() -> list[SpecFinding]:
    return [
        SpecFinding(
            code="STACK-ARCHIVE-UNUSED",
            severity="note",
            text="the spec names an archive, and nothing is taken from the distribution's",
            facts=[SpecFact(text="only driver.source: distro reads it", source="the spec")],
            remedy="remove `archive`, or write driver.source: distro",
        )
    ]


def _mirror(spec: StackSpec, catalogue: Catalogue) -> list[SpecFinding]:
    if spec.mirror is None:
        return []
    own = catalogue.distribution(spec.os)
    others = [row for row in catalogue.distributions if row.name != own.name]
    return [*_folder(spec, own, others), *_key(spec, own, others)]


def _folder(spec: StackSpec, own: Distribution, others: list[Distribution]) -> list[SpecFinding]:
    assert spec.mirror is not None
    parts = spec.mirror.url.rstrip("/").split("/")
    for other in others:
        if other.repository in parts:
            same = own.fingerprint == other.fingerprint
            keys = "" if same else ": they are signed by a different key"
            return [
                SpecFinding(
                    code="STACK-MIRROR-FOLDER",
                    severity="flagged",
                    text=f"mirror.url names the folder {other.repository}, and {own.name} takes "
                    f"packages from {own.repository}{keys}",
                    facts=[fact(f"{own.repository} is signed by {own.fingerprint}", own)],
                    remedy="write the address above the distributions' folders; they follow it",
                )
            ]
    return []


def _key(spec: StackSpec, own: Distribution, others: list[Distribution]) -> list[SpecFinding]:
    assert spec.mirror is not None
    name = PurePosixPath(spec.mirror.key or "").name.lower()
    named = {row.key_file.lower() for row in others} - {own.key_file.lower()}
    if name not in named:
        return []
    return [
        SpecFinding(
            code="STACK-MIRROR-KEY",
            severity="flagged",
            text=f"mirror.key is called {name}, the key of other folders: {own.repository} is "
            f"signed by the key in {own.key_file}",
            facts=[fact(f"{own.repository} is signed by {own.fingerprint}", own)],
            remedy=f"take {own.key_file} from {own.repository}, or your mirror's own key",
        )
    ]
