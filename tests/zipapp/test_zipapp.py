"""The one file that goes to hosts: the same bytes every time, small, standard library only."""

from __future__ import annotations

import ast
import io
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cudactl import zipapp
from cudactl.reach.fanout import run_probe
from cudactl.reach.targets import Target
from tests.judge.healthy import RECORDED, fresh
from tests.probe.conftest import interpreters

MAX_BYTES = 300_000
Verb = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def verb(tmp_path_factory: pytest.TempPathFactory) -> Verb:
    """Run a verb of the zipapp; never a traceback."""
    path = tmp_path_factory.mktemp("zipapp") / "cudactl.pyz"
    zipapp.write(path)

    def run(
        *arguments: str | Path, python: str = sys.executable, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [python, "-I", "-S", str(path), *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


# --- the file -----------------------------------------------------------------------------------


def test_the_same_sources_give_the_same_bytes_anywhere_and_any_time(tmp_path: Path) -> None:
    """Another folder, another user's umask, zone and locale, other times, files left over."""
    copy = tmp_path / "elsewhere" / "cudactl"
    for part in ("zipapp", "probe", "judge"):
        shutil.copytree(zipapp.PACKAGE / part, copy / part)
    shutil.copy(zipapp.PACKAGE / "__init__.py", copy)
    for path in copy.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(0o700)
    (copy / "probe" / "notes.txt").write_text("left over")
    (copy / "probe" / "__pycache__" / "x.py").parent.mkdir(exist_ok=True)
    (copy / "probe" / "__pycache__" / "x.py").write_text("left over")
    script = "import os; os.umask(0o077); from cudactl import zipapp; print(zipapp.sha256())"
    done = subprocess.run(
        [sys.executable, "-B", "-S", "-c", script],
        cwd=copy.parent,
        env={"PYTHONPATH": str(copy.parent), "TZ": "Asia/Tokyo", "LC_ALL": "C", "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == zipapp.sha256()


def test_it_is_small() -> None:
    assert len(zipapp.build()) <= MAX_BYTES


def test_it_holds_probe_and_judge_and_nothing_else() -> None:
    with zipfile.ZipFile(io.BytesIO(zipapp.build())) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
    assert names == sorted(names)
    rooms = {name.split("/")[1] for name in names if name.count("/") > 1}
    assert rooms == {"probe", "judge"}
    alone = {name for name in names if name.count("/") < 2}
    assert alone == {"__main__.py", "cudactl/__init__.py", "cudactl/zipapp_main.py"}


def test_what_only_tells_the_state_tells_the_same() -> None:
    """Many hosts at once are sent a small part of it, which must not be another probe."""
    assert len(zipapp.build_state()) < len(zipapp.build()) / 5
    (target,) = [Target(name="here", connection="local", python=sys.executable)]
    (small,) = run_probe([target], ["state"])
    (whole,) = run_probe([target], ["state", "--root", "/"])
    assert small.document is not None
    assert whole.document is not None
    moving = {"taken_at", "duration_s", "disks"}
    assert {k: v for k, v in small.document.items() if k not in moving} == {
        k: v for k, v in whole.document.items() if k not in moving
    }


def test_the_state_is_told_under_every_python_whoever_compiled_it() -> None:
    """To many, this Python's bytecode is sent along, which all others must leave alone."""
    asked = [
        Target(name=f"{version} {number}", connection="local", python=python)
        for version, python in interpreters().items()
        for number in range(3)
    ]
    for answer in run_probe(asked, ["state"]) + run_probe(asked[:1], ["state"]):
        assert answer.document is not None, answer.error
        version = answer.target.name.split()[0]
        assert answer.document["python"]["version"].startswith(version + ".")


def test_bytecode_is_used_where_it_fits(tmp_path: Path) -> None:
    """With sources that cannot be compiled, only an interpreter that takes the bytecode runs."""
    with zipfile.ZipFile(io.BytesIO(zipapp.build_state(compiled=True))) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "spoilt.zip", "w") as spoilt:
        for name, content in files.items():
            spoilt.writestr(name, content if name.endswith(".pyc") else b"no python")
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'spoilt.zip')!r})\n"
        "from cudactl.zipapp_main import main; main([])"
    )
    for version, python in interpreters().items():
        done = subprocess.run([python, "-I", "-S", "-c", script], capture_output=True, text=True)
        same = version == f"{sys.version_info[0]}.{sys.version_info[1]}"
        assert (done.returncode == 0) is same, version


