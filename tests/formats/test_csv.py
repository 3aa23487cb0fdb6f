"""CSV: pinned names and types in every range, and nothing that does not fit goes unnoticed."""

from __future__ import annotations

import csv
import gzip
import io
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import mapred
from mapred import formats
from mapred.errors import DatasetError, MissingDependency
from mapred.formats import Reading, tables
from mapred.model.spec import Format

SCHEMA = pa.schema([("zip", pa.string()), ("n", pa.int64())])
PINNED = Format("csv", "table", SCHEMA)
CUTS = st.lists(st.floats(0, 1, exclude_max=True), max_size=8)
MOST = st.one_of(st.just(1 << 40), st.integers(1, 40))
# No lone carriage return, which is an error of its own.
ODD = "\x0b\x0c\x1c\x85\u2028\ufeff a,'é😀"
VALUES = st.text(
    st.one_of(st.sampled_from(ODD), st.characters(codec="utf-8", exclude_characters='\r\n"\0')),
    max_size=8,
)
ROWS = st.lists(st.tuples(VALUES, st.one_of(st.none(), st.integers(-9, 9**9))), max_size=12)


def write(
    rows: list[Any],
    names: list[str] | None,
    end: str,
    last: bool = True,
    quoting: Any = csv.QUOTE_MINIMAL,
) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=end, quoting=quoting)
    if names:
        writer.writerow(names)
    writer.writerows(("" if v is None else v for v in row) for row in rows)
    text = out.getvalue()
    return (text if last else text.removesuffix(end)).encode()


def rows_of(table: pa.Table) -> list[tuple[Any, ...]]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(ROWS, min_size=1, max_size=2),
    st.booleans(),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    CUTS,
    MOST,
    st.integers(1, 60),
)
def test_every_row_is_read_once(
    lab: Any,
    contents: list[list[Any]],
    header: bool,
    end: str,
    last: bool,
    cuts: list[float],
    most: int,
    block: int,
) -> None:
    names = ["zip", "n"] if header else None
    files = {f"{n} #%?": write(rows, names, end, last) for n, rows in enumerate(contents)}
    # At its start, a file has a byte order mark and not a value.
    assume(header or not any(data.startswith("\ufeff".encode()) for data in files.values()))
    format = Format("csv", "table", SCHEMA, header=header)
    with mock.patch("mapred.formats.csv.LARGE_BLOCK", block):
        parts = lab.read_each(format, files, lab.cut(files, cuts), most)
    assert [row for part in parts for row in rows_of(part.value)] == [
        row for rows in contents for row in rows
    ]
    assert all(part.value.schema == SCHEMA for part in parts)
    assert [part.reading.records for part in parts] == [part.value.num_rows for part in parts]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.text('a\n\r,"é', max_size=12), st.integers(0, 9)), max_size=12),
    st.booleans(),
    st.sampled_from(["\n", "\r\n"]),
    MOST,
    CUTS,
)
def test_values_may_hold_line_ends(
    lab: Any, rows: list[Any], header: bool, end: str, most: int, cuts: list[float]
) -> None:
    names = ["zip", "n"] if header else None
    files = {"a": write(rows, names, end, quoting=csv.QUOTE_NONNUMERIC)}
    format = Format("csv", "table", SCHEMA, newlines_in_values=True, header=header)
    parts = lab.read_each(format, files, lab.cut(files, cuts), most)
    assert [row for part in parts for row in rows_of(part.value)] == rows
    assert all(part.value.num_rows == 0 for part in parts[1:])


def test_zip_codes_stay_strings_in_every_range(lab: Any) -> None:
    numbers = [f"{n:05d}" for n in range(0, 99_999, 97)]
    files = {"a": write([(zip_, 1) for zip_ in numbers], ["zip", "n"], "\n")}
    assert lab.sniff(Format("csv", "table"), files["a"]) == SCHEMA
    parts = lab.read_each(PINNED, files, lab.cut(files, [n / 10 for n in range(10)]))
    assert [row[0] for part in parts for row in rows_of(part.value)] == numbers


