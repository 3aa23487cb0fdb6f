"""Records of CSV to columns in pinned types, by Arrow's parser, and what is wrong with one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mapred.formats import conversion, dialect, inference
from mapred.model import Format

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

_PLACE = re.compile(r"^(In CSV column #\d+: )?(CSV parse error: )?(Row #\d+: )?")


@dataclass(frozen=True)
class Parsed:
    """The rows of whole records; `skipped` ones had too many or too few values."""

    table: pa.Table
    skipped: int = 0


Parse = Callable[[bytes], Parsed]


@dataclass(frozen=True)
class _Read:
    """One pass of Arrow's parser: columns in types, and the texts that are null in them."""

    types: pa.Schema
    nulls: tuple[str, ...]
    texts_too: bool


def parser(format: Format, names: Sequence[str], taken: pa.Schema) -> Parse:
    """Parse whole records of files with columns `names` to the columns `taken`.

    Values that would change are refused by a `ValueError` or one of Arrow's.
    """
    import pyarrow as pa

    unique = _unique(names)
    reads = _reads(format, taken)
    skipped: list[Any] = []
    options = _parse_options(format, skipped)

    def read(data: bytes, pass_: _Read) -> pa.Table:
        skipped.clear()
        return _read(data, format, unique, options, pass_)

    def texts(data: bytes, chosen: Sequence[str]) -> pa.Table:
        types = pa.schema([(name, pa.string()) for name in chosen])
        return read(data, _Read(types, _nulls(format), True))

    def parse(data: bytes) -> Parsed:
        if not data.endswith(b"\n"):
            data += b"\n"  # the parser takes an empty last value at a bare end for a quoted one
        columns: dict[str, Any] = {}
        for pass_ in reads:
            table = read(data, pass_)
            columns.update(zip(table.column_names, table.columns, strict=True))
        rows = table.num_rows + len(skipped)
        left_out = len(skipped)
        _check_numbers(data, columns, taken, rows, unique, format, lambda n: texts(data, n))
        for field in taken:
            column = columns[field.name]
            if conversion.by_text(field, format):
                columns[field.name] = conversion.convert(column, field, format)
            elif field.name in format.undecided and inference.not_text(column, format):
                raise conversion.Misfit
        arrays = [columns[field.name] for field in taken]
        return Parsed(pa.table(arrays, schema=taken), left_out)

    return parse


def text_parser(format: Format, names: Sequence[str]) -> Parse:
    """Parse whole records to texts, null where these mean null in columns other than text."""
    import pyarrow as pa

    skipped: list[Any] = []
    options, unique = _parse_options(format, skipped), _unique(names)
    types = pa.schema([(name, pa.string()) for name in unique])

    def parse(data: bytes) -> Parsed:
        skipped.clear()
        data = data if data.endswith(b"\n") else data + b"\n"
        table = _read(data, format, unique, options, _Read(types, _nulls(format), True))
        return Parsed(table, len(skipped))

    return parse


def _unique(names: Sequence[str]) -> list[str]:
    """The names, those that occur once more by a name that no file has."""
    return [
        f"{name}\0{number}" if name in names[:number] else name for number, name in enumerate(names)
    ]


def _nulls(format: Format) -> tuple[str, ...]:
    return (*inference.NULLS, *(format.null_values or ()))


def _reads(format: Format, taken: pa.Schema) -> list[_Read]:
    """As few passes as there are sets of null markers: for texts, for others, by either way."""
    import pyarrow as pa

    given = format.null_values
    passes: dict[tuple[tuple[str, ...], bool], list[tuple[str, pa.DataType]]] = {}
    for field in taken:
        by_text, text = conversion.by_text(field, format), conversion.is_text(field.type)
        type_ = pa.string() if by_text else field.type
        if text and given is not None:
            key = given, True
        else:
            key = _nulls(format), by_text and not text
        passes.setdefault(key, []).append((field.name, type_))
    return [_Read(pa.schema(types), *key) for key, types in passes.items()]


def _parse_options(format: Format, skipped: list[Any]) -> Any:
    from pyarrow import csv as pc

    def skip(row: Any) -> str:
        skipped.append(row.actual_columns)
        return "skip"

    return pc.ParseOptions(
        delimiter=format.delimiter,
        quote_char=format.quote or False,
        escape_char=format.escape or False,
        newlines_in_values=format.newlines_in_values,
        invalid_row_handler=skip if format.on_bad_rows == "skip" else None,
    )


def _read(
    data: bytes, format: Format, names: Sequence[str], options: Any, pass_: _Read
) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv as pc

    return pc.read_csv(
        pa.BufferReader(data),
        # A block is parsed as one piece: types and errors never depend on a cut inside it.
        pc.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=list(names)),
        options,
        pc.ConvertOptions(
            column_types=pass_.types,
            include_columns=pass_.types.names,
            null_values=list(pass_.nulls),
            strings_can_be_null=pass_.texts_too,
            quoted_strings_can_be_null=False,
            true_values=[*inference.TRUE, *(format.true_values or ())],
            false_values=[*inference.FALSE, *(format.false_values or ())],
            decimal_point=format.decimal,
        ),
    )


