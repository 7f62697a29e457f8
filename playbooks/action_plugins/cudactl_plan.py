"""The first task of a provisioning play: claim the host, probe it, plan again, compare.

Around a reboot it is asked twice more: before, whether the next boot would have a driver, and
after, to claim the host again, since the claim went with the boot.

It uses the same probe and the same pure planning function as `cudactl plan host`, so the roles work
from the command line, from AWX and from a hand-written play alike.
"""

from __future__ import annotations

import json
import os
import shlex
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from cudactl import zipapp
from cudactl.contracts.errors import CudactlError
from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Choices
from cudactl.contracts.state import HostLock, HostState
from cudactl.provision import claim as claims
from cudactl.provision import records
from cudactl.provision.offline_root import offline_state
from cudactl.provision.plan import make_plan
from cudactl.provision.preflight.readiness import busy_finding
from cudactl.provision.steps import distribution, reboot
from cudactl.stack.lock.file import read_lock, render_lock

# Arguments: a file, and the folder of root's that it is kept in.
KEEP = """\
import os, shutil, sys
os.makedirs(sys.argv[2], mode=0o700, exist_ok=True)
shutil.copyfile(sys.argv[1], os.path.join(sys.argv[2], "state.json"))
print("{}")
"""


class ActionModule(ActionBase):  # type: ignore[misc]
    """Implements the action `cudactl_plan`."""

    TRANSFERS_FILES = True
    _VALID_ARGS = frozenset(
        ("lock", "approved", "choices", "run", "release", "done", "before_reboot", "claim")
    )

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return {"steps": {role: [variables per step]}, "plan": hash}, or fail with a reason."""
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        self._variables = variables
        host = str(variables["inventory_hostname"])
        run = self._task.args.get("run") or {}
        claim = HostLock.model_validate(run) if run else _claim_of_play(host)
        check_mode = bool(self._task.check_mode)
        try:
            choices = Choices.model_validate(self._task.args.get("choices") or {})
            lock = read_lock(Path(str(self._task.args["lock"])))
            if self._task.args.get("release"):
                if not check_mode:
                    self._release(claim, lock, choices)
                return result
            if self._task.args.get("claim"):
                if not check_mode:
                    self._take(claim, None)
                return result
            document = self._probe()
            state = HostState.model_validate(document)
            if self._variables.get("cudactl_root"):
                state = offline_state(state, str(self._variables.get("cudactl_kernel") or ""))
            if folder := self._task.args.get("before_reboot"):
                self._before_reboot(lock, state, document, "" if check_mode else str(folder))
                return result
            if not check_mode:
                self._take(claim, state)
            state = self._ask_apt(lock, state)
            ours = claims.no_obstacle(state, claim.run_id)
            plan = make_plan(host, lock, state, now=time.time(), no_obstacle=ours, choices=choices)
        except CudactlError as error:
            raise AnsibleActionFail(f"{error.code}: {error.found}. {error.remedy}") from error
        if plan.refusals:
            raise AnsibleActionFail(
                "; ".join(f"{f.code}: {f.found} (expected {f.expected})" for f in plan.refusals)
            )
        approved = (self._task.args.get("approved") or {}).get(host)
        if approved is not None and approved != plan.hash:
            raise AnsibleActionFail(
                "PLAN-STALE: the host changed between the plan that was approved "
                f"({approved[:12]}) and now ({plan.hash[:12]}); nothing was done. Plan again."
            )
        if not check_mode:
            self._begin(claim, lock, state, choices)
        steps: dict[str, list[dict[str, Any]]] = {}
        for step in plan.steps:
            steps.setdefault(step.role, []).append(step.variables)
        result.update({"changed": False, "steps": steps, "plan": plan.hash})
        return result

    def _begin(self, claim: HostLock, lock: StackLock, state: HostState, choices: Choices) -> None:
        """Write down on the host what is going to be done, before the first change."""
        file = ""
        if lock.short_hash not in state.records.locks:
            # The probe's folder, which Ansible removes: a second one would stay behind.
            folder = self._connection._shell.tmpdir or self._make_tmp_path()
            file = self._connection._shell.join_path(folder, "stack.lock")
            with tempfile.NamedTemporaryFile(suffix=".lock") as local:
                local.write(render_lock(lock))
                local.flush()
                self._transfer_file(local.name, file)
        said = records.begin_arguments(lock, state, claim, choices.purpose, file)
        self._python(records.SCRIPT, said)

    def _release(self, claim: HostLock, lock: StackLock, choices: Choices) -> None:
        """Give the host back, and write down that the run came to its end where it did."""
        if self._task.args.get("done"):
            said = records.end_arguments(lock, claim, choices.purpose)
            self._python(records.SCRIPT, said)
        self._python(claims.SCRIPT, claims.arguments("drop", claim))

    def _before_reboot(
        self, lock: StackLock, state: HostState, document: dict[str, Any], folder: str
    ) -> None:
        """Refuse a reboot into a kernel without a working driver; keep the state in `folder`."""
        lacks = reboot.next_boot_lacks(lock, state) if not self._task.check_mode else None
        if lacks is not None:
            raise AnsibleActionFail(
                f"REBOOT-NO-MODULE: {lacks}; the host was not rebooted. See that this kernel gets "
                "the module (dkms status, mokutil --list-enrolled), then run again"
            )
        if not folder:
            return
        file = self._connection._shell.join_path(self._connection._shell.tmpdir, "state.json")
        with tempfile.NamedTemporaryFile(suffix=".json") as local:
            local.write(json.dumps(document, indent=1, sort_keys=True).encode())
            local.flush()
            self._transfer_file(local.name, file)
        self._python(KEEP, [file, folder])

    def _take(self, claim: HostLock, state: HostState | None) -> None:
        there = state.host_lock if state is not None else None
        replace = there.run_id if there is not None and claims.is_dead(there) else ""
        answer = json.loads(self._python(claims.SCRIPT, claims.arguments("take", claim, replace)))
        other = claims.held_by_other(answer, claim.run_id)
        if other is not None:
            finding = busy_finding(other, time.time())
            raise CudactlError(finding.code, finding.found, remedy=finding.remedy)

    def _ask_apt(self, lock: StackLock, state: HostState) -> HostState:
        names = distribution.missing(lock, state)
        if not names:
            return state
        answer = distribution.answer_of(self._python(distribution.SCRIPT, names))
        return distribution.with_answer(state, answer, names)

    def _interpreter(self) -> str:
        named = str(self._variables.get("ansible_python_interpreter") or "python3")
        return "python3" if named.startswith("auto") else named

    def _python(self, script: str, arguments: list[str]) -> str:
        command = shlex.join([self._interpreter(), "-I", "-S", "-c", script, *arguments])
        return self._execute(command, "a question to the host was not answered")

    def _probe(self) -> dict[str, Any]:
        """Copy the probe to the host's temporary folder, run it there, return its document."""
        folder = self._make_tmp_path()
        remote = self._connection._shell.join_path(folder, "cudactl.pyz")
        with tempfile.NamedTemporaryFile(suffix=".pyz") as local:
            local.write(zipapp.build())
            local.flush()
            self._transfer_file(local.name, remote)
        self._fixup_perms2((folder, remote))
        out = self._execute(
            shlex.join([self._interpreter(), "-I", "-S", remote, "state"]), "the probe failed"
        )
        document: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
        return document

    def _execute(self, command: str, what: str) -> str:
        done = self._low_level_execute_command(command)
        if done["rc"] != 0:
            # With a terminal in between, standard error arrives in standard output.
            said = f"{done.get('stdout') or ''}\n{done.get('stderr') or ''}".strip().splitlines()
            told = [line for line in said if line.strip() and "Shared connection" not in line]
            raise AnsibleActionFail(f"{what}: {told[-1] if told else 'no message'}")
        return str(done["stdout"])


def _claim_of_play(host: str) -> HostLock:
    """Return the claim of a play that no cudactl started: the same in all of its tasks.

    It names this very run of Ansible (tasks run in its children), so that no other one, here or on
    another controller, takes it for its own.
    """
    pid = os.getppid()
    identity = f"{host} {claims.controller_id()} {pid}"
    claim = claims.new_claim(f"ansible-{uuid.uuid5(uuid.NAMESPACE_OID, identity).hex[:8]}")
    return claim.model_copy(update={"pid": pid})
