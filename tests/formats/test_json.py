"""JSON lines: an object a line with the pinned fields, or as dicts, whatever the cut."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapred import formats
from mapred.errors import DatasetError
from mapred.model import Format

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
    """The rows of all files, of which the first one is sampled if there is no schema."""
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
).map(lambda number: Number(number))
PARTS = st.one_of(
    st.floats(-1e6, 1e6).map(lambda number: Number(f"{number:.3f}")),
    st.sampled_from(["-0.0", "1e3", "1E+2", "0.1", "1.50", "2.5e-3"]).map(Number),
)
LEAVES: list[st.SearchStrategy[Any]] = [
    st.integers(-99, 99).map(lambda number: Number(number)),
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


@settings(max_examples=250, deadline=None)
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
    with mock.patch("mapred.formats.json.LINES_BLOCK", block):
        parts = lab.read_each(DICTS, files, lab.cut(files, cuts))
    assert [row for part in parts for row in part.value] == [
        json.loads(line) for lines in texts for line in lines
    ]
    assert sum(part.reading.records for part in parts) == len(want)


@settings(max_examples=250, deadline=None)
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
    try:
        format = pin(lab, files, replace(TABLE, extra_columns=extra), "a")
    except DatasetError as error:
        assert not any(map(oracle, texts[0])) and "no" in str(error) or "is empty" in str(error)
        return
    if columns and columns[0] in format.schema.names:
        format = replace(format, columns=columns)
    want = [oracle(line) for lines in texts for line in lines]
    taken = None if format.columns is None and extra == "error" else format.schema.names
    taken = taken if format.columns is None else format.columns
    if taken is not None:
        want = [{name: each.get(name) for name in taken} for each in want]
    ranges = lab.cut(files, cuts)
    for number in range(ranges.num_rows):
        try:
            part = lab.read(format, files, ranges.slice(number, 1))
        except DatasetError as error:
            assert str(error).startswith("b, line ") and "say " in str(error)
            return
        for row in part.value.to_pylist():
            assert same(row, want.pop(0))
    assert not want


@settings(max_examples=120, deadline=None)
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
    with mock.patch("mapred.formats.json.LINES_BLOCK", block):
        parts = lab.read_each(DICTS, files, lab.cut(files, cuts), most)
    assert [row for part in parts for row in part.value] == values


FINE = b'{"a": 1}\n' * 50


@pytest.mark.parametrize("cuts", [[], [0.1, 0.5, 0.9]])
@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (b"nope\n", r"not valid JSON: expecting value at character 1; each line must hold one"),
        (b'{"a": 1\n', r"not valid JSON: expecting ',' delimiter"),
        (b"[1]\n", r"holds a list and not an object; .* mapred.read_text with json.loads"),
        (b"1\n", r"holds a number and not an object"),
        (b"null\n", r"holds null and not an object"),
        (b'{"a": "x"}\n', r'field a is text \("x"\), and not a number \(int64\); say schema='),
        (b'{"a": 1.5}\n', r"field a is 1.5, which is not a whole number as int64 has them; say"),
        (b'{"a": true}\n', r"field a is true or false \(true\), and not a number"),
        (b'{"a": 9223372036854775808}\n', r"field a is 9223372036854775808, which int64 cannot"),
        (b'{"a": 1}{"a": 2}\n', r"more than one object; each line must hold one"),
        (b'{"a": 1} {"a": 2}\n{"a":\n3}\n', r"more than one object"),
        (b'{"a": 1},\n', r"',' follows the value"),
        (b'{"s": "b\xff"}\n', r"not valid utf-8 .*; say encoding="),
        (b'{"b": 1}\n', r"field b is not in the pinned schema .*; say schema=.*extra_columns="),
        (b'{"o": {"z": 1}}\n', r"field o.z is not in the pinned schema"),
        (b'{"l": [1, 2, "x"]}\n', r'field l\[2\] is text \("x"\), and not a number'),
        (b'{"a": 1, "a": 2}\n', r"field a stands twice in one object"),
        (b'{"o": {"x": 1e999}}\n', r"field o.x is 1e999, which is larger than a float64 can be"),
        (b'{"o": {"x": 9007199254740993}}\n', r"field o.x is 9007199254740993, a whole number"),
        (b'{"s": "\\ud800"}\n', r"field s holds half of a surrogate pair"),
        (b'{"l": ' + b"[" * 5000 + b"]" * 5000 + b"}\n", r"nested deeper than Python's json"),
        (b'{"l": ' + b"[" * 300 + b"]" * 300 + b"}\n", r"field l\[0\] is a list .*, and not a num"),
    ],
)
def test_what_is_not_such_an_object_names_its_line(
    lab: Any, cuts: list[float], bad: bytes, match: str
) -> None:
    files = {"f": FINE + bad + FINE}
    with pytest.raises(DatasetError, match=rf"^f, line 51: {match}") as caught:
        lab.read(PINNED, files, lab.cut(files, cuts))
    assert "Column(/" not in str(caught.value) and "in row" not in str(caught.value)
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
        ('{"p": {"a": 1, "a": 2}}', r"f, line 1: field p.a stands twice"),
        ("{}\n{}", r'f: no line has a field, so there are no columns; say as_="dicts"'),
        ("", r"f is empty, so its fields are unknown; say schema= with a pa.Schema"),
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
    with pytest.raises(DatasetError, match="f, line 11: field x is text .* a number in line 1 of"):
        formats.sniff(TABLE, places, lab.open({"f": data}))
    packed = formats.Place("f.gz", 999, 90)
    with pytest.raises(DatasetError, match="the dataset is empty"):
        formats.sniff(TABLE, [packed], lab.open({"f.gz": data}))
