"""What a run writes down on the host: its lock, what it is doing, and that it ended.

The journal (run.json) is there while something changes, so that a run which was killed is known to
the next one. The history only grows: one JSON object a line, each on disk before the run goes on.
"""

from __future__ import annotations

import json
from typing import Any

from cudactl.contracts.lock import StackLock
from cudactl.contracts.state import HostLock, HostState
from cudactl.contracts.state_records import Interrupted, Purpose
from cudactl.provision.steps.apt import installed_version, locked_debs

BASE = "/var/lib/cudactl"
PINS = "/etc/apt/preferences.d/cudactl-lock.pref"

# For every script that writes below BASE on a host: Python 3.8, standard library.
WRITING = f"""\
import json, os, sys, time
base = {BASE!r}
def folder(path):
    os.makedirs(path, mode=0o755, exist_ok=True)
def settle(path):
    f = os.open(path, os.O_RDONLY)
    os.fsync(f)
    os.close(f)
def write(name, data):
    path = os.path.join(base, name)
    folder(os.path.dirname(path))
    with open(path + ".new", "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())
    os.chmod(path + ".new", 0o644)
    os.replace(path + ".new", path)
    settle(os.path.dirname(path))
def history(event):
    folder(base)
    path = os.path.join(base, "history.jsonl")
    event["at"] = time.time()
    f = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    size = os.fstat(f).st_size
    # A power cut may have left half a line; the next one must not become part of it.
    start = b"\\n" if size and os.pread(f, 1, size - 1) != b"\\n" else b""
    os.write(f, start + json.dumps(event, sort_keys=True).encode() + b"\\n")
    os.fsync(f)
    os.close(f)
    settle(base)
"""

# Arguments: "begin" or "end", what to write as JSON, the lock's file ("": it is there already).
SCRIPT = (
    WRITING
    + """\
verb, said, lock_file = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
run = said["run"]
journal = os.path.join(base, "run.json")
if verb == "begin":
    if lock_file:
        with open(lock_file, "rb") as f:
            write("locks/%s.lock" % run["lock"][:12], f.read())
    try:
        with open(os.path.join(base, "brought.json")) as f:
            brought = json.load(f)
    except (OSError, ValueError):
        brought = {}
    new = {n: v for n, v in said["brought"].items() if n not in brought}
    if new:
        brought.update(new)
        write("brought.json", json.dumps(brought, sort_keys=True).encode())
    try:
        with open(journal) as f:  # what a run before us was stopped in is still to be mended
            run["packages"] = sorted(set(run["packages"]) | set(json.load(f).get("packages", [])))
    except (OSError, ValueError, TypeError):
        pass
    write("run.json", json.dumps(run, sort_keys=True).encode())
    history(dict(event="begun", lock=run["lock"], run=run["run_id"], purpose=run["purpose"]))
elif os.path.isdir(base):
    event = "removed" if run["purpose"] == "uninstall" else "installed"
    if event == "removed":  # kept to be read, and no longer what the gate would go by
        for name in ("certificate.json", "certificate.dsse.json"):
            if os.path.exists(os.path.join(base, name)):
                os.replace(os.path.join(base, name), os.path.join(base, "last-" + name))
    history(dict(event=event, lock=run["lock"], run=run["run_id"], purpose=run["purpose"]))
    if os.path.exists(journal):
        os.unlink(journal)
        settle(base)
print("{}")
"""
)


def begin_arguments(
    lock: StackLock, state: HostState, claim: HostLock, purpose: Purpose, lock_file: str
) -> list[str]:
    """Return the arguments that write down the start of a run."""
    return ["begin", json.dumps({**_run(lock, claim, purpose), **_brought(lock, state)}), lock_file]


def end_arguments(lock: StackLock, claim: HostLock, purpose: Purpose) -> list[str]:
    """Return the arguments that write down that a run came to its end."""
    return ["end", json.dumps(_run(lock, claim, purpose)), ""]


def ended_arguments(run: Interrupted) -> list[str]:
    """Return the arguments that write down the end of a run which was killed after its work."""
    said = run.model_dump(mode="json", include={"run_id", "lock", "purpose", "since"})
    return ["end", json.dumps({"run": said}), ""]


def _run(lock: StackLock, claim: HostLock, purpose: Purpose) -> dict[str, Any]:
    run = {"run_id": claim.run_id, "lock": lock.hash, "purpose": purpose, "since": claim.since}
    return {"run": {**run, "packages": []}}


def _brought(lock: StackLock, state: HostState) -> dict[str, Any]:
    """Return the lock's packages that no run knows of yet, with the versions that are there now.

    On a host that an older cudactl provisioned, which wrote none of this down, they count as its.
    """
    before = any(f.path == PINS for f in state.files) and not state.records.brought
    return {
        "brought": {
            p.name: None if before else installed_version(state, p)
            for p in locked_debs(lock)
            if p.name not in state.records.brought
        }
    }
