"""Read stack.yaml: from a user's file to a `StackSpec`, or one clear error.

First step of the flow. The file is read into plain values here, not by YAML's own rules for types:
they would read 12.10 as the number 12.1 and lose the version that was meant.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from cudactl.contracts.base import canonical_hash
from cudactl.contracts.errors import UsageError
from cudactl.contracts.spec import StackSpec
from cudactl.stack.index.fetching import without_password

LARGEST = 64 * 1024
"""Largest spec file, bytes; a spec is a screenful."""
DEEPEST = 16
"""Deepest nesting; a spec needs three levels."""

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Location = tuple[str | int, ...]

_EXAMPLE = 'a file such as:\n    os: ubuntu-24.04\n    cuda: "13.0"\n    cudnn: "9"'


def spec_hash(spec: StackSpec) -> str:
    """Return the wish's hash; a key that says what is the default anyway does not change it."""
    return canonical_hash(spec.model_dump(mode="json", exclude_defaults=True))


def without_secrets(spec: StackSpec) -> StackSpec:
    """Return the wish without the passwords of its addresses: locks travel."""
    shown: dict[str, Any] = {}
    if spec.mirror is not None:
        url = without_password(spec.mirror.url)
        shown["mirror"] = spec.mirror.model_copy(update={"url": url})
    if spec.archive is not None:
        named = {"url": spec.archive.url, "security": spec.archive.security}
        plain = {key: without_password(url) for key, url in named.items() if url is not None}
        shown["archive"] = spec.archive.model_copy(update=plain)
    return spec.model_copy(update=shown) if shown else spec


def read_spec(path: Path) -> StackSpec:
    """Read a spec file.

    Raises:
        UsageError: SPEC-MISSING, SPEC-UNREADABLE, SPEC-UNKNOWN-KEY, SPEC-MISSING-KEY,
            SPEC-DUPLICATE-KEY, SPEC-WRONG-TYPE or SPEC-BAD-VALUE, with file and line.
    """
    return parse_spec(_text(path), str(path))


def parse_spec(text: str, name: str) -> StackSpec:
    """Read a spec from text; `name` is what errors call it. Raises like `read_spec`."""
    lines: dict[Location, int] = {}
    value = _plain(_root(text, name), name, (), lines)
    if not isinstance(value, dict):
        raise UsageError(
            "SPEC-WRONG-TYPE",
            f"{name} holds {_kind(value)}",
            expected=_EXAMPLE,
            remedy="write one `key: value` per line",
        )
    value.pop("$schema", None)
    if value.get("schema_version") == "1":
        value["schema_version"] = 1
    try:
        return StackSpec.model_validate(value)
    except ValidationError as wrong:
        raise _explain(wrong, name, value, lines) from None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise UsageError(
            "SPEC-MISSING",
            f"there is no file {path}",
            expected=_EXAMPLE,
            remedy="write the file, or name another: cudactl stack lock FILE",
        ) from None
    except OSError as error:
        raise UsageError(
            "SPEC-UNREADABLE", f"{path} cannot be read: {error.strerror}", expected="a YAML file"
        ) from None
    if len(data) > LARGEST:
        raise UsageError(
            "SPEC-UNREADABLE",
            f"{path} is larger than {LARGEST // 1024} KiB",
            expected=_EXAMPLE,
            remedy="name the spec file; this is something else",
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(
            "SPEC-UNREADABLE",
            f"{path}, line {line}: not UTF-8 text",
            expected="a YAML file in UTF-8",
            remedy="save the file as UTF-8",
        ) from None


def _root(text: str, name: str) -> yaml.Node:
    """Return the document's node, without aliases (a few could stand for gigabytes)."""
    try:
        depth = 0
        for event in yaml.parse(text, Loader):
            if isinstance(event, yaml.AliasEvent):
                raise _unreadable(name, _line(event), "an alias (*name) is used")
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > DEEPEST:
                    raise _unreadable(name, _line(event), "nested too deep")
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
        loader = Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = (error.context, error.problem)
        problem = ", ".join(part for part in said if part)
        raise _unreadable(name, mark.line if mark else None, f"not YAML: {problem}") from None
    except yaml.YAMLError as error:
        problem = getattr(error, "reason", None) or str(error).splitlines()[0]
        raise _unreadable(name, None, f"not YAML: {problem}") from None
    if not isinstance(node, yaml.Node):
        raise _unreadable(name, None, "the file is empty")
    return node


def _line(event: yaml.Event) -> int | None:
    return event.start_mark.line if event.start_mark else None


def _unreadable(name: str, line: int | None, problem: str) -> UsageError:
    where = name if line is None else f"{name}, line {line + 1}"
    return UsageError(
        "SPEC-UNREADABLE", f"{where}: {problem}", expected=_EXAMPLE, remedy="mend that line"
    )


def _plain(node: yaml.Node, name: str, at: Location, lines: dict[Location, int]) -> Any:  # noqa: ANN401
    """Return the node as dict, list, bool or the text as it was written."""
    lines[at] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value
            here: Location = (*at, key) if isinstance(key, str) else at
            if not isinstance(key_node, yaml.ScalarNode):
                raise UsageError(
                    "SPEC-WRONG-TYPE",
                    f"{name}, line {line}: a key is {_kind(key)}",
                    expected="a plain word as key",
                )
            if key in found:
                raise UsageError(
                    "SPEC-DUPLICATE-KEY",
                    f"{name}, line {line}: {key!r} is written a second time",
                    expected=f"once; the first is on line {lines[here]}",
                    remedy="remove one of the two",
                )
            found[key] = _plain(value_node, name, here, lines)
            lines[here] = line
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, name, (*at, i), lines) for i, item in enumerate(node.value)]
    tag = node.tag.rpartition(":")[2]
    text = str(node.value)
    if tag == "float":
        raise UsageError(
            "SPEC-WRONG-TYPE",
            f"{name}, line {lines[at]}: {_dotted(at)} is the number {text}",
            expected=f'a version in quotes: "{text}" (as a number, 12.10 would be 12.1)',
            remedy=f'write it in quotes: {_dotted(at)}: "{text}"',
        )
    if tag == "null":
        raise UsageError(
            "SPEC-WRONG-TYPE",
            f"{name}, line {lines[at]}: {_dotted(at)} has no value",
            expected="a value",
            remedy="write one, or remove the key",
        )
    if tag == "bool":
        return text.lower() in ("yes", "true", "on")
    return text


