"""Write a spec as a stack.yaml that people read: one wish a line, each with its remark.

The counterpart of `specfile.py`: what is written here reads back as the same wish.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from cudactl.contracts.spec import StackSpec

WIDTH = 100
COLUMN = 28
"""Where remarks begin, if the wish leaves room."""
PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9 ._-]*[A-Za-z0-9]")
"""Texts that need no quotes; everything else gets them, versions above all."""
WORDS = ("true", "false", "yes", "no", "on", "off", "null", "y", "n")
"""Words that YAML would not read as text."""


def render_spec(
    spec: StackSpec,
    remarks: Mapping[str, str] | None = None,
    *,
    head: Sequence[str] = (),
    tail: Sequence[str] = (),
) -> str:
    """Return the file's text.

    Args:
        spec: The wish; keys that were not set are left out.
        remarks: Key ("cuda", "driver.branch", "gpus") → remark beside it.
        head: Remarks before everything, one a line.
        tail: Remarks after everything, one a line; these are not wrapped.
    """
    remarks = remarks or {}
    lines = [line for text in head for line in _remark(text, "")]
    written = spec.model_dump(mode="json", exclude_unset=True)
    for key in type(spec).model_fields:
        # An empty driver is a wish, for one of the solver's choice; an empty list is none.
        if written.get(key) not in (None, []) and (key == "driver" or written[key] != {}):
            lines += _entry(key, key, written[key], remarks, "")
    lines += [f"# {_kept(text)}".rstrip() for text in tail]
    return "\n".join(lines) + "\n"


def _entry(
    key: str,
    path: str,
    value: Any,  # noqa: ANN401 - anything a spec can hold
    remarks: Mapping[str, str],
    indent: str,
) -> list[str]:
    remark = one_line(remarks.get(path, ""))
    if isinstance(value, dict) and value:
        lines = _line(f"{indent}{key}:", remark, indent)
        for name, inner in value.items():
            if inner is not None:
                lines += _entry(name, f"{path}.{name}", inner, remarks, indent + "  ")
        return lines
    if isinstance(value, list):
        items = [f"{indent}  - {_scalar(item)}" for item in value]
        return [*_line(f"{indent}{key}:", remark, indent), *items]
    return _line(f"{indent}{key}: {_scalar(value)}", remark, indent)


def _line(wish: str, remark: str, indent: str) -> list[str]:
    """Return a wish with its remark beside it, or above it where the line would be too long."""
    if not remark:
        return [wish]
    beside = f"{wish:<{COLUMN}} # {remark}"
    if len(beside) <= WIDTH:
        return [beside]
    return [*_remark(remark, indent), wish]


def _remark(text: str, indent: str) -> list[str]:
    start = f"{indent}# "
    return textwrap.wrap(
        one_line(text), WIDTH, initial_indent=start, subsequent_indent=start, break_long_words=False
    ) or [start.rstrip()]


def _scalar(value: object) -> str:
    if value == {}:
        return "{}"
    if isinstance(value, int):
        return str(value)
    text = str(value)
    if PLAIN.fullmatch(text) and text.lower() not in WORDS:
        return text
    return json.dumps(text)


def _kept(text: str) -> str:
    """Return a line of the tail with its own indentation."""
    return " " * (len(text) - len(text.lstrip(" "))) + one_line(text)


def one_line(text: str) -> str:
    """Return text that came from elsewhere as one line: nothing in it can end a remark."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
