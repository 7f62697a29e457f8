"""Kubernetes: cordon nodes in our name, drain them within their disruption budgets, uncordon ours.

Cordoning and our annotation go into the node in one patch that names the resource version which was
read before (optimistic concurrency): when somebody else changed the node in between, the API server
refuses it and we look again. So a cordon is never taken over. Source of commands and flags:
https://kubernetes.io/docs/reference/kubectl/generated/kubectl_drain/ and kubectl_patch/.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from subprocess import CompletedProcess
from typing import Any, Literal

from cudactl.contracts.errors import CudactlError, UnreachableError
from cudactl.reach.service import ANSWER_S, Standing, ask

ANNOTATION = "cudactl/rollout"
"""Annotation of a node that we cordoned; its value is the rollout's name."""
TRIES = 5
"""How often a patch is tried again when the node changes under it (a kubelet reports, say)."""


class Kubernetes:
    """Nodes of the cluster that `kubectl` talks to (KUBECONFIG as the user has it)."""

    name: Literal["none", "slurm", "kubernetes"] = "kubernetes"

    def __init__(self, ours: str, *, delete_emptydir: bool = False) -> None:
        """Keep how we are called.

        Args:
            ours: Value of the annotation on nodes that we cordon.
            delete_emptydir: Evict pods that have local data, which is lost with them.
        """
        self._ours = ours
        self._delete_emptydir = delete_emptydir

    def standings(self, nodes: Sequence[str]) -> dict[str, Standing]:
        """Return how nodes stand."""
        if not nodes:
            return {}
        documents = self._get(nodes)
        return {n["metadata"]["name"]: self._standing(n) for n in documents}

    def _get(self, nodes: Sequence[str]) -> list[dict[str, Any]]:
        done = _run(["kubectl", "get", "nodes", *nodes, "--ignore-not-found", "--output=json"])
        if done.returncode != 0:
            raise _silent(done.stderr)
        if not done.stdout.strip():
            return []
        try:
            document = json.loads(done.stdout)
        except ValueError:
            raise _silent(f"no JSON: {done.stdout[:100]}") from None
        items = document["items"] if document.get("kind") == "List" else [document]
        return list(items)

    def _standing(self, node: dict[str, Any]) -> Standing:
        cordoned = bool(node.get("spec", {}).get("unschedulable"))
        owner = (node["metadata"].get("annotations") or {}).get(ANNOTATION)
        conditions = node.get("status", {}).get("conditions") or []
        ready = next((c for c in conditions if c.get("type") == "Ready"), None)
        if cordoned:
            why = f"cordoned by {owner}" if owner else "cordoned by somebody"
            return Standing(in_service=False, ours=owner == self._ours, why=why)
        if ready is not None and ready.get("status") != "True":
            said = ready.get("message") or ready.get("reason") or "not ready"
            return Standing(in_service=False, why=f"not ready: {said}")
        return Standing(in_service=True)

    def withdraw(self, node: str) -> None:
        """Cordon a node that is in service and annotate it, in one step."""
        for _ in range(TRIES):
            now = self._one(node)
            standing = self._standing(now)
            if standing.ours or not standing.in_service:
                return  # the caller looks whose it is
            patch = {
                "metadata": {
                    "resourceVersion": now["metadata"]["resourceVersion"],
                    "annotations": {ANNOTATION: self._ours},
                },
                "spec": {"unschedulable": True},
            }
            if self._patched(node, patch):
                return
        raise _silent(f"{node} changed each time it was to be cordoned")

    def give_back(self, node: str) -> bool:
        """Uncordon a node that we cordoned and take our annotation away, in one step."""
        for _ in range(TRIES):
            now = self._one(node)
            if (now["metadata"].get("annotations") or {}).get(ANNOTATION) != self._ours:
                return False
            patch = {
                "metadata": {
                    "resourceVersion": now["metadata"]["resourceVersion"],
                    "annotations": {ANNOTATION: None},
                },
                "spec": {"unschedulable": None},
            }
            if self._patched(node, patch):
                return True
        raise _silent(f"{node} changed each time it was to be uncordoned")

    def still_there(self, node: str, wait_s: float) -> str | None:
        """Evict the node's pods, waiting `wait_s` seconds; return what is left, or None."""
        command = [
            "kubectl",
            "drain",
            node,
            "--ignore-daemonsets",
            f"--timeout={max(1, wait_s):.0f}s",
        ]
        command += ["--delete-emptydir-data"] if self._delete_emptydir else []
        done = _run(command, deadline_s=wait_s + ANSWER_S)
        if done.returncode == 0:
            return None
        return _last_complaint(done.stderr)

    def remark(self, node: str, code: str) -> None:
        """The annotation says whose it is; the report says why."""

    def _one(self, node: str) -> dict[str, Any]:
        found = self._get([node])
        if not found:
            raise CudactlError(
                "KUBERNETES-NO-NODE",
                f"the cluster has no node {node}",
                expected="a node of that name",
                remedy="say its name in the inventory variable cudactl_kubernetes_node",
            )
        return found[0]

    def _patched(self, node: str, patch: dict[str, Any]) -> bool:
        """Patch a node; False: somebody else changed it first."""
        text = json.dumps(patch, sort_keys=True)
        done = _run(["kubectl", "patch", "node", node, "--type=merge", f"--patch={text}"])
        if done.returncode == 0:
            return True
        if "Conflict" in done.stderr or "the object has been modified" in done.stderr:
            return False
        if "Forbidden" in done.stderr or "forbidden" in done.stderr:
            raise CudactlError(
                "KUBERNETES-NOT-ALLOWED",
                f"{node}: kubectl patch: {' '.join(done.stderr.split())[:300]}",
                expected="an account that may patch nodes and evict pods",
                remedy="grant get and patch on nodes, list on pods, create on pods/eviction",
            )
        raise _silent(done.stderr)


def _last_complaint(said: str) -> str:
    """Return the reason in kubectl's words; the retries before it say the same many times."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    blocked = [line for line in lines if "disruption budget" in line]
    errors = [line for line in lines if line.lower().startswith(("error", "cannot", "there are"))]
    chosen = blocked or errors or lines or ["kubectl drain failed and said nothing"]
    return " ".join(chosen[-1].split())[:300]


def _run(command: list[str], deadline_s: float = ANSWER_S) -> CompletedProcess[str]:
    return ask(
        command,
        engine="Kubernetes",
        code="KUBERNETES",
        remedy="install kubectl here, with a kubeconfig that may patch nodes; or say --engine none "
        "where nobody schedules these hosts",
        deadline_s=deadline_s,
    )


def _silent(said: str) -> UnreachableError:
    return UnreachableError(
        "KUBERNETES-SILENT",
        f"kubectl said: {' '.join(said.split())[:300] or 'nothing'}",
        expected="an answer of the API server",
        remedy="see whether the cluster answers: kubectl get nodes; the rollout tries again",
    )