def _explain(
    wrong: ValidationError, name: str, value: dict[str, Any], lines: dict[Location, int]
) -> UsageError:
    """Turn pydantic's findings into one error about the first line that is wrong."""
    problems = sorted(
        (_problem(error, name, value, lines) for error in wrong.errors(include_url=False)),
        key=lambda p: p[0],
    )
    _, first = problems[0]
    if len(problems) > 1:
        first.found += f" (and {len(problems) - 1} more to mend)"
    return first


def _problem(
    error: Any,  # noqa: ANN401 - pydantic's ErrorDetails
    name: str,
    value: dict[str, Any],
    lines: dict[Location, int],
) -> tuple[int, UsageError]:
    at: Location = tuple(part for part in error["loc"] if part != "[key]")
    line = lines.get(at, 0)
    where = f"{name}, line {line}" if line else name
    kind, given = error["type"], error.get("input")
    if kind == "extra_forbidden" or error["loc"][-1] == "[key]":
        known = _keys(at[:-1])
        key = str(at[-1])
        close = difflib.get_close_matches(key, known, 1, 0.6)
        return line, UsageError(
            "SPEC-UNKNOWN-KEY",
            f"{where}: unknown key {_dotted(at)!r}",
            expected="one of: " + ", ".join(known),
            remedy=f"did you mean {close[0]!r}?" if close else "remove it, or correct its name",
        )
    if kind == "missing":
        # Last: a key that is misspelt explains why another one is missing.
        return LARGEST, UsageError(
            "SPEC-MISSING-KEY",
            f"{where}: {_dotted(at)!r} is not there",
            expected=_EXAMPLE if at == ("os",) else f"a value for {_dotted(at)}",
            remedy=f"add a line: {at[-1]}: …",
        )
    if kind.endswith("_type"):
        wanted = {"string_type": "text", "list_type": "a list"}.get(kind, "a mapping (key: value)")
        remedy = ""
        if at == ("driver",) and isinstance(given, str):
            remedy = f'write: driver: {{branch: "{given}"}}'
        elif kind == "list_type":
            remedy = f"write: {at[-1]}: [{given}]"
        return line, UsageError(
            "SPEC-WRONG-TYPE",
            f"{where}: {_dotted(at)} is {_kind(given)}",
            expected=wanted,
            remedy=remedy or "correct the value",
        )
    expected, remedy = _expected(error), "correct the value"
    if kind == "literal_error":
        choices = _choices(at)
        close = difflib.get_close_matches(str(given), choices, 1, 0.5)
        if close:
            remedy = f"did you mean {close[0]!r}?"
    return line, UsageError(
        "SPEC-BAD-VALUE", f"{where}: {_dotted(at)} is {given!r}", expected=expected, remedy=remedy
    )


def _expected(error: Any) -> str:  # noqa: ANN401
    context = error.get("ctx") or {}
    if error["type"] == "literal_error":
        return f"one of: {context['expected']}"
    if error["type"] == "string_pattern_mismatch":
        if "http" in context["pattern"]:
            return "an address that begins with https://, http:// or file://"
        return 'a version or the beginning of one, such as "13.0" or "9"'
    return str(error["msg"]).removeprefix("Value error, ").removeprefix("expected ")


def _keys(at: Location) -> list[str]:
    """Return the keys that are known at a place in the spec."""
    model: type[BaseModel] = StackSpec
    for part in at:
        field = model.model_fields.get(str(part))
        if field is None:
            return []
        nested = [
            a
            for a in (field.annotation, *get_args(field.annotation))
            if isinstance(a, type) and issubclass(a, BaseModel)
        ]
        if not nested:
            return [str(x) for x in get_args(get_args(field.annotation)[0])]
        model = nested[0]
    return list(model.model_fields)


def _choices(at: Location) -> list[str]:
    field = StackSpec.model_fields.get(str(at[0])) if len(at) == 1 else None
    return _flat(get_args(field.annotation)) if field is not None else []


def _flat(values: Iterable[Any]) -> list[str]:
    found: list[str] = []
    for value in values:
        found += [value] if isinstance(value, str) else _flat(get_args(value))
    return found


def _dotted(at: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in at) or "the file"


def _kind(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    return f"the text {value!r}"
