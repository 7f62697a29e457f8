"""cudnn: the library answers the locked version, and every sub-library is of that version too."""

from __future__ import annotations

from typing import Any, Dict, List

from ..context import Answer, Context, cuda_version, dotted, entries, integer, text
from .provenance import library, wrong_place
from .registry import Values, check, failed, passed, unmeasured


@check(
    "cudnn.library",
    "cudnn",
    "cuDNN loads, answers the locked version, and was built for the lock's CUDA",
    needs=("path", "loaded"),
)
def cudnn_library(context: Context, values: Values, expect: Values) -> Answer:
    answer = library(context, values, expect, lambda v: dotted(integer(v, "version_number")))
    if answer[0] != "PASS":
        return answer
    built = cuda_version(integer(values, "built_for_cudart"))
    if built.split(".")[0] != str(expect["cuda_major"]):
        return failed(built, "CUDA %s" % expect["cuda_major"], "it was built for another CUDA")
    return answer


@check(
    "cudnn.sublibraries",
    "cudnn",
    "Every sub-library of cuDNN is there, loads, and is of one version",
    needs=("files",),
    judges_error=True,
)
def cudnn_sublibraries(context: Context, values: Values, expect: Values) -> Answer:
    # One that links to libcuda cannot load where the lock holds no driver; the policy names it.
    files: List[Dict[str, Any]] = entries(values, "files")
    wanted, version = list(expect["names"]), str(expect["version"])
    expected = "%d at %s" % (len(wanted), version)
    missing = sorted(set(wanted) - {str(f["name"]) for f in files})
    if missing:
        return failed(str(len(files)), expected, "missing: %s" % ", ".join(missing))
    error = str(values.get("error") or "no reason given")
    waiting = []
    for part in files:
        name = str(part["name"])
        if part.get("loaded") is not True:
            inside = any(str(part.get("path")).startswith(p) for p in expect["prefixes"])
            declared = name in (expect.get("needs_driver") or [])
            if not (declared and inside and "libcuda.so.1" in error):
                return failed(name, expected, "%s does not load: %s" % (name, error))
            waiting.append(name)
            continue
        path = text(part, "path")
        wrong = wrong_place(context, path, expect)
        if wrong:
            return failed(name, expected, wrong)
        code = part.get("check_code")
        if code:
            reason = "%s says that cuDNN's other parts are not its own (status %s)" % (name, code)
            return failed(name, expected, reason)
        witnesses = _versions(context, part, path, version)
        if not witnesses:
            return unmeasured("nothing tells of which version %s is" % name, expected)
        other = next((found for found in witnesses if found != version), None)
        if other is not None:
            return failed("%s %s" % (name, other), expected, "%s is of another version" % name)
    reason = "one version throughout"
    if waiting:
        reason += "; %s loads only where a driver is (it links to libcuda)" % ", ".join(waiting)
    return passed("%d at %s" % (len(files) - len(waiting), version), expected, reason)


def _versions(context: Context, part: Dict[str, Any], path: str, locked: str) -> List[str]:
    """Return what tells a part's version: its own call, its file's name, the wheel it is from."""
    found: List[str] = []
    if part.get("version_number") is not None:
        found.append(dotted(integer(part, "version_number")))
    named = part.get("file_version")
    if isinstance(named, str) and named.count(".") == 2:
        found.append(named)
    known = context.library(path) or {}
    # Wheels name no version in their files. stack.wheels shows that the wheel is the locked one;
    # a file that is still what the wheel brought is of its version.
    if str(known.get("package")).startswith("stack:") and known.get("intact") is True:
        found.append(locked)
    return found
