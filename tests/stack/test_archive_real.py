"""Locks made from Debian's real archive are what the real apt arrives at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cudactl.contracts.spec import StackSpec
from cudactl.lab.archive import KEYRING, machine_archive
from cudactl.stack.facts.catalogue import load_catalogue
from cudactl.stack.index.archive import archive_sources
from cudactl.stack.lock.locking import lock_stack
from tests.stack.archive import ArchiveApt
from tests.stack.test_lock_against_mirror import preferences, top_level

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not Path(KEYRING).is_file(), reason="debian-archive-keyring is not here"),
]
WISHES: dict[str, list[dict[str, Any]]] = {
    "debian-12": [{}, {"branch": "535", "flavour": "open"}, {"branch": "470"}, {"branch": "525"}],
    "debian-13": [{}, {"branch": "535"}, {"branch": "550", "flavour": "open"}],
}


@pytest.mark.parametrize("os", list(WISHES))
def test_real_apt_arrives_at_exactly_the_lock(os: str, tmp_path: Path) -> None:
    archive = machine_archive()
    places = {"url": archive.main, "security": archive.security}
    specs = [
        StackSpec.model_validate(
            {"os": os, "archive": places, "driver": {"source": "distro", **driver}}
        )
        for driver in WISHES[os]
    ]
    sources = archive_sources(specs[0], load_catalogue().distribution(os), "amd64", tmp_path)
    lines = "".join(
        f"deb [signed-by={KEYRING}] {source.url} {suite} {' '.join(source.components)}\n"
        for source in sources
        for suite in source.suites
    )
    apt = ArchiveApt(tmp_path / "apt", lines).updated()
    for spec in specs:
        locked, _ = lock_stack(spec, cache=tmp_path / "cache")
        pins = apt.root / "etc/preferences.d/cudactl-stack.pref"
        pins.write_text(preferences(locked))
        installed = apt.installs(*top_level(locked))
        names = {package.name for package in locked.packages}
        ours = {n: v for n, v in installed.items() if "nvidia" in n or n in names}
        assert ours == {package.name: package.version for package in locked.packages}, spec.driver
        assert {one.name for one in locked.external} <= set(installed), spec.driver
