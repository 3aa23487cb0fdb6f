"""The parts of what Arrow holds: arrays, tables, scalars, schemas and types."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mapred.model.forms import Form, named, text
from mapred.process.lazy import np, pa, pc


def _type(type_: Any) -> Form:
    kind = type(type_).__name__
    if isinstance(type_, pa.BaseExtensionType):
        parts = {"name": type_.extension_name, "storage": type_.storage_type}
        made = getattr(type_, "__arrow_ext_serialize__", bytes)
        return named("extension", parts | {"parameters": made()})
    if pa.types.is_dictionary(type_):
        parts = {"index": type_.index_type, "value": type_.value_type, "ordered": type_.ordered}
        return named("dictionary", parts)
    if pa.types.is_run_end_encoded(type_):
        return named("run_end_encoded", {"ends": type_.run_end_type, "value": type_.value_type})
    if type_.num_fields == 0:
        return Form("type", (text(str(type_)),))
    fields = [type_.field(index) for index in range(type_.num_fields)]
    more = ("list_size", "keys_sorted", "mode", "type_codes")
    parts = {name: getattr(type_, name) for name in more if hasattr(type_, name)}
    return named("type", {"kind": kind, "fields": fields, **parts})


def _field(field: Any) -> Form:
    parts = {"name": field.name, "type": field.type, "nullable": field.nullable}
    return named("field", parts | {"metadata": field.metadata})


def _schema(schema: Any) -> Form:
    return named("schema", {"fields": list(schema), "metadata": schema.metadata})


def _table(table: Any) -> Form:
    kind = type(table).__name__
    columns = [_whole(column) for column in table.columns]
    parts = {"schema": table.schema, "rows": table.num_rows, "columns": columns}
    return named(kind, parts)


def _scalar(scalar: Any) -> Form:
    return named("arrow scalar", {"array": pa.repeat(scalar, 1)})


def _chunked(column: Any) -> Form:
    return named("ChunkedArray", {"content": _whole(column)})


def _whole(column: Any) -> Any:
    """Return a column as one array; texts with wide offsets, as they may be too long together."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return Joined(column.type, [*column.chunks])


class Joined:
    """The chunks of a column, as one array."""

    def __init__(self, type_: Any, chunks: list[Any]) -> None:
        self.type, self.chunks = type_, chunks


def _array(array: Any) -> Form:
    return named("arrow array", {"content": Joined(array.type, [array])})


def joined(column: Joined) -> Form:
    """Take a column apart: its type, its length, which values are null, and the others."""
    length = sum(map(len, column.chunks))
    nulls = sum(chunk.null_count for chunk in column.chunks)
    parts: dict[str, Any] = {"type": column.type, "length": length}
    if nulls:
        parts["valid"] = np.concatenate([_valid(chunk) for chunk in column.chunks])
    return named("column", parts | _content(column.type, column.chunks))


def _valid(chunk: Any) -> Any:
    return np.asarray(chunk.is_valid().to_numpy(zero_copy_only=False), dtype=bool)


