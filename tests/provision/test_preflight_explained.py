"""Every code that a plan can carry is declared, explained and in docs/preflight.md."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from cudactl.cli import main
from cudactl.provision.preflight.explained import CASES, table

ROOT = Path(__file__).parent.parent.parent
PROVISION = ROOT / "cudactl" / "provision"
MAKERS = {"refuse": "refused", "remark": "told"}


def declared_by_code() -> dict[str, set[str]]:
    """Code → how the plan's own sources make it: by refuse(…), remark(…) or as an obstacle."""
    found: dict[str, set[str]] = {}
    for path in PROVISION.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            given = node.args[0] if node.args else None
            how = MAKERS.get(name)
            if name == "_of":
                given, how = node.args[1], "taken over"
            elif name == "Obstacle":
                given = next(k.value for k in node.keywords if k.arg == "code")
                how = "taken over"
            if how is not None and isinstance(given, ast.Constant):
                calm = any(
                    k.arg == "refuses" and isinstance(k.value, ast.Constant) and not k.value.value
                    for k in node.keywords
                )
                found.setdefault(str(given.value), set()).add("told" if calm else how)
    return found


def test_every_code_is_declared_as_it_is_made() -> None:
    made = declared_by_code()
    assert len(made) > 40
    assert {code: {case.declared} for code, case in CASES.items()} == made


def test_the_documents_table_is_what_is_declared() -> None:
    assert (ROOT / "docs" / "preflight.md").read_text().endswith("-->\n" + table())


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(["plan", "host", *arguments])
    said = capsys.readouterr()
    return int(str(left.value.code)), said.out, said.err


def test_a_code_is_explained_in_words_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told(capsys, "--explain", "preflight-vgpu")
    assert code == 0
    assert out.startswith("PREFLIGHT-VGPU (refused): a vGPU guest")
    _, out, _ = told(capsys, "--explain", "PREFLIGHT-VGPU", "--json")
    assert json.loads(out)["declared"] == "refused"


def test_a_code_that_no_plan_carries_is_a_wrong_call(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = told(capsys, "--explain", "PREFLIGHT-VGPUS")
    assert code == 2
    assert "PREFLIGHT-VGPUS" in err
    assert "docs/preflight.md" in err
