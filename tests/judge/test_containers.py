"""What the containers leg's verdicts say, and which ways of telling an engine of the GPUs count."""

from __future__ import annotations

from typing import Any

import pytest

from tests.judge.healthy import DRIVER, GPU, value
from tests.judge.verdicts import Document, said

TOOLKIT, RUNTIME, CDI = "containers.toolkit", "containers.runtime", "containers.cdi"
RELOAD, INSIDE = "containers.reload", "containers.gpus"
NONE = {"docker_runtimes": [], "cdi_devices": 0}


def without_gpu(evidence: Document) -> None:
    evidence["state"]["gpus"] = []


def of(check: str, **values: Any) -> tuple[str, str, str, str]:
    return said(check, "nightly", **values)


def test_the_toolkit_that_answers_is_named() -> None:
    assert of(TOOLKIT) == ("PASS", "1.18.0", "1.18.0", "asked /usr/bin/nvidia-ctk")
    assert of(TOOLKIT, version="1.17.0") == (
        "FAIL",
        "1.17.0",
        "1.18.0",
        "/usr/bin/nvidia-ctk answers another version",
    )


def test_a_program_that_nobody_saw_running_belongs_to_nobody() -> None:
    found = of(TOOLKIT, path="/opt/nvidia-ctk")
    assert found[3] == "/opt/nvidia-ctk belongs to nobody"


@pytest.mark.parametrize(
    ("engine", "values", "told"),
    [
        ("docker", {"cdi_devices": 0}, "the runtime nvidia in daemon.json"),
        ("docker", {"docker_runtimes": []}, "3 CDI devices"),
        ("docker", {}, "the runtime nvidia in daemon.json and 3 CDI devices"),
        ("docker", {"docker_runtimes": [], "cdi_devices": 1}, "1 CDI devices"),
        ("containerd", {**NONE, "containerd_nvidia": True}, "the runtime nvidia in config.toml"),
        ("containerd", {"containerd_cdi": True}, "3 CDI devices"),
        ("podman", {**NONE, "podman_hook": True}, "an OCI hook"),
        ("podman", {"docker_runtimes": []}, "3 CDI devices"),
    ],
)
def test_each_engine_is_told_in_its_own_ways(engine: str, values: Document, told: str) -> None:
    engines = ["containerd", "docker", "podman"]
    found = of(RUNTIME, expect={"engine": engine}, engines=engines, **values)
    assert found == ("PASS", "containerd, docker, podman", engine, f"told by {told}")


@pytest.mark.parametrize(
    ("engine", "values"),
    [
        # What another engine was told is not what this one was.
        ("containerd", {"cdi_devices": 0}),
        ("podman", {"cdi_devices": 0, "containerd_nvidia": True}),
        ("docker", {**NONE, "containerd_nvidia": True, "podman_hook": True}),
        # containerd reads CDI only where it is told to.
        ("containerd", {}),
        ("containerd", {"containerd_cdi": "yes"}),
        ("docker", {"docker_runtimes": ["runc"], "cdi_devices": "3"}),
    ],
)
def test_no_engine_is_told_by_what_is_anothers(engine: str, values: Document) -> None:
    engines = ["containerd", "docker", "podman"]
    found = of(RUNTIME, expect={"engine": engine}, engines=engines, **values)
    assert found.status == "FAIL"
    assert found.reason == f"{engine} was never told of NVIDIA's runtime, nor by CDI"


def test_docker_s_broken_configuration_is_no_matter_of_podman_s() -> None:
    broken = {"docker_error": "line 3", "docker_missing": ["/usr/bin/x"]}
    found = of(RUNTIME, expect={"engine": "podman"}, engines=["podman"], **broken)
    assert found.status == "PASS"
    assert of(RUNTIME, **broken).reason == "docker's configuration is no JSON: line 3"
    broken["docker_error"] = ""
    assert of(RUNTIME, **broken).reason == "docker is told of /usr/bin/x, which is not there"


def test_an_engine_that_is_not_there_is_told_beside_those_that_are() -> None:
    assert of(RUNTIME, engines=["podman"])[:3] == ("FAIL", "podman", "docker")
    assert of(RUNTIME, engines=[])[:3] == ("FAIL", "none", "docker")


def test_a_specification_is_needed_only_where_the_engine_goes_by_it() -> None:
    assert of(CDI, specifications=[], expect={"required": True}) == (
        "FAIL",
        "none",
        "a specification",
        "there is none, and the engine needs one",
    )
    assert of(CDI, specifications=[], expect={"required": False}) == (
        "PASS",
        "none",
        "none or a current one",
        "the engine uses NVIDIA's runtime",
    )


def _specification(**values: object) -> Document:
    whole: Document = {
        "path": "/etc/cdi/nvidia.yaml",
        "driver_versions": [DRIVER],
        "device_nodes": ["/dev/nvidia0", "/dev/nvidia1"],
        "missing": [],
    }
    return {**whole, **values}


