#!/usr/bin/env python3
"""`make bench`: how fast cudactl is, as ratios against a reference in the same run.

Machines are noisy, so every figure is measured in turn with its reference (A B A B …) and the
median of the pairwise ratios is held against the bar. Exits 1 when a bar is missed.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
LAB = ROOT / ".bench" / "lab"
HOSTS = 30


@dataclass(frozen=True)
class Row:
    """One figure: what, measured, reference, ratio or seconds, bar."""

    what: str
    measured_s: float
    reference: str
    reference_s: float | None
    value: float
    bar: float

    @property
    def ok(self) -> bool:
        return self.value <= self.bar


def run(command: list[str], *, cpu: bool = False, check: bool = True) -> float:
    """Return the wall (or user+system) seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if check and done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return used if cpu else wall


def paired(
    what: str,
    mine: Callable[[], float],
    reference: str,
    other: Callable[[], float],
    bar: float,
    runs: int,
) -> Row:
    """Measure both in turn and return the median of the pairwise ratios."""
    mine(), other()  # once each, not counted: caches, connections, page cache
    pairs = [(mine(), other()) for _ in range(runs)]
    ratio = statistics.median(a / b for a, b in pairs)
    return Row(
        what,
        statistics.median(a for a, _ in pairs),
        reference,
        statistics.median(b for _, b in pairs),
        ratio,
        bar,
    )


def start_up() -> list[Row]:
    """`--help` against a bare import of Click, and the gate against its limit in seconds."""
    python = str(BIN / "python")
    rows = [
        paired(
            "cudactl --help (CPU)",
            lambda: run([str(BIN / "cudactl"), "--help"], cpu=True),
            'python -c "import click" (CPU)',
            lambda: run([python, "-c", "import click"], cpu=True),
            2.5,
            15,
        )
    ]
    with tempfile.TemporaryDirectory() as folder:
        pyz = Path(folder) / "cudactl.pyz"
        from cudactl import zipapp

        pyz.write_bytes(zipapp.build())
        for name, command in (
            ("cudactl gate", [str(BIN / "cudactl"), "gate"]),
            ("cudactl.pyz gate", ["/usr/bin/python3", "-I", "-S", str(pyz), "gate"]),
        ):
            # No certificate is kept on this machine, so the gate says so (exit 3 or 4): the way to
            # that answer reads the same files as any other.
            times = [run(command, check=False) for _ in range(16)][1:]
            median = statistics.median(times)
            rows.append(Row(name, median, "limit in seconds", None, median, 0.1))
    return rows


def lab_rows() -> list[Row]:
    """A converged host against gather-facts, and 30 probed hosts against ClusterShell."""
    os.environ["CUDACTL_LAB_DIR"] = str(LAB)
    cudactl = str(BIN / "cudactl")
    print(f"starting {HOSTS} lab hosts …", flush=True)
    names = [f"bench-{i:02d}" for i in range(HOSTS)]
    run([cudactl, "lab", "up", *(f"debian-12:{name}" for name in names)])
    try:
        status = json.loads(subprocess.check_output([cudactl, "lab", "status", "--json"]))
        inventory, ssh_config = status["inventory"], status["ssh_config"]
        folder = LAB.parent
        lock = _locked(cudactl, folder, status["mirror"])
        provision = [cudactl, "provision", "host", names[0], "--lock", str(lock), "--yes"]
        provision += [f"--ssh-arg=-F{ssh_config}"]
        print("provisioning one of them …", flush=True)
        run(provision)
        play = folder / "facts.yml"
        play.write_text("- hosts: all\n  gather_facts: true\n  tasks: []\n")
        facts = [str(BIN / "ansible-playbook"), "-i", inventory, "-l", names[0], str(play)]
        converged = paired(
            "provision host, converged",
            lambda: run(provision),
            "ansible-playbook, gather_facts only",
            lambda: run(facts),
            0.5,
            7,
        )
        probe = folder / "probe.py"
        probe.write_text(
            "import sys\n"
            "from cudactl.reach.fanout import run_probe\n"
            "from cudactl.reach.targets import target_from_name\n"
            f"ts = [target_from_name(n, ssh_args=('-F{ssh_config}',)) for n in sys.argv[1:]]\n"
            "answers = run_probe(ts, ['state'], forks=len(ts))\n"
            "bad = [str(a.error) for a in answers if a.document is None]\n"
            "sys.exit('; '.join(bad) if bad else 0)\n"
        )
        clush = [str(BIN / "clush"), "-f", str(HOSTS), "-o", f"-F {ssh_config}"]
        clush += ["-w", ",".join(names), "python3 -c pass"]
        fanned = paired(
            f"{HOSTS} hosts probed",
            lambda: run([str(BIN / "python"), str(probe), *names]),
            f"clush -f {HOSTS} python3 -c pass",
            lambda: run(clush),
            1.3,
            7,
        )
        return [converged, fanned]
    finally:
        run([cudactl, "lab", "down"], check=False)


def _locked(cudactl: str, folder: Path, mirror: dict[str, str]) -> Path:
    spec, lock = folder / "stack.yaml", folder / "stack.lock"
    spec.write_text(
        "os: debian-12\ndriver: {branch: none}\ncuda: '13.0'\ncudnn: '9'\n"
        f"mirror: {{url: '{mirror['url']}', key: '{mirror['key']}'}}\n"
    )
    run([cudactl, "stack", "lock", str(spec), "-o", str(lock)])
    return lock


def main() -> None:
    """Measure, print, and fail when a bar is missed."""
    rows = start_up() + ([] if "--no-lab" in sys.argv[1:] else lab_rows())
    print(f"\n{'what':<28} {'median':>9} {'reference':<38} {'median':>9} {'ratio':>7} {'bar':>6}")
    for row in rows:
        reference = f"{row.reference_s:8.3f}s" if row.reference_s is not None else ""
        print(
            f"{row.what:<28} {row.measured_s:8.3f}s {row.reference:<38} {reference:>9} "
            f"{row.value:7.2f} {row.bar:6.2f} {'ok' if row.ok else 'MISSED'}"
        )
    if not all(row.ok for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
