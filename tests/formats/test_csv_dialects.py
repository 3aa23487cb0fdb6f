"""CSV as people write it: every option, and the same rows wherever files are cut."""

from __future__ import annotations

import gzip
import re
from dataclasses import replace
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapred import formats
from mapred.errors import DatasetError
from mapred.formats import headers
from mapred.model.spec import Format

CUTS = st.lists(st.floats(0, 1, exclude_max=True), max_size=6)
SCHEMA = pa.schema([("a", pa.string()), ("b", pa.string())])


@st.composite
def dialects(draw: Any) -> Format:
    return Format(
        "csv",
        "table",
        SCHEMA,
        delimiter=draw(st.sampled_from(",;")),
        quote=draw(st.sampled_from(['"', "'", ""])),
        escape=draw(st.sampled_from(["", "\\"])),
        comment=draw(st.sampled_from(["", "#"])),
        skip_rows=draw(st.integers(0, 2)),
        header=draw(st.sampled_from([True, False, "first"])),
        names=draw(st.sampled_from([None, ("a", "b")])),
        newlines_in_values=draw(st.booleans()),
    )


def written(draw: Any, text: str, format: Format, begins_line: bool) -> str:
    """A value by one of the ways in which the dialect can write it."""
    special = {format.delimiter, "\n", format.escape} - {""}
    awkward = bool(special & set(text)) or bool(format.quote and text.startswith(format.quote))
    awkward |= bool(begins_line and format.comment and text.startswith(format.comment))
    quoted = format.quote and (draw(st.booleans()) or (awkward and not format.escape))
    if quoted:
        if format.escape:
            text = text.replace(format.escape, format.escape * 2)
        double = draw(st.sampled_from([format.escape or format.quote, format.quote]))
        return format.quote + text.replace(format.quote, double + format.quote) + format.quote
    if format.escape and awkward:
        return "".join(format.escape + c if not c.isalnum() else c for c in text)
    return text


def values(format: Format) -> st.SearchStrategy[str]:
    letters = "aé #\"',;\\7"
    if not (format.quote or format.escape):
        letters = letters.replace(format.delimiter, "").replace("#", "")
    elif format.newlines_in_values:
        letters += "\n"
    return st.text(letters, max_size=6)


@st.composite
def datasets(draw: Any) -> tuple[Format, dict[str, bytes], list[tuple[str, str]]]:
    """A dialect, files in it with columns in any order, and their rows."""
    format = draw(dialects())
    end = draw(st.sampled_from(["\n", "\r\n"]))
    by_place = format.header is not True or format.names is not None
    files, expected = {}, []
    for number in range(draw(st.integers(1, 2))):
        rows = draw(st.lists(st.tuples(values(format), values(format)), max_size=5))
        # The rows of a file that repeats the header are refused.
        rows = [row for row in rows if row != ("a", "b")]
        order = [0, 1] if by_place else draw(st.permutations([0, 1]))
        lines = [f'junk "{format.delimiter}' for _ in range(format.skip_rows)]
        if format.header is True or (format.header == "first" and number == 0):
            names = ("x", "y") if format.names and draw(st.booleans()) else ("a", "b")
            lines.append(format.delimiter.join(names[n] for n in order))
        for row in rows:
            texts = [written(draw, row[n], format, at == 0) for at, n in enumerate(order)]
            if draw(st.integers(0, 4)) == 0:
                lines.append(f'{format.comment} not "this{format.delimiter}' * bool(format.comment))
            lines.append(format.delimiter.join(texts))
        text = end.join([*lines, ""])
        text = text if draw(st.booleans()) or not rows else text.removesuffix(end)
        mark = "\ufeff" if draw(st.booleans()) else ""
        files[f"{number}.csv"] = (mark + text).encode()
        expected += rows
    return format, files, expected


