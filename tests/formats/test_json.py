"""JSON lines: an object a line with the pinned fields, or as dicts, whatever the cut."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import mapred
from mapred import formats
from mapred.dataset.types import as_type
from mapred.errors import DatasetError
from mapred.formats.json import dicts, misfits
from mapred.model.spec import Format

SCHEMA = pa.schema(
    [
        ("a", pa.int64()),
        ("s", pa.string()),
        ("l", pa.list_(pa.int64())),
        ("o", pa.struct([("x", pa.float64()), ("y", pa.string())])),
    ]
)
PINNED = Format("json", "table", SCHEMA)
TABLE = Format("json", "table", missing_columns="null")
DICTS = Format("json", "dicts", pa.schema([]))
CUTS = st.lists(st.floats(0, 1, exclude_max=True), max_size=8)
MOST = st.one_of(st.just(1 << 40), st.integers(1, 40))
TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
OBJECTS = st.fixed_dictionaries(
    {},
    optional={
        "a": st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
        "s": TEXT,
        "l": st.lists(st.integers(0, 9), max_size=3),
        "o": st.fixed_dictionaries({"x": st.floats(-1e6, 1e6), "y": TEXT}),
    },
)


class Number(str):
    """A number as it is written."""


def dumped(value: Any) -> str:
    """JSON, in which each number is written as the test has it."""
    if isinstance(value, Number):
        return value
    if isinstance(value, dict):
        inner = ", ".join(f"{json.dumps(name)}: {dumped(each)}" for name, each in value.items())
        return f"{{{inner}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(dumped, value))}]"
    return json.dumps(value)


def same(got: Any, want: Any) -> bool:
    """Whether a value is what the text says, by Python's own reader with exact decimals."""
    if isinstance(want, dict):
        return isinstance(got, dict) and all(
            same(got.get(name), want.get(name)) for name in {*got, *want}
        )
    if isinstance(want, list):
        return isinstance(got, list) and len(got) == len(want) and all(map(same, got, want))
    if isinstance(want, Decimal) and isinstance(got, float):
        return math.copysign(1, got) == math.copysign(1, float(want)) and got == float(want)
    if isinstance(want, int | Decimal) and not isinstance(want, bool):
        return isinstance(got, int | float | Decimal) and got == want
    return type(got) is type(want) and bool(got == want)


