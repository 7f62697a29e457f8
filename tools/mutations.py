"""The small changes that tools/mutants.py makes to a module: what each kind of node may become."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
CALCULATED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
}


def changes(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Apply each change to the tree in turn, yield (line, what it is), and take it back."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    hints = {id(n) for hint in _annotations(tree) for n in ast.walk(hint)}
    hints |= {id(n) for part in tree.body if _for_types(part) for n in ast.walk(part)}
    for node in [n for n in ast.walk(tree) if id(n) not in hints and id(n) not in docstrings]:
        for field, new, text in _replacements(node):
            old = getattr(node, field)
            setattr(node, field, new)
            yield getattr(node, "lineno", 0), text
            setattr(node, field, old)
        yield from _removals(node)


def _replacements(node: ast.AST) -> Iterator[tuple[str, Any, str]]:
    if isinstance(node, ast.Compare):
        for at, operator in enumerate(node.ops):
            new = COMPARED[type(operator)]
            swapped = [*node.ops[:at], new(), *node.ops[at + 1 :]]
            yield "ops", swapped, f"{type(operator).__name__} → {new.__name__}"
    elif isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield "op", other, f"{type(node.op).__name__} → {type(other).__name__}"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "op", ast.Not(), "not removed"  # replaced in _removals' way, see below
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in CALCULATED:
        new_op = CALCULATED[type(node.op)]
        yield "op", new_op(), f"{type(node.op).__name__} → {new_op.__name__}"
    elif isinstance(node, ast.If | ast.While | ast.IfExp):
        negated = ast.copy_location(ast.UnaryOp(ast.Not(), node.test), node.test)
        yield "test", ast.fix_missing_locations(negated), "condition negated"
    elif isinstance(node, ast.comprehension) and node.ifs:
        yield "ifs", [], "filter removed"
    elif isinstance(node, ast.Constant):
        yield from _constants(node)


def _constants(node: ast.Constant) -> Iterator[tuple[str, Any, str]]:
    value = node.value
    if isinstance(value, bool):
        yield "value", not value, f"{value} → {not value}"
    elif isinstance(value, int | float):
        yield "value", value + 1, f"{value} → {value + 1}"
    elif isinstance(value, str) and value and not set(value) & set(" %,;:()"):
        # A word that decides something; sentences are for people.
        yield "value", value + "XX", f"{value!r} → {value + 'XX'!r}"


def _removals(node: ast.AST) -> Iterator[tuple[int, str]]:
    for field in ("body", "orelse", "finalbody"):
        body = getattr(node, field, None)
        if not isinstance(body, list):
            continue
        for at, statement in enumerate(body):
            if isinstance(statement, ast.Continue):
                new: ast.stmt = ast.Break()
            elif isinstance(statement, ast.Raise | ast.AugAssign) or (
                isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
            ):
                new = ast.Pass()
            else:
                continue
            body[at] = ast.copy_location(new, statement)
            yield statement.lineno, f"{type(statement).__name__} → {type(new).__name__}"
            body[at] = statement


def _for_types(part: ast.stmt) -> bool:
    """Return whether a statement is there for type checkers alone."""
    names = {n.id for n in ast.walk(part) if isinstance(n, ast.Name)}
    return isinstance(part, ast.If | ast.Assign) and names == {"TYPE_CHECKING"}


def _annotations(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            yield node.annotation
        elif isinstance(node, ast.FunctionDef) and node.returns is not None:
            yield node.returns
