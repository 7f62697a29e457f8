"""Device legs run for real, as processes, against simulated GPUs; and judged."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from cudactl import zipapp
from cudactl.lab import gpus

Measure = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zipapp."""
    path = tmp_path_factory.mktemp("zipapp") / "cudactl.pyz"
    zipapp.write(path)
    return path


@pytest.fixture
def measure_on(pyz: Path, tmp_path: Path) -> Measure:
    """Run one leg's device part on a simulated GPU with faults, and return its LegResult.

    measure_on("driver", {"cuda": "libcuda.so.1"}, faults={"memory.flip_bit": 1}, **request)
    """
    number = itertools.count(1)

    def run(
        leg: str,
        libraries: Mapping[str, str],
        *,
        gpu: gpus.SimulatedGpu = gpus.H200,
        faults: Mapping[str, object] | None = None,
        beside: Sequence[str] = (),
        deadline_s: float = 30.0,
        **request: Any,
    ) -> dict[str, Any]:
        folder = tmp_path / f"gpu-{next(number)}"
        gpus.build(folder, [*libraries.values(), *beside], gpu, faults)
        device = {
            "deadline_s": deadline_s,
            "libraries": {
                name: {"soname": soname, "folders": [str(folder)]}
                for name, soname in libraries.items()
            },
            "tier": "smoke",
            "timed_s": 0.05,
            "memory_share": 0.0001,
            **request,
        }
        whole = {
            "world": "system",
            "hash": False,
            "gpus": [gpu.tested],
            "legs": {leg: {"deadline_s": 5, "device_only": True, "device": device}},
        }
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(pyz), "measure"],
            input=json.dumps(whole),
            capture_output=True,
            text=True,
            check=False,
            timeout=deadline_s + 30,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        document = json.loads(done.stdout)
        (result,) = [one for one in document["legs"] if one["gpu"]]
        found: dict[str, Any] = result
        return found

    return run


def values(result: dict[str, Any], check: str) -> dict[str, Any]:
    """Return one check's measured values."""
    (found,) = [m for m in result["measurements"] if m["check"] == check]
    assert found["error"] is None, found
    answer: dict[str, Any] = found["values"]
    return answer
