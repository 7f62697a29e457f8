"""The host lock: one run at a time changes a host.

The claim is a file that exactly one process can create (O_EXCL), with who, where and until when, so
that a refused run can say whom to ask. It lives under /run: a reboot ends it. The claim of a dead
run on this same controller is taken over at once, any other one when it expires.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from cudactl.contracts.state import HostLock, HostState

PATH = "/run/cudactl/host.lock"
LASTS_S = 2 * 3600.0

# Runs on the host, as root: the first argument is "take", "renew" or "drop", the second the claim
# as JSON, the third the run whose claim may be taken over because it is known to be dead.
SCRIPT = f"""\
import json, os, sys, time
path = {PATH!r}
verb, claim, replace = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
def there():
    try:
        with open(path) as f:
            return json.load(f)
    except (OSError, ValueError):
        return None
def say(held):
    print(json.dumps(dict(held=held)))
    sys.exit(0)
if verb == "drop":
    now = there()
    if now and now.get("run_id") == claim["run_id"]:
        os.unlink(path)
    say(None)
if verb == "renew":
    now = there()
    if now and now.get("run_id") == claim["run_id"]:
        aside = path + "." + claim["run_id"]
        with open(aside, "w") as f:
            json.dump(claim, f)
        os.chmod(aside, 0o644)
        os.replace(aside, path)
    say(now)
os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
now = there()
if now and (now.get("run_id") == replace or now.get("expires", 0) < time.time()):
    try:
        os.unlink(path)
    except OSError:
        pass
# Written aside and linked, so that nobody ever reads half a claim and only one can have it.
aside = path + "." + claim["run_id"]
with open(aside, "w") as f:
    json.dump(claim, f)
os.chmod(aside, 0o644)
try:
    os.link(aside, path)
    held = claim
except OSError:
    held = there()
os.unlink(aside)
say(held)
"""


def new_claim(run_id: str) -> HostLock:
    """Return our claim for a run that starts now."""
    now = time.time()
    try:
        who = getpass.getuser()
    except (KeyError, OSError):
        who = str(os.getuid())
    return HostLock(
        run_id=run_id,
        who=who,
        controller=socket.gethostname(),
        controller_id=controller_id(),
        pid=os.getpid(),
        since=now,
        expires=now + LASTS_S,
    )


def renewed(claim: HostLock) -> HostLock:
    """Return our claim, good for as long again from now on."""
    return claim.model_copy(update={"expires": time.time() + LASTS_S})


def controller_id() -> str:
    """Return what tells whose process ids are ours: this boot and this process namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    try:
        return f"{boot.read_text().strip()}/{os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115
    except OSError:
        return socket.gethostname()


def is_dead(claim: HostLock) -> bool:
    """Return True when the claim is of this controller and its process is gone."""
    if claim.controller_id != controller_id():
        return False
    try:
        os.kill(claim.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def no_longer(claim: HostLock) -> bool:
    """Return True when nobody stands behind a claim any more."""
    return is_dead(claim) or claim.expires < time.time()


def no_obstacle(state: HostState, run_id: str) -> tuple[str, ...]:
    """Return the runs whose claim does not stand in the way: ours, and one of ours that died."""
    there = state.host_lock
    return (run_id, there.run_id) if there is not None and is_dead(there) else (run_id,)


def arguments(verb: str, claim: HostLock, replace: str = "") -> list[str]:
    """Return the arguments for `SCRIPT`."""
    return [verb, json.dumps(claim.model_dump(mode="json")), replace]


def held_by_other(answer: dict[str, Any], run_id: str) -> HostLock | None:
    """Return whose claim is on the host when it is not ours."""
    held = answer.get("held")
    if isinstance(held, dict) and held.get("run_id") != run_id:
        return HostLock.model_validate(held)
    return None
