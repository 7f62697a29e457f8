"""Containers: the lock's toolkit, the engine of its spec, a current picture of the GPUs."""

from __future__ import annotations

from typing import Any

from cudactl.certify.builder import PolicyBuilder
from cudactl.certify.layout import three
from cudactl.contracts.certificate import Expectation, Policy


def expect_containers(policy: PolicyBuilder) -> None:
    """Add what the lock promises of containers."""
    package = policy.layout.first("nvidia-container-toolkit")
    if package is None or not policy.wants("containers"):
        return
    source = f"lock {package.name}"
    measured = ("docker", "containerd", "podman")
    engine = next((one for one in policy.lock.spec.engines if one in measured), None)
    policy.ask("containers", engine=engine or "docker")
    owners = [p.name for p in policy.lock.packages if p.name.startswith("nvidia-container-toolkit")]
    expect = {"version": three(package.version), "owners": owners}
    policy.expect("containers.toolkit", expect, source)
    without = {"without_gpu": policy.without_gpu} if policy.without_gpu else {}
    policy.expect("containers.cdi", {"required": engine == "podman", **without}, source)
    if engine is not None:
        policy.expect("containers.runtime", {"engine": engine}, "spec container_runtime")
    if engine == "docker":
        policy.expect("containers.reload", dict(without), "spec container_runtime")


def with_image(policy: Policy, image: str, *, daemon_reload: bool = False) -> Policy:
    """Return the policy with a container of `image` to be run on the host.

    Args:
        policy: A policy.
        image: An image that is on the host and has nvidia-smi; nothing is pulled.
        daemon_reload: Reload systemd while it runs; needs root.
    """
    request: dict[str, Any] = {**policy.request, "legs": dict(policy.request["legs"])}
    leg = request["legs"].get("containers", {"deadline_s": 60.0, "libraries": {}})
    # Starting, asking twice and ending a container takes longer than reading files.
    leg = {**leg, "deadline_s": 180.0, "image": image, "daemon_reload": daemon_reload}
    request["legs"]["containers"] = leg
    expectation = Expectation(
        check="containers.gpus", expect={"daemon_reload": daemon_reload}, source="asked for"
    )
    return policy.model_copy(
        update={
            "legs": sorted({*policy.legs, "containers"}),
            "request": request,
            "expectations": [*policy.expectations, expectation],
        }
    )
