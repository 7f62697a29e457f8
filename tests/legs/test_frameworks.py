"""The frameworks leg: TensorFlow simulated, PyTorch for real on the processor, and its faults."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cudactl.judge import judge
from cudactl.lab.gpus import CONF, SOURCES
from cudactl.probe.frameworks import known
from tests.judge.healthy import GPU, NOW, fresh

ROOT = Path(__file__).parent.parent.parent
WHAT = ("loaded", "matmul", "convolution", "training", "digest", "throughput")
Found = dict[str, tuple[str, str]]


class Measured:
    """Runs the leg in a Python of its own and judges what comes out."""

    def __init__(self, pyz: Path, folder: Path) -> None:
        self.pyz, self.folder, self.number = pyz, folder, 0

    def run(
        self,
        name: str,
        *,
        on: str = "cpu",
        interpreter: str = sys.executable,
        site: Path | None = None,
        environment: dict[str, str] | None = None,
        deadline_s: float = 120.0,
    ) -> dict[str, Any]:
        """Measure in the user's world, as the machine's part (cpu) or a GPU's (cuda)."""
        request: dict[str, Any] = {
            "frameworks": [name],
            "interpreter": interpreter,
            "sites": [str(site)] if site else [],
            "timed_s": 0.1,
            "deadline_s": deadline_s,
        }
        leg: dict[str, Any] = {**request, "on": "cpu"}
        if on == "cuda":
            leg = {"deadline_s": 5, "device_only": True, "device": request}
        whole = {"world": "user", "hash": False, "gpus": [], "legs": {"frameworks": leg}}
        if on == "cuda":
            whole["gpus"] = [dict(GPU)]
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(self.pyz), "measure"],
            input=json.dumps(whole),
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **(environment or {})},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (result,) = json.loads(done.stdout)["legs"]
        found: dict[str, Any] = result
        return found

    def simulated(self, faults: dict[str, object] | None = None, **more: Any) -> dict[str, Any]:
        """Measure the simulated TensorFlow, by default on a GPU."""
        self.number += 1
        site = self.folder / f"site-{self.number}"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(SOURCES / "tensorflow_module", site, ignore=ignored)
        lines = [f"fault.tensorflow.{key} {value}" for key, value in (faults or {}).items()]
        (site / CONF).write_text("\n".join(lines) + "\n")
        return self.run("tensorflow", **{"on": "cuda", "site": site, **more})


def judged(result: dict[str, Any], name: str, expect: dict[str, Any] | None = None) -> Found:
    """Return check → (status, reason) of a healthy host whose frameworks measured `result`."""
    evidence, policy = fresh("nightly")
    evidence["legs"] = [leg for leg in evidence["legs"] if leg["leg"] != "frameworks"]
    evidence["legs"].append(dict(result, gpu=GPU["id"]))
    for one in policy["expectations"]:
        if one["check"] == f"frameworks.{name}.loaded":
            one["expect"] = expect or {"version": "2.20.0"}
    certificate = judge(evidence, policy, "h1", NOW)
    verdicts = [v for v in certificate["verdicts"] if v["leg"] == "frameworks" and v["gpu"]]
    if any(library["simulated"] for library in result["libraries"]):
        assert certificate["level"] == "simulated"
    return {
        v["check"].removeprefix(f"frameworks.{name}."): (v["status"], v["reason"])
        for v in verdicts
        if v["check"].startswith(f"frameworks.{name}.") or v["check"] == "frameworks.ran_on_gpu"
    }


def values(result: dict[str, Any], check: str) -> dict[str, Any]:
    (found,) = [m for m in result["measurements"] if m["check"] == check]
    assert found["error"] is None, found
    answer: dict[str, Any] = found["values"]
    return answer


@pytest.fixture
def measured(pyz: Path, tmp_path: Path) -> Measured:
    return Measured(pyz, tmp_path)


# --- TensorFlow, simulated ----------------------------------------------------------------------


def test_a_healthy_tensorflow_is_right_everywhere_and_simulated(measured: Measured) -> None:
    result = measured.simulated()
    assert result["outcome"] == "ran", result["detail"]
    found = judged(result, "tensorflow")
    assert {what: found[what][0] for what in WHAT[:-1]} == dict.fromkeys(WHAT[:-1], "PASS")
    assert [library["simulated"] for library in result["libraries"]] == [True]
    by_type = values(result, "frameworks.tensorflow.matmul")["by_type"]
    assert set(by_type) == {"fp64", "fp32", "bf16", "tf32", "fp16"}
    assert "says nothing about the CUDA" in found["loaded"][1], "it carries its own libraries"


