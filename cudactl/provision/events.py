"""What a result of Ansible's says to a reader: why it failed, and what became different."""

from __future__ import annotations

import difflib
import re
from typing import Any

APT_COMMAND = re.compile(r"'?/usr/bin/apt-get .*?' failed: (.*)", re.DOTALL)


def message(result: dict[str, Any]) -> str:
    """Return the one message of a failed result that tells the reader most."""
    for item in result.get("results") or []:
        if isinstance(item, dict) and item.get("failed"):
            return message(item)
    text = str(result.get("msg") or "")
    if match := APT_COMMAND.match(text):
        # A transaction of a hundred packages is a screenful that the plan has shown already.
        text = match[1]
    for key in ("stderr", "module_stderr", "stdout"):
        extra = str(result.get(key) or "").strip()
        if extra and extra not in text:
            lines = [line for line in extra.splitlines() if line.strip()]
            telling = [line for line in lines if line.startswith(("E:", "Err:", "dpkg:"))]
            text += "\n" + "\n".join(telling[:6] or lines[-3:])
            break
    return text.strip() or "no message"


def differences(result: dict[str, Any]) -> str:
    """Return what --diff has to show of a result: unified differences, one after the other."""
    found = []
    for one in [*(result.get("results") or []), result]:
        diff = one.get("diff") if isinstance(one, dict) else None
        for part in diff if isinstance(diff, list) else [diff]:
            if isinstance(part, dict):
                found.append(_difference(part))
    return "\n".join(text for text in found if text)


def _difference(part: dict[str, Any]) -> str:
    if part.get("prepared"):
        return str(part["prepared"]).rstrip()
    before, after = part.get("before"), part.get("after")
    if not isinstance(before, str) or not isinstance(after, str):
        return ""  # of permissions and the like: the plan has told it
    lines = difflib.unified_diff(
        before.splitlines(),
        after.splitlines(),
        str(part.get("before_header") or part.get("after_header") or "before"),
        str(part.get("after_header") or part.get("before_header") or "after"),
        lineterm="",
    )
    return "\n".join(lines)
