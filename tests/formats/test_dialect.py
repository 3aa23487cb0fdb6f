"""What the splitter calls a record is what Arrow's parser calls one, in every dialect."""

from __future__ import annotations

import csv
import io
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pyarrow import csv as pc

from mapred.errors import DatasetError
from mapred.formats import dialect
from mapred.model.spec import Format

DIALECTS = st.builds(
    Format,
    st.just("csv"),
    st.just("table"),
    delimiter=st.sampled_from(",;\t"),
    quote=st.sampled_from(['"', "'", ""]),
    escape=st.sampled_from(["", "\\"]),
    comment=st.sampled_from(["", "#"]),
    newlines_in_values=st.just(True),
)


@st.composite
def texts(draw: Any) -> tuple[bytes, Format]:
    """Texts in which every character has a meaning, often another one than the writer meant."""
    format = draw(DIALECTS)
    marks = [
        format.delimiter,
        "\n",
        "\n",
        "\r\n",
        "a",
        "#",
        format.quote * 2,
        format.quote,
        format.quote,
    ]
    if format.escape:
        marks += [format.escape, format.escape + format.quote, format.escape + "\n"]
    text = "".join(draw(st.lists(st.sampled_from(marks), max_size=16))) + "\n"
    return text.encode(), format


def by_characters(text: str, format: Format) -> list[str]:
    """The records that are neither blank nor comments, read one character after the other."""
    found, record, at = [], "", 0
    state = "line"
    while at < len(text):
        char = text[at]
        at += 1
        if state == "line" and format.comment and char == format.comment:
            at = text.find("\n", at) + 1 or len(text)
            continue
        record += char
        if format.escape and char == format.escape:
            record += text[at : at + 1]
            at += 1
            state = "quoted" if state == "quoted" else "value"
        elif state == "quoted":
            if char == format.quote and text[at : at + 1] == format.quote:
                record += format.quote
                at += 1
            elif char == format.quote:
                state = "value"
        elif char == "\n":
            found.append(record)
            record, state = "", "line"
        elif char == format.delimiter:
            state = "start"
        elif format.quote and char == format.quote and state in ("line", "start"):
            state = "quoted"
        else:
            state = "value"
    assume(state == "line")  # no quote is open at the end, and nothing is escaped there
    return [record for record in found if record.strip("\r\n")]


def by_arrow(data: bytes, format: Format) -> list[str]:
    """The records that Arrow finds, by having it call all of them malformed."""
    found: list[str] = []

    def note(row: Any) -> str:
        found.append(row.text)
        return "skip"

    if data.strip(b"\r\n"):
        names = [str(n) for n in range(99)]
        pc.read_csv(
            pa.BufferReader(data),
            pc.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names),
            pc.ParseOptions(
                delimiter=format.delimiter,
                quote_char=format.quote or False,
                escape_char=format.escape or False,
                newlines_in_values=True,
                invalid_row_handler=note,
            ),
        )
    return found


def bare(records: list[Any]) -> list[Any]:
    ends = b"\r\n" if records and isinstance(records[0], bytes) else "\r\n"
    return [record.rstrip(ends) for record in records if record.strip(ends)]


@settings(max_examples=50, deadline=None)
@given(texts())
def test_records_are_those_of_the_parser(given: tuple[bytes, Format]) -> None:
    data, format = given
    assume(not (format.escape and b"\\\r" in data))  # the parser ends the line behind it
    expected = bare(by_characters(data.decode(), format))
    clean = dialect.without_comments(data, format)
    assert clean.count(b"\n") == data.count(b"\n")
    records = [
        record.decode() for record in dialect.split(clean, dialect.find_layout(clean, format))
    ]
    assert bare(records) == expected
    assert bare(by_arrow(clean, format)) == expected
    assert dialect.count(clean, dialect.find_layout(clean, format), -1) == len(expected)
    with mock.patch.object(dialect, "_is_regular", return_value=False):
        slow = dialect.find_layout(data, format)
    assert slow.ends.tolist() == dialect.find_layout(data, format).ends.tolist()


@settings(max_examples=150, deadline=None)
@given(texts(), st.lists(st.floats(0, 1), max_size=6), st.integers(0, 2))
def test_pieces_end_between_records(
    given: tuple[bytes, Format], cuts: list[float], skip: int
) -> None:
    data, format = given
    skipped = b'junk "\n' * skip
    whole = skipped + data
    edges = sorted({0, *(int(cut * len(whole)) for cut in cuts)})
    pieces = [whole[a:b] for a, b in zip(edges, [*edges[1:], len(whole)], strict=True) if a < b]
    by_characters(data.decode(), format)  # or there is no last record
    blocks = list(dialect.records(iter(pieces), format, "f", skip))
    assert b"".join(blocks) == whole
    blocks[0] = blocks[0].removeprefix(skipped)
    found = [
        part
        for block in blocks
        for part in dialect.split(block, dialect.find_layout(block, format))
    ]
    assert found == dialect.split(data, dialect.find_layout(data, format))


@settings(max_examples=40, deadline=None)
@given(st.text('ab,"\n', max_size=30))
def test_records_are_those_of_pythons_csv(text: str) -> None:
    format = Format("csv", "table", newlines_in_values=True)
    data = (text + "\n").encode()
    found = dialect.find_layout(data, format)
    assume(not found.open)
    rows = [row for row in csv.reader(io.StringIO(data.decode(), newline="")) if row]
    assert dialect.count(data, found, -1) == len(rows)


def test_no_byte_is_looked_at_twice() -> None:
    format = Format("csv", "table", newlines_in_values=True)
    data = b'a,"' + b'x\n""' * 20_000 + b'"\n' + b"b,c\n"
    seen = []
    real = dialect.find_layout

    def noted(data: bytes, format: Format) -> Any:
        seen.append(len(data))
        return real(data, format)

    pieces = [data[at : at + 100] for at in range(0, len(data), 100)]
    with mock.patch.object(dialect, "find_layout", noted):
        assert len(list(dialect.records(iter(pieces), format, "f"))) == 1
    assert sum(seen) < 1.1 * len(data)


@pytest.mark.parametrize("end", ['"', '"a', '"a""', '"a\n', 'b,"a\nb,""\n'])
def test_a_file_that_ends_inside_a_value_is_refused(end: str) -> None:
    format = Format("csv", "table", newlines_in_values=True)
    for size in (1, 2, 100):
        data = f"x,y\n{end}".encode()
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        with pytest.raises(DatasetError, match="f ends inside a quoted value"):
            list(dialect.records(iter(pieces), format, "f"))
