"""Small faults that can be put into a source file, one for each place and kind.

Faults are spliced into the text as it is, so that line numbers and comments stay.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}


@dataclass(frozen=True)
class Fault:
    """The bytes from `start` to `end` of a file, which `new` replaces."""

    line: int
    start: int
    end: int
    old: str
    new: str

    def put_into(self, source: bytes) -> bytes:
        return source[: self.start] + self.new.encode() + source[self.end :]


def faults(source: bytes) -> list[Fault]:
    """All faults of a file, in the order of their places."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node, new in _changes(ast.parse(source)):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        found.append(Fault(node.lineno, start, end, source[start:end].decode(), new))
    return sorted(found, key=lambda fault: (fault.start, fault.end, fault.new))


def _changes(node: ast.AST) -> Iterator[tuple[ast.stmt | ast.expr, str]]:
    """Statements and expressions below a node, each with the text of a faulty one."""
    for child in _executed(node):
        if isinstance(child, ast.expr):
            yield from ((child, f"({ast.unparse(new)})") for new in _of_expression(child))
        elif isinstance(child, ast.stmt):
            yield from ((child, text) for text in _of_statement(child))
        if isinstance(child, ast.If | ast.While | ast.IfExp) and not _for_types(child.test):
            yield child.test, f"(not ({ast.unparse(child.test)}))"
        yield from _changes(child)


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """The children of a node but annotations, decorators and what only a type checker reads."""
    if isinstance(node, ast.If) and _for_types(node.test):
        return
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        children = value if isinstance(value, list) else [value]
        yield from (child for child in children if isinstance(child, ast.AST))


def _for_types(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def _of_expression(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.Compare(left, [operator], [right]) if type(operator) in SWAPPED:
            yield ast.Compare(left, [SWAPPED[type(operator)]()], [right])
        case ast.BoolOp(operator, values):
            yield ast.BoolOp(SWAPPED[type(operator)](), values)
        case ast.BinOp(left, operator, right) if type(operator) in SWAPPED:
            yield ast.BinOp(left, SWAPPED[type(operator)](), right)
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield operand
        case ast.Constant(bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(int() as value):
            yield ast.Constant(value + 1)


def _of_statement(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.Return(ast.expr() as value) if not _is_none(value):
            yield "return None"
        case ast.AugAssign(target, operator, value) if type(operator) in SWAPPED:
            yield ast.unparse(ast.AugAssign(target, SWAPPED[type(operator)](), value))
        case ast.Expr(ast.Call()) | ast.Raise():
            yield "pass"
        case ast.Break():
            yield "continue"
        case ast.Continue():
            yield "break"


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