def test_a_quoted_newline_is_named_not_cut(lab: Any) -> None:
    data = b'zip,n\na,1\n"b\nc",2\n' + b"d,3\n" * 20
    files = {"a b.csv": data}
    match = r"a b\.csv, line 3: a quoted value \(\"\) is not closed at the end of its line.*newlines_in_values=True"
    with pytest.raises(DatasetError, match=match):
        lab.read(PINNED, files, lab.cut(files, []))
    with pytest.raises(DatasetError, match="line 3: a quoted value"):
        lab.sniff(Format("csv", "table"), data)
    whole = Format("csv", "table", SCHEMA, newlines_in_values=True)
    assert rows_of(lab.read(whole, files, lab.cut(files, [])).value)[1] == ("b\nc", 2)
    bare = Format("csv", "table", SCHEMA, quote="")
    assert "line 3" in str(fails(lab, bare, data))


def fails(lab: Any, format: Format, data: bytes, cuts: Any = ()) -> DatasetError:
    files = {"f": data}
    with pytest.raises(DatasetError) as caught:
        lab.read(format, files, lab.cut(files, cuts))
    return caught.value


FINE = b"zip,n\n" + b"a,1\n" * 50


@pytest.mark.parametrize("cuts", [[], [0.1, 0.5, 0.9]])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"b,x\n", r"f, line 52: column 'n': 'x' does not fit a column of int64; pass"),
        (
            b"b,1,2\n",
            r"f, line 52: 3 values where there are 2 columns \(zip, n\); pass on_bad_rows='skip'",
        ),
        (b"b\n", r"f, line 52: 1 value where there are 2 columns"),
        (b"b\xff,1\n", r"f, line 52: not valid utf-8 \(b'\\xff'\); pass encoding="),
        (b"b\rc,1\n", r"f, line 52: a carriage return that neither ends the line nor is quoted"),
        (b"\r,1\n", r"f, line 52: a carriage return"),
        (b'"b"\rc,1\n', r"f, line 52: a carriage return"),
        (b'a" ,"b\nc",1\n', r"f, line 5[23]: "),
    ],
)
def test_what_does_not_fit_names_its_line(
    lab: Any, cuts: list[float], bad: bytes, message: str
) -> None:
    import re

    error = fails(lab, PINNED, FINE + bad + FINE[6:], cuts)
    assert re.search(message, str(error)), error


def test_the_line_is_right_after_blank_lines_in_gzip_and_other_encodings(lab: Any) -> None:
    data = "zip,n\r\n\r\né,1\r\n\r\nb,x\r\n".encode()
    assert "f, line 5:" in str(fails(lab, PINNED, data))
    files = {"f.gz": gzip.compress(data)}
    with pytest.raises(DatasetError, match=r"f\.gz, line 5:"):
        lab.read(PINNED, files, lab.cut(files, []))
    for encoding in ("utf-16", "latin-1"):
        format = Format("csv", "table", SCHEMA, encoding=encoding)
        assert "line 5:" in str(fails(lab, format, data.decode().encode(encoding)))
        good = "zip,n\né,1\n".encode(encoding)
        value = lab.read(format, {"a": good}, lab.cut({"a": good}, [])).value
        assert rows_of(value) == [("é", 1)]


def test_an_open_quote_at_the_end_is_an_error(lab: Any) -> None:
    format = Format("csv", "table", SCHEMA, newlines_in_values=True)
    assert "ends inside a quoted value" in str(fails(lab, format, b'zip,n\n"a,1\nb,2\n'))
    assert "line 2: column 'n': 'b' does not fit" in str(fails(lab, format, b"zip,n\na,b\n"))


def test_columns_are_matched_by_name(lab: Any) -> None:
    files = {"a": FINE, "b": b"\xef\xbb\xbf" + FINE, "c": b"", "d": b"n,zip\n1,b\n2,c\n"}
    for cuts in ([], [0.3, 0.5, 0.9]):
        parts = lab.read_each(PINNED, files, lab.cut(files, cuts))
        rows = [row for part in parts for row in rows_of(part.value)]
        assert rows == [("a", 1)] * 100 + [("b", 1), ("c", 2)]
    assert "f has no column 'zip' (it has a, n)" in str(fails(lab, PINNED, b"a,n\n1,2\n"))
    assert "f has a column 'x' that" in str(fails(lab, PINNED, b"zip,n,x\n1,2,3\n"))


def test_a_byte_order_mark_inside_a_file_is_part_of_a_value(lab: Any) -> None:
    files = {"a": "\ufeffzip,n\nx,1\n\ufeffy,2\n".encode()}
    for cuts in ([], [0.6]):
        with mock.patch("mapred.formats.csv.LARGE_BLOCK", 1):
            parts = lab.read_each(PINNED, files, lab.cut(files, cuts))
        assert [row for part in parts for row in rows_of(part.value)] == [("x", 1), ("\ufeffy", 2)]


