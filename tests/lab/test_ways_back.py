"""Ways back on a real host: to the last certified lock without a mirror, and to nothing of ours.

Pain point 5 of those who provision GPU hosts: an exact version that no archive has any more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cudactl.lab.hosts import Lab, LabHost
from cudactl.lab.mirror import Mirror
from cudactl.lab.serve import serving
from cudactl.stack.lock.file import read_lock
from tests.lab.running import SMALL, cudactl, plan_of

pytestmark = pytest.mark.lab


def installed(host: LabHost) -> dict[str, str]:
    """What is installed; not what only left its configuration files."""
    form = "${Package} ${Version} ${db:Status-Status}\n"
    rows = [line.split() for line in host.exec(["dpkg-query", "-W", "-f", form]).splitlines()]
    return {row[0]: row[1] for row in rows if row[2] == "installed"}


def files_of(host: LabHost) -> dict[str, str]:
    """Every file that matters outside dpkg's and apt's own folders, with its hash."""
    out = host.exec(
        ["sh", "-c", "find /etc /usr/local /opt /srv -type f | sort | xargs -d '\\n' sha256sum"]
    )
    caches = ("/etc/ld.so.cache", "/etc/.pwd.lock")
    rows = (line.split(maxsplit=1) for line in out.splitlines())
    return {path: digest for digest, path in rows if path not in caches}


@pytest.fixture
def mirror_of_ours(
    lab: Lab, tmp_path: Path
) -> Iterator[tuple[Callable[[str], Path], Callable[[], None]]]:
    """A mirror of this test's own: a function that locks a cuDNN, and one that ends the mirror."""
    mirror = Mirror.build(tmp_path / "mirror", repositories=("debian12",))
    assert lab.gateway is not None
    context = serving(mirror.root, lab.gateway)
    server = context.__enter__()
    up = [True]

    def lock(cudnn: str) -> Path:
        folder = tmp_path / cudnn
        folder.mkdir()
        wish = SMALL.replace('cudnn: "9"', f'cudnn: "{cudnn}"')
        text = wish.format(os="debian-12", url=server.url, key=mirror.key_file)
        (folder / "stack.yaml").write_text(text)
        cudactl("stack", "lock", f"{folder}/stack.yaml", "-o", f"{folder}/stack.lock", check=0)
        return folder / "stack.lock"

    def end() -> None:
        if up.pop():
            context.__exit__(None, None, None)

    yield lock, end
    if up:
        end()


def test_a_host_returns_to_its_last_certified_lock_when_the_mirror_is_gone(
    lab: Lab,
    fresh_host: Callable[[str], LabHost],
    mirror_of_ours: tuple[Callable[[str], Path], Callable[[], None]],
    tmp_path: Path,
) -> None:
    lock, end_mirror = mirror_of_ours
    host = fresh_host("debian-12")
    where = [host.name, "-i", str(lab.inventory)]
    packages_before, files_before = installed(host), files_of(host)
    old, new = lock("9.13"), lock("9.20")
    first = read_lock(old)

    none = cudactl("provision", "rollback", *where, "--yes", check=3)
    assert "ROLLBACK-NOTHING" in none.stderr

    cudactl("provision", "host", *where, "--lock", str(old), "--yes", check=0)
    kept = host.exec(["ls", f"/var/lib/cudactl/packages/{first.short_hash}"]).split()
    assert len(kept) == len(first.packages)
    at_first = installed(host)
    cudactl("provision", "host", *where, "--lock", str(new), "--yes", check=0)
    assert installed(host)["libcudnn9-cuda-13"].startswith("9.20")

    end_mirror()
    saved = tmp_path / "back.plan"
    cudactl("provision", "rollback", *where, "-o", str(saved), check=0)
    done = cudactl("provision", "rollback", *where, "--yes", check=0)
    assert first.short_hash in done.stdout
    assert installed(host) == at_first
    assert not plan_of(host, lab, old)["plan"]["steps"], "pins, holds and files are the lock's too"
    certificate = json.loads(host.exec(["cat", "/var/lib/cudactl/certificate.json"]))
    assert (certificate["lock_hash"], certificate["verdict"]) == (first.hash, "PASS")
    stale = cudactl("provision", "host", "--plan", str(saved), "--yes", check=3)
    assert "PLAN-STALE" in stale.stderr, "what was approved for another state is not applied"

    names = {p.name for p in first.packages}
    along = {n: v for n, v in at_first.items() if n not in packages_before and n not in names}
    cudactl("provision", "uninstall", *where, "--check", check=0)
    assert installed(host) == at_first
    done = cudactl("provision", "uninstall", *where, "--yes", check=0)
    assert "apt-get autoremove" in done.stdout
    assert installed(host) == {**packages_before, **along}
    assert not host.exec(["apt-mark", "showhold"]).split()
    left = files_of(host)
    changed = {p for p in left.keys() | files_before.keys() if left.get(p) != files_before.get(p)}
    owned = host.run(["dpkg", "-S", *sorted(changed)]).stdout if changed else ""
    assert not [p for p in changed if p not in owned], "only files of packages that came along"
    assert "certified" in host.exec(["cat", "/var/lib/cudactl/history.jsonl"])
    again = cudactl("provision", "uninstall", *where, "--yes", "--purge", check=0)
    assert "history" in again.stdout
    assert not host.exec(["sh", "-c", "ls -d /var/lib/cudactl 2>/dev/null || true"]).strip()