@pytest.mark.parametrize(
    ("fault", "check", "says"),
    [
        ("import", "loaded", "libcudart.so.12: cannot open shared object file"),
        ("no_gpu", "loaded", "it sees no GPU"),
        ("no_code", "loaded", "no code for compute capability 9.0"),
        ("wrong", "matmul", "fp32: 1 of 9216 numbers are wrong"),
        ("nan", "matmul", "fp32: 1 of 9216 are no numbers"),
        ("zeros", "matmul", "fp32: nothing but zeros"),
        ("tf32", "matmul", "is it TF32 in truth?"),
        ("convolution", "convolution", "1 of 2304 numbers are wrong"),
        ("diverges", "training", "no numbers"),
        ("lazy", "training", "does not learn"),
        ("nondeterministic", "digest", "silent corruption"),
    ],
)
def test_a_fault_turns_the_right_check_red(
    measured: Measured, fault: str, check: str, says: str
) -> None:
    found = judged(measured.simulated({fault: 1}), "tensorflow")
    assert found[check][0] == "FAIL", found
    assert says in found[check][1]


def test_an_interpreter_that_dies_keeps_what_it_had_said(measured: Measured) -> None:
    result = measured.simulated({"crash": 1})
    assert result["outcome"] == "crashed"
    assert "ended with status -11" in result["detail"]
    assert values(result, "frameworks.tensorflow.loaded")["version"] == "2.20.0"
    assert judged(result, "tensorflow")["frameworks.ran_on_gpu"][0] == "FAIL"


def test_one_that_never_ends_is_ended(measured: Measured) -> None:
    result = measured.simulated({"slow": 100}, deadline_s=4.0)
    assert result["outcome"] == "timeout"
    assert judged(result, "tensorflow")["frameworks.ran_on_gpu"][0] == "FAIL"


def test_an_interpreter_that_is_not_there_is_named(measured: Measured) -> None:
    result = measured.run("tensorflow", on="cuda", interpreter="/opt/none/bin/python3")
    status, reason = judged(result, "tensorflow")["loaded"]
    assert (status, reason) == ("FAIL", "there is no interpreter /opt/none/bin/python3")


def test_the_users_own_copy_shadows_the_locks_and_is_named(measured: Measured) -> None:
    result = measured.simulated()
    expect = {"version": "2.20.0", "sites": ["/opt/cudactl/stacks/0123456789ab/site"]}
    status, reason = judged(result, "tensorflow", expect)["loaded"]
    assert status == "FAIL"
    assert reason == "shadowed: another copy is imported in its place"


def test_without_the_request_the_processor_is_left_alone(pyz: Path) -> None:
    legs = {"frameworks": {"deadline_s": 10, "frameworks": ["torch"]}}
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(pyz), "measure"],
        input=json.dumps({"world": "user", "hash": False, "legs": legs}),
        capture_output=True,
        text=True,
        check=True,
    )
    (leg,) = json.loads(done.stdout)["legs"]
    assert leg["measurements"] == []


# --- PyTorch, real ------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def torch_python() -> Path:
    """A Python with the PyTorch that pyproject.toml names, made once and kept in the cache."""
    (wanted,) = re.findall(
        r'^torch = \["(torch==.*)"\]', (ROOT / "pyproject.toml").read_text(), re.M
    )
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "cudactl"
    name = f"{wanted.replace('==', '-')}-python{sys.version_info[0]}.{sys.version_info[1]}"
    python = cache / name / "bin" / "python"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side; one makes it
        if not (cache / name / "ready").exists():
            shutil.rmtree(cache / name, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", cache / name], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", wanted], check=True)
            (cache / name / "ready").touch()
    return python


