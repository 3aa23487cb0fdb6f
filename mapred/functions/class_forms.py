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
    "__type_params__ __attrs_base_of_slotted__ __attrs_own_setattr__ __attrs_props__".split()
)
# What `dataclasses` and others write as text, of the fields.
_GENERATED = frozenset(
    "__init__ __repr__ __eq__ __lt__ __le__ __gt__ __ge__ __hash__ __setattr__ __delattr__ "
    "__replace__ __getstate__ __setstate__".split()
)
# Declarations of a field in packages that make classes of them: what is visible of them is all.
_DECLARATIONS = frozenset(
    "attr._make.Attribute attr._make.Factory attr._make._AndValidator pydantic.fields.FieldInfo "
    "pydantic.fields.ModelPrivateAttr".split()
)
_HEAP_TYPE = 1 << 9  # of `type.__flags__`: it was made by a class statement, or as by one
_OF_MEMBERS = (types.GetSetDescriptorType, types.MemberDescriptorType)


def of_class(kind: type) -> Form:
    """Take a class apart: its name, its bases, and what its body says."""
    form = ownership.by_name(kind)
    if form is not None or not kind.__flags__ & _HEAP_TYPE:
        return form or ownership.of_name(kind.__module__, kind.__qualname__)
    parts: dict[str, Any] = {"name": kind.__name__, "metaclass": type(kind)}
    parts |= {f": base {base.__name__!r}": base for base in kind.__bases__}
    parts |= {f": annotation of {n!r}": spell(a) for n, a in _annotations(kind).items()}
    if issubclass(kind, enum.Enum):
        parts[": members"] = [(n, member.value) for n, member in kind.__members__.items()]
    if dataclasses.is_dataclass(kind):
        parts |= {f": field {field.name!r}": Content(_field(field)) for field in _fields(kind)}
        parts["parameters"] = repr(vars(kind).get("__dataclass_params__"))
    if "__pydantic_fields__" in vars(kind):
        parts |= _pydantic(kind)
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
        yield name, None if _is_generated(kind, name, value) else value


def _is_sunder(name: str) -> bool:
    return name[:1] == "_" == name[-1:] and name[1:2] != "_"


def _is_generated(kind: type, name: str, value: Any) -> bool:
    """Whether the author of a class did not write this, but a package by what its fields are."""
    if name == "__doc__":  # the signature, which may show addresses
        return dataclasses.is_dataclass(kind) and str(value).startswith(f"{kind.__name__}(")
    if name not in _GENERATED or not callable(value):
        return False
    function = inspect.unwrap(value)
    code = getattr(function, "__code__", None)
    if code is None:
        return False
    if dataclasses.is_dataclass(kind):
        # Its text begins in the first line, and a class stands around a method of someone's own.
        written = code.co_filename == "<string>" and code.co_firstlineno <= 2
        return written or not ownership.is_own(function.__globals__.get("__name__"))
    return str(code.co_filename).startswith("<attrs generated")


def _pydantic(kind: Any) -> dict[str, Any]:
    """Return the fields of a model, and which functions validate and write them."""
    groups = vars(kind)["__pydantic_decorators__"]
    validators = [
        (group.name, name, found.info)
        for group in dataclasses.fields(groups)
        if isinstance(getattr(groups, group.name), dict)
        for name, found in getattr(groups, group.name).items()
    ]
    return {": fields": dict(vars(kind)["__pydantic_fields__"]), ": validators": validators}


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
    parts: dict[str, Any] = {": class": kind}
    if not ownership.is_own(kind.__module__) and not kind.__module__.startswith("mapred."):
        return _of_foreign(value)
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


def _of_foreign(value: Any) -> Form:
    """Take apart what declares a field, or is known by a name; of others, a part may be hidden."""
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if name in _DECLARATIONS:
        return named("declaration", {": class": kind, **state_of(value)})
    reduced = value.__reduce_ex__(4) if _has_own(kind, "__reduce__", "__reduce_ex__") else None
    if isinstance(reduced, str):
        return ownership.of_name(kind.__module__, reduced)
    raise describe(value)


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
