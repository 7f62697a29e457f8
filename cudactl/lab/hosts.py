"""The lab's hosts: disposable machines with systemd and sshd, as many as wanted, gone when done.

`up` makes what is missing, `status` tells what is there, `down` removes. Docker's labels are the
only truth about hosts; labs in different folders ($CUDACTL_LAB_DIR) never see each other.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cudactl.lab import bases, mirror_service, network
from cudactl.lab.access import write_access
from cudactl.lab.bases import BaseImage
from cudactl.lab.engine import (
    LABEL_BASE,
    LABEL_HOST_KEY,
    LABEL_LAB,
    LABEL_LOOK_ALIKE,
    LABEL_NAME,
    LabError,
    connect,
    engine_errors,
    raise_inotify,
)
from cudactl.lab.layout import (
    Folder,
    HostRequest,
    Lab,
    LabHost,
    MirrorState,
    lab_folder,
    make_key,
)

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

__all__ = ["HostRequest", "Lab", "LabHost", "down", "status", "up"]

AT_ONCE = 4
"""Hosts that are made at the same time; CPU is the limit."""


def up(requests: Sequence[HostRequest], *, mirror: bool = True, say: Callable[[str], None]) -> Lab:
    """Make the hosts that are missing, start those that are stopped, and wait until all are up."""
    folder = lab_folder()
    client = connect()
    with folder.changing():
        wanted = _named(requests)
        there = {host.name: host for host in _hosts(client, folder)}
        for name, base in wanted.items():
            if name in there and there[name].base != base:
                raise LabError(
                    "LAB-HOST-OTHER-BASE",
                    f"host {name} is there already, as {there[name].title}",
                    expected=base,
                    remedy=f"cudactl lab down {name}, or ask for another name",
                )
        missing = {name: base for name, base in wanted.items() if name not in there}
        images = bases.ensure(client, list(missing.values()), say=say)
        public_key = folder.public_key()
        subnet = network.ensure(client, folder)
        taken = [host.address for host in there.values()]
        addresses = dict(zip(missing, subnet.free(taken, len(missing)), strict=True))
        if missing:
            say(f"starting {len(missing)} host{'s' * (len(missing) > 1)}: {', '.join(missing)}")

        def make(name: str) -> None:
            _create(client, folder, images[missing[name]], name, addresses[name], public_key)

        raise_inotify(len(there) + len(missing), say=say)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(make, missing))
            hosts = [host for host in _hosts(client, folder) if host.name in wanted]
            list(pool.map(lambda host: _bring_up(client, host), hosts))
        serving = mirror_service.recorded(folder)
        if mirror:
            serving = mirror_service.start(folder, subnet.gateway, say=say)
        return _write(client, folder, serving)


def status() -> Lab:
    """Return the lab as it stands, without changing anything."""
    folder = lab_folder()
    client = connect()
    return Lab(
        files=folder,
        hosts=tuple(_hosts(client, folder)),
        gateway=network.gateway(client, folder),
        mirror=mirror_service.recorded(folder),
    )


def down(names: Sequence[str] | None = None, *, images: bool = False) -> list[str]:
    """Remove the named hosts, or the whole lab; return what was removed. Safe to run twice."""
    folder = lab_folder()
    client = connect()
    with folder.changing():
        doomed = {
            container.labels[LABEL_NAME]: container
            for container in _containers(client, folder)
            if names is None or container.labels[LABEL_NAME] in names
        }
        with engine_errors("removing hosts"), ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda container: container.remove(force=True, v=True), doomed.values()))
        removed = sorted(doomed)
        if names is not None:
            if removed:
                _write(client, folder, mirror_service.recorded(folder))
            return removed
        mirror_service.stop(folder, remove=True)
        network.remove(client, folder)
        folder.clear()
        if images:
            removed += bases.remove_all(client)
    return removed


def _named(requests: Sequence[HostRequest]) -> dict[str, str]:
    """Return name → base; requests without a name take BASE-1, BASE-2 … in their order."""
    wanted: dict[str, str] = {}
    unnamed: Counter[str] = Counter()
    for request in requests:
        name = request.name
        if name is None:
            unnamed[request.base] += 1
            name = f"{request.base.replace('.', '')}-{unnamed[request.base]}"
        if wanted.setdefault(name, request.base) != request.base:
            raise LabError(
                "LAB-NAME-TWICE",
                f"host {name} is wished for as {wanted[name]} and as {request.base}",
                remedy="give each host a name of its own",
            )
    return wanted


def _containers(client: DockerClient, folder: Folder) -> list[Container]:
    return client.containers.list(
        all=True, filters={"label": f"{LABEL_LAB}={folder.lab_id}"}, ignore_removed=True
    )


def _hosts(client: DockerClient, folder: Folder) -> list[LabHost]:
    with engine_errors("listing hosts"):
        hosts = [_host(container, folder) for container in _containers(client, folder)]
    return sorted(hosts, key=lambda host: [int(part) for part in host.address.split(".")])


def _host(container: Container, folder: Folder) -> LabHost:
    endpoint = container.attrs["NetworkSettings"]["Networks"].get(folder.network) or {}
    # A stopped container has no address, but keeps the one that it was given.
    fixed = (endpoint.get("IPAMConfig") or {}).get("IPv4Address")
    return LabHost(
        container=str(container.name),
        address=fixed or endpoint.get("IPAddress") or "0.0.0.0",  # noqa: S104 - a missing address
        name=container.labels[LABEL_NAME],
        base=container.labels[LABEL_BASE],
        look_alike=container.labels.get(LABEL_LOOK_ALIKE, ""),
        state=container.status,
        host_key=container.labels[LABEL_HOST_KEY],
    )


def _create(
    client: DockerClient,
    folder: Folder,
    image: BaseImage,
    name: str,
    address: str,
    public_key: str,
) -> None:
    confinement: dict[str, Any] = {"security_opt": ["seccomp=unconfined"]}
    info = client.info()
    if any("apparmor" in option for option in info.get("SecurityOptions") or []):
        confinement["security_opt"].append("apparmor=unconfined")
    if info.get("CgroupVersion") != "2":
        confinement["volumes"] = {"/sys/fs/cgroup": {"bind": "/sys/fs/cgroup", "mode": "ro"}}
    private, host_key = _key_pair(name)
    with engine_errors(f"making host {name}"):
        container = client.containers.create(
            image.tag,
            name=folder.container(name),
            hostname=name,
            network=folder.network,
            networking_config={
                folder.network: client.api.create_endpoint_config(ipv4_address=address)
            },
            # Never privileged: where root itself lacks a capability that fails. This much lets
            # systemd mount, and the boot id change.
            cap_add=["SYS_ADMIN"],
            tmpfs={"/run": "exec", "/run/lock": ""},
            restart_policy={"Name": "always"},  # a reboot from inside comes back by itself
            labels={
                LABEL_LAB: folder.lab_id,
                LABEL_NAME: name,
                LABEL_BASE: image.base,
                LABEL_LOOK_ALIKE: image.look_alike,
                LABEL_HOST_KEY: host_key.decode().strip(),
            },
            **confinement,
        )
        login = public_key.encode()
        container.put_archive("/etc/ssh", _ssh_files(private, host_key, login))


def _key_pair(name: str) -> tuple[bytes, bytes]:
    """Return a new host key: private and public file."""
    with tempfile.TemporaryDirectory(prefix="cudactl-lab-") as folder:
        key = Path(folder) / "key"
        make_key(key, f"root@{name}")
        return key.read_bytes(), key.with_suffix(".pub").read_bytes()


def _ssh_files(private: bytes, public: bytes, login: bytes) -> bytes:
    """Return a tar for /etc/ssh: the host's key, and the key that may log in."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for file, content, mode in (
            ("ssh_host_ed25519_key", private, 0o600),
            ("ssh_host_ed25519_key.pub", public, 0o644),
            ("lab_authorized_keys", login, 0o644),
        ):
            entry = tarfile.TarInfo(file)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def _bring_up(client: DockerClient, host: LabHost) -> None:
    if host.state == "running" and host.ssh_answers():
        return
    with engine_errors(f"starting host {host.name}"):
        container = client.containers.get(host.container)
        if host.state == "paused":
            container.unpause()
        elif host.state != "running":
            container.start()
    host.wait_until_up()


def _write(client: DockerClient, folder: Folder, mirror: MirrorState | None) -> Lab:
    hosts = _hosts(client, folder)
    write_access(folder, hosts, mirror)
    return Lab(folder, tuple(hosts), network.gateway(client, folder), mirror)
