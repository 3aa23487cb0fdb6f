"""One schema for all tables of a run: what is null throughout takes the type that others have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pyarrow as pa
from pyarrow import types

from mapred.errors import DatasetError

HOW_TO_AGREE = "give the column one type in the function, or pass schema= to cast to"


def merge_shard_schemas(shards: Iterable[tuple[int, bytes]], uri: str) -> pa.Schema | None:
    """Return the schema of what all shards wrote; if two differ, the error names both shards."""
    kept: dict[bytes, tuple[int, pa.Schema]] = {}
    merged: pa.Schema | None = None
    for shard, data in shards:
        if data in kept:
            continue
        schema = pa.ipc.read_schema(pa.py_buffer(data))
        both = schema if merged is None else merge_schemas(merged, schema)
        if both is None:
            other, theirs = next(e for e in kept.values() if merge_schemas(e[1], schema) is None)
            raise DatasetError(
                f"shards {other} and {shard} have tables of two schemas, so nothing was published "
                f"to {uri}: {describe_difference(theirs, schema)}; {HOW_TO_AGREE}"
            )
        kept[data], merged = (shard, schema), both
    return merged


def merge_schemas(one: pa.Schema, other: pa.Schema) -> pa.Schema | None:
    """Return the schema that both fit once nulls of one take the type of the other, if any."""
    if one.names != other.names:
        return None
    fields = []
    for mine, theirs in zip(one, other, strict=True):
        type_ = _merge_types(mine.type, theirs.type)
        if type_ is None:
            return None
        fields.append(mine.with_type(type_))
    return pa.schema(fields)


def _merge_types(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if one == other or types.is_null(other):
        return one
    if types.is_null(one):
        return other
    if one.id != other.id or not is_typeless(one) | is_typeless(other):
        return None
    inner = [
        _merge_types(a, b) for a, b in zip(_inner_types(one), _inner_types(other), strict=False)
    ]
    named = not types.is_struct(one) or [f.name for f in one] == [f.name for f in other]
    if None in inner or not named or len(_inner_types(one)) != len(_inner_types(other)):
        return None
    return _rebuild(one, inner)


def is_typeless(type_: pa.DataType) -> bool:
    """Whether a type is null, or has a part that is."""
    return bool(types.is_null(type_)) or any(map(is_typeless, _inner_types(type_)))


def map_leaf_types(type_: pa.DataType, change: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """Return a type with `change` applied to its innermost types; large lists become lists."""
    inner = _inner_types(type_)
    return (
        _rebuild(type_, [map_leaf_types(part, change) for part in inner])
        if inner
        else change(type_)
    )


def _inner_types(type_: pa.DataType) -> list[pa.DataType]:
    if types.is_map(type_):
        return [type_.key_type, type_.item_type]
    lists = types.is_list, types.is_large_list, types.is_fixed_size_list
    if types.is_struct(type_) or any(test(type_) for test in lists):
        return [type_.field(number).type for number in range(type_.num_fields)]
    return []


def _rebuild(type_: pa.DataType, inner: list[pa.DataType]) -> pa.DataType:
    if types.is_map(type_):
        return pa.map_(*inner)
    if types.is_struct(type_):
        return pa.struct([type_.field(n).with_type(part) for n, part in enumerate(inner)])
    if types.is_fixed_size_list(type_):
        return pa.list_(inner[0], type_.list_size)
    return pa.list_(inner[0])


def fill_null_types(
    schema: pa.Schema, known_types: Mapping[str, pa.DataType], kind: str
) -> pa.Schema:
    """Return the schema with types that the dataset has for columns that are null throughout."""
    fields = []
    for field in schema:
        if types.is_null(field.type):
            if field.name not in known_types:
                raise DatasetError(
                    f"column {field.name!r} holds nothing but nulls and has no type; give it one, "
                    f"or pass schema= to write_{kind}"
                )
            field = field.with_type(known_types[field.name])
        fields.append(field)
    return pa.schema(fields)


def describe_difference(one: pa.Schema, other: pa.Schema) -> str:
    """Return the first difference of two schemas, in words."""
    for name in dict.fromkeys([*one.names, *other.names]):
        if name not in one.names or name not in other.names:
            return f"column {name!r} is in one of them only"
        mine, theirs = one.field(name).type, other.field(name).type
        if _merge_types(mine, theirs) is None:
            return f"column {name!r} is {mine} and {theirs}"
    return f"the columns come as {', '.join(one.names)} and as {', '.join(other.names)}"
