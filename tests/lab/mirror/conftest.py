"""One mirror for the tests of this folder, built once."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cudactl.lab.mirror import Mirror
from cudactl.lab.serve import Server
from tests.lab.mirror.apt import Apt


@pytest.fixture(scope="session")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Mirror:
    folder = tmp_path_factory.mktemp("lab") / "mirror"
    names = ("ubuntu2404", "debian12", "debian13", "ubuntu2404/sbsa")
    return Mirror.build(folder, repositories=names)


@pytest.fixture(scope="session")
def ubuntu(mirror: Mirror, tmp_path_factory: pytest.TempPathFactory) -> Apt:
    return Apt(tmp_path_factory.mktemp("apt") / "u", mirror, "ubuntu2404").updated()


@pytest.fixture(scope="session")
def debian(mirror: Mirror, tmp_path_factory: pytest.TempPathFactory) -> Apt:
    return Apt(tmp_path_factory.mktemp("apt") / "d", mirror, "debian12").updated()


@pytest.fixture
def served() -> Iterator[Callable[[Mirror], str]]:
    """Serve mirrors until the test ends; apt tells more about http than about files."""
    servers: list[Server] = []

    def serve(mirror: Mirror) -> str:
        servers.append(Server(mirror.root, "127.0.0.1", 0))
        threading.Thread(target=servers[-1].run, daemon=True).start()
        return servers[-1].url

    yield serve
    for server in servers:
        server.stop()


@pytest.fixture
def extract(mirror: Mirror) -> Callable[..., Path]:
    """Unpack packages of the ubuntu2404 repository into a folder."""

    def unpack(into: Path, *files: str) -> Path:
        for file in files:
            package = mirror.repository("ubuntu2404") / file
            subprocess.run(["dpkg-deb", "-x", package, into], check=True)
        return into

    return unpack
