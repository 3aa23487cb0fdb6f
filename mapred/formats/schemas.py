"""The types that are pinned: plain ones, which hold the values of every sampled file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mapred.arrow.samples import ENOUGH, Place, files_of
from mapred.arrow.types import strip_encoding
from mapred.process.lazy import pa

_UNITS = ("s", "ms", "us", "ns")
_PANDAS = b"pandas"


def read_schemas(
    places: Iterable[Place], schema_of: Callable[[Place], tuple[pa.Schema, bool]]
) -> Iterator[tuple[pa.Schema, bool]]:
    """Yield the schemas of files. A run says which later one cannot be read, and may give it up."""

    for number, place in enumerate(files_of(places)):
        try:
            yield schema_of(place)
        except (pa.ArrowException, OSError):
            if number == 0:
                raise


def merge_schemas(schemas: Iterable[tuple[pa.Schema, bool]], *, union: bool) -> pa.Schema:
    """Return the plain schema of sampled files, each given with whether it has rows.

    Names and their order are the first's; with `union`, others of later files follow. A
    column that differs in type gets the type that holds all values, or where there is none,
    the first's. A file without rows says nothing unless none has any.
    """

    found: dict[str, pa.Field] = {}
    result: pa.Schema | None = None
    bare: pa.Schema | None = None
    seen = 0
    for schema, has_rows in schemas:
        schema = _plain_schema(schema)
        if not has_rows:
            bare = bare or schema
            continue
        seen += 1
        if result is None:
            result = schema
            found = {field.name: field for field in schema}
        for field in schema:
            if field.name in found:
                known = found[field.name]
                type_ = unify_types(known.type, field.type, union=union)
                found[field.name] = known.with_type(type_ or known.type)
            elif union:
                found[field.name] = field
        if seen == ENOUGH:
            break
    if result is None or len(set(result.names)) < len(result.names):
        return result or bare or pa.schema([])
    return pa.schema(list(found.values()), result.metadata)


def _plain_schema(schema: pa.Schema) -> pa.Schema:

    return pa.schema(
        [field.with_type(to_plain(field.type)).with_nullable(True) for field in schema],
        index_metadata(schema) or None,
    )


# What pandas says of an index


def index_columns(schema: pa.Schema) -> list[str]:
    """Return the columns that pandas stored as the index of a frame."""
    stored = _stored_by_pandas(schema).get("index_columns", [])
    names = set(schema.names)
    return [name for name in stored if isinstance(name, str) and name in names]


def index_metadata(schema: pa.Schema, *, dtypes: bool = False) -> dict[bytes, bytes]:
    """Return a schema's metadata, where pandas' names the index columns, and the `dtypes` if asked
    for.

    An index that is just a range is left out: it numbers the rows of one file.
    """
    metadata = dict(schema.metadata or {})
    if metadata.pop(_PANDAS, None) is None:
        return metadata
    stored, names = _stored_by_pandas(schema), index_columns(schema)
    columns = stored.get("columns", [])
    if not dtypes:
        stored = {"column_indexes": []}
        columns = [column for column in columns if column.get("field_name") in names]
    if names or dtypes:
        stored = {**stored, "index_columns": names, "columns": columns}
        metadata[_PANDAS] = json.dumps(stored).encode()
    return metadata


def _stored_by_pandas(schema: pa.Schema) -> dict[str, Any]:
    try:
        stored = json.loads((schema.metadata or {}).get(_PANDAS, b"{}"))
    except ValueError:
        return {}
    return stored if isinstance(stored, dict) else {}


# Types


def to_plain(type_: pa.DataType) -> pa.DataType:
    """Return the type of the same values without an encoding of their own, nullable at every depth.

    Dictionaries and runs become what they stand for, since how values are encoded differs by
    file and by batch; views become texts, bytes and lists, since Arrow cannot filter views.
    """

    def value_type(type_: pa.DataType) -> pa.DataType:
        found = strip_encoding(type_)
        return found if found == type_ else to_plain(found)

    return map_leaf_types(type_, value_type)


def map_leaf_types(type_: pa.DataType, change: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """Return a type in which each part without parts is what `change` makes of it, and may be null."""

    def changed(field: pa.Field, nullable: bool = True) -> pa.Field:
        return field.with_type(map_leaf_types(field.type, change)).with_nullable(nullable)

    if pa.types.is_struct(type_):
        return pa.struct([changed(field) for field in type_])
    if pa.types.is_map(type_):
        key, item = changed(type_.key_field, nullable=False), changed(type_.item_field)
        return pa.map_(key, item, keys_sorted=type_.keys_sorted)
    if pa.types.is_fixed_size_list(type_):
        return pa.list_(changed(type_.value_field), type_.list_size)
    if is_list(type_):
        return (pa.large_list if is_large(type_) else pa.list_)(changed(type_.value_field))
    return change(type_)


def is_list(type_: pa.DataType) -> bool:

    kinds = (
        pa.types.is_list,
        pa.types.is_large_list,
        pa.types.is_list_view,
        pa.types.is_large_list_view,
    )
    return pa.types.is_fixed_size_list(type_) or any(is_(type_) for is_ in kinds)


def is_large(type_: pa.DataType) -> bool:

    kinds = (pa.types.is_large_list, pa.types.is_large_list_view, pa.types.is_large_string)
    return pa.types.is_large_binary(type_) or any(is_(type_) for is_ in kinds)


def kind(type_: pa.DataType) -> str:
    """Types of one kind differ in what they can hold, and not in what a value means."""

    kinds: tuple[tuple[str, Callable[[Any], bool]], ...] = (
        ("int", pa.types.is_integer),
        ("float", pa.types.is_floating),
        ("decimal", pa.types.is_decimal),
        ("date", pa.types.is_date),
        ("time", pa.types.is_time),
        ("duration", pa.types.is_duration),
        ("struct", pa.types.is_struct),
        ("map", pa.types.is_map),
        ("list", is_list),
        (
            "text",
            lambda t: (
                pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t)
            ),
        ),
        ("bytes", _is_bytes),
    )
    if pa.types.is_timestamp(type_):
        return "local" if type_.tz is None else "instant"
    return next((name for name, is_ in kinds if is_(type_)), str(type_))


def _is_bytes(type_: pa.DataType) -> bool:

    kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return pa.types.is_fixed_size_binary(type_) or any(is_(type_) for is_ in kinds)


def unify_types(one: pa.DataType, two: pa.DataType, *, union: bool) -> pa.DataType | None:
    """Return the plain type that holds every value of both types; None where there is none.

    Whole numbers and floats have none, as have times of nanoseconds and coarser ones, which
    reach farther. With `union`, structs may lack fields of each other.
    """

    one, two = to_plain(one), to_plain(two)
    if one == two or pa.types.is_null(two):
        return one
    if pa.types.is_null(one):
        return two
    if kind(one) != kind(two):
        return None
    if is_list(one):
        return _unify_lists(one, two, union)
    rules: dict[str, Callable[[], pa.DataType | None]] = {
        "int": lambda: _unify_integers(one, two),
        "float": lambda: max(one, two, key=lambda type_: int(type_.bit_width)),
        "decimal": lambda: _unify_decimals(one, two),
        "local": lambda: _unify_units(one, two, pa.timestamp),
        "instant": lambda: _unify_units(one, two, lambda unit: pa.timestamp(unit, one.tz)),
        "duration": lambda: _unify_units(one, two, pa.duration),
        "time": lambda: _unify_times(one, two),
        "text": pa.large_string,
        "bytes": lambda: pa.large_binary() if is_large(one) or is_large(two) else pa.binary(),
        "struct": lambda: _unify_structs(one, two, union),
        "map": lambda: _unify_maps(one, two, union),
    }
    rule = rules.get(kind(one))
    return rule() if rule else None


def _unify_integers(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:

    signed = [pa.types.is_signed_integer(type_) for type_ in (one, two)]
    if signed[0] == signed[1]:
        return max(one, two, key=lambda type_: int(type_.bit_width))
    width = max(
        t.bit_width if s else 2 * t.bit_width for t, s in zip((one, two), signed, strict=True)
    )
    known = {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}
    return known.get(width)


def _unify_decimals(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:

    scale = max(one.scale, two.scale)
    digits = scale + max(one.precision - one.scale, two.precision - two.scale)
    if digits > 76:
        return None
    return pa.decimal128(digits, scale) if digits <= 38 else pa.decimal256(digits, scale)


def _unify_units(
    one: pa.DataType, two: pa.DataType, make: Callable[[str], pa.DataType]
) -> pa.DataType | None:
    """Return the finer unit of the two, which must reach as far as the coarser one is used."""
    if one.unit != two.unit and "ns" in (one.unit, two.unit):
        return None
    return make(max(one.unit, two.unit, key=_UNITS.index))


def _unify_times(one: pa.DataType, two: pa.DataType) -> pa.DataType:

    units = [str(type_).partition("[")[2].rstrip("]") for type_ in (one, two)]
    unit = max(units, key=_UNITS.index)
    return pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)


def _unify_lists(one: pa.DataType, two: pa.DataType, union: bool) -> pa.DataType | None:

    value = unify_types(one.value_type, two.value_type, union=union)
    if value is None:
        return None
    field = one.value_field.with_type(value)
    fixed = pa.types.is_fixed_size_list(one) and pa.types.is_fixed_size_list(two)
    if fixed and one.list_size == two.list_size:
        return pa.list_(field, one.list_size)
    return (pa.large_list if is_large(one) or is_large(two) else pa.list_)(field)


def _unify_structs(one: pa.DataType, two: pa.DataType, union: bool) -> pa.DataType | None:

    names = [[field.name for field in type_] for type_ in (one, two)]
    if any(len(set(each)) < len(each) for each in names):
        return None
    if not union and set(names[0]) != set(names[1]):
        return None
    fields = []
    for name in dict.fromkeys([*names[0], *names[1]]):
        there = [type_.field(name) for type_ in (one, two) if type_.get_field_index(name) >= 0]
        type_ = unify_types(there[0].type, there[-1].type, union=union)
        if type_ is None:
            return None
        fields.append(there[0].with_type(type_))
    return pa.struct(fields)


def _unify_maps(one: pa.DataType, two: pa.DataType, union: bool) -> pa.DataType | None:

    key = unify_types(one.key_type, two.key_type, union=union)
    item = unify_types(one.item_type, two.item_type, union=union)
    if key is None or item is None:
        return None
    both = one.keys_sorted and two.keys_sorted
    return pa.map_(one.key_field.with_type(key), one.item_field.with_type(item), keys_sorted=both)


def type_expression(type_: pa.DataType) -> str:
    """Return the expression that makes a type, for `schema=` in an error's advice."""

    if pa.types.is_struct(type_):
        fields = ", ".join(f"{field.name!r}: {type_expression(field.type)}" for field in type_)
        return f"pa.struct({{{fields}}})"
    if pa.types.is_map(type_):
        return f"pa.map_({type_expression(type_.key_type)}, {type_expression(type_.item_type)})"
    if pa.types.is_fixed_size_list(type_):
        return f"pa.list_({type_expression(type_.value_type)}, {type_.list_size})"
    if is_list(type_):
        name = "large_list" if is_large(type_) else "list_"
        return f"pa.{name}({type_expression(type_.value_type)})"
    if pa.types.is_timestamp(type_):
        return f"pa.timestamp({type_.unit!r}{f', {type_.tz!r}' if type_.tz else ''})"
    if pa.types.is_decimal(type_):
        return f"pa.decimal{type_.bit_width}({type_.precision}, {type_.scale})"
    if pa.types.is_fixed_size_binary(type_):
        return f"pa.binary({type_.byte_width})"
    name, _, unit = str(type_).partition("[")
    if unit and name in ("time32", "time64", "duration"):
        return f"pa.{name}('{unit.rstrip(']')}')"
    names = {"bool": "bool_", "double": "float64", "float": "float32", "halffloat": "float16"}
    return f"pa.{names.get(name, name)}()"