def test_specifications_are_current_and_name_every_gpu_together() -> None:
    assert of(CDI) == ("PASS", DRIVER, DRIVER, "1 specification")
    halves = [_specification(device_nodes=[f"/dev/nvidia{n}"]) for n in (0, 1)]
    assert of(CDI, specifications=halves) == ("PASS", DRIVER, DRIVER, "2 specifications")
    assert of(CDI, specifications=halves[:1]) == (
        "FAIL",
        DRIVER,
        DRIVER,
        "/dev/nvidia1 is in no specification",
    )


def test_one_specification_that_is_old_or_names_what_is_gone_is_enough() -> None:
    old = _specification(path="/var/run/cdi/old.yaml", driver_versions=["570.1", DRIVER])
    assert of(CDI, specifications=[_specification(), old]) == (
        "FAIL",
        f"570.1, {DRIVER}",
        DRIVER,
        f"/var/run/cdi/old.yaml is for driver 570.1, {DRIVER}, loaded is {DRIVER}",
    )
    gone = _specification(missing=["/usr/bin/gone", "/usr/bin/too"])
    assert of(CDI, specifications=[_specification(), gone]) == (
        "FAIL",
        "/etc/cdi/nvidia.yaml",
        "current",
        "/etc/cdi/nvidia.yaml names /usr/bin/gone, which is not there",
    )


@pytest.mark.parametrize("check", [CDI, RELOAD])
def test_without_a_gpu_it_is_skipped_where_the_lock_says_so(check: str) -> None:
    bad = {"specifications": []} if check == CDI else {"missing_char_links": ["/dev/char/195:0"]}
    expect = {"without_gpu": "the lock names no GPU", "required": True}
    assert of(check, expect=expect, change=without_gpu, **bad) == (
        "SKIP",
        "no GPU",
        "",
        "the lock names no GPU",
    )
    # Where one is, it is looked at; and where the lock promises one, its absence excuses nothing.
    assert of(check, expect=expect, **bad).status == "FAIL"
    assert of(check, expect={**expect, "without_gpu": None}, change=without_gpu, **bad).status == (
        "FAIL"
    )


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        (
            {"missing_char_links": []},
            ("PASS", "links in /dev/char", "systemd finds every device file again"),
        ),
        (
            {"exec_opts": ["native.cgroupdriver=cgroupfs"]},
            ("PASS", "cgroupfs", "systemd does not write the containers' rules"),
        ),
        (
            {"mode": "cdi"},
            ("PASS", "CDI", "the device files are in the containers' own configuration"),
        ),
        (
            {"docker_cdi": True},
            ("PASS", "CDI", "the device files are in the containers' own configuration"),
        ),
        (
            {"exec_opts": ["native.cgroupdriver=systemd"]},
            (
                "FAIL",
                "2 links missing",
                "/dev/char/195:0 is not there: containers lose their GPUs at the next "
                "daemon-reload",
            ),
        ),
        (
            {"cgroup_v2": False},
            (
                "WARN",
                "2 links missing",
                "/dev/char/195:0 is not there: containers lose their GPUs at the next "
                "daemon-reload",
            ),
        ),
    ],
)
def test_what_keeps_containers_their_gpus(values: Document, verdict: tuple[str, str, str]) -> None:
    found = of(RELOAD, **{"missing_char_links": ["/dev/char/195:0", "/dev/char/195:1"], **values})
    assert (found.status, found.measured, found.reason) == verdict
    assert found.expected == "found again"


def test_a_container_sees_the_gpus_before_and_after() -> None:
    assert of(INSIDE) == ("PASS", "2 GPUs", "2 GPUs", "before and after daemon-reload")
    image = "in a container of nvidia/cuda:13.0.2-base-ubuntu24.04"
    alone = {"expect": {"daemon_reload": False}, "after": [], "reloaded": False}
    assert of(INSIDE, **alone) == ("PASS", "2 GPUs", "2 GPUs", image)


def test_what_a_container_sees_instead_is_told() -> None:
    assert of(INSIDE, before=["GPU-x"]) == (
        "FAIL",
        "1 GPUs",
        "2 GPUs",
        "the container sees GPU-x",
    )
    assert of(INSIDE, before=[]).reason == "the container sees none"
    assert of(INSIDE, after=[GPU["id"]]) == (
        "FAIL",
        "1 GPUs",
        "2 GPUs",
        f"after daemon-reload the container sees {GPU['id']}",
    )
    assert of(INSIDE, after=[]).reason == "after daemon-reload the container sees none"


def test_without_the_hosts_own_gpus_there_is_nothing_to_compare_with() -> None:
    found = of(INSIDE, host=[], before=[], after=[])
    assert (found.status, found.reason) == ("ERROR", "the host's GPUs were not measured")


def test_the_order_in_which_gpus_are_listed_does_not_matter() -> None:
    def turned(evidence: Document) -> None:
        value(evidence, INSIDE)["after"].reverse()

    assert of(INSIDE, change=turned).status == "PASS"