def oracle(text: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(text, parse_float=Decimal)
    return value


def pin(lab: Any, files: dict[str, bytes], format: Format = TABLE, *sampled: str) -> Format:
    """The format with what the sampled files say, all of them by default."""
    places = [formats.Place(path, len(files[path])) for path in sampled or files]
    sample = formats.sniff(format, places, lab.open(files))
    assert sample.seen is not None
    names, seen = tuple(sample.seen), tuple(sample.seen.values())
    return replace(format, schema=sample.schema, inferred=names, seen=seen)


def read(lab: Any, files: dict[str, bytes], format: Format = TABLE, cuts: Any = ()) -> Any:
    """The rows of all files, of which the first one is sampled without a schema."""
    if format.schema is None:
        format = pin(lab, files, format, next(iter(files)))
    part = lab.read(format, files, lab.cut(files, cuts))
    rows = part.value if format.as_ == "dicts" else part.value.to_pylist()
    if format.filter is None:
        assert part.reading.records == len(rows)
    return rows


WHOLE = st.one_of(
    st.integers(-99, 99),
    st.integers(-(10**30), 10**30),
    st.sampled_from([2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, 2**63, -(2**63)]),
    st.sampled_from([2**64 - 1, 2**64, 10**19, 0, -0]),
).map(Number)
PARTS = st.one_of(
    st.floats(-1e6, 1e6).map(lambda number: Number(f"{number:.3f}")),
    st.sampled_from(["-0.0", "1e3", "1E+2", "0.1", "1.50", "2.5e-3"]).map(Number),
)
LEAVES: list[st.SearchStrategy[Any]] = [
    st.integers(-99, 99).map(Number),
    WHOLE,
    PARTS,
    PARTS | st.floats(allow_nan=False, allow_infinity=False).map(lambda x: Number(repr(x))),
    PARTS | WHOLE,
    st.booleans(),
    TEXT,
    st.sampled_from(["2026-01-01", "2026-01-01T00:00:00Z", "12", "1e5", "0x1", "true", "null"]),
    st.none(),
]


def values_of(depth: int) -> st.SearchStrategy[st.SearchStrategy[Any]]:
    """Strategies of values of one type, with nulls and gaps, up to some depth."""
    leaves = st.sampled_from(LEAVES)
    if not depth:
        return leaves
    inner = values_of(depth - 1)
    return st.one_of(
        leaves,
        inner.map(lambda items: st.lists(st.none() | items, max_size=3)),
        objects_of(inner),
    )


def objects_of(inner: st.SearchStrategy[Any], least: int = 0) -> st.SearchStrategy[Any]:
    fields = st.dictionaries(st.sampled_from(["x", "y", "é", 'a "b"']), inner, min_size=least)
    return fields.map(
        lambda each: st.fixed_dictionaries(
            {}, optional={name: st.none() | values for name, values in each.items()}
        )
    )


DATA = objects_of(values_of(2), least=1).flatmap(
    lambda each: st.lists(st.lists(each, max_size=5), min_size=1, max_size=3)
)


@settings(max_examples=30, deadline=None)
@given(DATA, CUTS, st.integers(1, 80), st.sampled_from(["\n", "\r\n", "\n \n"]), st.booleans())
def test_every_value_is_what_python_reads(
    lab: Any, data: list[list[Any]], cuts: list[float], block: int, end: str, last: bool
) -> None:
    texts = [[dumped(value) for value in values] for values in data]
    files = {
        f"f{number}": (end.join(lines) + end * (last and bool(lines))).encode()
        for number, lines in enumerate(texts)
    }
    want = [oracle(line) for lines in texts for line in lines]
    if any(want):
        format = pin(lab, files)
        with mock.patch("mapred.formats.json.LARGE_BLOCK", block):
            parts = lab.read_each(format, files, lab.cut(files, cuts))
        rows = [row for part in parts for row in part.value.to_pylist()]
        assert len(rows) == len(want)
        assert all(map(same, rows, want)), (format.schema, rows, want)
        assert all(part.value.schema == format.schema for part in parts)
        assert sum(part.reading.records for part in parts) == len(want)
    with mock.patch("mapred.formats.json.dicts.LINES_BLOCK", block):
        parts = lab.read_each(DICTS, files, lab.cut(files, cuts))
    assert [row for part in parts for row in part.value] == [
        json.loads(line) for lines in texts for line in lines
    ]
    assert sum(part.reading.records for part in parts) == len(want)


@settings(max_examples=25, deadline=None)
@given(DATA, DATA, CUTS, st.sampled_from([None, ("x",)]), st.sampled_from(["error", "ignore"]))
def test_later_values_are_right_or_refused(
    lab: Any,
    first: list[list[Any]],
    second: list[list[Any]],
    cuts: list[float],
    columns: tuple[str, ...] | None,
    extra: str,
) -> None:
    texts = [[dumped(value) for values in part for value in values] for part in (first, second)]
    files = {name: "\n".join(lines).encode() for name, lines in zip("ab", texts, strict=True)}
    assume(any(map(oracle, texts[0])))
    format = pin(lab, files, replace(TABLE, extra_columns=extra), "a")
    if columns and columns[0] in format.schema.names:
        format = replace(format, columns=columns)
    want = [oracle(line) for lines in texts for line in lines]
    taken = None if format.columns is None and extra == "error" else format.schema.names
    taken = taken if format.columns is None else format.columns
    if taken is not None:
        want = [{name: each.get(name) for name in taken} for each in want]
    ranges, refused = lab.cut(files, cuts), ""
    for number in range(ranges.num_rows):
        try:
            part = lab.read(format, files, ranges.slice(number, 1))
        except DatasetError as error:
            refused = str(error)
            break
        for row in part.value.to_pylist():
            assert same(row, want.pop(0))
    assert refused or not want
    assert not refused or re.match(r"b, line \d+: field .* pass ", refused)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(OBJECTS, max_size=12),
    st.sampled_from(["\n", "\r\n", "\n\n", "\n \n"]),
    st.booleans(),
    st.booleans(),
    CUTS,
    MOST,
    st.integers(1, 60),
)
def test_every_object_is_read_once(
    lab: Any,
    values: list[dict[str, Any]],
    end: str,
    last: bool,
    ascii: bool,
    cuts: list[float],
    most: int,
    block: int,
) -> None:
    text = end.join(json.dumps(value, ensure_ascii=ascii) for value in values)
    files = {"a": (text + (end if last else "")).encode()}
    with mock.patch("mapred.formats.json.LARGE_BLOCK", block):
        parts = lab.read_each(PINNED, files, lab.cut(files, cuts), most)
    rows = [row for part in parts for row in part.value.to_pylist()]
    assert rows == [dict.fromkeys(SCHEMA.names) | value for value in values]
    assert all(part.value.schema == SCHEMA for part in parts)
    assert sum(part.reading.records for part in parts) == len(values)
    with mock.patch("mapred.formats.json.dicts.LINES_BLOCK", block):
        parts = lab.read_each(DICTS, files, lab.cut(files, cuts), most)
    assert [row for part in parts for row in part.value] == values


FINE = b'{"a": 1}\n' * 50


