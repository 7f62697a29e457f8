"""Containers on a host whose lock holds the toolkit and whose spec says docker."""

from __future__ import annotations

from typing import Any

from cudactl.certify.builder import PolicyBuilder
from cudactl.certify.expectations.containers import expect_containers
from cudactl.contracts.lock import LockedPackage
from tests.judge.healthy import DRIVER, GPU, add_leg, apt_lock, library, value
from tests.judge.red import Evidence, Red, error, library_is, outcome, put, unmeasured

TOOLKIT, RUNTIME, CDI = "containers.toolkit", "containers.runtime", "containers.cdi"
RELOAD, INSIDE = "containers.reload", "containers.gpus"
PACKAGE = "nvidia-container-toolkit"
CTK = "/usr/bin/nvidia-ctk"
FILE = "/etc/cdi/nvidia.yaml"


def _package(name: str) -> LockedPackage:
    return LockedPackage.model_validate(
        {
            "name": name,
            "version": "1.18.0-1",
            "arch": "amd64",
            "sha256": "ab" * 32,
            "size": 1,
            "source": "nvidia",
            "component": "container_toolkit",
            "filename": f"./{name}.deb",
            "why": "a fixture",
        }
    )


def policy(document: dict[str, Any]) -> None:
    """At night the host's lock holds the container toolkit, and an image was named."""
    if document["tier"] != "nightly":
        return
    lock = apt_lock(("H200 SXM",))
    spec = lock.spec.model_copy(update={"container_runtime": "docker"})
    packages = [*lock.packages, _package(PACKAGE), _package(f"{PACKAGE}-base")]
    builder = PolicyBuilder(lock.model_copy(update={"spec": spec, "packages": packages}), "nightly")
    expect_containers(builder)
    document["expectations"] += [one.model_dump(mode="json") for one in builder.expectations]
    inside = {"daemon_reload": True}
    document["expectations"].append({"check": INSIDE, "expect": inside, "source": "asked for"})
    document["request"]["legs"]["containers"] = builder.legs["containers"]
    document["legs"] = sorted([*document["legs"], "containers"])
    for one in document["expectations"]:
        if one["check"] == "stack.libraries":
            one["expect"]["owners"].append(f"{PACKAGE}-base")


def nightly(evidence: Evidence) -> None:
    """Docker by runtime and CDI, everything current."""
    gpus = [GPU["id"], "GPU-c0dac711-0000-4000-8000-000000000002"]
    specification = {
        "path": FILE,
        "kind": "nvidia.com/gpu",
        "version": "0.5.0",
        "devices": ["0", "1", "all"],
        "driver_versions": [DRIVER],
        "device_nodes": ["/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl"],
        "missing": [],
    }
    add_leg(
        evidence,
        "containers",
        {
            TOOLKIT: {"path": CTK, "version": "1.18.0", "mapped": [CTK]},
            RUNTIME: {
                "engines": ["docker", "containerd"],
                "docker_runtimes": ["nvidia"],
                "docker_missing": [],
                "docker_error": None,
                "containerd_nvidia": False,
                "containerd_cdi": False,
                "podman_hook": False,
                "cdi_devices": 3,
            },
            CDI: {
                "specifications": [specification],
                "loaded": DRIVER,
                "gpus": ["/dev/nvidia0", "/dev/nvidia1"],
            },
            RELOAD: {
                "missing_char_links": [],
                "cgroup_v2": True,
                "exec_opts": [],
                "docker_cdi": False,
                "mode": "auto",
            },
            INSIDE: {
                "engine": "docker",
                "image": "nvidia/cuda:13.0.2-base-ubuntu24.04",
                "host": list(gpus),
                "before": list(gpus),
                "after": list(gpus),
                "reloaded": True,
            },
        },
        [library(CTK, f"{PACKAGE}-base")],
    )


def _specification(**values: Any) -> Any:
    return lambda e: value(e, CDI)["specifications"][0].update(values)


RED: list[Red] = [
    Red(TOOLKIT, "another version", "nightly", put(TOOLKIT, version="1.17.0"), "another version"),
    Red(
        TOOLKIT,
        "it does not answer",
        "nightly",
        error(TOOLKIT, "nvidia-ctk: exit status 1", version=None),
        "exit status 1",
    ),
    Red(
        TOOLKIT,
        "a copy of somebody's",
        "nightly",
        library_is("nvidia-ctk", package=None),
        "belongs to nobody",
        also=("stack.libraries",),
    ),
    Red(TOOLKIT, "not asked", "nightly", unmeasured(TOOLKIT), "measured no", status="ERROR"),
    Red(RUNTIME, "not installed", "nightly", put(RUNTIME, engines=["podman"]), "not installed"),
    Red(
        RUNTIME,
        "never told",
        "nightly",
        put(RUNTIME, docker_runtimes=[], cdi_devices=0),
        "never told of NVIDIA's runtime",
    ),
    Red(
        RUNTIME,
        "told of a program that is gone",
        "nightly",
        put(RUNTIME, docker_missing=["/usr/bin/nvidia-container-runtime"]),
        "which is not there",
    ),
    Red(RUNTIME, "no JSON", "nightly", put(RUNTIME, docker_error="line 3"), "is no JSON"),
    Red(
        CDI,
        "from before the driver update",
        "nightly",
        _specification(driver_versions=["580.82.07"]),
        "is for driver 580.82.07, loaded is 580.95.05",
    ),
    Red(
        CDI,
        "names a file that is gone",
        "nightly",
        _specification(missing=["/usr/lib/x86_64-linux-gnu/libcuda.so.580.82.07"]),
        "which is not there",
    ),
    Red(
        CDI,
        "does not know the second GPU",
        "nightly",
        _specification(device_nodes=["/dev/nvidia0"]),
        "/dev/nvidia1 is in no specification",
    ),
    Red(
        CDI,
        "names no driver",
        "nightly",
        _specification(driver_versions=[]),
        "its age cannot be told",
        status="ERROR",
    ),
    Red(
        RELOAD,
        "no links in /dev/char",
        "nightly",
        put(RELOAD, missing_char_links=["/dev/char/195:255"]),
        "lose their GPUs at the next daemon-reload",
    ),
    Red(
        RELOAD,
        "no links in /dev/char, with cgroup v1",
        "nightly",
        put(RELOAD, missing_char_links=["/dev/char/195:255"], cgroup_v2=False),
        "lose their GPUs at the next daemon-reload",
        status="WARN",
    ),
    Red(RELOAD, "not looked at", "nightly", unmeasured(RELOAD), "measured no", status="ERROR"),
    Red(INSIDE, "sees one GPU", "nightly", put(INSIDE, before=[GPU["id"]]), "the container sees"),
    Red(
        INSIDE,
        "loses them by daemon-reload",
        "nightly",
        put(INSIDE, after=[]),
        "after daemon-reload the container sees none",
    ),
    Red(
        INSIDE,
        "does not start",
        "nightly",
        error(INSIDE, "could not select device driver", before=None),
        "could not select device driver",
    ),
    Red(
        INSIDE,
        "systemd was not reloaded",
        "nightly",
        put(INSIDE, reloaded=False),
        "systemd was not reloaded",
        status="ERROR",
    ),
    Red(
        "containers.ran",
        "hangs",
        "nightly",
        outcome("containers", "timeout", "no end within 60 s"),
        "no end within 60 s",
    ),
]
