"""A lab's own Docker network: fixed addresses, reached from this machine, out through NAT."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cudactl.lab.engine import LABEL_LAB, LabError, engine_errors
from cudactl.lab.layout import Folder

if TYPE_CHECKING:
    from docker import DockerClient

CANDIDATES = [
    *ipaddress.ip_network("172.30.0.0/16").subnets(new_prefix=24),
    *ipaddress.ip_network("10.213.0.0/16").subnets(new_prefix=24),
]
FIRST_HOST = 11
"""Last number of the first host's address; those below are the gateway's and for tests."""


@dataclass(frozen=True)
class Subnet:
    """A lab's addresses."""

    range: ipaddress.IPv4Network | ipaddress.IPv6Network

    @property
    def gateway(self) -> str:
        """This machine's address on the network."""
        return str(self.range[1])

    def free(self, taken: Iterable[str], count: int) -> list[str]:
        """Return `count` addresses that no host has."""
        used = set(taken)
        numbers = range(FIRST_HOST, self.range.num_addresses - 1)
        addresses = [str(self.range[n]) for n in numbers if str(self.range[n]) not in used]
        if len(addresses) < count:
            raise LabError(
                "LAB-FULL",
                f"{count} more hosts do not fit: {len(addresses)} addresses are free",
                remedy="cudactl lab down NAME…, or a second lab with its own CUDACTL_LAB_DIR",
            )
        return addresses[:count]


def ensure(client: DockerClient, folder: Folder) -> Subnet:
    """Return the lab's network, made where it is not there, on addresses nobody uses."""
    import docker
    from docker.types import IPAMConfig, IPAMPool

    found = _subnet(client, folder)
    if found:
        return found
    used = _used(client)
    start = int(folder.lab_id, 16) % 256
    for candidate in CANDIDATES[start:] + CANDIDATES[:start]:
        if any(candidate.overlaps(other) for other in used):
            continue
        subnet = Subnet(candidate)
        pool = IPAMPool(subnet=str(candidate), gateway=subnet.gateway)
        try:
            client.networks.create(
                folder.network,
                driver="bridge",
                ipam=IPAMConfig(pool_configs=[pool]),
                labels={LABEL_LAB: folder.lab_id},
                check_duplicate=True,
            )
        except docker.errors.APIError as error:
            if "overlap" in str(error).lower():  # another lab was quicker
                continue
            with engine_errors(f"making the network {folder.network}"):
                raise
        return subnet
    raise LabError(
        "LAB-NO-ADDRESSES",
        "no free range of addresses for the lab's network in 172.30.0.0/16 and 10.213.0.0/16",
        remedy="docker network ls shows who has them; docker network prune removes unused ones",
    )


def gateway(client: DockerClient, folder: Folder) -> str | None:
    """Return this machine's address on the lab's network, None where there is none."""
    found = _subnet(client, folder)
    return found.gateway if found else None


def remove(client: DockerClient, folder: Folder) -> None:
    """Remove the lab's network if it is there."""
    with engine_errors("removing the lab's network"):
        for network in client.networks.list(filters={"label": f"{LABEL_LAB}={folder.lab_id}"}):
            network.remove()


def _subnet(client: DockerClient, folder: Folder) -> Subnet | None:
    with engine_errors("listing networks"):
        ours = client.networks.list(filters={"label": f"{LABEL_LAB}={folder.lab_id}"})
    for network in ours:
        for pool in (network.attrs.get("IPAM") or {}).get("Config") or []:
            return Subnet(ipaddress.ip_network(pool["Subnet"]))
    return None


def _used(client: DockerClient) -> list[ipaddress.IPv4Network]:
    """Return the IPv4 ranges of Docker's networks and of this machine's routes."""
    used = []
    with engine_errors("listing networks"):
        for network in client.networks.list():
            for pool in (network.attrs.get("IPAM") or {}).get("Config") or []:
                subnet = ipaddress.ip_network(pool["Subnet"])
                if isinstance(subnet, ipaddress.IPv4Network):
                    used.append(subnet)
    for line in Path("/proc/net/route").read_text(encoding="ascii").splitlines()[1:]:
        columns = line.split()
        address, mask = (int.from_bytes(bytes.fromhex(columns[n]), "little") for n in (1, 7))
        if mask:  # the default route covers everything
            used.append(ipaddress.IPv4Network((address, bin(mask).count("1"))))
    return used