@pytest.mark.parametrize("cuts", [[], [0.1, 0.5, 0.9]])
@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (b"nope\n", r"not valid JSON: expecting value at character 1; each line must hold one"),
        (b'{"a": 1\n', r"not valid JSON: expecting ',' delimiter"),
        (b"[1]\n", r"holds a list, not an object; .* mapred.read_text with json.loads"),
        (b"1\n", r"holds a number, not an object"),
        (b"null\n", r"holds null, not an object"),
        (b'{"a": "x"}\n', r'field a is text \("x"\), and not a number \(int64\); pass schema='),
        (b'{"a": 1.5}\n', r"field a is 1.5, which is not a whole number as int64 has them; pass"),
        (b'{"a": true}\n', r"field a is true or false \(true\), and not a number"),
        (b'{"a": 9223372036854775808}\n', r"field a is 9223372036854775808, which int64 cannot"),
        (b'{"a": 1}{"a": 2}\n', r"more than one object; each line must hold one"),
        (b'{"a": 1} {"a": 2}\n{"a":\n3}\n', r"more than one object"),
        (b'{"a": 1},\n', r"',' follows the value"),
        (b'{"s": "b\xff"}\n', r"not valid utf-8 .*; pass encoding="),
        (b'{"b": 1}\n', r"field b is not in the pinned schema .*; pass schema=.*extra_columns="),
        (b'{"o": {"z": 1}}\n', r"field o.z is not in the pinned schema"),
        (b'{"l": [1, 2, "x"]}\n', r'field l\[2\] is text \("x"\), and not a number'),
        (b'{"a": 1, "a": 2}\n', r"field a appears twice in one object"),
        (b'{"o": {"x": 1e999}}\n', r"field o.x is 1e999, which is larger than a float64 can be"),
        (b'{"o": {"x": 9007199254740993}}\n', r"field o.x is 9007199254740993, a whole number"),
        (b'{"s": "\\ud800"}\n', r"field s holds half of a surrogate pair"),
        (b'{"l": ' + b"[" * 30000 + b"]" * 30000 + b"}\n", r"nested deeper than Python's json"),
        (b'{"l": ' + b"[" * 300 + b"]" * 300 + b"}\n", r"field l\[0\] is a list .*, and not a num"),
    ],
)
def test_what_is_not_such_an_object_names_its_line(
    lab: Any, cuts: list[float], bad: bytes, match: str
) -> None:
    files = {"f": FINE + bad + FINE}
    with pytest.raises(DatasetError, match=rf"^f, line 51: {match}") as caught:
        lab.read(PINNED, files, lab.cut(files, cuts))
    assert not re.search(r"Column\(/|in row|ArrowInvalid", str(caught.value))
    assert len(str(caught.value)) < 600


