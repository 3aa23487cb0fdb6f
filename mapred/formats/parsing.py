"""Records of CSV to columns in pinned types, by Arrow's parser, and what is wrong with one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mapred.formats import conversion, dialect, inference
from mapred.formats.dialect import Layout
from mapred.model.spec import Format
from mapred.process.lazy import np, pa, pc, pcsv

_PLACE = re.compile(r"^(In CSV column #\d+: )?(CSV parse error: )?(Row #\d+: )?")


@dataclass(frozen=True)
class Parsed:
    """The rows of whole records; `skipped` ones had too many or too few values."""

    table: pa.Table
    skipped: int = 0


class Parse(Protocol):
    """Parses whole records, whose layout may be known."""

    def __call__(self, data: bytes, layout: Layout | None = None, /) -> Parsed: ...


@dataclass(frozen=True)
class _Pass:
    """One pass of Arrow's parser: columns in types, and the texts that are null in them.

    `texts_too`: columns of texts have nulls; `quoted`: texts between quotes may be null.
    """

    types: pa.Schema
    nulls: tuple[str, ...]
    texts_too: bool = True
    quoted: bool = True


class _Reader:
    """Arrow's parser for the records of files with columns `names`.

    `widths` of the records that the last pass left out: they have too many or too few values.
    """

    def __init__(self, format: Format, names: Sequence[str]) -> None:
        self._format = format
        self.names = _unique(names)
        self.widths: list[int] = []
        skip = format.on_bad_rows == "skip"
        self._options = _parse_options(format, self.widths, skip=skip)

    def read(self, data: bytes, pass_: _Pass) -> pa.Table:
        """Return the columns of a pass."""
        self.widths.clear()
        format = self._format
        return pcsv.read_csv(
            pa.BufferReader(data),
            # A block is parsed as one piece: types and errors never depend on a cut inside it.
            pcsv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=self.names),
            self._options,
            pcsv.ConvertOptions(
                column_types=pass_.types,
                include_columns=pass_.types.names,
                null_values=list(pass_.nulls),
                strings_can_be_null=pass_.texts_too,
                quoted_strings_can_be_null=pass_.quoted,
                true_values=[*inference.TRUE, *(format.true_values or ())],
                false_values=[*inference.FALSE, *(format.false_values or ())],
                decimal_point=format.decimal,
            ),
        )

    def read_texts(self, data: bytes, columns: Sequence[str]) -> pa.Table:
        """Return columns as they are written, null where that means null in others than text."""
        types = pa.schema([(name, pa.string()) for name in columns])
        return self.read(data, _Pass(types, _nulls(self._format)))


def parser(format: Format, names: Sequence[str], taken: pa.Schema) -> Parse:
    """Parse whole records of files with columns `names` to the columns `taken`.

    Values that would change are refused by a `ValueError` or one of Arrow's.
    """
    reader, passes = _Reader(format, names), _passes(format, taken)
    converted = [field for field in taken if conversion.needs_conversion(field, format)]
    direct = [field for field in taken if field not in converted]
    floats = [field.name for field in direct if pa.types.is_floating(field.type)]
    numbers = [field.name for field in direct if pa.types.is_integer(field.type)] + floats
    undecided = [field.name for field in direct if field.name in format.undecided]

    def parse(data: bytes, layout: Layout | None = None) -> Parsed:
        # The parser takes an empty last value at a bare end for a quoted one.
        data = dialect.ensure_newline(data, format)
        columns: dict[str, Any] = {}
        for pass_ in passes:
            table = reader.read(data, pass_)
            columns.update(zip(table.column_names, table.columns, strict=True))
        skipped, values = len(reader.widths), table.num_rows * len(names)
        # Arrow reads 007 and +7 as 7, and its columns do not show it: what was written is read
        # again, as texts, but only from a block in which such a number may stand.
        if numbers and _may_be_led(data, layout, values, reader.names, numbers, format):
            written = reader.read_texts(data, numbers)
            for name in numbers:
                _check_led(written[name], name, format)
        for name in floats:
            conversion.check_floats(
                columns[name], lambda name=name: reader.read_texts(data, [name])[name], format
            )
        for field in converted:
            columns[field.name] = conversion.convert(columns[field.name], field, format)
        if any(inference.not_text(columns[name], format) for name in undecided):
            raise conversion.Misfit
        return Parsed(pa.table([columns[name] for name in taken.names], schema=taken), skipped)

    return parse


def text_parser(format: Format, names: Sequence[str]) -> Parse:
    """Parse whole records to texts, null where these mean null in columns other than text."""
    reader = _Reader(format, names)

    def parse(data: bytes, layout: Layout | None = None) -> Parsed:
        table = reader.read_texts(dialect.ensure_newline(data, format), reader.names)
        return Parsed(table, len(reader.widths))

    return parse


def _unique(names: Sequence[str]) -> list[str]:
    """Return the names, with one that no file has for each that occurred before."""
    seen: set[str] = set()
    unique = []
    for number, name in enumerate(names):
        unique.append(f"{name}\0{number}" if name in seen else name)
        seen.add(name)
    return unique


def _nulls(format: Format) -> tuple[str, ...]:
    return (*inference.NULLS, *(format.null_values or ()))


def _passes(format: Format, taken: pa.Schema) -> list[_Pass]:
    """Return as few passes as there are sets of null markers: a pass has one set for all its columns.

    In texts only the user's own markers are null, and only where they are not quoted. Values that
    are converted here come as texts, but have the markers of their type.
    """
    own = format.null_values
    passes: dict[tuple[tuple[str, ...], bool, bool], list[tuple[str, pa.DataType]]] = {}
    for field in taken:
        by_text, text = conversion.needs_conversion(field, format), conversion.is_text(field.type)
        type_ = pa.string() if by_text else field.type
        if text and own is not None:
            key = own, True, False
        else:
            key = _nulls(format), by_text and not text, True
        passes.setdefault(key, []).append((field.name, type_))
    return [_Pass(pa.schema(types), *key) for key, types in passes.items()]


def _parse_options(format: Format, widths: list[int], *, skip: bool) -> Any:
    """Return the dialect; with `skip`, rows of another width are left out, and noted in `widths`."""

    def note(row: Any) -> str:
        widths.append(row.actual_columns)
        return "skip"

    return dialect.parse_options(format, invalid_row_handler=note if skip else None)


def _check_led(texts: pa.ChunkedArray, name: str, format: Format) -> None:
    """Refuse leading zeros and plus signs of inferred numbers, and hexadecimal ones anywhere."""
    pattern = r"[ \t]*[+-]?0[xX].*"
    if name in format.inferred:
        pattern += r"|[ \t]*(?:\+|-?0[0-9]).*"
    if pc.any(inference.match(texts, pattern), min_count=0).as_py():
        raise conversion.Misfit


def _may_be_led(
    data: bytes,
    layout: Layout | None,
    values: int,
    names: Sequence[str],
    numbers: Sequence[str],
    format: Format,
) -> bool:
    """Whether a value of the columns `numbers` may begin with a zero and a digit, + or 0x.

    Only values behind whose beginning a low character stands are looked at: there is no time
    for all of them. `values` is their number, to tell whether each of them was found to end.
    """
    array = np.frombuffer(data, np.uint8)
    ends = array == ord(format.delimiter)
    ends |= array == ord("\n")
    before = ends
    for mark in format.quote, format.escape:
        if mark and mark.encode() in data:
            before = before | (array == ord(mark))
    low = array[1:] <= ord("0")
    low &= before[:-1]
    at = np.append(np.flatnonzero(low) + 1, 0)
    first = array[at]
    if ((first == ord(" ")) | (first == ord("\t"))).any():
        return True
    negative = at[first == ord("-")]
    negative = negative[array[negative + 1] == ord("0")]
    zeros = np.concatenate((at[first == ord("0")] + 1, negative + 2))
    second = array[zeros]
    led = ((second >= ord("0")) & (second <= ord("9"))) | ((second | 32) == ord("x"))
    positions = np.concatenate((at[first == ord("+")], zeros[led]))
    if not len(positions):
        return False
    if before is not ends and layout is None:
        layout = dialect.find_layout(data, format)
    columns = _columns_at(positions, np.flatnonzero(ends), layout, values, len(names))
    return columns is None or not columns.isdisjoint(names.index(name) for name in numbers)


def _columns_at(
    positions: Any, ends: Any, layout: Layout | None, values: int, width: int
) -> set[int] | None:
    """Return the columns of what stands at `positions`; None where rows differ in width.

    `ends` are delimiters and newlines, also quoted ones, of which the layout tells.
    """
    before = np.searchsorted(ends, positions)
    if layout is not None and len(layout.starts):
        inside = np.searchsorted(ends, layout.stops) - np.searchsorted(ends, layout.starts)
        total = np.append(0, np.cumsum(inside))
        before -= total[np.searchsorted(layout.starts, positions, "right")]
        values += int(total[-1])
    if len(ends) != values or (layout is not None and len(layout.escaped)):
        return None
    return set(np.unique(before % width).tolist())


def explain_record(
    record: bytes, format: Format, names: Sequence[str], taken: pa.Schema, error: Exception
) -> str:
    """Return what is wrong with one record, and what to do."""
    try:
        record.decode()
    except UnicodeDecodeError as bad:
        return f"not valid utf-8 ({bad.object[bad.start : bad.end]!r}); pass encoding= or errors="
    values = _width(record, format)
    if values != len(names) and format.on_bad_rows == "error":
        listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        columns = (
            f"is 1 column ({listed})" if len(names) == 1 else f"are {len(names)} columns ({listed})"
        )
        what = f"{values} value{'s' * (values != 1)} where there {columns}"
        other = next((mark for mark in ";\t|," if len(names) == 1 and mark in names[0]), None)
        if other is not None:
            return f"{what}; pass delimiter={other!r} if that separates the values"
        return f"{what}; pass on_bad_rows='skip' to leave out such rows"
    for field in taken:
        try:
            parser(format, names, pa.schema([field]))(record)
        except pa.ArrowNotImplementedError:
            return (
                f"column {field.name!r}: schema= gives it the type {field.type}, which CSV is not"
                f" read as; pass schema={{{field.name!r}: 'string'}}"
            )
        except (pa.ArrowException, ValueError):
            text = text_parser(format, names)(record).table[field.name][0].as_py()
            return f"column {field.name!r}: {conversion.explain_misfit(text or '', field, format)}"
    return _PLACE.sub("", str(error))


def _width(record: bytes, format: Format) -> int:
    """Count the values of a record: read as one column, other numbers are noted as wrong."""
    widths: list[int] = []
    data = dialect.ensure_newline(record, format)
    pcsv.read_csv(
        pa.BufferReader(data),
        pcsv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=["value"]),
        _parse_options(format, widths, skip=True),
    )
    return widths[0] if widths else 1