def test_the_written_file_runs_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "cudactl.pyz"
    zipapp.write(path)
    done = subprocess.run([str(path), "state"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["schema_version"] == 1


# --- the verbs, under every interpreter ---------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Recorded evidence of real wheels, and the policy of its lock."""
    folder = tmp_path_factory.mktemp("judge")
    _, policy = fresh("wheels")
    (folder / "policy.json").write_text(json.dumps(policy))
    return RECORDED / "wheels-cuda-13.0-no-gpu.json", folder / "policy.json"


@pytest.mark.parametrize("version", sorted(interpreters()))
def test_every_python_judges_and_gates(
    verb: Verb, files: tuple[Path, Path], tmp_path: Path, version: str
) -> None:
    python = interpreters()[version]
    judged = verb("judge", *files, python=python)
    assert judged.returncode == 0, judged.stdout
    certificate = json.loads(judged.stdout)
    assert (certificate["verdict"], certificate["level"]) == ("PASS", "linkage")
    gated = verb("gate", "--root", tmp_path, python=python)
    assert (gated.returncode, gated.stdout.count("\n")) == (4, 1)


# --- judge --------------------------------------------------------------------------------------


def test_judge_exits_by_its_verdict(verb: Verb, files: tuple[Path, Path], tmp_path: Path) -> None:
    evidence, policy = files
    document = json.loads(evidence.read_text())
    document["legs"][-1]["outcome"] = "crashed"
    (tmp_path / "failed.json").write_text(json.dumps(document))
    done = verb("judge", tmp_path / "failed.json", policy)
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (3, "FAIL")
    document["legs"][-1]["outcome"] = "no_output"
    (tmp_path / "unmeasured.json").write_text(json.dumps(document))
    done = verb("judge", tmp_path / "unmeasured.json", policy)
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (4, "ERROR")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), "JUDGE-CALL"),
        (("{evidence}",), "JUDGE-CALL"),
        (("{evidence}", "{policy}", "{policy}"), "JUDGE-CALL"),
        (("/no/such/file", "{policy}"), "FILE-UNREADABLE"),
        (("{evidence}", "/tmp"), "FILE-UNREADABLE"),
        (("{garbage}", "{policy}"), "FILE-UNREADABLE"),
        (("{list}", "{policy}"), "FILE-UNREADABLE"),
        (("{deep}", "{policy}"), "FILE-UNREADABLE"),
        (("{policy}", "{policy}"), "EVIDENCE-UNREADABLE"),
        (("{evidence}", "{evidence}"), "EVIDENCE-UNREADABLE"),
    ],
)
def test_a_wrong_call_of_judge_is_one_error_document(
    verb: Verb, files: tuple[Path, Path], tmp_path: Path, arguments: tuple[str, ...], code: str
) -> None:
    names = {"evidence": files[0], "policy": files[1]}
    for name, text in {"garbage": "{", "list": "[]", "deep": "[" * 100_000}.items():
        names[name] = tmp_path / name
        names[name].write_text(text)
    done = verb("judge", *(a.format(**names) for a in arguments))
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["code"] == code


# --- gate ---------------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A tree that keeps a certificate which stands for it."""
    evidence, policy = fresh("wheels")
    from cudactl.judge import judge

    evidence["taken_at"] = time.time()
    certificate: dict[str, Any] = judge(evidence, policy, "h1", time.time())
    state = evidence["state"]
    for name, text in {
        "/var/lib/cudactl/certificate.json": json.dumps(certificate),
        "/proc/sys/kernel/random/boot_id": state["boot_id"] + "\n",
        "/etc/machine-id": state["machine_id"] + "\n",
    }.items():
        path = tmp_path / name[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_certificate_that_stands_opens_the_gate(verb: Verb, machine: Path) -> None:
    done = verb("gate", "--root", machine)
    assert done.returncode == 0, done.stdout
    assert "PASS at level linkage" in done.stdout


@pytest.mark.parametrize(
    ("file", "text", "code", "nagios"),
    [
        ("proc/sys/kernel/random/boot_id", "another\n", 3, 2),
        ("etc/machine-id", "another\n", 3, 2),
        ("var/lib/cudactl/certificate.json", "{", 4, 3),
        ("var/lib/cudactl/certificate.json", None, 4, 3),
        (
            "proc/driver/nvidia/version",
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\n",
            3,
            2,
        ),
    ],
)
def test_the_gate_reads_the_machine(
    verb: Verb, machine: Path, file: str, text: str | None, code: int, nagios: int
) -> None:
    path = machine / file
    path.parent.mkdir(parents=True, exist_ok=True)
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    assert verb("gate", "--root", machine).returncode == code
    assert verb("gate", "--root", machine, "--exit-style", "nagios").returncode == nagios
    assert verb("gate", "--root", machine, "--exit-style=nagios").returncode == nagios


@pytest.mark.parametrize("arguments", [("now",), ("--exit-style", "icinga"), ("--exit-style",)])
def test_a_wrong_call_of_gate_never_opens_it(
    verb: Verb, machine: Path, arguments: tuple[str, ...]
) -> None:
    done = verb("gate", "--root", machine, *arguments)
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["code"] == "GATE-CALL"


def test_what_is_sent_is_the_sources_without_their_docstrings() -> None:
    """Nothing but docstrings is missing, and every line has its number."""

    def shape(text: bytes) -> tuple[str, list[int]]:
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                continue
            if node.body and isinstance(node.body[0], ast.Expr):
                said = node.body[0].value
                if isinstance(said, ast.Constant) and isinstance(said.value, str):
                    said.value = ""
        lines = [node.lineno for node in ast.walk(tree) if hasattr(node, "lineno")]
        return ast.dump(tree), lines

    with zipfile.ZipFile(io.BytesIO(zipapp.build())) as archive:
        names = [name for name in archive.namelist() if name.startswith("cudactl/probe/")]
        names += [name for name in archive.namelist() if name.startswith("cudactl/judge/")]
        sent = {name: archive.read(name) for name in names if name.endswith(".py")}
    assert len(sent) > 100
    for name, text in sent.items():
        source = (zipapp.PACKAGE / name.partition("/")[2]).read_bytes()
        assert shape(text) == shape(source), name
        assert not text.startswith(b'"""'), name
