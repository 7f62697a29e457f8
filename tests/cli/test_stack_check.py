"""`cudactl stack check` and `stack why` as a user calls them: text, JSON, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Cudactl

OK = 'os: ubuntu-24.04\ndriver: {branch: "580"}\ncontainer_toolkit: "1"\n'
FLAGGED = 'os: ubuntu-24.04\ncuda: "13.0"\ntensorrt: "10.13"\n'
REFUSED = 'os: ubuntu-24.04\ngpus: [V100]\ncuda: "13.0"\n'


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    for name, text in {"ok": OK, "flagged": FLAGGED, "refused": REFUSED, "none": "oss: x"}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["ok.yaml"], 0),
        (["ok.yaml", "flagged.yaml"], 0),
        (["ok.yaml", "flagged.yaml", "--strict"], 5),
        (["ok.yaml", "--strict"], 0),
        (["flagged.yaml", "refused.yaml", "--strict"], 3),
        (["refused.yaml", "none.yaml"], 2),
        (["missing.yaml"], 2),
        ([], 2),
        (["refused.yaml", "--allow", "STACK-GPU-TOOLKIT", "--reason", "x"], 2),
        (["refused.yaml", "--allow", "STACK-DRIVER-TOO-OLD"], 2),
    ],
)
def test_exit_codes(cudactl: Cudactl, specs: Path, arguments: list[str], code: int) -> None:
    assert cudactl("stack", "check", *arguments, cwd=specs).returncode == code


def test_every_spec_is_judged_also_beside_one_that_cannot_be_read(
    cudactl: Cudactl, specs: Path
) -> None:
    names = ["none.yaml", "ok.yaml", "refused.yaml", "flagged.yaml"]
    done = cudactl("stack", "check", "--json", *names, cwd=specs)
    judged = json.loads(done.stdout)
    assert [one["file"] for one in judged] == names
    assert [one["verdict"] for one in judged] == ["refused", "ok", "refused", "flagged"]
    (finding,) = judged[2]["findings"]
    assert finding["code"] == "STACK-GPU-TOOLKIT"
    assert finding["wishes"] == ["gpus: V100", "cuda: 13.0"]
    assert all(fact["text"] and fact["source"] for fact in finding["facts"])
    assert finding["nearest"][0] == {"key": "cuda", "value": "12.9", "text": 'cuda: "12.9"'}
    assert judged[0]["findings"][0]["code"] == "SPEC-UNKNOWN-KEY"


def test_a_refusal_reads_as_a_colleague_would_say_it(cudactl: Cudactl, specs: Path) -> None:
    said = " ".join(cudactl("stack", "check", "refused.yaml", cwd=specs).stdout.split())
    for words in (
        "refused STACK-GPU-TOOLKIT",
        "the last toolkit that targets",
        "between: gpus: V100 + cuda: 13.0",
        "fact: CUDA 13.0 targets compute capability 7.5",
        'cuda: "12.9"',
        "what to do:",
    ):
        assert words in said


def test_no_network_and_no_index_is_needed(cudactl: Cudactl, specs: Path) -> None:
    nowhere = {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    assert cudactl("stack", "check", "ok.yaml", cwd=specs, env=nowhere).returncode == 0


def test_a_package_name_is_explained_without_a_lock(cudactl: Cudactl, specs: Path) -> None:
    done = cudactl("stack", "why", "cuda-13-1", "--json", cwd=specs)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert not told["locked"]
    assert "PKG-PULLS-DRIVER" in {finding["code"] for finding in told["meaning"]}
    done = cudactl("stack", "why", "cuda-toolkit-12-7", "--os", "debian-12", cwd=specs)
    assert "there never was a CUDA 12.7" in done.stdout
    done = cudactl("stack", "why", "vim", cwd=specs)
    assert done.returncode == 2
    assert "vim" in done.stderr
