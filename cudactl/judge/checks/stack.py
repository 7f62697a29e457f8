"""stack: what the machine's state shows of the lock, and where every loaded library came from."""

from __future__ import annotations

from typing import Dict, List

from ..context import Answer, Context, entries
from .registry import STATE, Values, check, failed, passed, unmeasured


@check("stack.os", STATE, "The machine runs the distribution and architecture of the lock")
def stack_os(context: Context, values: Values, expect: Values) -> Answer:
    system = values["os"]
    found = "%s-%s %s" % (system["id"], system["version_id"], values.get("machine"))
    wanted = "%s %s" % (expect["os"], expect["machine"])
    if found != wanted:
        return failed(found, wanted, "the lock is for another system")
    return passed(found, wanted, "a look-alike of it" if system.get("look_alike") else "the lock's")


@check("stack.packages", STATE, "Every locked package is installed at exactly its version")
def stack_packages(context: Context, values: Values, expect: Values) -> Answer:
    wanted: Dict[str, str] = expect["packages"]
    have = values["packages"]
    total = "%d packages" % len(wanted)
    if not wanted:
        return unmeasured("the lock names no packages")
    wrong = [
        "%s is %s, not %s" % (name, have.get(name) or "absent", version)
        for name, version in sorted(wanted.items())
        if have.get(name) != version
    ]
    if wrong:
        more = "; …" if len(wrong) > 5 else ""
        return failed("%d differ" % len(wrong), total, "; ".join(wrong[:5]) + more)
    broken = {str(b.get("name")): str(b.get("status")) for b in entries(values, "broken")}
    half = ["%s is %r" % (name, broken[name]) for name in sorted(wanted) if name in broken]
    if half:
        return failed("%d broken" % len(half), total, "; ".join(half[:5]))
    return passed(total, total, "each is installed at exactly its locked version")


@check("stack.wheels", STATE, "The wheel stack is complete, from exactly the locked files")
def stack_wheels(context: Context, values: Values, expect: Values) -> Answer:
    wanted: Dict[str, str] = expect["wheels"]
    total = "%d wheels" % len(wanted)
    if not wanted:
        return unmeasured("the lock names no wheels")
    stack = next((s for s in values["stacks"] if s["lock"] == expect["lock"]), None)
    if stack is None:
        return failed("no stack", total, "the stack %s is not there" % expect["lock"])
    if stack.get("complete") is not True:
        return failed("incomplete", total, "the stack %s is not complete" % expect["lock"])
    if stack["wheels"] != wanted:
        differ = sorted(set(wanted.items()) ^ set(stack["wheels"].items()))
        return failed("other wheels", total, "%s differs from the lock" % differ[0][0])
    return passed(total, total, "complete, each wheel with its locked sha256")


@check("stack.libraries", STATE, "Every vendor library that was mapped is the lock's, unaltered")
def stack_libraries(context: Context, values: Values, expect: Values) -> Answer:
    owners: List[str] = expect["owners"]
    foreign: List[str] = expect.get("foreign") or []
    expected = "only the lock's"
    if not context.libraries:
        return unmeasured("no vendor library was mapped by any leg", expected)
    verified = 0
    for known in context.libraries:
        path = known["path"]
        name = path.rsplit("/", 1)[-1]
        if "/stubs/" in path:
            return failed(name, expected, "%s is a stub, which only links" % path)
        if known.get("intact") is False:
            reason = "%s is not the file that its package brought" % path
            return failed(name, expected, reason)
        verified += known.get("intact") is True
        if any(name.startswith(stem) for stem in foreign):
            continue  # the lock leaves this one to the machine (a driver it does not hold)
        if known.get("package") not in owners:
            owner = known.get("package") or "nobody"
            return failed(name, expected, "%s was mapped, which belongs to %s" % (path, owner))
    total = "%d libraries" % len(context.libraries)
    return passed(
        total, expected, "%d verified by hash against their package's own record" % verified
    )


@check("gpu.present", STATE, "A machine whose lock names GPUs has one")
def gpu_present(context: Context, values: Values, expect: Values) -> Answer:
    wanted = ", ".join(expect["gpus"])
    count = len(context.gpus)
    if not count:
        return failed("none", wanted, "the lock names GPUs and none is there")
    return passed("%d on the PCI bus" % count, wanted, "a GPU is there")