def test_columns_choose_among_the_fields(lab: Any) -> None:
    files = {"a": b'{"a": 1, "new": 2}\n{"s": "x"}\n'}
    format = Format("json", "table", SCHEMA, columns=("s", "a"))
    value = lab.read(format, files, lab.cut(files, [])).value
    assert value.to_pylist() == [{"s": None, "a": 1}, {"s": "x", "a": None}]
    format = Format("json", "table", SCHEMA, columns=("s",), filter=[("a", ">", 0)])
    assert lab.read(format, files, lab.cut(files, [])).value.to_pylist() == [{"s": None}]
    assert read(lab, files, replace(DICTS, columns=("s", "a"))) == [{"a": 1}, {"s": "x"}]


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ("1 2 null", pa.int64()),
        (f"{-(2**63)} {2**63 - 1}", pa.int64()),
        ("12345678901234567890 12345678901234567891", pa.uint64()),
        (f"{2**64} 1", pa.decimal128(38, 0)),
        (f"{2**63} -1", pa.decimal128(38, 0)),
        (f"{10**60}", pa.decimal256(76, 0)),
        (f"1.5 1 {2**53} {2**70}", pa.float64()),
        (f"1.5 {2**53 + 1}", pa.decimal128(38, 18)),
        (f"1.5 {10**30 + 1}", pa.decimal128(38, 7)),
        (f"0.1234567890123456789012345 {10**30 + 1}", pa.decimal256(76, 38)),
        ("1.0 1e3", pa.float64()),
        ("NaN 1 Infinity", pa.float64()),
        ('"2026-01-01" "1"', pa.string()),
        ("true false", pa.bool_()),
        ("null null", pa.string()),
        ("[] [null]", pa.list_(pa.string())),
        ('{} {"x": null}', pa.struct([("x", pa.string())])),
        ('[{"x": []}] [null, {"y": 1}]', None),
    ],
)
def test_types_hold_every_value_of_the_sample(lab: Any, values: str, type_: Any) -> None:
    lines = [f'{{"a": {value}, "n": {{"b": [{value}]}}}}' for value in values.split()]
    if type_ is None:
        lines = ['{"a": [{"x": []}]}', '{"a": [null, {"y": 1}]}']
        type_ = pa.list_(pa.struct([("x", pa.list_(pa.string())), ("y", pa.int64())]))
    elif not values.replace('"', "").replace(" ", "").isascii() or "{" in values or "[" in values:
        first, second = values.split(" ", 1)
        lines = [f'{{"a": {value}, "n": {{"b": [{value}]}}}}' for value in (first, second)]
    files = {str(number): line.encode() for number, line in enumerate(lines)}
    format = pin(lab, files)
    assert format.schema.field("a").type == type_
    if "n" in format.schema.names:
        assert format.schema.field("n").type == pa.struct([("b", pa.list_(type_))])
    rows = lab.read(format, files, lab.cut(files, [])).value.to_pylist()
    if "NaN" not in values:
        assert all(map(same, rows, map(oracle, lines)))


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ('{"a": 1}\n\n{"a": "x"}', r'f, line 3: field a is text \("x"\), but a number in line 1'),
        ('{"a": [1, "x"]}', r'f, line 1: field a\[\] is text \("x"\), but a number'),
        ('{"p": {"q": 1}}\n{"p": {"q": {}}}', r"f, line 2: field p.q is an object .*, but a numb"),
        ('{"p": 1}\n{"p": true}', r"f, line 2: field p is true or false .*, but a number"),
        (f'{{"p": {"9" * 80}}}', r'f, line 1: field p has numbers of more digits .*"dicts"'),
        (f'{{"p": {2**53 + 1}}}\n{{"p": NaN}}', r"f, line 1: field p is 9007199254740993, .*dicts"),
        (f'{{"p": {2**53 + 1}}}\n{{"p": 1e300}}', r"f, line 1: field p has .* such as 1e300; .*di"),
        ('{"a": 1}\n{"p": [1e999]}', r"f, line 2: field p\[0\] is 1e999, which is larger"),
        (
            '{"p": ' + "[" * 300 + "]" * 300 + "}",
            r"f, line 1: field p\[\].* more than 60 lev.*dict",
        ),
        ('{"p":' * 300 + "1" + "}" * 300, r"f, line 1: field p.p.* more than 60 levels"),
        ('{"p": ' + "[" * 30000 + "]" * 30000 + "}", r"f, line 1: nested deeper than Python"),
        ('{"p": {"a": 1, "a": 2}}', r"f, line 1: field p.a appears twice"),
        ("", r"f is empty, so its fields are unknown; pass schema= with a pa.Schema"),
        ("x", r"f, line 1: not valid JSON"),
        ('{"a": 1}\n{"a"', r"f, line 2: not valid JSON"),
    ],
)
def test_samples_that_make_no_table(lab: Any, lines: str, match: str) -> None:
    files = {"f": lines.encode()}
    with pytest.raises(DatasetError, match=rf"^{match}"):
        pin(lab, files)
    if "dicts" in match:
        assert read(lab, files, DICTS) == [json.loads(line) for line in lines.split("\n") if line]


def test_a_field_that_is_left_out_may_have_two_types(lab: Any) -> None:
    files = {"f": b'{"a": 1, "b": 1}\n{"a": 2, "b": "x", "b": 3}\n'}
    assert read(lab, files, replace(TABLE, columns=("a",))) == [{"a": 1}, {"a": 2}]


def test_samples_of_several_places_decide_together(lab: Any) -> None:
    files = {
        "a": b"\xef\xbb\xbf\n \n",
        "b": b"{}\n",
        "c": b'{"x": null, "y": 1}\n',
        "d": b'{"x": 12345678901234567890, "y": null}\n',
        "e": b'{"y": 1.5, "z": null}\n',
        "f": b'{"x": 1}\n' * 9 + b'{"w": "far"}\n',
        "g": b'{"never": "read"}\n',
    }
    places = [formats.Place(path, len(data)) for path, data in files.items() if path != "f"]
    middle = formats.Place("f", len(files["f"]), len(files["f"]) - 15)
    places.insert(5, middle)
    sample = formats.sniff(TABLE, places, lab.open(files))
    assert dict(zip(sample.schema.names, sample.schema.types, strict=True)) == {
        "x": pa.uint64(),
        "y": pa.float64(),
        "z": pa.string(),
        "w": pa.string(),
    }
    assert sample.seen == {"x": 1, "y": 2, "z": 0, "w": 1}
    data = files["f"] + b'{"x": "late"}\n'
    places = [formats.Place("f", 9), formats.Place("f", len(data), 90)]
    with pytest.raises(DatasetError, match=r"f, line 11: field x is text .* a number in line 1 of"):
        formats.sniff(TABLE, places, lab.open({"f": data}))
    packed = formats.Place("f.gz", 999, 90)
    with pytest.raises(DatasetError, match="the dataset is empty"):
        formats.sniff(TABLE, [packed], lab.open({"f.gz": data}))


ADVICE = re.compile(r"schema=(\{.*?\})(?=, or |$)")


