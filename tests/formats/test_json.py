"""JSON lines: an object a line with the pinned fields, whatever the cut."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def filled(value: dict[str, Any]) -> dict[str, Any]:
    return dict.fromkeys(SCHEMA.names) | value


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
    assert rows == [filled(value) for value in values]
    assert all(part.value.schema == SCHEMA for part in parts)
    assert sum(part.reading.records for part in parts) == len(values)


FINE = b'{"a": 1}\n' * 50


@pytest.mark.parametrize("cuts", [[], [0.1, 0.5, 0.9]])
@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (b"nope\n", r"f, line 51: JSON parse error: Invalid value\.$"),
        (b'{"a": 1\n', r"f, line 51: "),
        (b"[1]\n", r"f, line 51: "),
        (b"1\n", r"f, line 51: "),
        (b'{"a": "x"}\n', r"f, line 51: JSON parse error: Column\(/a\) changed from number to"),
        (b'{"a": 1.5}\n', r"f, line 51: .*int64"),
        (b'{"a": 1}{"a": 2}\n', r"f, line 51: 1 lines gave 2 rows; a line must hold one"),
        (b'{"s": "b\xff"}\n', r"f, line 51: not valid utf-8; say encoding="),
        (b'{"b": 1}\n', r"f, line 51: a field that the pinned schema has not; say schema=.*colu"),
    ],
)
def test_what_is_not_such_an_object_names_its_line(
    lab: Any, cuts: list[float], bad: bytes, match: str
) -> None:
    files = {"f": FINE + bad + FINE}
    with pytest.raises(DatasetError, match=match):
        lab.read(PINNED, files, lab.cut(files, cuts))


def test_columns_choose_among_the_fields(lab: Any) -> None:
    files = {"a": b'{"a": 1, "new": 2}\n{"s": "x"}\n'}
    format = Format("json", "table", SCHEMA, columns=("s", "a"))
    value = lab.read(format, files, lab.cut(files, [])).value
    assert value.to_pylist() == [{"s": None, "a": 1}, {"s": "x", "a": None}]
    format = Format("json", "table", SCHEMA, columns=("s",), filter=[("a", ">", 0)])
    assert lab.read(format, files, lab.cut(files, [])).value.to_pylist() == [{"s": None}]


def test_sniffed_fields(lab: Any) -> None:
    line = {"i": 1, "f": 1.5, "t": "2026-01-01", "n": None, "o": {"t": ["2026-01-01"]}, "e": []}
    data = b"\xef\xbb\xbf" + (json.dumps(line) + "\n").encode() * 2
    schema = lab.sniff(Format("json", "table"), data)
    assert [str(type_) for type_ in schema.types] == [
        "int64",
        "double",
        "string",
        "string",
        "struct<t: list<item: string>>",
        "list<item: string>",
    ]
    files = {"a": data}
    value = lab.read(Format("json", "table", schema), files, lab.cut(files, [])).value
    assert value.to_pylist() == [line, line]
    for bad, match in [(b"", "f is empty"), (b"x\n", "f: JSON parse error"), (b"\xff\n", "f")]:
        with pytest.raises(DatasetError, match=match):
            lab.sniff(Format("json", "table"), bad, "f")
