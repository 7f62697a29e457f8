"""What is written as stack.yaml reads back as the same wish, whatever stands in its remarks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudactl.contracts.spec import StackSpec
from cudactl.stack.spec.file import parse_spec
from cudactl.stack.spec.text import render_spec
from tests.stack import strategies

KEYS = ("os", "gpus", "driver", "driver.branch", "cuda", "cudnn", "mirror.url")
KEPT = settings(max_examples=200, deadline=timedelta(seconds=5), derandomize=True, database=None)


@given(
    wish=strategies.wishes(),
    remarks=st.dictionaries(st.sampled_from(KEYS), st.text(max_size=200)),
    around=st.lists(st.text(max_size=200), max_size=3),
)
@KEPT
def test_a_wish_reads_back_whatever_is_remarked(
    wish: dict[str, Any], remarks: dict[str, str], around: list[str]
) -> None:
    spec = StackSpec.model_validate(wish)
    text = render_spec(spec, remarks, head=around, tail=around)
    assert parse_spec(text, "x") == spec


@pytest.mark.parametrize("end", ["\n", "\r", "\x85", "\u2028", "\u2029", "\x0b", "\x0c"])
def test_no_remark_can_add_a_wish(end: str) -> None:
    spec = StackSpec.model_validate({"os": "debian-12", "cuda": "13.0"})
    remark = f"/usr/local/lib/libcudnn.so.9{end}cudnn: '9'"
    text = render_spec(spec, {"cuda": remark}, head=[remark], tail=[remark])
    assert parse_spec(text, "x") == spec


def test_a_remark_stands_beside_its_wish_or_above_it() -> None:
    spec = StackSpec.model_validate({"os": "debian-12", "driver": {"branch": "580"}})
    text = render_spec(spec, {"os": "short", "driver.branch": "long " * 30})
    lines = text.splitlines()
    assert lines[0].startswith("os: debian-12 ")
    assert lines[0].endswith("# short")
    assert lines[1] == "driver:"
    assert lines[2].startswith("  # long long")
    assert lines[-1] == '  branch: "580"'
    assert max(map(len, lines)) <= 100
