"""What cudactl itself left on the machine, and who else looks after it."""

from __future__ import annotations

import os

from . import TYPE_CHECKING
from .files import Root

if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

PLACES = (
    "/etc/apt/sources.list.d",
    "/etc/apt/preferences.d",
    "/etc/apt/apt.conf.d",
    "/etc/ld.so.conf.d",
    "/etc/profile.d",
    "/etc/modprobe.d",
    "/etc/modules-load.d",
    "/etc/systemd/system/nvidia-persistenced.service.d",
    "/etc/systemd/system/nvidia-fabricmanager.service.d",
    "/etc/systemd/system",
    "/etc/ssh/sshd_config.d",
    "/etc/containerd/conf.d",
    "/etc/cdi",
    "/etc/cudactl",
    "/usr/share/keyrings",
)
STACKS = "/opt/cudactl/stacks"
# A folder whose files are ours whatever their names.
MODULEFILES = "/opt/cudactl/modulefiles/cuda"
HOST_LOCK = "/run/cudactl/host.lock"
CERTIFICATE = "/var/lib/cudactl/certificate.json"
# Who else manages a host → what it leaves there.
OWNERS = {
    "slurm": ("/etc/slurm/slurm.conf", "/run/slurmd.pid", "/var/spool/slurmd"),
    "kubernetes": (
        *("/etc/kubernetes/kubelet.conf", "/var/lib/kubelet/config.yaml"),
        *("/var/lib/rancher/k3s/agent", "/var/lib/rancher/rke2/agent", "/var/snap/microk8s"),
    ),
    "gpu-operator": ("/run/nvidia/driver", "/run/nvidia/validations"),
    "puppet": ("/etc/puppetlabs/puppet/puppet.conf", "/etc/puppet/puppet.conf"),
    "chef": ("/etc/chef/client.rb", "/etc/cinc/client.rb"),
    "salt": ("/etc/salt/minion_id",),
    "cfengine": ("/var/cfengine/policy_server.dat",),
    "ansible-pull": ("/etc/cron.d/ansible-pull", "/etc/systemd/system/ansible-pull.timer"),
}
ENGINES = {
    "docker": ("/usr/bin/dockerd", "/usr/sbin/dockerd"),
    "containerd": ("/usr/bin/containerd",),
    "podman": ("/usr/bin/podman",),
}


def files(root: Root) -> List[Dict[str, Any]]:
    """Return OwnedFile for every cudactl-* file, and for the modulefiles."""
    found = []
    for folder in (*PLACES, MODULEFILES):
        for name in root.list(folder):
            path = "%s/%s" % (folder, name)
            owned = name.startswith("cudactl-") or folder == MODULEFILES
            digest = root.sha256(path) if owned else None
            if digest is not None:
                written = os.stat(root.at(path)).st_mtime
                found.append({"path": path, "sha256": digest, "written": written})
    return found


def stacks(root: Root) -> List[Dict[str, Any]]:
    """Return WheelStack for every folder of stacks, finished or not."""
    found = []
    for name in root.list(STACKS):
        manifest = root.json("%s/%s/manifest.json" % (STACKS, name)) or {}
        wheels = manifest.get("wheels")
        found.append(
            {
                "lock": name,
                "complete": bool(manifest.get("complete")),
                "wheels": wheels if isinstance(wheels, dict) else {},
            }
        )
    return found


def active_stack(root: Root) -> Optional[str]:
    """Return the lock that /opt/cudactl/active points to."""
    target = root.link("/opt/cudactl/active")
    return os.path.basename(target) if target else None


def host_lock(root: Root) -> Optional[Dict[str, Any]]:
    """Return HostLock when a run claims the machine."""
    claim = root.json(HOST_LOCK)
    keys = ("run_id", "who", "controller", "controller_id", "pid", "since", "expires")
    if claim is None or any(key not in claim for key in keys):
        return None
    return {key: claim[key] for key in keys}


def certificate(root: Root) -> Optional[Dict[str, Any]]:
    """Return LastCertificate: the bits of the kept certificate that a plan or gate asks for."""
    kept = root.json(CERTIFICATE)
    keys = ("level", "verdict", "boot_id", "driver", "issued", "expires")
    if kept is None or "lock_hash" not in kept or any(key not in kept for key in keys):
        return None
    return {"lock": kept["lock_hash"], **{key: kept[key] for key in keys}}


def owners(root: Root) -> List[str]:
    """Return who else manages this host."""
    return [who for who, paths in OWNERS.items() if any(root.exists(p) for p in paths)]


def container_engines(root: Root) -> List[str]:
    """Return the container engines that are installed."""
    return [name for name, paths in ENGINES.items() if any(root.exists(p) for p in paths)]
