"""Is a loaded file the one that was installed for this lock? Shared by every library check."""

from __future__ import annotations

from typing import Callable, List, Optional

from ..context import Answer, Context, text
from .registry import Values, failed, passed, unmeasured


def wrong_place(context: Context, path: str, expect: Values) -> Optional[str]:
    """Return why a file is not the one that was installed for this lock, or None."""
    if "/stubs/" in path:
        return "%s is a stub, which only links" % path
    prefixes: List[str] = expect["prefixes"]
    if ".." in path.split("/") or not any(path.startswith(prefix) for prefix in prefixes):
        return "%s was loaded, which is not below %s" % (path, " or ".join(prefixes))
    known = context.library(path)
    if known is None:
        return "%s was not found in the process's memory map" % path
    if known.get("package") not in expect["owners"]:
        return "%s belongs to %s, not to %s" % (
            path,
            known.get("package") or "nobody",
            " or ".join(expect["owners"]),
        )
    return None


def library(
    context: Context, values: Values, expect: Values, version_of: Callable[[Values], str]
) -> Answer:
    """Judge one library: loaded, answering the right version, from the right place."""
    wanted = str(expect["version"])
    if values.get("loaded") is not True:
        return failed("not loaded", wanted, "it was not loaded")
    path = text(values, "path")
    version = version_of(values)
    if version != wanted:
        return failed(version, wanted, "%s answers another version" % path)
    wrong = wrong_place(context, path, expect)
    if wrong:
        return failed(version, wanted, wrong)
    return passed(version, wanted, "loaded from %s" % path)


def answered(code: int, call: str) -> Optional[Answer]:
    """Return the answer for a version call that failed, or None."""
    return unmeasured("%s answers %d" % (call, code)) if code else None
