"""`cudactl gpu` as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Cudactl


def test_the_list_has_a_line_for_each_gpu_and_a_legend(cudactl: Cudactl) -> None:
    done = cudactl("gpu", "list")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    h200 = next(line for line in lines if line.startswith("H200 SXM"))
    assert h200.split()[2:] == [
        "9.0",
        "141",
        "4800",
        "989.5",
        "1979",
        "700",
        "11.8–13.5",
        "550–620",
    ]
    rubin = next(line for line in lines if line.startswith("Rubin"))
    assert "?" in rubin
    assert next(line for line in lines if line.startswith("V100 SXM2 16GB")).split()[6] == "-"
    assert "not known" in lines[-1]


def test_the_list_is_narrowed(cudactl: Cudactl) -> None:
    done = cudactl("gpu", "list", "--architecture", "hopper", "--min-memory", "140", "--json")
    listed = json.loads(done.stdout)
    assert [gpu["name"] for gpu in listed["gpus"]] == ["GH200 144GB", "H200 NVL", "H200 SXM"]
    assert listed["memory_not_known"] == ["H20", "H800 PCIe", "H800 SXM5"]
    assert listed["gpus"][2]["memory_gbs"] == 4800
    by_capability = json.loads(cudactl("gpu", "list", "--cc", "10.3", "--json").stdout)
    assert [gpu["name"] for gpu in by_capability["gpus"]] == ["B300 SXM", "GB300"]
    assert by_capability["gpus"][0]["contested"] == ["sm_count", "memory_gb", "fp32"]


def test_what_a_least_memory_leaves_out_is_said(cudactl: Cudactl) -> None:
    done = cudactl("gpu", "list", "--cc", "12.1", "--min-memory", "1")
    assert "GB10" in done.stderr
    assert "no GPU" in done.stdout


def test_the_list_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom cudactl.cli import cudactl\n"
        "try:\n cudactl(['gpu', 'list', '--json'])\nexcept SystemExit: pass\n"
        "heavy = {'pydantic', 'yaml', 'rich', 'ansible', 'requests', 'pysat'}\n"
        "sys.exit(','.join(sorted(heavy & set(sys.modules))) or None)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["gpus"]) > 60


def test_show_says_all_with_units_source_and_stacks(cudactl: Cudactl) -> None:
    text = cudactl("gpu", "show", "b300").stdout
    for part in (
        "compute capability 10.3",
        "10de:3182",
        "148 (contested: see notes)",
        "8000 GB/s",
        "1100 W",
        "open only",
        "12.9–13.5",
        "580–620 open",
        "148 or 160 SM",
        "collected 20",
    ):
        assert part in text
    volta = cudactl("gpu", "show", "V100 SXM2 32GB").stdout
    assert "2028-08-04, the end of driver branch 580" in volta
    assert "proprietary only" in volta
    assert "2024-07-20, the end of driver branch 470: over" in cudactl("gpu", "show", "K80").stdout


def test_show_of_an_alias_shows_every_variant(cudactl: Cudactl) -> None:
    shown = json.loads(cudactl("gpu", "show", "h200", "--json").stdout)
    assert [gpu["name"] for gpu in shown["gpus"]] == ["H200 NVL", "H200 SXM"]
    sxm = shown["gpus"][1]
    assert sxm["memory_gb"] == 141
    assert sxm["fp64"] is None
    assert sxm["stacks"]["cuda"][0] == "11.8"
    assert sxm["stacks"]["until"] is None
    assert sxm["source"]
    (t4,) = json.loads(cudactl("gpu", "show", "1eb8", "--json").stdout)["gpus"]
    assert t4["has_no"] == ["tf32", "bf16", "fp8"]


def test_compare_puts_ratios_beside_figures(cudactl: Cudactl) -> None:
    done = cudactl("gpu", "compare", "H100 SXM", "H200 SXM")
    bandwidth = next(x for x in done.stdout.splitlines() if x.startswith("memory bandwidth, GB/s"))
    assert bandwidth.split()[-3:] == ["3350", "4800", "1.43×"]
    compared = json.loads(cudactl("gpu", "compare", "A100-SXM4-80GB", "H200 SXM", "--json").stdout)
    assert compared["first"] == "A100 SXM4 80GB"
    h200 = compared["gpus"][1]
    assert h200["ratios"]["memory_gb"] == pytest.approx(141 / 80)
    assert h200["ratios"]["fp8"] is None
    assert h200["per_watt"]["bf16"] == pytest.approx(989.5 / 700)


def test_a_recommendation_shows_its_arithmetic(cudactl: Cudactl) -> None:
    done = cudactl(
        *("gpu", "recommend", "--purpose", "inference", "--model", "70B", "--precision", "fp8"),
        *("--layers", "80", "--kv-heads", "8", "--head-dim", "128", "--context", "8192"),
        *("--batch", "16", "--gpus-max", "2"),
    )
    assert done.returncode == 0
    assert "70B parameters x 1 bytes" in done.stdout
    assert "42.95 GB" in done.stdout
    assert "112.9 GB" in done.stdout
    assert "90 % of one GPU's memory" in done.stdout
    first = next(line for line in done.stdout.splitlines() if line.startswith(" 1"))
    assert "B200 SXM" in first
    assert "1 holds 112.9 of 162 GB" in first


def test_a_recommendation_as_json(cudactl: Cudactl) -> None:
    done = cudactl("gpu", "recommend", "--purpose", "training", "--model", "7B", "--json")
    answer = json.loads(done.stdout)
    assert answer["memory"]["gb"] == 112
    assert [term["gb"] for term in answer["memory"]["terms"]] == [14, 14, 28, 28, 28]
    assert answer["demand"]["precision"] == "bf16"
    assert {choice["verdict"] for choice in answer["choices"]} == {
        "fits",
        "not known",
        "does not fit",
    }
    assert all(choice["why"] for choice in answer["choices"])


def test_when_nothing_fits_it_says_so_and_exits_3(cudactl: Cudactl) -> None:
    done = cudactl(
        *("gpu", "recommend", "--purpose", "training", "--model", "400B", "--gpus-max", "2")
    )
    assert done.returncode == 3
    assert "no GPU of the catalogue is known to fit" in done.stderr
    assert "--gpus-max is 2" in done.stdout


def test_a_test_fleet_for_a_spec(cudactl: Cudactl, tmp_path: Path) -> None:
    spec = tmp_path / "stack.yaml"
    spec.write_text('os: ubuntu-24.04\ncuda: "13.0"\ngpus: [H200 SXM, T4]\n')
    call = ("gpu", "recommend", "--purpose", "certification", "--spec", spec)
    fleet = json.loads(cudactl(*call, "--json").stdout)
    assert {pick["gpu"] for pick in fleet["picks"]} == {"H200 SXM", "T4"}
    assert "architecture Turing" in cudactl(*call).stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (("show", "H1000"), 3, "STACK-GPU-UNKNOWN"),
        (("compare", "H200 SXM", "nonsense"), 3, "STACK-GPU-UNKNOWN"),
        (("compare", "L4", "l4"), 2, "GPU-ONE-ONLY"),
        (("list", "--architecture", "Bulldozer"), 2, "GPU-ARCHITECTURE-UNKNOWN"),
        (("list", "--cc", "9"), 2, "GPU-CC-UNKNOWN"),
        (("list", "--min-memory", "nan"), 2, "GPU-OPTION"),
        (("recommend", "--purpose", "inference"), 2, "GPU-OPTION"),
        (("recommend", "--purpose", "inference", "--model", "70"), 2, "GPU-MODEL-SIZE"),
        (
            ("recommend", "--purpose", "inference", "--model", "7B", "--layers", "32"),
            2,
            "GPU-GEOMETRY",
        ),
        (
            ("recommend", "--purpose", "inference", "--model", "7B", "--optimizer", "sgd"),
            2,
            "GPU-OPTION",
        ),
        (
            ("recommend", "--purpose", "training", "--model", "7B", "--precision", "int4"),
            2,
            "GPU-PRECISION",
        ),
        (("recommend", "--purpose", "certification", "--watts", "100"), 2, "GPU-OPTION"),
        (("recommend", "--purpose", "certification", "--spec", "none.yaml"), 2, "SPEC-MISSING"),
    ],
)
def test_bad_input_gets_one_clear_error(
    cudactl: Cudactl, arguments: tuple[str, ...], exit_code: int, code: str
) -> None:
    done = cudactl("gpu", *arguments, "--json")
    assert done.returncode == exit_code
    error = json.loads(done.stdout)["error"]
    assert error["code"] == code
    assert error["found"]
    assert error["expected"]
    assert error["remedy"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("show",),
        ("compare",),
        ("recommend",),
        ("recommend", "--purpose", "mining"),
        ("recommend", "--purpose", "inference", "--model", "7B", "--batch", "0"),
        ("recommend", "--purpose", "inference", "--model", "7B", "--usable", "101"),
        ("list", "--min-memory", "-1"),
    ],
)
def test_a_wrong_call_exits_2(cudactl: Cudactl, arguments: tuple[str, ...]) -> None:
    done = cudactl("gpu", *arguments)
    assert done.returncode == 2
    assert "Usage: cudactl gpu" in done.stderr
