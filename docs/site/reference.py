"""What mkdocstrings cannot read in the source: options that are shared, records, ready reducers.

`mapred` describes an option once, and puts the description into all docstrings when it is
imported (`mapred/process/describing.py`); its records are made by `mapred.model.frozen`. So this
asks the imported names for their signatures and docstrings.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from typing import Any

import griffe

import mapred

SHARING = ("takes", "takes_those_of", "describe_like")
RECORDS = ("mapred.model.frozen.dataclass", "dataclasses.dataclass")
KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: griffe.ParameterKind.positional_only,
    inspect.Parameter.POSITIONAL_OR_KEYWORD: griffe.ParameterKind.positional_or_keyword,
    inspect.Parameter.VAR_POSITIONAL: griffe.ParameterKind.var_positional,
    inspect.Parameter.KEYWORD_ONLY: griffe.ParameterKind.keyword_only,
    inspect.Parameter.VAR_KEYWORD: griffe.ParameterKind.var_keyword,
}
# A public name in a docstring: `mapred.run`, `Run.logs`, `Run.logs(…)`; not one that is a link.
NAME = re.compile(r"(?<!\[)`(?:mapred\.)?([A-Za-z_.]+)(\([^`]*\))?`")


def imported(path: str, module: str) -> Any:
    """Return the object at a dotted path in a module."""
    names = path.removeprefix(f"{module}.").split(".")
    return functools.reduce(getattr, names, importlib.import_module(module))


def parameters_of(value: Any) -> griffe.Parameters:
    """Return what a signature takes, as griffe has it; without `self`."""
    taken = [p for p in inspect.signature(value).parameters.values() if p.name != "self"]
    return griffe.Parameters(
        *(
            griffe.Parameter(
                p.name,
                annotation=None if p.annotation is p.empty else str(p.annotation),
                kind=KINDS[p.kind],
                default=None if p.default is p.empty else shown(p.default),
            )
            for p in taken
        )
    )


def shown(default: Any) -> str:
    """Return a default as a signature shows it; of an object only its class."""
    plain = isinstance(default, str | int | float | tuple | dict) or default is None
    return repr(default) if plain else f"{type(default).__name__}()"


def linked(text: str) -> str:
    """Make links of the public names in a docstring, but for its examples."""
    head, title, examples = text.partition("\nExamples:\n")

    def link(match: re.Match[str]) -> str:
        first, _, member = match[1].partition(".")
        value = getattr(mapred, first, None) if first in mapred.__all__ else None
        meant = "mapred." in match[0] or first[:1].isupper()  # `run` may be a word
        has_place = hasattr(value, member) if member else not inspect.ismodule(value)
        known = value is not None and has_place
        return f"[{match[0]}][mapred.{match[1]}]" if meant and known else match[0]

    return NAME.sub(link, head) + title + examples


class Reference(griffe.Extension):
    """Takes signatures and docstrings of `mapred` from what is imported."""

    def on_function(self, *, func: griffe.Function, **kwargs: Any) -> None:
        decorators = {str(each.value).partition("(")[0] for each in func.decorators}
        if decorators.intersection(SHARING) or func.path in PLANNED:
            value = imported(func.path, func.module.path)
            func.parameters = parameters_of(value)
            func.docstring = griffe.Docstring(linked(inspect.getdoc(value) or ""), parent=func)

    def on_class(self, *, cls: griffe.Class, **kwargs: Any) -> None:
        decorators = [each.value for each in cls.decorators if isinstance(each.value, griffe.Expr)]
        if any(each.canonical_path in RECORDS for each in decorators):
            init = griffe.Function("__init__", lineno=0, endlineno=0, parent=cls)
            init.parameters = parameters_of(imported(cls.path, cls.module.path))
            cls.set_member("__init__", init)
            cls.labels.add("dataclass")
        if "__doc__" in cls.members:  # it takes that of its base
            doc = inspect.getdoc(imported(cls.path, cls.module.path)) or ""
            cls.docstring = griffe.Docstring(linked(doc), parent=cls)

    def on_attribute(self, *, attr: griffe.Attribute, **kwargs: Any) -> None:
        if attr.module.path == "mapred.reducers" and attr.name in mapred.reducers.__all__:
            reducer = imported(attr.path, attr.module.path)
            attr.docstring = griffe.Docstring(linked(inspect.getdoc(reducer) or ""), parent=attr)
            attr.annotation, attr.value = "Reducer", None

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = linked(obj.docstring.value)


PLANNED = ("mapred.client.job.Plan.run", "mapred.client.job.Plan.submit")
