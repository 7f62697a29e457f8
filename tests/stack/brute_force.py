"""Whether a wish can be met at all, found by trying the catalogue's rows one after the other.

The solver searches with a library; this walks the tables in order and stops where the rules of
`independent.py` object.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.stack.catalogue_rows import FILES, LISTED, fits, gpus_of, known_drivers, table
from tests.stack.independent import NO_DRIVER, Stack, base, objections


def driver_choices(spec: Mapping[str, Any]) -> list[tuple[str | None, str | None]]:
    """Versions and flavours that the wish leaves open; (None, None): no driver."""
    wish = spec.get("driver") or {}
    branch, flavour = wish.get("branch"), wish.get("flavour", "auto")
    only_frameworks = bool(spec.get("frameworks")) and not any(n in spec for n in LISTED)
    by_default = not wish and (only_frameworks or spec.get("packages") == "wheels")
    if branch in NO_DRIVER or by_default:
        return [(None, None)]
    flavours = ("open", "proprietary") if flavour == "auto" else (flavour,)
    rows = [r for r in table("archive_drivers") if r["os"] == spec["os"]]
    servers = {r["branch"] for r in rows if r["variant"].startswith("server-")}
    archive = [
        r
        for r in rows
        if not r["becomes"] and (r["branch"] not in servers or r["variant"].startswith("server-"))
    ]
    if wish.get("source") == "distro" and archive:
        return [
            (r["version"].split("-")[0], f)
            for r in archive
            for f in flavours
            if r["variant"].endswith(f) and fits(r["version"].split("-")[0], branch or "")
        ]
    branches = [r["branch"] for r in table("drivers")]
    if branch is None:
        found = branches
    elif branch in branches:
        found = [branch]
    else:
        found = [v for v in known_drivers() if fits(v, branch)]
        found = found or ([branch] if branch.split(".")[0] in branches else [])
    return [(version, f) for version in found for f in flavours]


def satisfiable(spec: Mapping[str, Any], *, strict: bool = False) -> bool:
    """Whether some rows of the tables meet the wish; strict: without any soft objection too."""
    gpus = gpus_of(spec.get("gpus", []))
    if gpus is None:
        return False
    choices: dict[str, list[Any]] = {
        name: [r["version"] for r in table(FILES.get(name, name)) if fits(r["version"], spec[name])]
        for name in LISTED
        if name in spec
    }
    choices["frameworks"] = [{}]
    for name, wish in spec.get("frameworks", {}).items():
        versions = [r["version"] for r in table(name) if fits(r["version"], wish)]
        choices["frameworks"] = [{**c, name: v} for c in choices["frameworks"] for v in versions]
    choices["driver"] = driver_choices(spec)

    def extended(stack: Stack, left: list[str]) -> bool:
        grades = {grade for grade, _ in objections(stack)}
        if "hard" in grades or (strict and "soft" in grades):
            return False
        if not left:
            return True
        name = left[0]
        for value in choices[name]:
            added = (
                dict(zip(("driver", "flavour"), value, strict=True))
                if name == "driver"
                else {name: value}
            )
            if extended({**stack, **added}, left[1:]):
                return True
        return False

    return extended(base(spec, gpus), list(choices))