@settings(max_examples=40, deadline=None)
@given(datasets(), CUTS, st.integers(1, 40))
def test_rows_are_what_was_written(lab: Any, given: Any, cuts: list[float], block: int) -> None:
    format, files, expected = given
    ranges = numbered(lab.cut(files, cuts))
    with mock.patch("mapred.formats.csv.LARGE_BLOCK", block):
        parts = lab.read_each(format, files, ranges)
    rows = [tuple(row.values()) for part in parts for row in part.value.to_pylist()]
    assert rows == expected
    if any(expected) or format.header is True:
        places = [formats.Place(path, len(data)) for path, data in files.items() if data]
        options = replace(format, schema=None)
        sample = formats.sniff(options, places, lab.open(files))
        wanted = ["a", "b"] if format.names or format.header else ["f0", "f1"]
        assert sorted(sample.schema.names) == wanted or not expected


def numbered(ranges: pa.Table) -> pa.Table:
    """Plan rows as planners write them: `first` is the number of the file."""
    paths = ranges["path"].to_pylist()
    numbers = [sorted(set(paths)).index(path) for path in paths]
    at = ranges.schema.get_field_index("first")
    return ranges.set_column(at, "first", pa.array(numbers, pa.int64()))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from(["1,2", "3", "4,5,6", '"7",8', '"9,9",""', "", 'a,"b']), max_size=12),
    CUTS,
)
def test_malformed_rows_are_left_out_wherever_files_are_cut(
    lab: Any, lines: list[str], cuts: list[float]
) -> None:
    lines = [line for line in lines if line != 'a,"b']
    files = {"f": "\n".join(["a,b", *lines, ""]).encode()}
    format = Format("csv", "table", SCHEMA, on_bad_rows="skip")
    parts = lab.read_each(format, files, lab.cut(files, cuts))
    good = [line for line in lines if line in ("1,2", '"7",8', '"9,9",""')]
    bad = [line for line in lines if line in ("3", "4,5,6")]
    assert sum(part.value.num_rows for part in parts) == len(good)
    assert sum(part.reading.skipped for part in parts) == len(bad)
    assert sum(part.reading.records for part in parts) == len(good)


def read(lab: Any, format: Format, *contents: str | bytes, cuts: Any = ()) -> list[Any]:
    """The rows of files, in the types that a plan pins: those of the first `sampled` files."""
    texts = [text.encode() if isinstance(text, str) else text for text in contents]
    files = {f"{number}.csv": text for number, text in enumerate(texts)}
    if format.schema is None:
        places = [formats.Place(path, len(data)) for path, data in files.items() if data]
        sample = formats.sniff(format, places, lab.open(files))
        assert sample.seen is not None
        seen = sample.seen
        format = replace(
            format, schema=sample.schema, inferred=tuple(seen), seen=tuple(seen.values())
        )
    parts = lab.read_each(format, files, numbered(lab.cut(files, cuts)))
    return [row for part in parts for row in part.value.to_pylist()]


def fails(lab: Any, format: Format, *contents: str | bytes) -> str:
    with pytest.raises(DatasetError) as caught:
        read(lab, format, *contents)
    return str(caught.value)


CSV = Format("csv", "table")


def test_backslashes_escape_only_where_that_is_said(lab: Any) -> None:
    data = 'a,b\n"he said \\"hi\\"",1\nx,2\n'
    assert read(lab, replace(CSV, escape="\\"), data)[0] == {"a": 'he said "hi"', "b": 1}
    for text in (data, 'a,b\nq,1\n"say \\"", "x"\n'):
        message = fails(lab, CSV, text)
        assert re.search(r"0\.csv, line [23]: .*escape='\\\\'", message), message
    assert read(lab, CSV, 'a,b\n"C:\\dir\\",1\n') == [{"a": "C:\\dir\\", "b": 1}]
    street = read(lab, CSV, 'a,b\n"300 WEST "A" STREET",1\n')
    assert street == [{"a": '300 WEST A" STREET"', "b": 1}]
    newline = fails(lab, replace(CSV, escape="\\"), "a,b\nx\\\ny,1\n")
    assert "0.csv, line 2: " in newline
    assert "newlines_in_values=True" in newline
    assert "after an escape" in fails(lab, replace(CSV, escape="\\"), "a,b\n1,x\\")