def advised(error: pytest.ExceptionInfo[DatasetError]) -> dict[str, Any]:
    """What an error says to give as `schema=`, as a user would type it."""
    found = ADVICE.search(str(error.value))
    assert found, str(error.value)
    given: dict[str, Any] = eval(found[1], {"pa": pa})
    return {name: as_type(name, type_) for name, type_ in given.items()}


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ('{"a": 1}', '{"a": 1.5}'),
        ('{"a": 1}', '{"a": 18446744073709551615}'),
        ('{"a": -1}', '{"a": 1e3}'),
        ('{"a": 18446744073709551615}', '{"a": 99999999999999999999999}'),
        ('{"a": 18446744073709551615}', '{"a": -1}'),
        ('{"a": 1.5}', '{"a": 9007199254740993}'),
        ('{"a": 1.5}', '{"a": 900719925474099312345678901}'),
        ('{"a": 123456789012345678901}', '{"a": 0.5}'),
        ('{"a": null}', '{"a": 5}'),
        ('{"a": null}', '{"a": [{"x": 1.5}]}'),
        ('{"p": {"a": 1}}', '{"p": {"a": 1.5}}'),
        ('{"p": {"a": null}}', '{"p": {"a": 1.5}}'),
        ('{"p": []}', '{"p": [1, 2]}'),
        ('{"p": [{"a": [1.5]}]}', '{"p": [{}, {"a": [1, 9007199254740993]}]}'),
        ('{"p": {}}', '{"p": {"x": "new"}}'),
        ('{"p": [{"x": 1}]}', '{"p": [{"x": 1, "y": {"z": null}}]}'),
        ('{"a": 1}', '{"a": 2, "new": true}'),
        ('{"a": 1}', '{"a": 2, "new": {"x": [1]}}'),
    ],
)
def test_the_schema_that_an_error_advises_helps(lab: Any, first: str, later: str) -> None:
    files = {"a": first.encode(), "b": b"\n{}\n" + later.encode()}
    format = pin(lab, files, TABLE, "a")
    with pytest.raises(DatasetError, match=r"^b, line 3: field .*schema=") as caught:
        lab.read(format, files, lab.cut(files, []))
    fields = {field.name: field.type for field in format.schema} | advised(caught)
    format = replace(format, schema=pa.schema(list(fields.items())), inferred=(), seen=())
    rows = lab.read(format, files, lab.cut(files, [])).value.to_pylist()
    assert all(map(same, rows, map(oracle, (first, "{}", later))))
    assert read(lab, files, DICTS) == [json.loads(line) for line in (first, "{}", later)]


def test_a_field_without_values_where_the_plan_looked(lab: Any) -> None:
    files = {"a": b'{"a": null, "b": 1}\n', "b": b'{"a": "text"}\n'}
    assert read(lab, files) == [{"a": None, "b": 1}, {"a": "text", "b": None}]
    files["b"] = b'{"a": 5}\n'
    with pytest.raises(DatasetError, match=r"line 1: field a is a number .* had no value where"):
        read(lab, files)


@pytest.mark.parametrize("as_", ["table", "dicts"])
@pytest.mark.parametrize("cuts", [[], [0.3, 0.6]])
@pytest.mark.parametrize(
    ("document", "match"),
    [
        ('[{"a": 1}, {"a": 2}]', "is one JSON array .* .jq -c '.\\[\\]'"),
        ('[{"a": 1},\n{"a": 2}]\n', "is one JSON array .* .jq -c '.\\[\\]'"),
        ('\n[\n  {\n    "a": 1\n  }\n]\n', "is one JSON array .* .jq -c '.\\[\\]'"),
        ('\ufeff [{"a": 1}\n, {"a": 2}\n]', "is one JSON array .* .jq -c '.\\[\\]'"),
        (
            '{\n  "a": 1\n}\n{\n  "a": 2\n}\n',
            r"holds JSON values that go over several lines; .*jq -c \. ",
        ),
        ('\ufeff\n{"a":\n1}', r"holds JSON values that go over several lines; .*jq -c \. "),
        (
            '{"type": "FeatureCollection",\n"features": [\n{"a": 1}]}',
            "is a GeoJSON .*'.features\\[\\]'",
        ),
        ('{"type": "FeatureCollection", "features": []}\n', "is a GeoJSON .*'.features\\[\\]'"),
    ],
)
def test_documents_are_told_from_lines(
    lab: Any, document: str, match: str, as_: str, cuts: list[float]
) -> None:
    for before in ({}, {"first": b'{"a": 1, "features": [], "type": "x"}\n'}):
        files = before | {"doc.json": document.encode()}
        if as_ == "dicts" and document.endswith("[]}\n"):  # one line, so one dict
            assert read(lab, files, DICTS)[-1] == json.loads(document)
            continue
        with pytest.raises(DatasetError, match=f"^doc.json {match}") as caught:
            read(lab, files, DICTS if as_ == "dicts" else TABLE, cuts)
        assert "mapred.read_files and json.loads(file.read())" in str(caught.value)


@pytest.mark.parametrize("cuts", [[], [0.5]])
def test_lines_of_collections_are_lines(lab: Any, cuts: list[float]) -> None:
    line = '{"type": "FeatureCollection", "features": [{"x": 1}]}'
    files = {"a": f"{line}\n{line}\n".encode()}
    assert read(lab, files, cuts=cuts) == [json.loads(line)] * 2


