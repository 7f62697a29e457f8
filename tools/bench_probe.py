"""What a host pays: its state, and a prolog's certification with one simulated H200; the zipapp.

The simulated NVML answers at once; a real driver takes time of its own, which nobody has measured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from bench_figure import Figure, absolute, run

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cudactl import zipapp  # noqa: E402
from cudactl.certify.policy import compile_policy  # noqa: E402
from cudactl.lab import gpus  # noqa: E402
from cudactl.workflow.references import gpu_references, xid_meanings  # noqa: E402
from tests.judge.healthy import apt_lock  # noqa: E402

PYTHON = ["/usr/bin/python3", "-I", "-S"]
RUNS = 21


def measure(folder: Path) -> list[Figure]:
    """Return all figures; `folder` is this bench's own."""
    pyz = folder / "cudactl.pyz"
    zipapp.write(pyz)
    request = folder / "request.json"
    request.write_text(json.dumps(prolog(folder / "libraries")))
    state = [*PYTHON, str(pyz), "state"]
    # Through a shell, which gives the request on standard input and takes a millisecond.
    measured = ["/bin/sh", "-c", f"exec {' '.join([*PYTHON, str(pyz), 'measure'])} <{request}"]

    def cpu(command: list[str]) -> Callable[[], float]:
        return lambda: run(command, cpu=True)

    return [
        absolute("state", lambda: run(state), 0.5, RUNS),
        absolute("state (CPU)", cpu(state), None, RUNS),
        absolute("prolog, what it measures", lambda: run(measured), 2.0, RUNS),
        absolute("prolog, what it measures (CPU)", cpu(measured), 0.2, RUNS),
    ]


def prolog(folder: Path) -> dict[str, object]:
    """Return what a prolog asks of a host whose lock names an H200, of libraries in `folder`."""
    gpus.build(folder, ["libcuda.so.1", "libnvidia-ml.so.1"], gpus.H200, {})
    policy = compile_policy(
        apt_lock(("H200 SXM",)), tier="prolog", references=gpu_references(), xids=xid_meanings()
    )
    request: dict[str, object] = json.loads(json.dumps(policy.request))
    for leg in policy.request["legs"]:
        for library in request["legs"][leg].get("libraries", {}).values():  # type: ignore[index]
            library["folders"] = [str(folder)]
    return request
