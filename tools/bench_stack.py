"""Speed of the stack verbs, for `make bench`: judging many specs, locking warm and cold, GPU lists.

Wall seconds of whole processes, medians of several runs. The cold lock is held against apt itself,
simulating the installation of the same packages from the same index (of 10,000 stanzas, or of a
distribution's 60,000), both without their caches, in turn.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench_archive import PARAGRAPHS, write_archive
from bench_figure import BIN, Figure

from cudactl.contracts.lock import StackLock
from cudactl.lab.mirror import Mirror
from cudactl.stack.bundle.repository import Stanza, write_index
from cudactl.stack.bundle.signing import SigningKey
from cudactl.stack.lock.file import read_lock

RUNS = 5
STANZAS = 10_000
SPECS = 200
OSES = ("ubuntu-22.04", "ubuntu-24.04", "debian-12", "debian-13", "ubuntu-26.04")
CUDAS = ("12.4", "12.6", "12.8", "12.9", "13.0", "13.1", "13", "12", "11.8", "13.3")
CUDNNS = ("9", "8", "9.10", "9.20")
TENSORRTS = ("10", "10.13", "10.4", "11", "8.6", "10.9", "")
DRIVERS = ("580", "535", "595", "610", "550", "580.95.05", "")
GPUS = ("V100", "A100", "H100", "H200 SXM", "B200", "RTX 5090", "T4", "L40S", "")


def measure(folder: Path) -> list[Figure]:
    """Return all figures; `folder` is this bench's own."""
    mirror, key = _mirror(folder)
    stack = folder / "stack.yaml"
    url = (mirror.root / mirror.url_path.strip("/")).as_uri()
    stack.write_text(
        'os: ubuntu-24.04\ndriver: {branch: "580"}\ncuda: "13.0"\ncudnn: "9"\n'
        f'tensorrt: "10.13"\nmirror: {{url: {url}, key: {key}}}\n'
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    # As installed: compiled modules are kept.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def lock() -> float:
        return _wall([str(BIN / "cudactl"), "stack", "lock", str(stack)], environment)

    def cold_lock() -> float:
        shutil.rmtree(folder / "cache", ignore_errors=True)
        return lock()

    lock()
    lines = f"deb [signed-by={key}] file://{mirror.repository('ubuntu2404')} /\n"
    apt = _apt(folder / "apt", lines, read_lock(stack.with_suffix(".lock")))
    specs = [str(path) for path in _specs(folder)]
    check = [str(BIN / "cudactl"), "stack", "check", "--json", *specs]
    pairs = [(cold_lock(), apt()) for _ in range(RUNS)]
    return [
        _absolute(f"stack check of {SPECS} specs", lambda: _wall(check, environment), 2.0),
        _absolute("stack lock, warm", lock, 0.5),
        Figure(
            f"stack lock, cold, {STANZAS} stanzas",
            statistics.median(a for a, _ in pairs),
            "apt-get -s install, cold",
            statistics.median(b for _, b in pairs),
            statistics.median(a / b for a, b in pairs),
            1.0,
        ),
        _archive(folder / "archive", environment),
        _absolute(
            "gpu list", lambda: _wall([str(BIN / "cudactl"), "gpu", "list"], environment), 0.3
        ),
    ]


def _absolute(what: str, run: Callable[[], float], bar: float) -> Figure:
    run()
    seconds = statistics.median(run() for _ in range(RUNS))
    return Figure(what, seconds, "", None, seconds, bar)


def _wall(command: list[str], environment: dict[str, str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    wall = time.perf_counter() - start
    if done.returncode not in (0, 3):  # 3: some of the specs are refused, as they should be
        sys.exit(f"{' '.join(command[:4])} ended with {done.returncode}:\n{done.stderr}")
    return wall


def _mirror(folder: Path) -> tuple[Mirror, Path]:
    """Return the lab's mirror with its index filled up to `STANZAS` paragraphs."""
    mirror = Mirror.build(folder / "mirror", repositories=("ubuntu2404",))
    repository = mirror.repository("ubuntu2404")
    text = (repository / "Packages").read_text()
    paragraphs = [p for p in text.split("\n\n") if p.strip()]
    every = [Stanza(_fields(paragraph)) for paragraph in paragraphs]
    every += [
        Stanza({**every[number % len(paragraphs)].fields, "Package": f"filler-{number}-part"})
        for number in range(STANZAS - len(every))
    ]
    key = SigningKey.create(folder / "key", "Bench <bench@example.invalid>")
    write_index(repository, every, key=key)
    key_file = folder / "key.asc"
    key_file.write_text(key.public_key)
    return mirror, key_file


def _fields(paragraph: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in paragraph.splitlines() if line[:1].strip())


def _archive(folder: Path, environment: dict[str, str]) -> Figure:
    """Return what locking a driver from an archive of a distribution's size takes."""
    folder.mkdir()
    key = SigningKey.create(folder / "key", "Bench <bench@example.invalid>")
    (folder / "key.asc").write_text(key.public_key)
    lines = write_archive(folder / "debian", key)
    url = (folder / "debian").as_uri()
    stack = folder / "stack.yaml"
    stack.write_text(
        "os: debian-12\ndriver: {source: distro}\n"
        f"archive: {{url: {url}, security: {url}, key: key.asc}}\n"
    )

    def lock() -> float:
        shutil.rmtree(environment["XDG_CACHE_HOME"], ignore_errors=True)
        return _wall([str(BIN / "cudactl"), "stack", "lock", str(stack)], environment)

    lock()
    apt = _apt(folder / "apt", lines, read_lock(stack.with_suffix(".lock")))
    pairs = [(lock(), apt()) for _ in range(RUNS)]
    return Figure(
        f"stack lock from an archive, cold, {PARAGRAPHS} stanzas",
        statistics.median(a for a, _ in pairs),
        "apt-get -s install, cold",
        statistics.median(b for _, b in pairs),
        statistics.median(a / b for a, b in pairs),
        1.0,
    )


def _apt(root: Path, lines: str, lock: StackLock) -> Callable[[], float]:
    """Return apt's own simulation of the same packages, in folders of its own, without a cache."""
    for name in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d"):
        (root / name).mkdir(parents=True)
    stanza = "Package: {}\nStatus: install ok installed\nVersion: 99\nArchitecture: all\n"
    stanza += "Maintainer: none\nDescription: none\n\n"
    (root / "status").write_text("".join(stanza.format(e.name) for e in lock.external))
    (root / "list").write_text(lines)
    (root / "etc/preferences.d/lock.pref").write_text(
        "\n".join(
            f"Package: {p.name}\nPin: version {p.version}\nPin-Priority: 1001\n"
            for p in lock.packages
        )
    )
    options = {
        "Dir::State": root / "state",
        "Dir::State::status": root / "status",
        "Dir::Cache": root / "cache",
        "Dir::Etc": root / "etc",
        "Dir::Etc::SourceList": root / "list",
        "APT::Architecture": "amd64",
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", *(part for k, v in options.items() for part in ("-o", f"{k}={v}"))]
    names = [p.name for p in lock.packages if p.top_level]

    def simulate() -> float:
        # Cold as the lock is: the lists are fetched and read again.
        shutil.rmtree(root / "state/lists")
        (root / "state/lists/partial").mkdir(parents=True)
        for cache in (root / "cache").glob("*.bin"):
            cache.unlink()
        start = time.perf_counter()
        for command in (["update"], ["-s", "install", *names]):
            done = subprocess.run([*apt, *command], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                sys.exit(f"apt-get {command[0]} failed:\n{done.stdout}{done.stderr}")
        return time.perf_counter() - start

    return simulate


def _specs(folder: Path) -> list[Path]:
    """Write specs that mix what stands with what does not; the same ones every time."""
    specs = folder / "specs"
    specs.mkdir()
    paths = []
    for number in range(SPECS):
        lines = [f"os: {OSES[number % len(OSES)]}", f'cuda: "{CUDAS[number % len(CUDAS)]}"']
        lines.append(f'cudnn: "{CUDNNS[number // 3 % len(CUDNNS)]}"')
        if tensorrt := TENSORRTS[number // 2 % len(TENSORRTS)]:
            lines.append(f'tensorrt: "{tensorrt}"')
        if driver := DRIVERS[number // 5 % len(DRIVERS)]:
            lines.append(f'driver: {{branch: "{driver}"}}')
        if gpu := GPUS[number // 7 % len(GPUS)]:
            lines.append(f"gpus: [{gpu}]")
        paths.append(specs / f"{number:03}.yaml")
        paths[-1].write_text("\n".join(lines) + "\n")
    return paths
