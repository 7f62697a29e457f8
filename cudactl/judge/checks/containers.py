"""containers: the toolkit, the engine that was told of it, a current picture of the GPUs."""

from __future__ import annotations

from typing import Any, List, Optional

from ..context import Answer, Context, Unmeasured, entries, text
from .registry import Values, check, failed, passed


@check(
    "containers.toolkit",
    "containers",
    "nvidia-ctk answers the locked version of the NVIDIA Container Toolkit",
    needs=("path", "version"),
)
def containers_toolkit(context: Context, values: Values, expect: Values) -> Answer:
    version, wanted, path = text(values, "version"), str(expect["version"]), text(values, "path")
    if version != wanted:
        return failed(version, wanted, "%s answers another version" % path)
    known = context.library(path)
    if known is None or known.get("package") not in expect["owners"]:
        owner = (known or {}).get("package") or "nobody"
        return failed(version, wanted, "%s belongs to %s" % (path, owner))
    return passed(version, wanted, "asked %s" % path)


def _without(context: Context, expect: Values) -> Optional[Answer]:
    if expect.get("without_gpu") and not context.gpus:
        return "SKIP", "no GPU", "", str(expect["without_gpu"])
    return None


@check(
    "containers.runtime",
    "containers",
    "The lock's container engine is there and was told of the GPUs",
    needs=("engines", "docker_runtimes", "cdi_devices"),
)
def containers_runtime(context: Context, values: Values, expect: Values) -> Answer:
    engine = str(expect["engine"])
    engines = [str(one) for one in entries(values, "engines")]
    found = ", ".join(engines) or "none"
    if engine not in engines:
        return failed(found, engine, "%s is not installed" % engine)
    if values.get("docker_error") and engine == "docker":
        return failed(
            found, engine, "docker's configuration is no JSON: %s" % values["docker_error"]
        )
    missing = entries(values, "docker_missing")
    if engine == "docker" and missing:
        return failed(found, engine, "docker is told of %s, which is not there" % missing[0])
    ways = []
    if engine == "docker" and "nvidia" in entries(values, "docker_runtimes"):
        ways.append("the runtime nvidia in daemon.json")
    if engine == "containerd" and values.get("containerd_nvidia"):
        ways.append("the runtime nvidia in config.toml")
    if engine == "podman" and values.get("podman_hook"):
        ways.append("an OCI hook")
    devices = values["cdi_devices"]
    by_cdi = engine != "containerd" or values.get("containerd_cdi") is True
    if isinstance(devices, int) and devices > 0 and by_cdi:
        ways.append("%d CDI devices" % devices)
    if not ways:
        return failed(found, engine, "%s was never told of NVIDIA's runtime, nor by CDI" % engine)
    return passed(found, engine, "told by " + " and ".join(ways))


@check(
    "containers.cdi",
    "containers",
    "The CDI specifications describe the loaded driver and the device files that are there",
    needs=("specifications",),
)
def containers_cdi(context: Context, values: Values, expect: Values) -> Answer:
    without = _without(context, expect)
    if without is not None:
        return without
    specifications = entries(values, "specifications")
    if not specifications:
        if expect.get("required"):
            return failed("none", "a specification", "there is none, and the engine needs one")
        return passed("none", "none or a current one", "the engine uses NVIDIA's runtime")
    loaded = text(values, "loaded")
    listed: "set[str]" = set()
    for one in specifications:
        path = text(one, "path")
        gone = entries(one, "missing")
        if gone:
            return failed(path, "current", "%s names %s, which is not there" % (path, gone[0]))
        versions = [str(v) for v in entries(one, "driver_versions")]
        if not versions:
            raise Unmeasured("%s names no driver library, so its age cannot be told" % path)
        if versions != [loaded]:
            reason = "%s is for driver %s, loaded is %s" % (path, ", ".join(versions), loaded)
            return failed(", ".join(versions), loaded, reason)
        listed.update(str(p) for p in entries(one, "device_nodes"))
    left_out = sorted({str(p) for p in entries(values, "gpus")} - listed)
    if left_out:
        return failed(loaded, loaded, "%s is in no specification" % left_out[0])
    count = len(specifications)
    return passed(loaded, loaded, "%d specification%s" % (count, "s" * (count > 1)))


@check(
    "containers.reload",
    "containers",
    "Running containers keep their GPUs over 'systemctl daemon-reload'",
    needs=("missing_char_links", "cgroup_v2"),
)
def containers_reload(context: Context, values: Values, expect: Values) -> Answer:
    """Judge by what makes them lose it: systemd finds device files only by /dev/char."""
    without = _without(context, expect)
    if without is not None:
        return without
    wanted = "found again"
    missing = entries(values, "missing_char_links")
    if not missing:
        return passed("links in /dev/char", wanted, "systemd finds every device file again")
    if "native.cgroupdriver=cgroupfs" in entries(values, "exec_opts"):
        return passed("cgroupfs", wanted, "systemd does not write the containers' rules")
    if values.get("mode") == "cdi" or values.get("docker_cdi") is True:
        return passed("CDI", wanted, "the device files are in the containers' own configuration")
    reason = "%s is not there: containers lose their GPUs at the next daemon-reload" % missing[0]
    found = "%d links missing" % len(missing)
    if values["cgroup_v2"] is True:
        return failed(found, wanted, reason)
    # With cgroup v1 docker's own driver is the default, and systemd writes nothing.
    return "WARN", found, wanted, reason


@check(
    "containers.gpus",
    "containers",
    "A container sees exactly the host's GPUs, and still does after 'systemctl daemon-reload'",
    needs=("host", "before"),
    level="execution",
)
def containers_gpus(context: Context, values: Values, expect: Values) -> Answer:
    host, before = _uuids(values, "host"), _uuids(values, "before")
    wanted = "%d GPUs" % len(host)
    if not host:
        raise Unmeasured("the host's GPUs were not measured")
    if before != host:
        reason = "the container sees %s" % (", ".join(before) or "none")
        return failed("%d GPUs" % len(before), wanted, reason)
    if not expect.get("daemon_reload"):
        return passed(wanted, wanted, "in a container of %s" % text(values, "image"))
    if values.get("reloaded") is not True:
        raise Unmeasured("systemd was not reloaded")
    after = _uuids(values, "after")
    if after != host:
        reason = "after daemon-reload the container sees %s" % (", ".join(after) or "none")
        return failed("%d GPUs" % len(after), wanted, reason)
    return passed(wanted, wanted, "before and after daemon-reload")


def _uuids(values: Values, key: str) -> List[Any]:
    return sorted(str(one) for one in entries(values, key))
