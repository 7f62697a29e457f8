"""How quickly cudactl starts: `--help` beside a bare import of Click, and the gate."""

from __future__ import annotations

from pathlib import Path

from bench_figure import BIN, Figure, absolute, paired, run

from cudactl import zipapp


def measure(folder: Path) -> list[Figure]:
    """Return all figures; `folder` is this bench's own."""
    pyz = folder / "cudactl.pyz"
    zipapp.write(pyz)
    # No certificate is kept on this machine, so the gate says so (exit 4): the way to that answer
    # reads the same files as any other.
    gates = {
        "cudactl gate": [str(BIN / "cudactl"), "gate"],
        "cudactl.pyz gate": ["/usr/bin/python3", "-I", "-S", str(pyz), "gate"],
    }
    return [
        paired(
            "cudactl --help (CPU)",
            lambda: run([str(BIN / "cudactl"), "--help"], cpu=True),
            'python -c "import click" (CPU)',
            lambda: run([str(BIN / "python"), "-c", "import click"], cpu=True),
            2.5,
            21,
        ),
        *(
            absolute(name, lambda command=command: run(command, check=False), 0.1, 21)
            for name, command in gates.items()
        ),
    ]
