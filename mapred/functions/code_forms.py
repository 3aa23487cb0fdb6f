"""What code does, without where it stands: its instructions and constants, and what it refers to."""

from __future__ import annotations

import dis
import inspect
import types
from collections.abc import Iterator, Mapping
from typing import Any

from mapred.functions.modules.imports import walk_code
from mapred.model.forms import Form, named

_FLAGS = (
    inspect.CO_OPTIMIZED
    | inspect.CO_NEWLOCALS
    | inspect.CO_VARARGS
    | inspect.CO_VARKEYWORDS
    | inspect.CO_GENERATOR
    | inspect.CO_COROUTINE
    | inspect.CO_ITERABLE_COROUTINE
    | inspect.CO_ASYNC_GENERATOR
)
_LOADS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")
# What Python 3.13 and newer note of a class: its line, and its attributes in no fixed order.
_NOTED = ("__firstlineno__", "__static_attributes__")
_PADDING = ("CACHE", "EXTENDED_ARG", "NOT_TAKEN")


def of_code(code: types.CodeType) -> Form:
    """Take code apart: neither file, nor lines, nor what Python notes while it runs are parts."""
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
    parts: dict[str, Any] = {
        "name": code.co_name,
        "counts": counts,
        "flags": code.co_flags & _FLAGS,
        "locals": code.co_varnames,
        "free": code.co_freevars,
        "cells": code.co_cellvars,
        "exceptions": getattr(code, "co_exceptiontable", b""),
    }
    if "__firstlineno__" in code.co_names:
        return named("code", parts | {"instructions": _without_lines(code)})
    parts |= {"names": code.co_names, "constants": code.co_consts}
    return named("code", parts, (code.co_code,))


def _without_lines(code: types.CodeType) -> list[Any]:
    """Return the instructions of a class, whose constants and their numbers depend on its line."""
    listed: list[Any] = []
    for instruction in dis.get_instructions(code):
        if instruction.opname in _PADDING:
            continue
        if instruction.opname == "STORE_NAME" and instruction.argval in _NOTED:
            listed[-1] = "noted"
        constant = instruction.opcode in dis.hasconst or instruction.opname == "LOAD_SMALL_INT"
        symbolic = constant or instruction.opcode in dis.hasname
        name = "constant" if constant else instruction.opname
        listed.append((name, instruction.argval if symbolic else instruction.arg))
    return listed


def global_names(code: types.CodeType) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the global variables that code and all code inside it load, with the attributes taken.

    `helpers.scale(x)` is `("helpers", ("scale",))`.
    """
    found: dict[tuple[str, tuple[str, ...]], None] = {}
    for inner in walk_code(code):
        base, chain = "", list[str]()
        for instruction in dis.get_instructions(inner):
            name = instruction.opname
            if name in _PADDING or name == "PUSH_NULL":
                continue
            if base and name in _ATTRIBUTES:
                chain.append(str(instruction.argval))
                continue
            if base:
                found[base, tuple(chain)] = None
            base, chain = str(instruction.argval) if name in _LOADS else "", []
            if name == "LOAD_NAME" and base == "__name__":  # of a class, for its `__module__`
                base = ""
    yield from sorted(found)


def cells(function: types.FunctionType) -> Mapping[str, Any]:
    """Return the variables of a closure by what they are; one that is not filled yet is empty."""
    held: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            held[f": closure variable {name!r}"] = cell.cell_contents
        except ValueError:
            held[f": empty closure variable {name!r}"] = None
    return held


def defaults(function: types.FunctionType) -> Mapping[str, Any]:
    """Return the defaults of parameters by what they are."""
    code, values = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount]
    pairs = [*zip(names[len(names) - len(values) :], values, strict=False)]
    pairs += sorted((function.__kwdefaults__ or {}).items())
    return {f": default of {name!r}": value for name, value in pairs}