@pytest.fixture(scope="session")
def real(pyz: Path, torch_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the real PyTorch measures on the processor."""
    measured = Measured(pyz, tmp_path_factory.mktemp("torch"))
    return measured.run("torch", interpreter=str(torch_python))


@pytest.mark.wheels
def test_the_real_pytorch_is_right_on_the_processor(real: dict[str, Any]) -> None:
    assert real["outcome"] == "ran", real["detail"]
    found = judged(real, "torch", {"version": "2.13.0"})
    exact = ("matmul", "convolution", "training", "digest")
    assert {what: found[what][0] for what in exact} == dict.fromkeys(exact, "PASS")
    # A processor is no GPU, and what it computes is no evidence of one.
    assert found["loaded"][0] == "FAIL"
    assert "for processors only" in found["loaded"][1]
    assert values(real, "frameworks.torch.throughput")["matmul_tflops"] > 0
    training = values(real, "frameworks.torch.training")
    assert training["regression_error"] < 1e-6
    assert training["accuracy"] > 0.99


@pytest.mark.wheels
def test_the_same_work_gives_the_same_digest_in_another_process(
    measured: Measured, torch_python: Path, real: dict[str, Any]
) -> None:
    again = measured.run("torch", interpreter=str(torch_python))
    digest = values(real, "frameworks.torch.digest")["digest"]
    assert values(again, "frameworks.torch.digest") == {"digest": digest, "again": digest}


PATCHES = {
    "a matmul with one wrong number": (
        "matmul",
        "fp32: 1 of 9216",
        """
real = torch.matmul
def matmul(a, b, **more):
    out = real(a, b, **more)
    if out.dtype == torch.float32 and out.shape == (96, 96):
        out[3, 5] += 1
    return out
torch.matmul = matmul
""",
    ),
    "a convolution that ignores the layout": (
        "convolution",
        "nhwc: ",
        """
real = torch.nn.functional.conv2d
def conv2d(x, w, **more):
    turned = not x.is_contiguous()
    out = real(x, w, **more)
    return out.flip(3) if turned else out
torch.nn.functional.conv2d = conv2d
""",
    ),
    "gradients that are cut off": (
        "training",
        "misses the closed-form solution",
        """
real = torch.autograd.grad
torch.autograd.grad = lambda *a, **m: tuple(g.clamp(-1e-3, 1e-3) for g in real(*a, **m))
""",
    ),
    "a training that other processes do not repeat": (
        "digest",
        "silent corruption",
        """
real = torch.matmul
def matmul(a, b, **more):
    out = real(a, b, **more)
    if out.shape == (512, 512):
        import random
        out[7, 7] += random.SystemRandom().random()
    return out
torch.matmul = matmul
""",
    ),
}


@pytest.mark.wheels
@pytest.mark.parametrize("name", PATCHES)
def test_a_fault_in_the_real_pytorch_is_named(
    measured: Measured, torch_python: Path, tmp_path: Path, name: str
) -> None:
    check, says, patch = PATCHES[name]
    # Python imports this before anything else; it waits for PyTorch and alters it.
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "patch_torch.py").write_text("import torch\n" + patch)
    (hook / "sitecustomize.py").write_text(
        "import sys\nif any('frameworks' in a for a in sys.orig_argv): import patch_torch\n"
    )
    result = measured.run(
        "torch", interpreter=str(torch_python), environment={"PYTHONPATH": str(hook)}
    )
    assert result["outcome"] == "ran", result["detail"]
    status, reason = judged(result, "torch", {"version": "2.13.0"})[check]
    assert status == "FAIL", reason
    assert says in reason


# --- known answers ------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "limit"), [("fp64", 53), ("fp32", 24), ("tf32", 24)])
def test_no_sum_leaves_what_a_type_holds_exactly(kind: str, limit: int) -> None:
    left, right = known.BOUNDS[kind]
    assert left * right * known.INNER < 1 << limit
    assert known.BOUNDS["bf16"] == (1, 1)
    assert known.INNER <= 1 << 8


def test_numbers_for_fp32_do_not_fit_tf32_and_those_for_tf32_do() -> None:
    assert known.BOUNDS["fp32"][0] >= 1 << 11
    assert known.BOUNDS["tf32"][0] < 1 << 11


def test_the_closed_form_is_a_minimum() -> None:
    problem = known.regression()

    def error(weights: list[float]) -> float:
        sums = (
            sum(a * b for a, b in zip(point, weights, strict=True)) - target
            for point, target in zip(problem.points, problem.targets, strict=True)
        )
        return sum(one * one for one in sums)

    least = error(problem.solution)
    for index in range(len(problem.solution)):
        for by in (-1e-3, 1e-3):
            moved = list(problem.solution)
            moved[index] += by
            assert error(moved) > least