@pytest.mark.parametrize(
    ("digits", "advice"),
    [
        (20, pa.decimal128(38, 18)),
        (21, pa.decimal256(76, 38)),
        (38, pa.decimal256(76, 38)),
        (39, None),
    ],
)
def test_whole_numbers_among_floats_are_advised_a_type_that_holds_them(
    digits: int, advice: pa.DataType | None
) -> None:
    assert misfits._decimal_for(10**digits - 1) == advice


@pytest.mark.parametrize("number", ["9007199254740993", "-9007199254740993", "1" + "0" * 400])
@pytest.mark.parametrize(
    "shape", ["%s", "[1, %s]", '{"x": %s}', '[null, {"x": [{"y": %s}]}, {"x": null}]']
)
def test_floats_of_later_files_are_exact(lab: Any, number: str, shape: str) -> None:
    fine = [
        "0.5",
        "9007199254740992",
        "1e300",
        "9007199254740994",
        "-18014398509481984",
        "Infinity",
    ]
    first = ['{"a": %s}' % (shape % each) for each in ("1.5", "-2.5")]
    more = ['{"a": %s}' % (shape % each) for each in fine]
    files = {"a": "\n".join(first).encode(), "b": "\n\n".join(more).encode()}
    rows = read(lab, files, cuts=[0.4])
    assert len(rows) == 8
    assert all(map(same, rows[:7], map(oracle, first + more[:5])))
    files["b"] += f'\n{{"a": {shape % number}}}\n'.encode()
    with pytest.raises(DatasetError, match=r"^b, line 12: field a.* is -?[0-9.]+, a whole number"):
        read(lab, files, cuts=[0.4])
    assert read(lab, files, DICTS)[-1] == json.loads('{"a": %s}' % (shape % number))


NESTED = ['{"i": 1, "p": {"x": 1}, "q": [{"x": 1}]}', '{"i": 2, "p": {"x": 5, "y": 77}}']


@pytest.mark.parametrize("chosen", [{"columns": ("i", "p", "q")}, {"extra_columns": "ignore"}])
@pytest.mark.parametrize(
    ("later", "path"),
    [
        ('{"i": 2, "p": {"x": 5, "y": 77}}', "p.y"),
        ('{"i": 2, "q": [{}, {"x": 2, "y": 3}]}', "q[1].y"),
        ('{"i": 2, "new": [1, "x"], "p": {"y": null}}', "p.y"),
    ],
)
def test_fields_inside_chosen_structs_are_never_dropped(
    lab: Any, chosen: dict[str, Any], later: str, path: str
) -> None:
    first, fine = NESTED[0], '{"new": {"z": [1, "x"]}, "new": 1, "p": {}, "i": 3}'
    files = {"a": first.encode(), "b": f"{fine}\n{later}\n".encode()}
    format = replace(TABLE, **chosen)
    for cuts in ([], [0.1, 0.5, 0.9]):
        with pytest.raises(DatasetError, match=rf"^b, line 2: field {re.escape(path)} is not in"):
            read(lab, files, format, cuts)
    files["b"] = fine.encode()
    assert read(lab, files, format)[1:] == [{"i": 3, "p": {"x": None}, "q": None}]
    both = {"a": f"{first}\n{later}\n".encode()}
    rows = read(lab, both, replace(TABLE, columns=("i", "p", "q")))
    want = oracle(later)
    assert same(rows[1], {name: want.get(name) for name in ("i", "p", "q")})


@pytest.mark.parametrize("taken", [None, ("year", "v"), ("v",)])
@pytest.mark.parametrize(
    ("lines", "good"),
    [
        ('{"v": 1}\n{"v": 2}', True),
        ('{"v": 1, "year": 2026}\n{"v": 2, "year": 2026}', True),
        ('{"v": 1, "year": "2026"}\n{"v": 2}', True),
        ('{"v": 1, "year": 2026}\n{"v": 2, "year": null}', True),
        ('{"v": 1, "year": 2026}\n{"v": 2, "year": 2027}', False),
        ('{"v": 1, "year": "2027"}\n{"v": 2, "year": "2026"}', False),
        ('{"v": 1}\n{"v": 2, "year": "x"}', False),
    ],
)
def test_a_folder_column_in_the_file_is_the_same(
    lab: Any, taken: tuple[str, ...] | None, lines: str, good: bool
) -> None:
    files = {"d/year=2026/f": lines.encode()}
    schema = pa.schema([("v", pa.int64()), ("year", pa.int64())])
    format = replace(TABLE, schema=schema, partitions=("year",), columns=taken)
    want = [{"v": number, "year": 2026} for number in (1, 2)]
    want = [{name: each[name] for name in taken or ("v", "year")} for each in want]
    if good or taken == ("v",):
        assert read(lab, files, format) == want
    else:
        with pytest.raises(DatasetError, match=r"year.*pass .*hive=False"):
            read(lab, files, format)
    years = pa.schema([("year", pa.int64())])
    format = replace(DICTS, schema=years, partitions=("year",), columns=taken)
    if good:
        rows = read(lab, files, format)
        assert [{name: int(value) for name, value in row.items()} for row in rows] == want
    else:
        with pytest.raises(DatasetError, match=r"line [12]: the folder year=2026 is not the field"):
            read(lab, files, format)


