"""Whose code something is: the user's own, which counts by what it does, or a package's, by its name."""

from __future__ import annotations

import functools
import hashlib
import operator
import sys
import types
from collections.abc import Iterable
from typing import Any

from mapred._version import __version__
from mapred.errors import FunctionError
from mapred.functions import versions
from mapred.functions.modules import imports, local, shipping
from mapred.functions.transport import versions_of
from mapred.model.canonical import Unknown
from mapred.model.forms import Form, named


def is_own(module: Any) -> bool:
    """Whether what a module defines is the user's: a local one, `__main__`, or none at all."""
    if not isinstance(module, str):
        return True
    return module in local.MAIN or module not in sys.modules or local.find(module) is not None


def by_name(value: Any) -> Form | None:
    """Return the form of what a package has under a name: the name, and the package's version."""
    module, qualname = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str) or is_own(module):
        return None
    try:
        found = operator.attrgetter(qualname)(sys.modules[module])
    except AttributeError:
        return None
    return of_name(module, qualname) if found is value else None


def of_name(module: str, qualname: str) -> Form:
    """Return the form of a name in a package or in the standard library."""
    return named("named", {"module": module, "name": qualname, "versions": version_of(module)})


def version_of(module: str) -> dict[str, str]:
    """Return name and version of the package that brings a module; of Python's own, nothing."""
    return dict(_versions(module.partition(".")[0]))


@functools.lru_cache(maxsize=1024)
def _versions(top: str) -> tuple[tuple[str, str], ...]:
    if top in sys.stdlib_module_names or top in sys.builtin_module_names:
        return ()
    if top in local.MAIN or local.find(top) is not None:
        return ()
    if top == "mapred":  # each build of a release is the same
        return (("mapred", versions.base(__version__)),)
    return tuple(versions_of((top,)).items())


class Import:
    """A module that code imports, by its name."""

    def __init__(self, name: str) -> None:
        self.name = name


def imports_of(function: types.FunctionType) -> dict[str, Import]:
    """Return what a function's code imports where it runs, by what it is."""
    package = function.__globals__.get("__package__")
    names = sorted(set(imports.find_imports(function.__code__, package)))
    return {f": import of {name!r}": Import(name) for name in names}


def of_module(name: str) -> Form:
    """Return the form of a module: of a local one its code and that of what it imports."""
    if name in local.MAIN:
        raise Unknown("is all of __main__, which has no canonical form; name what is used of it")
    modules = shipping.closure([name])
    if not modules:
        return named("module", {"name": name, "versions": version_of(name)})
    own = {f": module {each.name!r}": _code_of(each) for each in modules.values()}
    needs = _versions_of_all(shipping.packages([name]))
    return named("module", {"name": name, "needs": needs, **own})


def _versions_of_all(tops: Iterable[str]) -> list[tuple[str, dict[str, str]]]:
    return [(top, version_of(top)) for top in sorted(tops)]


def _code_of(module: local.LocalModule) -> Any:
    if module.kind == "namespace":
        return None
    try:
        if module.kind == "binary":
            with open(module.file, "rb") as file:
                return hashlib.sha256(file.read()).hexdigest()
        return imports.code_of(module.name, module.file, module.text)
    except (OSError, SyntaxError, ValueError, FunctionError) as error:
        raise Unknown(f"cannot be read: {error}", f": module {module.name!r}") from error
