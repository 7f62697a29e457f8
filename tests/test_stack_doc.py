"""docs/stack.md says what is so: its specs stand, and no key, purpose or code is missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cudactl.contracts.spec import DriverSpec, StackSpec
from cudactl.stack.capture.remarks import EXPLANATIONS
from cudactl.stack.spec.check import check_spec
from cudactl.stack.spec.file import parse_spec
from cudactl.stack.spec.initial import PURPOSES

TEXT = (Path(__file__).parent.parent / "docs/stack.md").read_text()
SPECS = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("text", SPECS)
def test_a_spec_in_the_documentation_stands(text: str) -> None:
    assert check_spec(parse_spec(text, "docs/stack.md")).verdict != "refused"


def test_every_key_is_documented() -> None:
    keys = set(re.findall(r"`([a-z_.]+)`", TEXT))
    assert set(StackSpec.model_fields) - {"driver"} <= keys
    assert {f"driver.{key}" for key in DriverSpec.model_fields} <= keys


def test_every_purpose_and_every_code_is_documented() -> None:
    assert set(PURPOSES) <= set(re.findall(r"^\| `([a-z]+)`", TEXT, re.M))
    assert set(re.findall(r"^\| (CAPTURE-[A-Z-]+)", TEXT, re.M)) == set(EXPLANATIONS)
