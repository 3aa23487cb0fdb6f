"""What is wrong with lines of JSON: the file, the line, the field, the value, and what to do."""

from __future__ import annotations

import re

from mapred.errors import DatasetError
from mapred.formats.base import OpenRange
from mapred.formats.compression import iter_pieces
from mapred.formats.json.advice import explain_misfit
from mapred.formats.json.misfits import misfit_of
from mapred.formats.json.objects import (
    SPACES,
    Refused,
    decode_exact,
    explain_document,
    geojson_advice,
    is_collection,
)
from mapred.formats.json.tables import Fields, Parse
from mapred.formats.lines import Lines, bad_line, first_bad
from mapred.formats.text import BOM
from mapred.model.spec import Format

_ARROWS = re.compile(r"^JSON parse error: | in row \d+|^Failed to convert JSON to \S+, ")


def error_at(
    lines: Lines, index: int, message: str, format: Format, open_range: OpenRange
) -> DatasetError:
    """Return the error for line `index`, or for the whole file where it does not hold lines."""
    with open_range(lines.range_) as file:
        advice = explain_document(next(iter_pieces(file, format, lines.range_.path), b""))
    if advice:
        return DatasetError(f"{lines.range_.path} {advice}")
    return bad_line(lines, index, message, format, open_range)


def refuse_collection(lines: Lines) -> None:
    """Raise `DatasetError` where the lines are a whole file that is one GeoJSON collection."""
    is_file = lines.start == 0 and len(lines.data) + len(BOM) >= lines.range_.size
    if is_file and b"\n" not in lines.data.strip(SPACES) and is_collection(lines.data):
        raise DatasetError(f"{lines.range_.path} {geojson_advice('fills one line')}")


def explain_error(
    lines: Lines,
    fields: Fields,
    parse: Parse,
    error: Exception,
    format: Format,
    open_range: OpenRange,
) -> DatasetError:
    """Return the error of the first line that cannot be read as `fields`."""
    parts = lines.data.split(b"\n")
    for index, line in enumerate(parts):
        if line.strip(SPACES):
            message = _message(line, fields, format)
            if message:
                return error_at(lines, index, message, format, open_range)
    bad = first_bad(parts, parse, b"\n")
    return error_at(lines, bad, _ARROWS.sub("", str(error)), format, open_range)


def _message(line: bytes, fields: Fields, format: Format) -> str | None:
    try:
        misfit = misfit_of(decode_exact(line), fields.read, fields.closed, fields.inferred)
    except Refused as refused:
        return str(refused)
    return explain_misfit(misfit, format) if misfit else None
