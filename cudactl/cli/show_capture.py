"""How it is shown what a machine carries beside its spec: each remark, its items, what to do."""

from __future__ import annotations

import textwrap
from typing import Any

from cudactl.cli.show_stack import lock_title
from cudactl.contracts.capture import CaptureRemark
from cudactl.stack.spec.text import one_line
from cudactl.workflow.capture import Capture

MOST = 6
"""Items of a remark that are shown; --json has all."""
WIDTH = 96


def capture_text(done: Capture, *, explain: bool = False) -> str:
    """Return what is to be said beside the spec."""
    found = done.captured
    stack = ", ".join(f"{name} {v}" for name, v in sorted(found.verdict.resolved.items()))
    lines = [f"{one_line(found.name)}: {found.verdict.verdict}" + (f"  {stack}" if stack else "")]
    for finding in found.verdict.findings:
        if finding.severity != "note":
            lines += _wrapped(f"{finding.severity} {finding.code}: {finding.text}", "  ")
    for remark in found.remarks:
        lines += _remark(remark, explain)
    if found.lock is not None:
        lines.append(f"locked: {lock_title(found.lock)}, {len(found.lock.packages)} packages")
    return "\n".join(lines)


def _remark(remark: CaptureRemark, explain: bool) -> list[str]:
    lines = _wrapped(f"{remark.code}: {remark.text}", "  ")
    if explain:
        from cudactl.stack.capture.remarks import EXPLANATIONS

        lines += _wrapped(EXPLANATIONS[remark.code], "    ")
    # Paths and versions come from the host: nothing in them may move the cursor.
    lines += [f"      {one_line(item)}" for item in remark.items[:MOST]]
    if len(remark.items) > MOST:
        lines.append(f"      … and {len(remark.items) - MOST} more (--json lists all)")
    if remark.remedy:
        lines += _wrapped(f"what to do: {remark.remedy}", "    ")
    return lines


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        one_line(text),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def capture_document(done: Capture) -> dict[str, Any]:
    """Return what `--json` prints."""
    found = done.captured
    return {
        "name": found.name,
        "spec": found.spec.model_dump(mode="json", exclude_unset=True),
        "text": done.text,
        "verdict": found.verdict.model_dump(mode="json"),
        "remarks": [remark.model_dump(mode="json") for remark in found.remarks],
        "hash": found.lock.hash if found.lock is not None else None,
        "lock": found.lock.model_dump(mode="json") if found.lock is not None else None,
        "written": [str(path) for path in done.written],
        "error": done.error.as_dict() if done.error is not None else None,
    }
