"""Kubernetes through kubectl: cordon in our name, drain within budgets, uncordon only ours.

No cluster can be had here: kubectl is a double that keeps nodes in a file, speaks kubectl's words
and refuses flags that kubectl does not document. Where a real kubectl is installed, its own help is
asked whether the flags are right.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cudactl.contracts.errors import CudactlError, UnreachableError
from cudactl.reach import kubernetes
from cudactl.reach.kubernetes import ANNOTATION, Kubernetes

ID = "20260101-0000-test"
REAL = shutil.which("kubectl")


class Cluster:
    """The double's nodes and calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        program = folder / "kubectl"
        shutil.copy(Path(__file__).with_name("fake_kubectl.py"), program)
        program.chmod(0o755)
        self.write({"nodes": {}, "pods": {}, "faults": {}})

    def write(self, document: dict[str, Any]) -> None:
        (self.folder / "cluster.json").write_text(json.dumps(document))

    def read(self) -> dict[str, Any]:
        return json.loads((self.folder / "cluster.json").read_text())

    def node(self, name: str) -> dict[str, Any]:
        return self.read()["nodes"][name]

    def add(self, name: str, **spec: Any) -> None:
        document = self.read()
        document["nodes"][name] = {
            "kind": "Node",
            "metadata": {"name": name, "resourceVersion": "7", "annotations": {"site": "a"}},
            "spec": spec,
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }
        self.write(document)

    def change(self, **values: Any) -> None:
        document = self.read()
        for key, value in values.items():
            document[key].update(value)
        self.write(document)

    @property
    def calls(self) -> list[list[str]]:
        path = self.folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster(tmp_path)
    made.add("k1")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return made


def test_a_node_is_cordoned_in_our_name_and_returned_as_it_was(cluster: Cluster) -> None:
    service = Kubernetes(ID)
    assert service.standings(["k1"])["k1"].in_service
    service.withdraw("k1")
    standing = service.standings(["k1"])["k1"]
    assert (standing.in_service, standing.ours) == (False, True)
    assert service.still_there("k1", 0.1) is None
    assert service.give_back("k1")
    node = cluster.node("k1")
    assert not node["spec"].get("unschedulable")
    assert node["metadata"]["annotations"] == {"site": "a"}


def test_a_node_that_somebody_else_cordoned_is_never_uncordoned(cluster: Cluster) -> None:
    cluster.add("k1", unschedulable=True)
    service = Kubernetes(ID)
    standing = service.standings(["k1"])["k1"]
    assert (standing.in_service, standing.ours) == (False, False)
    service.withdraw("k1")
    assert not service.give_back("k1")
    assert cluster.node("k1")["spec"] == {"unschedulable": True}
    assert ANNOTATION not in cluster.node("k1")["metadata"]["annotations"]


def test_a_cordon_that_comes_between_looking_and_cordoning_stays_theirs(cluster: Cluster) -> None:
    cluster.change(faults={"races": [{"spec": {"unschedulable": True}}]})
    service = Kubernetes(ID)
    service.withdraw("k1")
    assert not service.standings(["k1"])["k1"].ours
    assert not service.give_back("k1")
    assert cluster.node("k1")["spec"] == {"unschedulable": True}


def test_a_node_that_reports_in_between_is_cordoned_all_the_same(cluster: Cluster) -> None:
    cluster.change(faults={"races": [{"status": {"beat": 1}}, {"status": {"beat": 2}}]})
    service = Kubernetes(ID)
    service.withdraw("k1")
    assert service.standings(["k1"])["k1"].ours


def test_another_rollouts_cordon_is_not_ours(cluster: Cluster) -> None:
    Kubernetes("20260101-0000-else").withdraw("k1")
    service = Kubernetes(ID)
    standing = service.standings(["k1"])["k1"]
    assert not standing.ours
    assert "20260101-0000-else" in standing.why
    assert not service.give_back("k1")


def test_a_disruption_budget_holds_the_node_and_is_named(cluster: Cluster) -> None:
    cluster.change(pods={"k1": [{"name": "trainer-0", "budget": True}, {"name": "web"}]})
    service = Kubernetes(ID)
    service.withdraw("k1")
    left = service.still_there("k1", 0.1)
    assert left is not None
    assert "trainer-0" in left
    assert "disruption budget" in left
    assert [p["name"] for p in cluster.read()["pods"]["k1"]] == ["trainer-0"]