def test_types_that_are_asked_for(lab: Any) -> None:
    zoned = pa.timestamp("us", "UTC")
    schema = pa.schema(
        [
            ("t", zoned),
            ("n", pa.struct([("d", pa.list_(pa.date32())), ("t", pa.timestamp("ns"))])),
            ("c", pa.dictionary(pa.int32(), pa.string())),
            ("l", pa.large_list(pa.large_string())),
            ("m", pa.decimal128(10, 2)),
            ("f", pa.float32()),
        ]
    )
    line = (
        '{"t": "2026-01-01T00:00:00.5+02:00", "n": {"d": ["2026-01-01", null], "t":'
        ' "2026-01-01T00:00:00.123456789"}, "c": "x", "l": ["y"], "m": "1.50", "f": 0.5}'
    )
    files = {"a": f'{line}\n{{}}\n{{"m": 2, "n": {{}}}}\n'.encode()}
    table = lab.read(replace(TABLE, schema=schema), files, lab.cut(files, [])).value
    assert table.schema == schema
    assert table["t"][0].as_py() == dt.datetime(2025, 12, 31, 22, 0, 0, 500000, dt.timezone.utc)
    assert table["n"][0]["d"].as_py() == [dt.date(2026, 1, 1), None]
    assert table["n"][0]["t"].value % 10**9 == 123456789
    assert table["m"].to_pylist() == [Decimal("1.50"), None, Decimal(2)]
    assert table["c"].to_pylist() == ["x", None, None]
    assert table["n"].to_pylist()[1:] == [None, {"d": None, "t": None}]


@pytest.mark.parametrize(
    ("value", "type_", "match"),
    [
        ('"2026-01-01T00:00:00Z"', pa.timestamp("us"), r'schema=\{"a": "timestamp\[us, tz=UTC\]"'),
        ('"2026-01-01T00:00:00.1234567"', pa.timestamp("us"), r'schema=\{"a": "timestamp\[ns\]"'),
        ('"2026-01-01"', pa.timestamp("us", "UTC"), r'schema=\{"a": "timestamp\[us\]"'),
        ('"31.12.2026"', pa.timestamp("us"), r'schema=\{"a": "string"'),
        ('"2026-02-30"', pa.date32(), r'which date32 does not read; pass schema=\{"a": "string"'),
        ("16777217", pa.float32(), r'schema=\{"a": "float64"'),
        ("1e39", pa.float32(), r'schema=\{"a": "float64"'),
        ("1", pa.string(), r'schema=\{"a": "int64"\}, or as_="dicts"'),
        ('"1.555"', pa.decimal128(10, 2), r'schema=\{"a": "decimal128\(38, 18\)"'),
        ('"x"', pa.decimal128(10, 2), r'schema=\{"a": "string"'),
        ("NaN", pa.decimal128(10, 2), r"is NaN, which decimal128\(10, 2\) cannot hold; pass as_="),
        ("1.5", pa.int8(), r'schema=\{"a": "float64"'),
        ("300", pa.int8(), r'is 300, which int8 cannot hold; pass schema=\{"a": "int64"'),
        ("null", pa.field("a", pa.int64(), nullable=False), r"is missing, but may not be null"),
    ],
)
def test_types_that_do_not_fit(lab: Any, value: str, type_: Any, match: str) -> None:
    field = type_ if isinstance(type_, pa.Field) else pa.field("a", type_)
    files = {"f": f'{{"a": {value}}}\n'.encode()}
    with pytest.raises(DatasetError, match=rf"^f, line 1: field a .*{match}") as caught:
        read(lab, files, replace(TABLE, schema=pa.schema([field])))
    if "schema=" in match:
        schema = pa.schema(list(advised(caught).items()))
        (row,) = read(lab, files, replace(TABLE, schema=schema))
        assert row["a"] is not None


@pytest.mark.parametrize("type_", [pa.map_(pa.string(), pa.int64()), pa.time64("us")])
def test_types_that_json_cannot_become(lab: Any, type_: pa.DataType) -> None:
    files = {"f": b'{"p": {"a": "x"}}\n'}
    schema = pa.schema([("p", pa.struct([("a", type_)]))])
    with pytest.raises(
        DatasetError, match=r"no values for field p.a of type .*leave it out of sch"
    ):
        read(lab, files, replace(TABLE, schema=schema))


