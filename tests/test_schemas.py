"""The published schemas say what the models say, and the examples follow them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from cudactl.stack.spec.check import check_spec
from cudactl.stack.spec.file import read_spec

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "docs/examples").glob("*.yaml"))


def published(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((ROOT / f"docs/schemas/{name}.schema.json").read_text())
    return document


def test_the_schemas_are_those_of_the_models() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/schemas.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_names_its_schema_follows_it_and_stands(path: Path) -> None:
    text = yaml.load(path.read_text(), yaml.BaseLoader)  # every value is text, as in a spec
    assert (path.parent / text["$schema"]).resolve().exists()
    Draft202012Validator(published("stack")).validate(text)
    assert check_spec(read_spec(path)).verdict != "refused"


@pytest.mark.parametrize(
    "wrong",
    [
        {"cuda": "13.0"},
        {"os": "ubuntu-24.04", "cudda": "13.0"},
        {"os": "ubuntu-24.04", "cuda": "thirteen"},
        {"os": "ubuntu-24.04", "driver": {"branch": "580", "flavor": "open"}},
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(wrong: dict[str, Any]) -> None:
    assert not Draft202012Validator(published("stack")).is_valid(wrong)
