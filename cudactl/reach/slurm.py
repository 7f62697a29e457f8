"""Slurm: drain nodes in our name, wait until they are empty, resume only what is still ours.

Source of states and fields: https://slurm.schedmd.com/scontrol.html and sinfo.html. Slurm has no
compare-and-swap: between looking and draining (milliseconds) somebody else may drain the same node,
and their reason would be replaced by ours. Looking again afterwards cannot undo that; it is the one
thing that is not excluded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from subprocess import CompletedProcess
from typing import Literal

from cudactl.contracts.errors import CudactlError, UnreachableError
from cudactl.reach.service import Standing, ask

OUT = {
    "DOWN", "DRAIN", "DRAINED", "DRAINING", "ERROR", "FAIL", "FAILING", "FUTURE", "INVAL",
    "POWERED_DOWN", "POWERING_DOWN", "POWER_DOWN", "REBOOT_ISSUED", "REBOOT_REQUESTED", "UNKNOWN",
}  # fmt: skip
"""States and flags in which a node takes no new work."""
BUSY = {"ALLOCATED", "MIXED", "COMPLETING"}
ON_NODE = "RUNNING,SUSPENDED,COMPLETING,CONFIGURING,STOPPED,SIGNALING,STAGE_OUT,RESIZING"
"""States of jobs that hold a node."""
APPENDED = re.compile(
    r"( : (Not responding|Node unexpectedly rebooted|reboot [\w ]+|failed \([A-Z0-9-]+\)))*"
)
"""What Slurm itself appends to a reason, and what `remark` does; anything else is a person's."""
STAMP = re.compile(r" \[[^\[\]]*@[^\[\]]*\]$")
MARKS = "*~#!%$@^-+"
"""Signs that Slurm puts behind a state, such as `*` for a node that does not respond."""


class Slurm:
    """Nodes of the cluster that `scontrol` talks to (SLURM_CONF and PATH as the user has them)."""

    name: Literal["none", "slurm", "kubernetes"] = "slurm"

    def __init__(self, ours: str) -> None:
        """`ours`: the reason that nodes get which we drain."""
        self._ours = ours

    def standings(self, nodes: Sequence[str]) -> dict[str, Standing]:
        """Return how nodes stand, from one `scontrol show node`."""
        if not nodes:
            return {}
        done = _run(["scontrol", "show", "node", ",".join(nodes)])
        found = {
            name: self._standing(fields)
            for name, fields in parse_nodes(done.stdout).items()
            if name in nodes
        }
        if not found and done.returncode != 0 and "not found" not in done.stdout + done.stderr:
            raise _silent(done.stderr or done.stdout)
        return found

    def _standing(self, fields: dict[str, str]) -> Standing:
        states = {part.strip(MARKS) for part in fields["State"].split("+")}
        out = bool(states & OUT)
        reason = STAMP.sub("", fields.get("Reason", ""))
        why = reason or fields["State"]
        return Standing(
            in_service=not out,
            ours=out and self._is_ours(reason),
            idle=not states & BUSY,
            why=f"{fields['State']}: {why}" if out else "",
        )

    def _is_ours(self, reason: str) -> bool:
        own, rest = reason[: len(self._ours)], reason[len(self._ours) :]
        return own == self._ours and APPENDED.fullmatch(rest) is not None

    def withdraw(self, node: str) -> None:
        """Drain a node that is in service; its jobs run on."""
        _update(node, "State=DRAIN", f"Reason={self._ours}")

    def still_there(self, node: str, wait_s: float) -> str | None:
        """Return the jobs on the node (suspended ones, too), or None when it is empty."""
        done = _run(["squeue", "--noheader", f"--nodelist={node}", f"--states={ON_NODE}",
                     "--format=%A %u %T"])  # fmt: skip
        if done.returncode != 0:
            raise _silent(done.stderr)
        jobs = [line.split() for line in done.stdout.splitlines() if line.strip()]
        if jobs:
            shown = ", ".join(f"{job[0]} of {job[1]}" for job in jobs[:3] if len(job) >= 3)
            more = f" and {len(jobs) - 3} more" if len(jobs) > 3 else ""
            return f"job{'s' * (len(jobs) > 1)} {shown}{more}"
        standing = self.standings([node]).get(node)
        # An epilog may still clean up behind a job that squeue no longer knows.
        return None if standing is not None and standing.idle else "its last job's epilog"

    def give_back(self, node: str) -> bool:
        """Resume a node that is drained in our name."""
        standing = self.standings([node]).get(node)
        if standing is None or not standing.ours:
            return False
        _update(node, "State=RESUME")
        return True

    def remark(self, node: str, code: str) -> None:
        """Write behind our reason why the node stays drained; `sinfo -R` shows it."""
        standing = self.standings([node]).get(node)
        if standing is not None and standing.ours:
            _update(node, "State=DRAIN", f"Reason={self._ours} : failed ({code})")


def parse_nodes(text: str) -> dict[str, dict[str, str]]:
    """Return node → fields of `scontrol show node`; of each, those that are read here."""
    nodes: dict[str, dict[str, str]] = {}
    name = None
    for line in text.splitlines():
        words = line.strip()
        if line.startswith("NodeName="):
            name = line.split()[0].partition("=")[2]
            nodes[name] = {"State": "UNKNOWN"}
        if name is None:
            continue
        # A reason is the rest of its line; a comment that looks like a field begins otherwise.
        key, _, rest = words.partition("=")
        if key == "State":
            nodes[name]["State"] = rest.split()[0] if rest.split() else "UNKNOWN"
        elif key == "Reason":
            nodes[name]["Reason"] = rest
        elif match := re.search(r"\bNodeHostName=(\S+)", words):
            nodes[name]["NodeHostName"] = match[1]
    return nodes


def nodes_by_host() -> dict[str, str]:
    """Return host name → node name for the whole cluster."""
    done = _run(["scontrol", "show", "node"])
    if done.returncode != 0:
        raise _silent(done.stderr or done.stdout)
    found: dict[str, str] = {}
    for node, fields in parse_nodes(done.stdout).items():
        found.setdefault(fields.get("NodeHostName", node), node)
        found[node] = node
    return found


def _run(command: list[str]) -> CompletedProcess[str]:
    return ask(
        command,
        engine="Slurm",
        code="SLURM",
        remedy="install Slurm's client commands here (Debian: slurm-client), with the cluster's "
        "slurm.conf; or say --engine none where nobody schedules these hosts",
    )


def _update(node: str, *what: str) -> None:
    done = _run(["scontrol", "update", f"NodeName={node}", *what])
    if done.returncode == 0:
        return
    said = (done.stderr or done.stdout).strip()
    if "ermission" in said or "Access" in said:
        raise CudactlError(
            "SLURM-NOT-ALLOWED",
            f"{node}: scontrol update: {said}",
            expected="a Slurm operator or administrator",
            remedy="run as SlurmUser or root, or: sacctmgr modify user where name=… "
            "set adminlevel=operator",
        )
    raise _silent(said)


def _silent(said: str) -> UnreachableError:
    return UnreachableError(
        "SLURM-SILENT",
        f"Slurm said: {' '.join(said.split())[:300] or 'nothing'}",
        expected="an answer of slurmctld",
        remedy="see whether slurmctld is well: scontrol ping; the rollout tries again",
    )
