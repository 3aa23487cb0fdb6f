"""Types of Arrow: their kinds, what is the same under another encoding, and what holds two of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from mapred.process.lazy import pa

# What readers of `name=value` folders take for null.
NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"
NUMBERS = ("int", "float", "decimal")
MOMENTS = ("date", "time", "local", "instant")
UNITS = ("s", "ms", "us", "ns")
# Where Arrow's name of a type is not the one by which pyarrow and `schema=` know it.
_NAMES = {
    "halffloat": "float16",
    "float": "float32",
    "double": "float64",
    "date32[day]": "date32",
    "date64[ms]": "date64",
}


# The kinds of types by their ids, as they come: errors look them up for each value of a file.
_kinds: dict[int, str] = {}


def kind(type_: pa.DataType) -> str:
    """Types of one kind differ in what they can hold, and not in what a value means."""
    name = _kinds.get(type_.id)
    if name is None:
        name = _kinds[type_.id] = _find_kind(type_)
    if name == "timestamp":
        return "local" if type_.tz is None else "instant"
    return name or str(type_)


def _find_kind(type_: pa.DataType) -> str:
    tests = {
        "int": "integer",
        "float": "floating",
        "list": "list large_list fixed_size_list list_view large_list_view",
        "text": "string large_string string_view",
        "bytes": "binary large_binary binary_view fixed_size_binary",
        **{name: name for name in "decimal date time timestamp duration struct map".split()},
    }
    return next((name for name, names in tests.items() if _is_any(type_, names)), "")


def _is_any(type_: pa.DataType, names: str) -> bool:
    return any(getattr(pa.types, f"is_{name}")(type_) for name in names.split())


def is_list(type_: pa.DataType) -> bool:
    return kind(type_) == "list"


def float_holds(number: int, bits: int = 53) -> bool:
    """Whether a float with so many significant bits, such as float64, holds a whole number."""
    number = abs(number)
    if number >> (1024 if bits == 53 else 128):
        return False
    return number >> bits == 0 or (number & -number).bit_length() + bits > number.bit_length()


# The same values without an encoding of their own


def strip_encoding(type_: pa.DataType, *, large: bool = False) -> pa.DataType:
    """Return the type of the same values without dictionaries, runs and views; not inside other
    types."""
    if pa.types.is_dictionary(type_) or pa.types.is_run_end_encoded(type_):
        return strip_encoding(type_.value_type, large=large)
    if type_ == pa.string_view():
        return pa.large_string() if large else pa.string()
    if type_ == pa.binary_view():
        return pa.large_binary() if large else pa.binary()
    return type_


def to_plain(type_: pa.DataType) -> pa.DataType:
    """Return the type of the same values without an encoding of their own, nullable at every depth.

    Dictionaries and runs become what they stand for, since how values are encoded differs by
    file and by batch; views become texts, bytes and lists, since Arrow cannot filter views.
    """

    def value_type(type_: pa.DataType) -> pa.DataType:
        decoded = strip_encoding(type_)
        return decoded if decoded == type_ else to_plain(decoded)

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
        return _list_maker(type_)(changed(type_.value_field))
    return change(type_)


def _list_maker(*types: pa.DataType) -> Callable[[pa.Field], pa.DataType]:
    large = any(_is_any(type_, "large_list large_list_view") for type_ in types)
    make: Callable[[pa.Field], pa.DataType] = pa.large_list if large else pa.list_
    return make


# One type for the values of two


def unify_types(
    one: pa.DataType, two: pa.DataType, *, union: bool, finest: bool = False
) -> pa.DataType | None:
    """Return the type that holds every value of both types exactly; None where there is none.

    Whole numbers and floats, or dates and timestamps, have none: which of them a column holds
    would depend on what lies together. With `union`, structs may lack fields of each other.
    Times take the finer unit, but nanoseconds reach less far than others: only `finest` mixes
    these, for a caller that checks the values. It also refuses a second time zone, while else
    the first one stays.
    """
    if one == two or pa.types.is_null(two):
        return one
    if pa.types.is_null(one):
        return two
    if any(_is_any(type_, "dictionary run_end_encoded") for type_ in (one, two)):
        one, two = (_decoded(type_) for type_ in (one, two))
        return unify_types(one, two, union=union, finest=finest)
    if kind(one) != kind(two):
        return None

    def unify(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
        return unify_types(one, two, union=union, finest=finest)

    rules: dict[str, Callable[[], pa.DataType | None]] = {
        "int": lambda: _unify_integers(one, two),
        "float": lambda: max(one, two, key=lambda type_: int(type_.bit_width)),
        "decimal": lambda: _unify_decimals(one, two),
        "text": pa.large_string,
        "bytes": lambda: _unify_bytes(one, two),
        "struct": lambda: _unify_structs(one, two, unify, union),
        "map": lambda: _unify_maps(one, two, unify),
        "list": lambda: _unify_lists(one, two, unify),
        **dict.fromkeys(
            ("time", "duration", "local", "instant"), lambda: _unify_times(one, two, finest)
        ),
    }
    rule = rules.get(kind(one))
    return rule() if rule else None


Unify: TypeAlias = "Callable[[pa.DataType, pa.DataType], pa.DataType | None]"


def _decoded(type_: pa.DataType) -> pa.DataType:
    return type_.value_type if _is_any(type_, "dictionary run_end_encoded") else type_


def _unify_integers(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    wide, narrow = sorted((one, two), key=lambda type_: int(type_.bit_width), reverse=True)
    signed = [pa.types.is_signed_integer(type_) for type_ in (wide, narrow)]
    if signed[0] == signed[1]:
        return wide
    unsigned = narrow if signed[0] else wide
    bits = max(wide.bit_width, 2 * unsigned.bit_width)
    return {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}.get(bits)


def _unify_decimals(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    scale = max(one.scale, two.scale)
    digits = scale + max(one.precision - one.scale, two.precision - two.scale)
    if digits > 76:
        return None
    return pa.decimal128(digits, scale) if digits <= 38 else pa.decimal256(digits, scale)


def _unify_times(one: pa.DataType, two: pa.DataType, finest: bool) -> pa.DataType | None:
    mixed = one.unit != two.unit and "ns" in (one.unit, two.unit)
    if mixed and not finest and not pa.types.is_time(one):  # a time of day is within reach
        return None
    unit = max(one.unit, two.unit, key=UNITS.index)
    if pa.types.is_timestamp(one):
        return None if finest and one.tz != two.tz else pa.timestamp(unit, one.tz)
    if pa.types.is_duration(one):
        return pa.duration(unit)
    return pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)


def _unify_bytes(one: pa.DataType, two: pa.DataType) -> pa.DataType:
    large = any(_is_any(type_, "large_binary binary_view") for type_ in (one, two))
    return pa.large_binary() if large else pa.binary()


def _unify_lists(one: pa.DataType, two: pa.DataType, unify: Unify) -> pa.DataType | None:
    value = unify(one.value_type, two.value_type)
    if value is None:
        return None
    field = one.value_field.with_type(value).with_nullable(True)
    fixed = pa.types.is_fixed_size_list(one) and pa.types.is_fixed_size_list(two)
    if fixed and one.list_size == two.list_size:
        return pa.list_(field, one.list_size)
    return _list_maker(one, two)(field)


def _unify_structs(
    one: pa.DataType, two: pa.DataType, unify: Unify, union: bool
) -> pa.DataType | None:
    names = [[field.name for field in type_] for type_ in (one, two)]
    if any(len(set(of_one)) < len(of_one) for of_one in names):
        return None
    if not union and set(names[0]) != set(names[1]):
        return None
    fields = []
    for name in dict.fromkeys([*names[0], *names[1]]):
        both = [type_.field(name) for type_ in (one, two) if type_.get_field_index(name) >= 0]
        type_ = unify(both[0].type, both[-1].type)
        if type_ is None:
            return None
        fields.append(both[0].with_type(type_).with_nullable(True))
    return pa.struct(fields)


def _unify_maps(one: pa.DataType, two: pa.DataType, unify: Unify) -> pa.DataType | None:
    key = unify(one.key_type, two.key_type)
    item = unify(one.item_type, two.item_type)
    if key is None or item is None:
        return None
    both_sorted = one.keys_sorted and two.keys_sorted
    key, item = one.key_field.with_type(key), one.item_field.with_type(item).with_nullable(True)
    return pa.map_(key, item, keys_sorted=both_sorted)


# Types as text


def type_name(type_: pa.DataType) -> str:
    """Return the name of a type as `schema=` takes it."""
    return _NAMES.get(str(type_), str(type_))


def type_expression(type_: pa.DataType) -> str:
    """Return the expression that makes a type, for `schema=` in an error's advice."""
    if pa.types.is_struct(type_):
        fields = ", ".join(f"{field.name!r}: {type_expression(field.type)}" for field in type_)
        return f"pa.struct({{{fields}}})"
    if pa.types.is_map(type_):
        return f"pa.map_({type_expression(type_.key_type)}, {type_expression(type_.item_type)})"
    if pa.types.is_dictionary(type_):
        parts = (type_expression(part) for part in (type_.index_type, type_.value_type))
        return f"pa.dictionary({', '.join(parts)})"
    if pa.types.is_fixed_size_list(type_):
        return f"pa.list_({type_expression(type_.value_type)}, {type_.list_size})"
    if is_list(type_):
        return f"pa.{_list_maker(type_).__name__}({type_expression(type_.value_type)})"
    if pa.types.is_timestamp(type_):
        return f"pa.timestamp({type_.unit!r}{f', {type_.tz!r}' if type_.tz else ''})"
    if pa.types.is_decimal(type_):
        return f"pa.decimal{type_.bit_width}({type_.precision}, {type_.scale})"
    if pa.types.is_fixed_size_binary(type_):
        return f"pa.binary({type_.byte_width})"
    if kind(type_) in ("time", "duration"):
        return f"pa.{str(type_).partition('[')[0]}({type_.unit!r})"
    return f"pa.{'bool_' if pa.types.is_boolean(type_) else type_name(type_)}()"