def _check_numbers(
    data: bytes,
    columns: dict[str, Any],
    taken: pa.Schema,
    rows: int,
    names: Sequence[str],
    format: Format,
    texts: Callable[[Sequence[str]], pa.Table],
) -> None:
    """Refuse numbers that the parser took although they do not stand so in the file."""
    from pyarrow import types

    direct = [field for field in taken if not conversion.by_text(field, format)]
    numbers = [
        field.name
        for field in direct
        if types.is_integer(field.type) or types.is_floating(field.type)
    ]
    if not numbers:
        return
    if _may_be_led(data, rows, names, numbers, format):
        written = texts(numbers)
        for name in numbers:
            _check_led(written[name], name, format)
    for field in direct:
        if types.is_floating(field.type):
            name = field.name
            conversion.check_floats(columns[name], lambda name=name: texts([name])[name], format)


def _check_led(texts: pa.ChunkedArray, name: str, format: Format) -> None:
    """Refuse leading zeros and plus signs of inferred numbers, and hexadecimal ones anywhere."""
    import pyarrow.compute as pc

    pattern = r"[ \t]*[+-]?0[xX].*"
    if name in format.inferred:
        pattern += r"|[ \t]*(?:\+|-?0[0-9]).*"
    if pc.any(inference.match(texts, pattern), min_count=0).as_py():
        raise conversion.Misfit


def _may_be_led(
    data: bytes, rows: int, names: Sequence[str], numbers: Sequence[str], format: Format
) -> bool:
    """Whether a value of the columns `numbers` may begin with a zero and a digit, + or 0x.

    Values are found by what precedes them, since there is no time to look at each.
    """
    import numpy as np

    array = np.frombuffer(b"\n" + data + b"\n\n", np.uint8)
    before = (array == ord(format.delimiter)) | (array == ord("\n"))
    for mark in format.quote, format.escape:
        if mark and mark.encode() in data:
            before |= array == ord(mark)
    if (before[:-1] & ((array[1:] == ord(" ")) | (array[1:] == ord("\t")))).any():
        return True
    before = before[:-3]
    zeros = np.flatnonzero(before & (array[1:-2] == ord("0")))
    led = [zeros[_goes_on(array[zeros + 2])]]
    if b"-0" in data:
        negative = before & (array[1:-2] == ord("-")) & (array[2:-1] == ord("0"))
        zeros = np.flatnonzero(negative)
        led.append(zeros[_goes_on(array[zeros + 3])])
    if b"+" in data:
        led.append(np.flatnonzero(before & (array[1:-2] == ord("+"))))
    positions = np.concatenate(led)
    if not len(positions):
        return False
    # The copy has one byte more in front, so that a value lies where what precedes it was.
    ends = _value_ends(data, format)
    if len(ends) != rows * len(names):
        return True
    chosen = [names.index(name) for name in numbers]
    found = np.searchsorted(ends, positions) % len(names)
    return bool(np.isin(found, chosen).any())


def _goes_on(second: npt.NDArray[np.uint8]) -> Any:
    return ((second >= ord("0")) & (second <= ord("9"))) | ((second | 32) == ord("x"))


def _value_ends(data: bytes, format: Format) -> Any:
    """Where values end, in the text without its last newline's successors."""
    import numpy as np

    array = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero((array == ord(format.delimiter)) | (array == ord("\n")))
    quoted = format.quote and format.quote.encode() in data
    if quoted or (format.escape and format.escape.encode() in data):
        ends = dialect.layout(data, format).outside(ends)
    return ends


def explain(
    record: bytes, format: Format, names: Sequence[str], taken: pa.Schema, error: Exception
) -> str:
    """What is wrong with one record, and what to do."""
    import pyarrow as pa

    try:
        record.decode()
    except UnicodeDecodeError as bad:
        return f"not valid utf-8 ({bad.object[bad.start : bad.end]!r}); say encoding= or errors="
    values = _width(record, format)
    if values != len(names) and format.on_bad_rows == "error":
        listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        return (
            f"{values} value{'s' * (values != 1)} where there are {len(names)} columns ({listed}); say"
            " on_bad_rows='skip' to leave out such rows"
        )
    for field in taken:
        try:
            parser(format, names, pa.schema([field]))(record)
        except pa.ArrowNotImplementedError:
            return (
                f"column {field.name!r}: schema= gives it the type {field.type}, which CSV is not"
                f" read as; say schema={{{field.name!r}: 'string'}}"
            )
        except (pa.ArrowException, ValueError):
            text = text_parser(format, names)(record).table[field.name][0].as_py()
            return f"column {field.name!r}: {conversion.misfit(text or '', field, format)}"
    return _PLACE.sub("", str(error))


def _width(record: bytes, format: Format) -> int:
    """How many values a record has."""
    import pyarrow as pa
    from pyarrow import csv as pc

    found: list[int] = []

    def note(row: Any) -> str:
        found.append(row.actual_columns)
        return "skip"

    data = record if record.endswith(b"\n") else record + b"\n"
    pc.read_csv(
        pa.BufferReader(data),
        pc.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=["value"]),
        pc.ParseOptions(
            delimiter=format.delimiter,
            quote_char=format.quote or False,
            escape_char=format.escape or False,
            newlines_in_values=format.newlines_in_values,
            invalid_row_handler=note,
        ),
    )
    return found[0] if found else 1
