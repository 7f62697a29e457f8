"""systemd's units that a stack needs or stops: installed, started at boot, running now.

Read from unit folders and control groups, on the machine's own systemd or a container's.
"""

from __future__ import annotations

from . import TYPE_CHECKING
from .files import Root

if TYPE_CHECKING:
    from typing import Any, Dict, List, Set

UNITS = (
    *("nvidia-persistenced.service", "nvidia-fabricmanager.service", "nvidia-imex.service"),
    *("nvlsm.service", "nvidia-dcgm.service", "dcgm.service", "nvidia-gridd.service"),
    *("nvidia-cdi-refresh.path", "nvidia-cdi-refresh.service", "nvidia-mig-manager.service"),
    *("docker.service", "docker.socket", "containerd.service", "crio.service"),
    *("podman.socket", "podman.service"),
    *("unattended-upgrades.service", "apt-daily.timer", "apt-daily-upgrade.timer"),
    *("gdm.service", "gdm3.service", "lightdm.service", "display-manager.service"),
    *("slurmd.service", "kubelet.service"),
)
FOLDERS = (
    *("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system"),
    *("/usr/lib/systemd/system", "/lib/systemd/system"),
)
# NVIDIA's packages for Ubuntu have udev start the persistence daemon when the driver comes.
UDEV = ("/etc/udev/rules.d", "/usr/lib/udev/rules.d", "/lib/udev/rules.d")
# Version 2, the hybrid's version 2, version 1.
HIERARCHIES = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd")


def services(root: Root) -> Dict[str, Dict[str, bool]]:
    """Return unit → ServiceState for those of UNITS that are installed."""
    there: Set[str] = set()
    for folder in FOLDERS:
        if folder != "/lib/systemd/system" or not root.link("/lib"):
            there.update(root.list(folder))
    installed = [unit for unit in UNITS if unit in there]
    if not installed:
        return {}
    starting = _started_at_boot(root)
    groups = _groups(root)
    return {
        unit: {
            "enabled": unit in starting and not _masked(root, unit),
            "active": any(_populated(root, "%s/%s" % (group, unit)) for group in groups),
        }
        for unit in installed
    }


def _masked(root: Root, unit: str) -> bool:
    return any(root.link("%s/%s" % (f, unit)) == "/dev/null" for f in FOLDERS[:2])


def _started_at_boot(root: Root) -> Set[str]:
    """Return the units that another one wants, by links in *.wants and *.requires, or udev."""
    found: Set[str] = set()
    for folder in FOLDERS:
        if folder == "/run/systemd/system" or (folder[:5] == "/lib/" and root.link("/lib")):
            continue
        for name in root.list(folder):
            if name.endswith((".wants", ".requires")):
                found.update(root.list("%s/%s" % (folder, name)))
    for folder in UDEV:
        for name in root.list(folder):
            if "nvidia" in name:
                text = root.text("%s/%s" % (folder, name)) or ""
                wanting = [line for line in text.splitlines() if "SYSTEMD_WANTS" in line]
                found.update(unit for unit in UNITS if any(unit in line for line in wanting))
    return found


def _groups(root: Root) -> List[str]:
    """Return where system.slice's control groups may be, below the first process's own.

    A container that sees its host's hierarchy has them below its own group.
    """
    bases = {""}
    for line in (root.text("/proc/1/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" or names == "name=systemd":
            path = path.rstrip("/")
            if path.endswith("/init.scope"):
                path = path[: -len("/init.scope")]
            if ".." not in path.split("/"):
                bases.add(path)
    return ["%s%s/system.slice" % (h, base) for h in HIERARCHIES for base in sorted(bases)]


def _populated(root: Root, group: str) -> bool:
    """Return whether a control group has processes, its own or in groups below it."""
    events = root.text(group + "/cgroup.events")
    if events is not None:
        return "populated 1" in events
    return bool(root.line(group + "/cgroup.procs"))


def jobs(root: Root, owners: List[str]) -> Dict[str, int]:
    """Return scheduler → jobs (Slurm) or containers with GPUs (Kubernetes) that run here now."""
    found: Dict[str, int] = {}
    if "slurm" in owners:
        running: Set[str] = set()
        for group in _groups(root):
            for name in root.list(group):
                if name.endswith("slurmstepd.scope"):
                    running.update(n for n in root.list("%s/%s" % (group, name)) if _job(n))
        for controller in ("memory", "cpuset", "freezer", "devices"):
            base = "/sys/fs/cgroup/%s/slurm" % controller
            for name in root.list(base):
                if name.startswith("uid_"):
                    running.update(n for n in root.list("%s/%s" % (base, name)) if _job(n))
        found["slurm"] = len(running)
    if "kubernetes" in owners:
        kept: Any = root.json("/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint") or {}
        data = kept.get("Data")
        entries = data.get("PodDeviceEntries") if isinstance(data, dict) else None
        # The checkpoint keeps pods that are gone until the next allocation; their folders go.
        alive = set(root.list("/var/lib/kubelet/pods"))
        found["kubernetes"] = sum(
            str(one.get("ResourceName", "")).startswith("nvidia.com/")
            and str(one.get("PodUID")) in alive
            for one in (entries if isinstance(entries, list) else [])
            if isinstance(one, dict)
        )
    return found


def _job(name: str) -> bool:
    return name.startswith("job_") and name[4:].isdigit()