def test_inch_marks_beside_quoted_values(lab: Any) -> None:
    data = 'a,b\n7,5" pipe\n"x, y",6"\n1,"line\nend"\n'
    rows = [{"a": "7", "b": '5" pipe'}, {"a": "x, y", "b": '6"'}]
    assert read(lab, CSV, data[: data.index("1,")]) == rows
    whole = replace(CSV, newlines_in_values=True)
    assert read(lab, whole, data) == [*rows, {"a": "1", "b": "line\nend"}]
    assert "0.csv, line 4: a quoted value" in fails(lab, CSV, data)


def test_numbers_with_commas_and_groups(lab: Any) -> None:
    german = replace(CSV, delimiter=";", decimal=",", thousands=".")
    rows = read(lab, german, "a;b\n1,5;2\n-0,5;1.234\n1.234,5;12.345.678\n")
    assert rows == [{"a": 1.5, "b": 2}, {"a": -0.5, "b": 1234}, {"a": 1234.5, "b": 12345678}]
    assert read(lab, german, "a\n1.5\n") == [{"a": "1.5"}]
    assert read(lab, replace(CSV, decimal=","), 'a\n"1,5"\n') == [{"a": 1.5}]
    pinned = replace(german, schema=pa.schema([("a", pa.int64())]))
    assert "line 2: column 'a': '12.34' does not fit" in fails(lab, pinned, "a\n12.34\n")
    big = read(lab, replace(german, thousands="."), "a\n12.345.678.901.234.567.890\n")
    assert big == [{"a": 12345678901234567890}]


def test_lines_before_the_header(lab: Any) -> None:
    data = 'Report, 5"\n\n# made today\nid,v\n#1,2\n1,2\n# "\n3,4\n'
    format = replace(CSV, skip_rows=1, comment="#")
    rows = [{"id": 1, "v": 2}, {"id": 3, "v": 4}]
    size = len(data)
    assert read(lab, format, data, cuts=[n / size for n in range(size)]) == rows
    assert read(lab, replace(format, compression="gzip"), gzip.compress(data.encode())) == rows


def test_names_of_columns(lab: Any) -> None:
    assert read(lab, replace(CSV, names=("x", "y")), "a,a\n1,2\n") == [{"x": 1, "y": 2}]
    assert read(lab, replace(CSV, names=("x", "y"), header=False), "1,2\n") == [{"x": 1, "y": 2}]
    assert "0.csv has 2 columns (a, b), but names= has 1" in fails(
        lab, replace(CSV, names=("x",)), "a,b\n1,2\n"
    )
    twice = fails(lab, CSV, "a,a,b\n1,2,3\n")
    assert "0.csv has more than one column 'a' in its header; pass names=" in twice
    assert read(lab, replace(CSV, columns=("b",)), "a,a,b\n1,2,3\n") == [{"b": 3}]


def test_a_header_in_the_first_file_alone(lab: Any) -> None:
    first = replace(CSV, header="first")
    rows = read(lab, first, "a,b\n1,2\n", "3,4\n", "5,6\n", cuts=[0.1, 0.5])
    assert rows == [{"a": 1, "b": 2}, {"a": 3, "b": 4}, {"a": 5, "b": 6}]
    message = fails(lab, first, "a,b\nx,y\n", "a,b\nz,w\n")
    assert "1.csv begins with the columns' names, too; pass header=True" in message


