"""CSV files as people have them: what reaches the function is what Python's csv reads."""

from __future__ import annotations

import csv
import gzip
import io
import random
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mapred
from differential.agreement import agrees, is_decimal, is_whole
from differential.folders import folder
from differential.reading import EVERY_AS, as_given, read

ID = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(2**53 - 3, 2**53 + 3),
    st.integers(2**63 - 3, 2**64 - 1),
    st.integers(0, 99),
).map(str)
DIGITS = st.text("0123456789", min_size=1, max_size=12)
TEXT = st.text(st.sampled_from("ab\"'5,;|\\ é\u2028#\t0-"), max_size=6)
KINDS: dict[str, st.SearchStrategy[str]] = {
    "small": st.integers(-1000, 1000).map(str),
    "id": ID,
    "unsigned": st.integers(2**63, 2**64 - 1).map(str),
    "long": st.integers(-(10**37), 10**37).map(str),
    "longer": st.integers(10**40, 10**70).map(str),
    "zip": DIGITS.map(lambda digits: f"0{digits}"),
    "phone": DIGITS.map(lambda digits: f"+{digits}"),
    "hex": st.integers(0, 2**64 - 1).map(hex),
    "float": st.floats(allow_nan=False, allow_infinity=False).map(repr),
    "price": st.decimals(-(10**6), 10**6, places=2).map(str),
    "bool": st.sampled_from(["true", "false", "True", "False"]),
    "date": st.dates().map(str),
    "second": st.datetimes().map(lambda when: when.isoformat(" ", "seconds")),
    "micro": st.datetimes().map(lambda when: when.isoformat(" ", "microseconds")),
    "zoned": st.datetimes().map(lambda when: when.isoformat("T", "milliseconds") + "Z"),
    "time": st.times().map(lambda when: when.isoformat("seconds")),
    "text": TEXT,
    "inch": st.integers(1, 99).map(lambda size: f'{size}" pipe'),
    "nothing": st.just(""),
}
MARKERS = "", "NA", "NULL", "null", "nan", "NaN", "N/A", "n/a", "#N/A"


@dataclass(frozen=True)
class Case:
    """Files of rows of texts, how they are written, and how they are read."""

    files: list[list[dict[str, str]]]
    orders: list[list[str]]
    delimiter: str
    lines_in_values: bool
    line_end: str
    quote_all: bool
    packed: bool
    header: bool | str
    blank: bool
    target_bytes: int
    as_: str
    columns: list[str] | None
    kinds: dict[str, list[str]] = field(default_factory=dict)