def test_columns_filters_and_folders(lab: Any) -> None:
    schema = pa.schema([("zip", pa.string()), ("n", pa.int64()), ("year", pa.int32())])
    files = {
        "d/year=2025/a b": b"zip,n\nx,1\ny,2\n",
        "d/year=2026/a": b"zip,n\nz,3\n",
        "d/year=__HIVE_DEFAULT_PARTITION__/c": b"zip,n\nw,4\n",
    }
    ranges = lab.cut(files, [])

    def rows(**values: Any) -> list[tuple[Any, ...]]:
        format = Format("csv", "table", schema, partitions=("year",), **values)
        return rows_of(lab.read(format, files, ranges).value)

    assert rows() == [("x", 1, 2025), ("y", 2, 2025), ("z", 3, 2026), ("w", 4, None)]
    assert rows(columns=("year", "zip")) == [(2025, "x"), (2025, "y"), (2026, "z"), (None, "w")]
    assert rows(columns=("year",)) == [(2025,), (2025,), (2026,), (None,)]
    assert rows(columns=("zip",), filter=[("n", ">", 1), ("year", "<", 2026)]) == [("y",)]
    assert rows(columns=("zip",), filter=pc.field("year").is_null()) == [("w",)]
    with pytest.raises(DatasetError, match="no column 'no'; there are zip, n, year"):
        rows(columns=("no",))
    for bad in (pc.field("no") == 1, [("no", "=", 1)], [("zip", ">", 1)]):
        with pytest.raises(DatasetError, match="does not fit the columns"):
            rows(filter=bad)
    with pytest.raises(DatasetError, match="is not a filter"):
        rows(filter=[("zip", "~", 1)])
    other = {"d/month=1/a": b"zip,n\nx,1\n", "year=x/a": b"zip,n\nx,1\n"}
    for path, match in [("d/month=1/a", "not in a folder year="), ("year=x/a", "year=x does not")]:
        format = Format("csv", "table", schema, partitions=("year",))
        with pytest.raises(DatasetError, match=match):
            lab.read(format, other, lab.cut({path: other[path]}, []))


def test_folders_are_percent_decoded() -> None:
    format = Format("csv", "table", pa.schema([("a b", pa.string())]), partitions=("a b",))
    values = tables.partitions_of("x/a%20b=c%2Fd=e%25/f=g", format)
    assert values["a b"].as_py() == "c/d=e%"


def test_nulls(lab: Any) -> None:
    data = b'zip,n\n,\nNA,7\n"NA",8\n'
    files = {"a": data}
    ranges = lab.cut(files, [])
    assert rows_of(lab.read(PINNED, files, ranges).value) == [("", None), ("NA", 7), ("NA", 8)]
    format = Format("csv", "table", SCHEMA, null_values=("NA", ""))
    expected = [(None, None), (None, 7), ("NA", 8)]
    assert rows_of(lab.read(format, files, ranges).value) == expected


def test_as_pandas_polars_and_batches(lab: Any) -> None:
    files = {"a": FINE}
    ranges = lab.cut(files, [])
    frame = lab.read(Format("csv", "pandas", SCHEMA), files, ranges).value
    assert (type(frame).__module__.split(".")[0], len(frame)) == ("pandas", 50)
    frame = lab.read(Format("csv", "polars", SCHEMA), files, ranges).value
    assert (type(frame).__module__.split(".")[0], len(frame)) == ("polars", 50)
    with mock.patch("mapred.formats.csv.LARGE_BLOCK", 40):
        part = lab.read(Format("csv", "batches", SCHEMA), files, ranges)
        assert {type(batch) for batch in part.value} == {pa.RecordBatch}
        assert len(part.value) > 3
        assert part.reading.records == 50
        reading = Reading()
        batches = formats.read(Format("csv", "batches", SCHEMA), ranges, lab.open(files), reading)
        next(batches)
        assert (reading.records, reading.bytes, reading.ranges) == (0, 0, 0)
        next(batches)
        assert 0 < reading.bytes < 100
    with pytest.raises(DatasetError, match="as_='lines'"):
        lab.read(Format("csv", "lines", SCHEMA), files, ranges)
    with pytest.raises(DatasetError, match="no pinned schema"):
        lab.read(Format("csv", "table"), files, ranges)
    for as_ in ("table", "pandas", "polars"):
        empty = lab.read(Format("csv", as_, SCHEMA), {}, lab.table([])).value
        assert (list(empty.columns if as_ != "table" else empty.schema.names), len(empty)) == (
            ["zip", "n"],
            0,
        )


