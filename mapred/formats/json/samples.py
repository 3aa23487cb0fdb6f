"""What samples of JSON files say of their fields."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, TypeAlias

from mapred.arrow.samples import ENOUGH, Place, Sample
from mapred.errors import DatasetError
from mapred.formats.base import Open, OpenRange, Range, Reading
from mapred.formats.compression import PIECE, must_read_whole
from mapred.formats.json.errors import error_at, refuse_collection
from mapred.formats.json.fields import FieldError, Seen, add, type_of
from mapred.formats.json.objects import (
    SPACES,
    DuplicateNames,
    Refused,
    decode_exact,
    duplicate_message,
)
from mapred.formats.lines import Lines
from mapred.formats.text import encoder, line_number, range_blocks, read_head
from mapred.model.spec import Format
from mapred.process.lazy import pa

Where: TypeAlias = "tuple[Lines, int]"


def sniff(format: Format, places: Iterable[Place], open_: Open, reading: Reading) -> Sample:
    """Return the fields of all samples together, in types that hold each of their values exactly.

    Strings stay strings, whatever they hold. A file without fields decides nothing; where none
    has any, rows have no columns. A field that `format.columns` leaves out may hold values of
    several types.
    """

    def open_range(range_: Range) -> Any:
        return open_(range_.path)

    describe = functools.partial(_describe_place, format, open_range)
    fields: dict[str, Seen] = {}
    mixed: set[str] = set()
    samples: list[Lines] = []
    enough = 0
    try:
        for place in places:
            lines = _sample(format, place, open_, open_range, reading)
            if lines is None:
                continue
            samples.append(lines)
            enough += _observe(fields, mixed, lines, format.columns, describe)
            if enough == ENOUGH:
                break
        types = {
            name: type_
            for name, seen in fields.items()
            if (type_ := _type(seen, name in mixed, format.columns)) is not None
        }
    except FieldError as error:
        lines, index = error.where
        raise error_at(lines, index, str(error), format, open_range) from error
    if not any(lines.data.strip(SPACES) for lines in samples):
        path = samples[0].range_.path if samples else "the dataset"
        raise DatasetError(
            f"{path} is empty, so its fields are unknown; pass schema= with a pa.Schema of all"
            " columns"
        )
    return Sample(pa.schema(list(types.items())), {name: fields[name].count for name in types})


def _sample(
    format: Format, place: Place, open_: Open, open_range: OpenRange, reading: Reading
) -> Lines | None:
    """Read about a megabyte of whole lines; None where the file can only be read from its start."""
    reading.sample(place.path, place.offset)
    length = min(PIECE, place.size - place.offset)
    range_ = Range(0, place.path, place.offset, length, place.size, "", 0, 0)
    if place.offset == 0:
        data = read_head(format, place.path, open_, reading)
        refuse_collection(Lines(data, 0, range_))
        return Lines(data[: data.find(b"\n", PIECE) + 1 or len(data)], 0, range_)
    if must_read_whole(format, place.path):
        return None
    to_utf8 = encoder(format, reading)
    blocks = [
        (reading.block_start, to_utf8(block))
        for block in range_blocks(format, range_, open_range, reading, PIECE)
    ]
    if not blocks:
        return None
    return Lines(b"".join(data for _, data in blocks), blocks[0][0], range_)


def _observe(
    fields: dict[str, Seen],
    mixed: set[str],
    lines: Lines,
    columns: tuple[str, ...] | None,
    describe: Any,
) -> bool:
    """Take the lines of a sample into account; return whether they hold a field at all."""
    some = False
    for index, line in enumerate(lines.data.split(b"\n")):
        if not line.strip(SPACES):
            continue
        where = (lines, index)
        try:
            value = decode_exact(line)
        except Refused as error:
            raise FieldError(str(error), where) from error
        if isinstance(value, DuplicateNames) and (columns is None or value.name in columns):
            raise FieldError(duplicate_message(value.name), where)
        some = some or bool(value)
        for name, child in value.items():
            seen = fields.get(name) or fields.setdefault(name, Seen(name))
            if name in mixed:
                continue
            try:
                add(seen, child, where, describe)
            except FieldError:
                if columns is None or name in columns:
                    raise
                mixed.add(name)
    return some


def _type(seen: Seen, mixed: bool, columns: tuple[str, ...] | None) -> pa.DataType | None:
    """Return the type of a field; None where it has none and need not have one."""
    if mixed:
        return None
    try:
        return type_of(seen)
    except FieldError:
        if columns is None or seen.path in columns:
            raise
        return None


def _describe_place(format: Format, open_range: OpenRange, where: Where) -> str:
    lines, index = where
    number = line_number(format, lines.range_, lines.start, open_range) + index
    return f"line {number} of {lines.range_.path}"
