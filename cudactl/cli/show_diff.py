"""How the difference between two locks is shown: risks first, then component by component."""

from __future__ import annotations

import textwrap

from cudactl.cli.show_stack import size
from cudactl.contracts.base import short
from cudactl.contracts.diff import ComponentChange, FieldChange, LockDiff, PackageChange

INDENT = " " * 11
MARKS = {
    "added": "+",
    "removed": "-",
    "newer": "↑",
    "older": "↓",
    "rebuilt": "!",
    "other-build": "~",
    "changed": "~",
}
WORDS = {
    "rebuilt": "  ANOTHER HASH at the same version",
    "other-build": "  the same version, built for another target",
}


def diff_text(diff: LockDiff, *, explain: bool = False) -> str:
    """Return the difference as text."""
    if not diff.different:
        return f"{short(diff.before)}  the two locks say the same"
    lines = [f"{short(diff.before)} → {short(diff.after)}"]
    if diff.before == diff.after:
        lines = [f"{short(diff.before)}  the same packages in both locks"]
    for risk in diff.risks:
        lines.append(f"  {risk.level + ':':<8} {risk.text}  [{risk.code}]")
        if explain:
            from cudactl.stack.lock.diff_risks import EXPLANATIONS

            lines += textwrap.wrap(
                EXPLANATIONS[risk.code], 96, initial_indent=INDENT, subsequent_indent=INDENT
            )
    if diff.target:
        lines += ["", "target", *(_field(change) for change in diff.target)]
    for component in diff.components:
        lines += ["", *_component(component, diff)]
    if diff.flavour is not None and not any(c.component == "driver" for c in diff.components):
        lines += ["", _field(diff.flavour)]
    for title, changes in (
        ("sources", diff.sources),
        ("signing keys", diff.keys),
        ("allowed", diff.allowed),
        ("wishes", diff.wishes),
    ):
        if changes:
            lines += ["", title, *(_field(change) for change in changes)]
    if diff.external:
        lines += ["", "from the distribution"]
        lines += [f"  {'+' if change.after else '-'} {change.name}" for change in diff.external]
    lines += ["", _sizes(diff)]
    return "\n".join(lines)


def _component(change: ComponentChange, diff: LockDiff) -> list[str]:
    flavour = diff.flavour if change.component == "driver" else None
    before, after = change.before or "none", change.after or "none"
    if change.kind == "same":
        title = f"{change.component}  {after}, other packages"
    else:
        title = f"{change.component}  {before} → {after}"
    if flavour is not None:
        title += f"  ({flavour.before or 'none'} → {flavour.after or 'none'} kernel module)"
    width = max((len(package.name) for package in change.packages), default=0)
    return [title, *(_package(package, width) for package in change.packages)]


def _package(change: PackageChange, width: int) -> str:
    mark, name = MARKS.get(change.kind, " "), f"{change.name:<{width}}"
    if change.kind == "added":
        return f"  {mark} {name}  {change.after}  {size(change.bytes_after)}"
    if change.kind == "removed":
        return f"  {mark} {name}  {change.before}"
    if change.before == change.after:
        return f"  {mark} {name}  {change.after}{WORDS.get(change.kind, '')}"
    return f"  {mark} {name}  {change.before} → {change.after}  {size(change.bytes_after)}"


def _field(change: FieldChange) -> str:
    if change.before is None:
        return f"  + {change.name}: {change.after}"
    if change.after is None:
        return f"  - {change.name}: {change.before}"
    return f"  ~ {change.name}: {change.before} → {change.after}"


def _sizes(diff: LockDiff) -> str:
    whole = f"{size(diff.download_before)} → {size(diff.download_after)}"
    text = f"download {whole}, of which {size(diff.to_fetch)} are not in the first lock"
    if diff.installed_before and diff.installed_after:
        text += f"; installed {size(diff.installed_before)} → {size(diff.installed_after)}"
    return text
