"""Does somebody else own the host, its jobs, or the files that the plan changes?"""

from __future__ import annotations

from cudactl.contracts.plan import Finding, PlanStep
from cudactl.contracts.state import HostState
from cudactl.provision.preflight.findings import refuse, remark

SCHEDULERS = {"slurm": "jobs of Slurm", "kubernetes": "containers with GPUs of Kubernetes"}
CONFIGURATION = ("puppet", "chef", "salt", "cfengine", "ansible-pull")


def owner_findings(state: HostState, steps: list[PlanStep]) -> list[Finding]:
    """Refuse to pull a host from under its scheduler, or to write what others write again."""
    return [*_schedulers(state, steps), *_configuration(state, steps)]


def _schedulers(state: HostState, steps: list[PlanStep]) -> list[Finding]:
    findings = []
    # Something that runs now is disturbed: replaced under it, restarted or rebooted.
    disturbing = [
        step
        for step in steps
        if step.risk != "none"
        or any(c.kind == "package" and c.before is not None for c in step.changes)
    ]
    for scheduler, words in SCHEDULERS.items():
        running = state.jobs.get(scheduler, 0)
        if running and disturbing:
            findings.append(
                refuse(
                    "PREFLIGHT-SCHEDULER-BUSY",
                    f"{running} {words} run here, and {disturbing[0].id} would disturb them",
                    "a drained and empty node",
                    "`cudactl rollout start` drains nodes, changes them and returns them; or drain "
                    "this one yourself",
                )
            )
        elif scheduler in state.owners:
            findings.append(
                remark(
                    "PREFLIGHT-SCHEDULER",
                    f"the host belongs to {scheduler}, which may start something on it meanwhile",
                    "drain it first, or use `cudactl rollout start`",
                )
            )
    return findings


def _configuration(state: HostState, steps: list[PlanStep]) -> list[Finding]:
    findings = []
    changed = {change.name for step in steps for change in step.changes if change.kind == "file"}
    for path in sorted(changed & set(state.managed)):
        who = state.managed[path]
        findings.append(
            refuse(
                "PREFLIGHT-MANAGED-FILE",
                f"the plan changes {path}, which {who} writes",
                "one writer for one file",
                f"have {who} leave the file to cudactl, or make the change there",
            )
        )
    for owner in CONFIGURATION:
        if owner in state.owners:
            findings.append(
                remark(
                    "PREFLIGHT-MANAGED",
                    f"{owner} manages this host; whatever it says of NVIDIA's packages, holds or "
                    "apt sources would undo the lock at its next run",
                    f"look for them in {owner}'s configuration",
                )
            )
    return findings
