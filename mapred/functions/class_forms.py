"""What classes of the user's own and their instances are made of."""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import sys
import types
from collections.abc import Iterator
from typing import Any

from mapred.functions import ownership
from mapred.model.canonical import describe
from mapred.model.forms import Content, Form, named, state_of

# What Python makes of a class, or notes of where it stands.
_MADE = frozenset(
    "__dict__ __weakref__ __module__ __qualname__ __firstlineno__ __static_attributes__ __annotations__ "
    "__annotate__ __annotate_func__ __annotations_cache__ __abstractmethods__ _abc_impl __slotnames__ "
    "__dataclass_fields__ __dataclass_params__ __match_args__ __signature__ __class_vars__ "
    "__private_attributes__ __type_params__".split()
)
# What `dataclasses` and others write as text, of the fields.
_GENERATED = frozenset(
    "__init__ __repr__ __eq__ __lt__ __le__ __gt__ __ge__ __hash__ __setattr__ __delattr__ "
    "__replace__ __getstate__ __setstate__".split()
)
_OF_MEMBERS = (types.GetSetDescriptorType, types.MemberDescriptorType)


def of_class(kind: type) -> Form:
    """Take a class apart: its name, its bases, and what its body says."""
    if not ownership.is_own(kind.__module__):
        return ownership.of_name(kind.__module__, kind.__qualname__)
    parts: dict[str, Any] = {"name": kind.__name__, "metaclass": type(kind)}
    parts |= {f": base {base.__name__!r}": base for base in kind.__bases__}
    parts |= {f": annotation of {n!r}": spell(a) for n, a in _annotations(kind).items()}
    if issubclass(kind, enum.Enum):
        parts[": members"] = [(n, member.value) for n, member in kind.__members__.items()]
    if dataclasses.is_dataclass(kind):
        parts |= {f": field {field.name!r}": Content(_field(field)) for field in _fields(kind)}
        parts["parameters"] = repr(vars(kind).get("__dataclass_params__"))
    parts |= {f".{name}": value for name, value in sorted(_attributes(kind))}
    return named("class", parts)


def _attributes(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield what a class has of its own, without what follows from the rest."""
    members = kind.__members__ if issubclass(kind, enum.Enum) else {}
    for name, value in vars(kind).items():
        if name in _MADE or name in members or isinstance(value, _OF_MEMBERS):
            continue
        if issubclass(kind, enum.Enum) and (name == "__new__" or _is_sunder(name)):
            continue
        if type(value).__name__ == "_tuplegetter" or name.startswith("__pydantic_"):
            continue
        if name in _GENERATED and dataclasses.is_dataclass(kind) and _is_generated(value):
            continue
        yield name, value


def _is_sunder(name: str) -> bool:
    return name[:1] == "_" == name[-1:] and name[1:2] != "_"


def _is_generated(value: Any) -> bool:
    function = inspect.unwrap(value) if callable(value) else value
    code = getattr(function, "__code__", None)
    if value is None or code is None:
        return value is None  # unhashable
    # The library writes its text from the first line, and a class stands around a method.
    return (code.co_filename == "<string>" and code.co_firstlineno <= 2) or not ownership.is_own(
        function.__globals__.get("__name__")
    )


def _fields(kind: type) -> list[Any]:
    return [*vars(kind).get("__dataclass_fields__", {}).values()]


def _field(field: Any) -> Form:
    parts: dict[str, Any] = {"name": field.name, "type": spell(field.type)}
    for option in ("init", "repr", "hash", "compare", "kw_only"):
        parts[option] = getattr(field, option)
    for option in ("default", "default_factory"):
        value = getattr(field, option)
        if type(value) is not type(dataclasses.MISSING):  # of which a pickle makes another
            parts[option] = value
    parts["kind"] = str(getattr(field, "_field_type", ""))
    return named("field", parts | {"metadata": dict(field.metadata)})


def _annotations(kind: type) -> dict[str, Any]:
    if sys.version_info >= (3, 14):
        import annotationlib  # its values may name what is not there yet

        return dict(annotationlib.get_annotations(kind, format=annotationlib.Format.STRING))
    return dict(vars(kind).get("__annotations__", {}))


def spell(annotation: Any) -> str:
    """Return an annotation as text: classes by their names, others as Python shows them."""
    if isinstance(annotation, str):
        return annotation
    if issubclass(type(annotation), type):
        return str(annotation.__qualname__)
    return repr(annotation).replace("__mp_main__.", "__main__.").partition(" at 0x")[0]


def of_instance(value: Any) -> Form:
    """Take an instance apart as a pickle does: by its own rules where its class has such."""
    kind = type(value)
    if kind is object:
        return Form("object")
    if not ownership.is_own(kind.__module__) and not kind.__module__.startswith("mapred."):
        raise describe(value)
    parts: dict[str, Any] = {": class": kind}
    if _has_own(kind, "__reduce_ex__", "__reduce__"):
        reduced = value.__reduce_ex__(4)
        if isinstance(reduced, str):
            return named("instance", parts | {"name": reduced})
        made, arguments, *rest = tuple(reduced)
        kept = [list(each) if isinstance(each, Iterator) else each for each in rest]
        return named(
            "instance", parts | {": maker": made, ": arguments": arguments, ": state": kept}
        )
    if _has_own(kind, "__getstate__"):
        return named("instance", parts | {": state": value.__getstate__()})
    return named("instance", parts | {f".{n}": v for n, v in state_of(value).items()})


def _has_own(kind: type, *names: str) -> bool:
    """Whether a class, or one of its bases, says how its instances are pickled."""
    owners = (base for base in kind.__mro__ if base is not object)
    return any(name in vars(base) for base in owners for name in names)


def of_descriptor(value: Any) -> Form | None:
    """Take apart what wraps the functions in a class, if this is such."""
    kind = type(value)
    if kind in (staticmethod, classmethod):
        return named(kind.__name__, {": function": value.__func__})
    if kind is property:
        return named("property", {".fget": value.fget, ".fset": value.fset, ".fdel": value.fdel})
    if kind is functools.cached_property:
        return named("cached_property", {".func": value.func, "name": value.attrname})
    if kind is functools.partialmethod:
        parts = {".func": value.func, ".args": value.args, ".keywords": value.keywords}
        return named("partialmethod", parts)
    if kind is functools.singledispatchmethod:
        return named("singledispatchmethod", {".dispatcher": value.dispatcher, ".func": value.func})
    return None