def test_booleans_dates_and_nulls(lab: Any) -> None:
    yes = replace(CSV, true_values=("Y",), false_values=("N",))
    assert read(lab, yes, "a\nY\nN\n\ntrue\n") == [{"a": True}, {"a": False}, {"a": True}]
    assert read(lab, CSV, "a\ntrue\n1\n") == [{"a": "true"}, {"a": "1"}]
    given = replace(CSV, schema=pa.schema([("a", pa.bool_())]))
    assert read(lab, given, 'a,\n'.replace(",", "") + "true\n1\n0\nNA\n") == [
        {"a": True}, {"a": True}, {"a": False}, {"a": None},
    ]  # fmt: skip
    import datetime as dt

    german = replace(CSV, date_formats=("%d.%m.%Y", "%d.%m.%Y %H:%M:%S.%f"))
    assert read(lab, german, "a\n31.12.2024\n2024-01-01\n") == [
        {"a": dt.date(2024, 12, 31)},
        {"a": dt.date(2024, 1, 1)},
    ]
    assert read(lab, german, "a\n31.12.2024\n01.02.2025 10:00:00.25\n")[1] == {
        "a": dt.datetime(2025, 2, 1, 10, 0, 0, 250_000)  # noqa: DTZ001
    }
    pinned = replace(german, schema=pa.schema([("a", pa.date32())]))
    assert "'31.02.2024' does not fit" in fails(lab, pinned, "a\n31.02.2024\n")
    nulls = replace(CSV, null_values=("-",))
    rows = read(lab, nulls, 'a,b\n-,NA\nx,-\n"-",5\n,\nNA,\n')
    assert [row["a"] for row in rows] == [None, "x", "-", "", "NA"]
    assert [row["b"] for row in rows] == [None, None, 5, None, None]


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"a,b\r1,2\r", r"lines end in carriage returns alone"),
        ("a,b\n1,2\n".encode("utf-16"), "pass encoding='utf-16'"),
        ("a,b\n1,2\n".encode("utf-16-le"), "pass encoding='utf-16-le'"),
        (b"sep=;\na;b\n1;2\n", r"pass skip_rows=1, delimiter=';'"),
        (gzip.compress(b"a\n1\n", mtime=0), "pass compression='gzip'"),
        (b'a,"b\n1,2\n', "line 1: a quoted value .* newlines_in_values=True"),
        (b"a,b\n1,2\n\xff,3\n", r"line 3: not valid utf-8 \(b'\\xff'\); pass encoding="),
        (
            b"a,b\n\n1,2\n3\n",
            r"line 4: 1 value where there are 2 columns \(a, b\); pass on_bad_rows",
        ),
    ],
)
def test_what_is_not_read_says_what_to_say(lab: Any, data: bytes, match: str) -> None:
    assert re.search("0.csv.*" + match, fails(lab, CSV, data))


def test_advice_about_whole_files_works(lab: Any) -> None:
    rows = [{"a": 1, "b": 2}]
    wide = "a,b\n1,2\n".encode("utf-16-le")
    assert read(lab, replace(CSV, encoding="utf-16-le"), wide) == rows
    assert read(lab, replace(CSV, skip_rows=1, delimiter=";"), "sep=;\na;b\n1;2\n") == rows
    assert read(lab, replace(CSV, on_bad_rows="skip"), "a,b\n1,2\n3\n") == rows


def test_one_head_is_read_for_all_ranges_of_a_file(lab: Any) -> None:
    data = b"a,b\n" + b"1,2\n" * 100
    ranges = lab.cut({"f": data}, [n / 10 for n in range(10)])
    tagged = ranges.set_column(4, "etag", pa.array(["t"] * 10))
    opened = []

    def open_(path: str, known: Any = None) -> Any:
        opened.append(path)
        return lab.open({"f": data})(path)

    headers._heads.clear()
    reading = formats.Reading()
    format = Format("csv", "table", pa.schema([("a", pa.int64()), ("b", pa.int64())]))
    fingerprint = lambda path, file: (len(data), "t")  # noqa: E731
    table = formats.read(format, tagged, open_, reading, fingerprint)
    assert (table.num_rows, len(opened)) == (100, 10)
    headers._heads.clear()
    formats.read(format, tagged.slice(5), open_, formats.Reading(), fingerprint)
    assert len(opened) == 10 + 6