def _content(type_: Any, chunks: list[Any]) -> dict[str, Any]:
    types = pa.types
    if isinstance(type_, pa.BaseExtensionType):
        return {"storage": Joined(type_.storage_type, [chunk.storage for chunk in chunks])}
    if types.is_null(type_):
        return {}
    if types.is_dictionary(type_):
        decoded = [chunk.dictionary_decode() for chunk in chunks]
        return {"values": Joined(type_.value_type, decoded)}
    if types.is_run_end_encoded(type_):
        decoded = [pc.run_end_decode(chunk) for chunk in chunks]
        return {"values": Joined(type_.value_type, decoded)}
    if types.is_struct(type_):
        flat = [chunk.flatten() for chunk in chunks]
        return {
            f"[{type_.field(i).name!r}]": Joined(type_.field(i).type, [each[i] for each in flat])
            for i in range(type_.num_fields)
        }
    if _is_list(type_):
        lengths = [pc.fill_null(pc.list_value_length(chunk), 0) for chunk in chunks]
        inner = [chunk.flatten() for chunk in chunks]
        return {"lengths": _numbers(lengths), "values": Joined(type_.value_type, inner)}
    if types.is_boolean(type_):
        return {"values": _concatenate([_booleans(chunk) for chunk in chunks], bool)}
    if _is_text(type_):
        return dict(_texts(chunks))
    values = [value for chunk in chunks for value in chunk.to_pylist()] if _is_mixed(type_) else []
    if types.is_union(type_):
        return {
            "codes": _concatenate([_fixed(chunk, 1) for chunk in chunks], np.uint8),
            "values": values,
        }
    if types.is_map(type_):
        return {"values": values}
    width = type_.bit_width // 8
    return {"values": _concatenate([_fixed(chunk, width) for chunk in chunks], np.uint8)}


def _is_mixed(type_: Any) -> bool:
    """Whether values are best taken one by one."""
    return bool(pa.types.is_union(type_) or pa.types.is_map(type_))


def _is_list(type_: Any) -> bool:
    types = pa.types
    tests = ("is_list", "is_large_list", "is_fixed_size_list", "is_list_view", "is_large_list_view")
    return any(getattr(types, test, bool)(type_) for test in tests)


def _is_text(type_: Any) -> bool:
    types = pa.types
    tests = "is_string is_large_string is_binary is_large_binary is_string_view is_binary_view"
    return any(getattr(types, test, bool)(type_) for test in tests.split())


def _numbers(arrays: list[Any]) -> Any:
    return _concatenate([np.asarray(array.cast("int64")) for array in arrays], np.int64)


def _concatenate(arrays: list[Any], dtype: Any) -> Any:
    return np.concatenate(arrays or [np.empty(0, dtype)])


def _booleans(chunk: Any) -> Any:
    return np.asarray(pc.fill_null(chunk, False).to_numpy(zero_copy_only=False), dtype=bool)


def _fixed(chunk: Any, width: int) -> Any:
    """Return the bytes of values of one width; those of a null are zeros."""
    if len(chunk) == 0 or width == 0 or chunk.buffers()[1] is None:
        return np.zeros(len(chunk) * width, np.uint8)
    raw = np.frombuffer(chunk.buffers()[1], np.uint8)
    raw = raw[chunk.offset * width : (chunk.offset + len(chunk)) * width]
    if chunk.null_count:
        raw = np.where(_valid(chunk)[:, None], raw.reshape(-1, width), 0).astype(np.uint8)
    return raw.reshape(-1)


def expression(expression: Any) -> Form:
    _, (data,) = expression.__reduce__()
    return named("Expression", {"content": data.to_pybytes()})


def _texts(chunks: list[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the lengths of texts, and their bytes; a null has none."""
    lengths, pieces = [], []
    for chunk in chunks:
        wide = chunk.cast(pa.large_binary())
        if wide.null_count:
            wide = pc.fill_null(wide, b"")
        if len(wide) == 0:
            continue
        _, offsets, data = wide.buffers()
        bounds = np.frombuffer(offsets, np.int64)[wide.offset : wide.offset + len(wide) + 1]
        lengths.append(np.diff(bounds))
        if data is not None:
            pieces.append(np.frombuffer(data, np.uint8)[bounds[0] : bounds[-1]])
    yield "lengths", _concatenate(lengths, np.int64)
    yield "bytes", _concatenate(pieces, np.uint8)


# The classes, a class before what it derives from.
FORMERS: tuple[tuple[str, Callable[[Any], Form]], ...] = (
    ("Array", _array),
    ("ChunkedArray", _chunked),
    ("Table", _table),
    ("RecordBatch", _table),
    ("Scalar", _scalar),
    ("Schema", _schema),
    ("Field", _field),
    ("DataType", _type),
)