@st.composite
def cases(draw: Any) -> Case:
    names = draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4, unique=True))
    lines = draw(st.booleans())
    kinds = {
        name: draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=2, unique=True))
        if draw(st.integers(0, 4)) == 0
        else [draw(st.sampled_from(sorted(KINDS)))]
        for name in names
    }
    cells = {
        name: st.one_of(*(KINDS[kind] for kind in chosen))
        | (st.just("") if draw(st.booleans()) else st.nothing())
        for name, chosen in kinds.items()
    }
    if lines:
        cells = {
            name: cell | TEXT.map(lambda text: f"{text}\nx") if kinds[name] == ["text"] else cell
            for name, cell in cells.items()
        }
    row = st.fixed_dictionaries(cells)
    if len(names) == 1:  # an empty line is no record
        row = row.filter(lambda row: row[names[0]] != "")
    files = draw(st.lists(st.lists(row, max_size=6), min_size=1, max_size=4))
    header = draw(st.sampled_from([True, True, True, False, "first"]))
    orders = [draw(st.permutations(names)) if header is True else names for _ in files]
    longer = any("longer" in chosen for chosen in kinds.values())
    return Case(
        files=files,
        orders=orders,
        delimiter=draw(st.sampled_from(",;|\t")),
        lines_in_values=lines,
        line_end=draw(st.sampled_from(["\n", "\r\n"])),
        quote_all=draw(st.booleans()),
        packed=draw(st.integers(0, 5)) == 0,
        header=header,
        blank=draw(st.booleans()),
        target_bytes=draw(st.sampled_from([1, 7, 40, 1 << 20])),
        # polars has no place for numbers of more than 38 digits.
        as_=draw(st.sampled_from(EVERY_AS).filter(lambda as_: as_ != "polars" or not longer)),
        columns=draw(st.none() | st.permutations(names).map(lambda p: p[: max(1, len(p) // 2)])),
        kinds=kinds,
    )


def written(case: Case, number: int) -> bytes:
    """One file. Quotes in plain values stay as they are, where no reader needs others around."""
    sink = io.StringIO()
    order = case.orders[number]
    if case.header is True or (case.header == "first" and number == 0):
        csv.writer(sink, delimiter=case.delimiter, lineterminator=case.line_end).writerow(order)
    for row in case.files[number]:
        sink.write(case.line_end * (case.blank and len(order) > 1))
        sink.write(case.delimiter.join(_cell(row[name], case) for name in order) + case.line_end)
    return sink.getvalue().encode()


def _cell(text: str, case: Case) -> str:
    needs = case.quote_all or any(c in text for c in (case.delimiter, "\n", "\r"))
    if needs or text.startswith('"'):
        return '"' + text.replace('"', '""') + '"'
    return text


def holds(case: Case) -> None:
    """Every value is the one of the file, under any cut and in any form; nothing is refused."""
    with folder() as here:
        for number in range(len(case.files)):
            data = written(case, number)
            if case.packed:
                (here / f"{number}.csv.gz").write_bytes(gzip.compress(data))
            else:
                (here / f"{number}.csv").write_bytes(data)
        if not any(case.files) and case.header is not True:
            return
        dataset = mapred.read_csv(
            str(here / "*.csv*"),
            delimiter=case.delimiter,
            newlines_in_values=case.lines_in_values,
            header=case.header,
            columns=case.columns if case.header is True else None,
            names=case.orders[0] if case.header is False else None,
            hive=False,
        )
        types: dict[str, pa.DataType] = {}
        found = read(as_given(dataset, case.as_), case.target_bytes, types)
        again = read(as_given(dataset, "table"), 1 << 20)
    expected = [row for rows in case.files for row in rows]
    assert len(found) == len(again) == len(expected)
    for name in found[0] if found else ():
        texts = [row[name] for row in expected]
        _check_column(name, texts, [row[name] for row in found], types[name])
        _check_column(name, texts, [row[name] for row in again], types[name])


def _check_column(name: str, texts: list[str], values: list[Any], type_: pa.DataType) -> None:
    is_text = pa.types.is_string(type_)
    for text, value in zip(texts, values, strict=True):
        if value is None or (isinstance(value, float) and value != value):
            assert not is_text, f"{name}: the text {text!r} became null"
            assert text in MARKERS, f"{name}: {text!r} became {value!r}"
        else:
            assert agrees(text, value), f"{name}: {text!r} became {value!r} ({type_})"
    there = [text for text in texts if text not in MARKERS]
    if there and all(map(is_whole, there)):
        assert not is_text, f"{name}: whole numbers {there} are {type_}"
        assert not pa.types.is_floating(type_), f"{name}: whole numbers {there} are {type_}"
    elif there and all(map(is_decimal, there)) and all(abs(float(t)) < 2**53 for t in there):
        assert pa.types.is_floating(type_), f"{name}: numbers {there} are {type_}"


@given(cases())
@settings(max_examples=40, deadline=None)
@pytest.mark.slow
def test_what_is_read_is_what_stands_there(case: Case) -> None:
    holds(case)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@given(cases())
@settings(max_examples=400, deadline=None)
def test_what_is_read_is_what_stands_there_at_length(case: Case) -> None:
    holds(case)


# Large files: what a sample does not show


HIDDEN = [
    "12345678901234567890",
    "007",
    "+49",
    "0x1F",
    "9007199254740993",
    "1e999",
    "x",
    "2024-13-01",
]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@given(
    kind=st.sampled_from(["small", "price", "date", "bool", "nothing"]),
    hidden=st.sampled_from(HIDDEN),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=10, deadline=None)
def test_a_value_past_the_sample_is_exact_or_named(kind: str, hidden: str, seed: int) -> None:
    random_ = random.Random(seed)
    usual = {"small": "17", "price": "1.25", "date": "2024-02-29", "bool": "true", "nothing": ""}
    rows = 1_500_000
    place = random_.randrange(400_000, 700_000)
    with folder() as here:
        path = here / "a.csv"
        lines = [f"{usual[kind]},\n"] * rows
        lines[place] = f"{hidden},\n"
        path.write_text("v,w\n" + "".join(lines))
        try:
            found = read(mapred.read_csv(str(path), columns=["v"]), None)
        except mapred.DatasetError as error:
            said = str(error)
            assert f"line {place + 2}" in said
            assert "'v'" in said
            assert hidden in said
            assert "schema=" in said
            advised = mapred.read_csv(str(path), columns=["v"], schema={"v": "string"})
            found = read(advised, None)
            assert found[place]["v"] == hidden
            return
        assert agrees(hidden, found[place]["v"])
