"""What code imports and names, read off it; nothing is imported."""

from __future__ import annotations

import ast
import contextlib
import dis
import functools
import importlib.util
import inspect
import os
import re
import types
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from typing import Any

# What imports, or opens, a module whose name is a text.
_BY_TEXT = {"import_module", "__import__", "resources", "files", "get_data"}
# How the body of a class reads a name that may be a global.
_READS_NAMES = ("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_MODULE = re.compile(r"\.*[^\W\d]\w*(\.[^\W\d]\w*)*")


@functools.lru_cache(maxsize=4096)
def of_module(name: str, file: str, text: bytes, package: str) -> tuple[str, ...]:
    """Return the names that a module's text imports, but for what only type checkers see."""
    try:
        code = _without_types(text) if b"TYPE_CHECKING" in text else code_of(name, file, text)
    except (SyntaxError, ValueError):
        return ()
    return tuple(dict.fromkeys(find_imports(code, package)))


@functools.lru_cache(maxsize=1024)
def find_unconditional(text: bytes) -> frozenset[str]:
    """Return the names that a module's text imports first thing, whatever happens."""
    names: list[str] = []
    with contextlib.suppress(SyntaxError, ValueError):
        for node in ast.parse(text).body:
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.append(str(node.module))
    return frozenset(names)


def code_of(name: str, file: str, text: bytes) -> types.CodeType:
    """Return the compiled module, as Python keeps it beside the file where it does."""
    if os.path.exists(file):
        code = SourceFileLoader(name, file).get_code(name)
        assert code is not None
        return code
    return compile(text, file, "exec", dont_inherit=True)


def _without_types(text: bytes) -> types.CodeType:
    tree = _TypeCheckingRemover().visit(ast.parse(text))
    return compile(tree, "<module>", "exec", dont_inherit=True)


class _TypeCheckingRemover(ast.NodeTransformer):
    def visit_If(self, node: ast.If) -> ast.AST:
        name = getattr(node.test, "id", None) or getattr(node.test, "attr", None)
        if name == "TYPE_CHECKING":
            node.body = [ast.copy_location(ast.Pass(), node)]
        return self.generic_visit(node)


def find_imports(code: types.CodeType, package: str | None) -> Iterator[str]:
    """Yield the names that code imports anywhere in it: modules, and what may be modules of them."""
    codes = list(walk_code(code))
    for inner in codes:
        if dis.opmap["IMPORT_NAME"] in inner.co_code[::2]:
            yield from _scan_instructions(inner, package)
    if any(_BY_TEXT.intersection(inner.co_names) for inner in codes):
        for text in filter(_MODULE.fullmatch, text_constants(code)):
            yield from _resolve_name(text, package)


def walk_code(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield a code and all codes inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from walk_code(constant)


def variables(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield the variables that a function's code names: its closure's, and those of its module."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        with contextlib.suppress(ValueError):  # it is not filled yet
            yield name, cell.cell_contents
    values = function.__globals__
    names = {name: None for code in walk_code(function.__code__) for name in code.co_names}
    yield from ((name, values[name]) for name in names if name in values)


def class_body_globals(code: types.CodeType) -> set[str]:
    """Return the names that bodies of classes inside of a code read and do not set before."""
    names: set[str] = set()
    for inner in walk_code(code):
        if inner is code or inner.co_flags & inspect.CO_OPTIMIZED:
            continue  # A function reads globals by an instruction of its own.
        own: set[str] = set()
        for instruction in dis.get_instructions(inner):
            if instruction.opname == "STORE_NAME":
                own.add(instruction.argval)
            elif instruction.opname in _READS_NAMES and instruction.argval not in own:
                names.add(instruction.argval)
    return names


def text_constants(code: types.CodeType) -> set[str]:
    """Return the texts that are written in a code, alone or in a tuple."""
    texts: set[str] = set()
    for inner in walk_code(code):
        for constant in inner.co_consts:
            values = constant if isinstance(constant, tuple) else (constant,)
            texts.update(value for value in values if isinstance(value, str))
    return texts


def _resolve_name(name: str, package: str | None) -> Iterator[str]:
    """Yield the absolute name of a module, none where its dots lead out of the package."""
    with contextlib.suppress(ImportError, ValueError):
        yield importlib.util.resolve_name(name, package or "")


def _scan_instructions(code: types.CodeType, package: str | None) -> Iterator[str]:
    before: list[Any] = [None, None]
    for instruction in dis.get_instructions(code):
        if instruction.opname == "EXTENDED_ARG":  # a part of the instruction behind it
            continue
        if instruction.opname == "IMPORT_NAME":
            level, names = before
            dots = "." * level if isinstance(level, int) else ""
            for name in _resolve_name(dots + str(instruction.argval), package):
                yield name
                yield from (f"{name}.{attribute}" for attribute in names or () if attribute != "*")
        before = [before[1], instruction.argval]
