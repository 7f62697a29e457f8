"""Small signed repositories in NVIDIA's layout, and locks made from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from cudactl.contracts.lock import Allowance, StackLock
from cudactl.contracts.spec import MirrorSpec, StackSpec
from cudactl.lab.mirror import Mirror
from cudactl.stack.bundle.repository import Deb, SigningKey, write_deb, write_index
from cudactl.stack.lock.locking import lock_stack

Locks = Callable[..., tuple[StackLock, list[str]]]


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return SigningKey.create(tmp_path_factory.mktemp("key") / "home", "Mirror <m@example.invalid>")


@pytest.fixture(scope="session")
def other_key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return SigningKey.create(tmp_path_factory.mktemp("key") / "home", "Else <e@example.invalid>")


@pytest.fixture(scope="session")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Mirror:
    """The lab's mirror: real names, versions and dependency shapes."""
    folder = tmp_path_factory.mktemp("lab") / "mirror"
    every = ("ubuntu2204", "ubuntu2404", "ubuntu2604", "debian12", "debian13")
    return Mirror.build(folder, repositories=every)


class Repository:
    """A small repository for Ubuntu 24.04, signed by its own key."""

    def __init__(self, base: Path, key: SigningKey, cache: Path) -> None:
        self.base, self.key, self.cache = base, key, cache
        self.folder = base / "ubuntu2404/x86_64"
        self.folder.mkdir(parents=True)
        self.key_file = base / "key.asc"
        self.key_file.write_text(key.public_key)

    def write(self, debs: Sequence[Deb], **options: Any) -> Repository:
        stanzas = [write_deb(deb, self.folder) for deb in debs]
        write_index(self.folder, stanzas, **{"key": self.key, **options})
        return self

    def spec(self, **wishes: Any) -> StackSpec:
        wishes.setdefault("driver", {"branch": "none"})
        mirror = MirrorSpec(url=self.base.as_uri(), key=str(self.key_file))
        return StackSpec.model_validate({"os": "ubuntu-24.04", "mirror": mirror, **wishes})

    def lock(
        self, *, allowed: Sequence[Allowance] = (), **wishes: Any
    ) -> tuple[StackLock, list[str]]:
        return lock_stack(self.spec(**wishes), allowed=allowed, cache=self.cache)


@pytest.fixture
def repository(tmp_path: Path, key: SigningKey) -> Repository:
    return Repository(tmp_path / "repos", key, tmp_path / "cache")


@pytest.fixture
def lock_from(mirror: Mirror, tmp_path: Path) -> Locks:
    """Lock a wish against the lab's mirror (or a situation of it), read from its folder."""

    def lock(
        source: Mirror = mirror, allowed: Sequence[Allowance] = (), **wishes: Any
    ) -> tuple[StackLock, list[str]]:
        url = (source.root / source.url_path.strip("/")).as_uri()
        spec = StackSpec.model_validate(
            {
                "os": "ubuntu-24.04",
                "mirror": {"url": url, "key": str(source.key_file)},
                **wishes,
            }
        )
        return lock_stack(spec, allowed=allowed, cache=tmp_path / "cache")

    return lock