def test_texts_are_not_numbers_where_a_decimal_was_inferred(lab: Any) -> None:
    files = {"a": b'{"a": [123456789012345678901]}\n', "b": b'{"a": [1]}\n{"a": [1, "5"]}\n'}
    with pytest.raises(
        DatasetError, match=r'^b, line 2: field a\[1\] is text \("5"\), and not a nu'
    ):
        read(lab, files)


def test_dicts_come_lazily_and_count_as_they_are_taken(lab: Any) -> None:
    files = {"a": b'{"a": 12345678901234567890}\n' * 9000 + b'{"a": 1e999}\n'}
    reading = formats.Reading()
    rows = formats.read(DICTS, lab.cut(files, []), lab.open(files), reading)
    assert next(rows) == {"a": 12345678901234567890}
    assert reading.records == 0
    with pytest.raises(DatasetError, match=r"^a, line 9001: field a is 1e999, which is larger"):
        list(rows)
    assert 0 < reading.records < 9000


@pytest.mark.parametrize("as_", ["table", "dicts"])
@pytest.mark.parametrize(
    "data", [b"{}\n{}\n{}\n", b'{}\n\n{"a": 1}\n{}', b" {} \r\n{}\r\n \r\n{ }\r\n"]
)
def test_lines_without_fields_count(lab: Any, as_: str, data: bytes) -> None:
    files = {"a": data}
    format = DICTS if as_ == "dicts" else replace(TABLE, schema=pa.schema([("a", pa.int64())]))
    assert len(read(lab, files, format, [0.2, 0.5])) == 3


def test_lines_that_the_quick_pass_gives_up_are_read_one_by_one(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does with values so deep that they just reach Python's limit."""

    def give_up(line: str) -> Any:
        raise RecursionError

    monkeypatch.setattr(dicts, "decode_plain", give_up)
    assert read(lab, {"a": b'{"a": 1}\n\n{"b": [2]}\n'}, DICTS, []) == [{"a": 1}, {"b": [2]}]


def test_lines_without_any_field_are_rows_without_columns(lab: Any) -> None:
    files = {"a": b"{}\n{}\n\n", "b": b"{}\r\n"}
    format = pin(lab, files)
    parts = lab.read_each(format, files, lab.cut(files, [0.3]))
    assert sum(part.value.num_rows for part in parts) == 3
    assert sum(part.reading.records for part in parts) == 3
    files["b"] = b'{"x": 1}\n'
    with pytest.raises(
        DatasetError, match=r'^b, line 1: field x is not in .* schema=\{"x": "int64"'
    ):
        lab.read(format, files, lab.cut(files, []))


def test_what_read_json_takes(tmp_path: Path) -> None:
    path = tmp_path / "data" / "day=5" / "a.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text('{"a": 1}\n{"a": "x", "b": 2}\n')
    made = mapred.read_json(tmp_path / "data", as_="dicts")
    run = mapred.run(list, made, backend="inline", root=tmp_path / "runs", progress="none")
    assert run.result() == [[{"a": 1, "day": 5}, {"a": "x", "b": 2, "day": 5}]]
    for option in ({"filters": [("a", ">", 1)]}, {"schema": {"a": "int64"}}):
        with pytest.raises(DatasetError, match=f'^as_="dicts" takes no {next(iter(option))}='):
            mapred.plan(mapred.read_json(tmp_path / "data", as_="dicts", **option))
    with pytest.raises(DatasetError, match="field a is text"):
        mapred.plan(mapred.read_json(tmp_path / "data"))
    path.write_text('{"a": 1}\n')
    made = mapred.read_json(tmp_path / "data", schema={"new": "float64"})
    take = pa.Table.to_pylist
    run = mapred.run(take, made, backend="inline", root=tmp_path / "runs", progress="none")
    assert run.result() == [[{"a": 1, "new": None, "day": 5}]]


def test_what_is_advised_for_documents_works(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"a": 1},\n {"a": 2}]\n')
    with pytest.raises(DatasetError, match=r"mapred.read_files and json.loads"):
        mapred.plan(str(path))
    run = mapred.run(
        lambda file: json.loads(file.read()),
        mapred.read_files(path),
        backend="inline",
        root=tmp_path / "runs",
        progress="none",
    )
    assert run.result() == [[{"a": 1}, {"a": 2}]]


@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq")
@pytest.mark.parametrize(
    "document",
    [
        '[{"a": 1},\n {"a": 2}]\n',
        '{\n "a": 1\n}\n{"a":\n2}',
        '{"type": "FeatureCollection",\n "features": [\n{"a": 1}, {"a": 2}]}',
    ],
)
def test_the_lines_that_jq_makes_are_read(lab: Any, document: str) -> None:
    with pytest.raises(DatasetError) as caught:
        read(lab, {"a": document.encode()})
    found = re.search(r"jq -c ('?)(\S+?)\1 in", str(caught.value))
    assert found
    lines = subprocess.run(["jq", "-c", found[2]], input=document.encode(), capture_output=True)
    assert read(lab, {"a": lines.stdout}) == [{"a": 1}, {"a": 2}]