def test_daemon_sets_stay_and_hold_nobody(cluster: Cluster) -> None:
    cluster.change(pods={"k1": [{"name": "device-plugin", "daemonset": True}]})
    assert Kubernetes(ID).still_there("k1", 0.1) is None


def test_local_data_is_not_lost_unless_that_was_asked_for(cluster: Cluster) -> None:
    cluster.change(pods={"k1": [{"name": "cache-0", "emptydir": True}]})
    left = Kubernetes(ID).still_there("k1", 0.1)
    assert left is not None
    assert "default/cache-0" in left
    assert "--delete-emptydir-data" in left
    assert Kubernetes(ID, delete_emptydir=True).still_there("k1", 0.1) is None


def test_nothing_is_ever_forced(cluster: Cluster) -> None:
    service = Kubernetes(ID, delete_emptydir=True)
    service.withdraw("k1")
    service.still_there("k1", 2.0)
    service.give_back("k1")
    flags = {part for call in cluster.calls for part in call if part.startswith("--")}
    assert not flags & {"--force", "--disable-eviction", "--grace-period=0"}
    assert ["drain", "k1", "--ignore-daemonsets", "--timeout=2s", "--delete-emptydir-data"] in (
        cluster.calls
    )


def test_a_node_that_is_not_ready_is_out_of_service_and_says_why(cluster: Cluster) -> None:
    document = cluster.read()
    condition = {"type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting"}
    document["nodes"]["k1"]["status"]["conditions"] = [condition]
    cluster.write(document)
    standing = Kubernetes(ID).standings(["k1"])["k1"]
    assert not standing.in_service
    assert "Kubelet stopped posting" in standing.why


def test_several_nodes_are_asked_for_at_once(cluster: Cluster) -> None:
    cluster.add("k2", unschedulable=True)
    standings = Kubernetes(ID).standings(["k1", "k2", "nowhere"])
    assert {name: s.in_service for name, s in standings.items()} == {"k1": True, "k2": False}
    assert len(cluster.calls) == 1


def test_a_node_that_is_not_there_is_told(cluster: Cluster) -> None:
    with pytest.raises(CudactlError) as missing:
        Kubernetes(ID).withdraw("nowhere")
    assert missing.value.code == "KUBERNETES-NO-NODE"


@pytest.mark.parametrize("verb", ["get", "patch"])
def test_a_silent_api_server_is_could_not_reach(cluster: Cluster, verb: str) -> None:
    cluster.change(faults={verb: "down"})
    with pytest.raises(UnreachableError) as silent:
        Kubernetes(ID).withdraw("k1")
    assert silent.value.code == "KUBERNETES-SILENT"


def test_a_call_that_hangs_is_ended(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.change(faults={"drain": "hangs"})
    monkeypatch.setattr(kubernetes, "ANSWER_S", 0.3)
    with pytest.raises(UnreachableError):
        Kubernetes(ID).still_there("k1", 0.1)


def test_an_account_that_may_not_is_told_what_it_needs(cluster: Cluster) -> None:
    cluster.change(faults={"patch": "forbidden"})
    with pytest.raises(CudactlError) as refused:
        Kubernetes(ID).withdraw("k1")
    assert refused.value.code == "KUBERNETES-NOT-ALLOWED"
    assert "pods/eviction" in refused.value.remedy


def test_a_controller_without_kubectl_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CudactlError) as missing:
        Kubernetes(ID).standings(["k1"])
    assert missing.value.code == "KUBERNETES-NO-CLIENT"


@pytest.mark.skipif(REAL is None, reason="no kubectl is installed to ask")
@pytest.mark.parametrize(
    ("verb", "flags"),
    [
        ("get", {"--ignore-not-found", "--output"}),
        ("patch", {"--type", "--patch"}),
        ("drain", {"--ignore-daemonsets", "--delete-emptydir-data", "--timeout"}),
    ],
)
def test_a_real_kubectl_knows_every_flag(verb: str, flags: set[str]) -> None:
    told = subprocess.run([str(REAL), verb, "--help"], capture_output=True, text=True, check=True)
    known = set(re.findall(r"(--[a-z-]+)=", told.stdout))
    assert flags <= known
