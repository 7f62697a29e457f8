"""Real hosts for tests: one lab for the whole run, beside a user's own and never touching it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host

from cudactl.contracts.errors import CudactlError
from cudactl.lab import hosts
from cudactl.lab.hosts import HostRequest, Lab, LabHost
from cudactl.lab.layout import MirrorState
from tests.lab.running import cudactl


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Two hosts and the mirror; shared, so a test leaves them as it found them."""
    wanted = [HostRequest("debian-12", "t-deb12"), HostRequest("ubuntu-24.04", "t-ubu")]
    try:
        there = hosts.up(wanted, say=print)
    except CudactlError as error:
        # Never a skip: a run without hosts has not tested the main job.
        pytest.fail(f"{error.code}: {error.found}. What to do: {error.remedy}", pytrace=False)
    yield there
    hosts.down()


@pytest.fixture(scope="session")
def mirror(lab: Lab) -> MirrorState:
    """The lab's package mirror, served to the hosts."""
    assert lab.mirror is not None
    return lab.mirror


@pytest.fixture(scope="session")
def debian_host(lab: Lab) -> LabHost:
    """The shared Debian 12 host."""
    return lab.host("t-deb12")


@pytest.fixture(scope="session")
def ubuntu_host(lab: Lab) -> LabHost:
    """The shared Ubuntu 24.04 host (a look-alike where no registry can be reached)."""
    return lab.host("t-ubu")


NUMBERS = itertools.count(1)


@pytest.fixture
def fresh_host(lab: Lab) -> Iterator[Callable[[str], LabHost]]:
    """Return a function that makes a host nobody has touched; it is gone after the test."""
    made: list[str] = []

    def make(base: str) -> LabHost:
        made.append(f"t-fresh-{next(NUMBERS)}")
        return hosts.up([HostRequest(base, made[-1])], say=print).host(made[-1])

    yield make
    if made:
        hosts.down(made)


@pytest.fixture(scope="session")
def host_of(lab: Lab) -> Callable[[LabHost], Host]:
    """Return a function that gives testinfra's view of a host, over SSH, as root by sudo."""

    def connect(host: LabHost) -> Host:
        return testinfra.get_host(
            f"ssh://{host.name}", ssh_config=str(lab.ssh_config), sudo=True, timeout=20
        )

    return connect


@pytest.fixture(scope="session")
def make_lock(
    mirror: MirrorState, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Path]:
    """Return a function that locks a spec against the lab's mirror."""
    made: dict[tuple[str, str], Path] = {}

    def lock(template: str, os_name: str) -> Path:
        if (template, os_name) not in made:
            folder = tmp_path_factory.mktemp("lock")
            spec = folder / "stack.yaml"
            spec.write_text(template.format(os=os_name, url=mirror.url, key=mirror.key_file))
            cudactl("stack", "lock", str(spec), "-o", str(folder / "stack.lock"), check=0)
            made[template, os_name] = folder / "stack.lock"
        return made[template, os_name]

    return lock