def test_a_frame_library_that_is_absent_is_named(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pandas", "polars"):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(MissingDependency, match=rf"pip install 'mapred\[{name}\]'"):
            lab.read(Format("csv", name, SCHEMA), {}, lab.table([]))


def test_what_a_frame_cannot_hold_names_the_shard(lab: Any) -> None:
    def refuse(table: pa.Table) -> None:
        raise pa.ArrowInvalid("out of bounds")

    files = {"a": FINE}
    with (
        mock.patch.object(tables, "converter", return_value=refuse),
        pytest.raises(DatasetError, match="cannot read a, bytes 0-206: out of bounds"),
    ):
        lab.read(Format("csv", "pandas", SCHEMA), files, lab.cut(files, []))


def test_sniffed_types(lab: Any) -> None:
    data = (
        b"i,f,s,z,e,t,d,b\n1,1.5,x,007,,2026-01-01 00:00:00,2026-01-01,true\n"
        b"2,2,y,8,,2026-01-01 00:00:01,2026-01-02,false\n"
    )
    types = dict(
        zip("i f s z e t d b".split(), lab.sniff(Format("csv", "table"), data).types, strict=True)
    )
    assert [str(type_) for type_ in types.values()] == (
        "int64 double string string string timestamp[us] date32[day] bool".split()
    )
    assert lab.sniff(Format("csv", "table", header=False), b"1,a\n").names == ["f0", "f1"]
    assert lab.sniff(Format("csv", "table"), b"\xef\xbb\xbfa,b\r\n").names == ["a", "b"]
    assert lab.sniff(Format("csv", "table", delimiter=";"), b"a;b\n1;2\n").names == ["a", "b"]
    quoted = Format("csv", "table", newlines_in_values=True)
    assert lab.sniff(quoted, b'"a\nb",c\n1,2\n').names == ["a\nb", "c"]
    packed = gzip.compress("é\n1\n".encode("utf-16"))
    format = Format("csv", "table", encoding="utf-16")
    assert lab.sniff(format, packed, "a.gz").names == ["é"]
    long = b"a\n" + b"x" * (3 << 20) + b"\n"
    assert lab.sniff(Format("csv", "table"), long).types == [pa.string()]


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "f is empty"),
        (b"a,a\n1,2\n", "more than one column 'a'"),
        (b"a,b\n1,2,3\n", "f, line 2: 3 values where there are 2 columns"),
        (b"a;b\n1,5;2\n", r"line 2: 2 values where there is 1 column \(a;b\); pass delimiter=';'"),
    ],
)
def test_sniffing_what_is_not_csv(lab: Any, data: bytes, match: str) -> None:
    with pytest.raises(DatasetError, match=match):
        lab.sniff(Format("csv", "table"), data, "f")


def test_columns_that_only_later_files_have_are_read_where_files_may_lack_some(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    (tmp_path / "b.csv").write_text("x,id\n9,2\n")
    made = mapred.read_csv(str(tmp_path / "*.csv"), missing_columns="null")
    run = mapred.run(_rows, made, root=tmp_path / "runs", progress="none", backend="inline")
    assert [row for rows in run.result() for row in rows] == [
        {"id": 1, "x": None},
        {"id": 2, "x": 9},
    ]


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    return table.to_pylist()


@pytest.mark.parametrize("empty", [360_000, 500_000, 800_000])
def test_a_value_at_the_end_of_a_file_decides_a_column_that_was_empty(
    tmp_path: Path, empty: int
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + "1,\n" * empty + "3,9\n3,10\n")
    plan = mapred.plan(str(path))
    assert plan.format.schema.field("b").type == pa.int64()


def test_quoted_empty_values_among_numbers_are_null(tmp_path: Path) -> None:
    """Exports that quote everything write an empty number as two quotes."""
    path = tmp_path / "a.csv"
    path.write_text('"id","amount","note"\n"1","9",""\n"2","","x"\n"3","10","NA"\n')
    run = mapred.run(_rows, str(path), root=tmp_path / "runs", progress="none", backend="inline")
    assert run.result() == [
        [
            {"id": 1, "amount": 9, "note": ""},
            {"id": 2, "amount": None, "note": "x"},
            {"id": 3, "amount": 10, "note": "NA"},
        ]
    ]
