"""Values of CSV: as they stand in the file, or one error with advice that helps."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapred import formats
from mapred.dataset.types import as_type
from mapred.errors import DatasetError
from mapred.formats import inference
from mapred.model.spec import Format

CSV = Format("csv", "table")
CUTS = st.lists(st.floats(0, 1, exclude_max=True), max_size=4)


def pinned(lab: Any, format: Format, *contents: str, **given: Any) -> Format:
    """The format that a plan pins where it looks at files with these contents."""
    files = {f"{number}.csv": text.encode() for number, text in enumerate(contents)}
    places = [formats.Place(path, len(data)) for path, data in files.items()]
    sample = formats.sniff(format, places, lab.open(files))
    seen = {name: count for name, count in (sample.seen or {}).items() if name not in given}
    fields = [pa.field(f.name, as_type(f.name, given.get(f.name, f.type))) for f in sample.schema]
    return replace(
        format, schema=pa.schema(fields), inferred=tuple(seen), seen=tuple(seen.values())
    )


def read(lab: Any, format: Format, text: str, cuts: Any = ()) -> list[Any]:
    """The values of column x."""
    files = {"f.csv": text.encode()}
    parts = lab.read_each(format, files, lab.cut(files, cuts))
    return [value for part in parts for value in part.value["x"].to_pylist()]


def column(texts: list[str]) -> str:
    return "x,other\n" + "".join(f"{text},t\n" for text in texts)


@pytest.mark.parametrize(
    ("texts", "type_"),
    [
        (["1", "-2", "0", "-0", " 7"], pa.int64()),
        (["9223372036854775807", "-9223372036854775808"], pa.int64()),
        (["12345678901234567890", "1"], pa.uint64()),
        (["12345678901234567890", "-1"], pa.decimal128(38, 0)),
        (["18446744073709551616"], pa.decimal128(38, 0)),
        (["9" * 40], pa.decimal256(76, 0)),
        (["9" * 80], pa.string()),
        (["1", "2.5", ".5", "5.", "-1e5", "inf"], pa.float64()),
        (["9007199254740993", "1.5"], pa.decimal128(38, 1)),
        (["9007199254740993", "1e5"], pa.string()),
        (["9007199254740994", "1.5"], pa.float64()),
        (["1e999"], pa.string()),
        (["007", "8"], pa.string()),
        (["00.5"], pa.string()),
        (["-01"], pa.string()),
        (["+4915112345678"], pa.string()),
        (["+1.5"], pa.string()),
        (["0xFFFFFFFFFFFFFFFF"], pa.string()),
        (["0x1F", "1"], pa.string()),
        (["true", "False", "TRUE"], pa.bool_()),
        (["true", "1"], pa.string()),
        (["2024-01-01", "2024-12-31"], pa.date32()),
        (["2024-02-30"], pa.string()),
        (["2024-01-01", "2024-01-01 10:00"], pa.timestamp("us")),
        (["2024-01-01T10:00:00Z", "2024-01-01 10:00:00.5+02:00"], pa.timestamp("us", "UTC")),
        (["2024-01-01T10:00:00Z", "2024-01-01T10:00:00"], pa.string()),
        (["2024-01-01 10:00:00.123456789"], pa.timestamp("ns")),
        (["2024-01-01 10:00:00.123456789", "9999-12-31 00:00:00"], pa.string()),
        (["10:00", "10:00:00.5"], pa.time64("us")),
        (["10:00:00.1234567"], pa.time64("ns")),
        (["2024-01", "abc"], pa.string()),
        (["NA", "null", "5"], pa.int64()),
        (["1", "abc"], pa.string()),
        (["inf"], pa.string()),
    ],
)
def test_types_hold_all_values_of_a_sample(lab: Any, texts: list[str], type_: pa.DataType) -> None:
    format = pinned(lab, CSV, column(texts))
    assert format.schema.field("x").type == type_
    values = read(lab, format, column(texts), [0.3, 0.6])
    assert all(stands(text, value) for text, value in zip(texts, values, strict=True))


def microseconds(text: str) -> str:
    """A time with six digits after the point; Python 3.10 reads three or six, none reads more."""
    return re.sub(r"[.]([0-9]+)", lambda found: f".{found[1]:0<6.6}", text)


def stands(text: str, value: Any) -> bool:
    """Whether a value is what its text says, by Python's own numbers and dates."""
    if isinstance(value, str):
        return value == text
    if value is None:
        return text in inference.NULLS
    if isinstance(value, bool):
        return text.lower() == str(value).lower()
    text = text.strip()
    if isinstance(value, int | Decimal):
        return Decimal(text) == value and re.match(r"[+]|-?0[0-9xX]", text) is None
    if isinstance(value, float):
        whole = re.fullmatch("-?[0-9]+", text)
        same = int(text) == int(value) if whole else float(text) == value
        infinite = abs(value) == float("inf") and "inf" not in text.lower()
        return same and not infinite and re.match(r"[+]|-?0[0-9xX]", text) is None
    if isinstance(value, dt.time):
        return dt.time.fromisoformat(microseconds(text)) == value
    if hasattr(value, "nanosecond"):
        return bool(value == type(value)(text))
    if isinstance(value, dt.datetime):
        zoned = re.search("Z|[+-][0-9]{2}:[0-9]{2}$", text) is not None
        found = dt.datetime.fromisoformat(microseconds(text.replace("Z", "+00:00")))
        return found == value and zoned == (value.tzinfo is not None)
    return bool(dt.date.fromisoformat(text) == value)


TEXTS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.integers(-300, 300).map(str),
    st.sampled_from([2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**38, 10**39, 10**80]).map(str),
    st.floats(-1e9, 1e9).map(lambda x: f"{x:.4f}"),
    st.floats(allow_nan=False).map(repr),
    st.sampled_from(
        "007 -007 +5 +1.5 0x1F 00.5 1e999 0 -0 0.5 .5 5. 1,5 abc true false 1 NA 2024-01-01 "
        "2024-01-01T10:00:00 2024-01-01T10:00:00Z 2024-01-01T10:00:00.250000 "
        "2024-01-01T10:00:00.123456789 9999-12-31T00:00:00 10:00 10:00:01.250000 31.12.2024".split()
    ),
    st.just(""),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(TEXTS, max_size=3), st.lists(TEXTS, min_size=1, max_size=3), CUTS, st.booleans())
def test_later_values_stand_as_they_are_or_advice_helps(
    lab: Any, early: list[str], late: list[str], cuts: list[float], quoted: bool
) -> None:
    """Whatever the sample held, a later value is exact, or one error leads to where it is."""
    both = [f'"{text}"' if "," in text or (quoted and text) else text for text in (*early, *late)]
    given: dict[str, str] = {}
    text = column(both)
    for _ in range(5):
        format = pinned(lab, CSV, column(both[: len(early)]), **given)
        try:
            values = read(lab, format, text, cuts)
        except DatasetError as error:
            with pytest.raises(DatasetError):
                read(lab, format, text)
            told = re.fullmatch(r"f\.csv, line [0-9]+: column 'x': .*pass (schema=.*)", str(error))
            advice = re.match(r"schema=\{'x': '([^']+)'\}", told[1] if told else "")
            if advice is None or given.get("x") == advice[1]:
                raise
            given = {"x": advice[1]}
            continue
        assert values == read(lab, format, text)
        for written, value in zip((*early, *late), values, strict=True):
            exact = stands(written, value)
            # A type that was given takes what it has a place for.
            assert exact or (given and not isinstance(value, str)) or written == "", (
                written,
                value,
            )
        return
    raise AssertionError(f"advice goes round in a circle: {given}")


@pytest.mark.parametrize(
    ("early", "late", "message"),
    [
        (["94105"], "02139", "'02139' would lose its leading zeros in a column of int64"),
        (["1.5"], "00.5", "'00.5' would lose its leading zeros in a column of float64"),
        (["1.5"], "+1", "'\\+1' would lose its plus sign in a column of float64"),
        (["1"], "0x1F", "'0x1F' is hexadecimal"),
        (["1"], " 007", "' 007' would lose its leading zeros"),
        (["1.5"], "9007199254740993", "'9007199254740993' would lose digits"),
        (["1.5"], "1e999", "'1e999' would lose digits or overflow in a column of float64"),
        (["1"], "9223372036854775808", r"pass schema=\{'x': 'uint64'\}, or 'decimal128\(38, 0\)'"),
        (["1"], "1.5", r"pass schema=\{'x': 'float64'\}"),
        (["1"], "n.a.", r"pass schema=\{'x': 'string'\}, or null_values=\['n.a.'\]"),
        (["true"], "1", r"'1' does not fit a column of bool; pass schema=\{'x': 'bool'\}"),
        (["2024-01-01"], "31.12.2024", r"pass schema=\{'x': 'string'\}, or its format in date_"),
        (["2024-01-01"], "2024-01-01 10:00", r"pass schema=\{'x': 'timestamp\[us\]'\}"),
        (["10:00"], "10:00:00.1234567", r"pass schema=\{'x': 'time64\[ns\]'\}"),
        ([""], "5", r"the plan found no value in this column, .*\{'x': 'int64'\} or"),
        ([""], "2024-01-01", r"pass schema=\{'x': 'date32'\}"),
        ([""], "true", r"pass schema=\{'x': 'bool'\}"),
    ],
)
@pytest.mark.parametrize("quoted", [False, True])
def test_what_does_not_fit_names_line_column_value_and_a_type(
    lab: Any, early: list[str], late: str, message: str, quoted: bool
) -> None:
    late = f'"{late}"' if quoted else late
    format = pinned(lab, CSV, column(early))
    with pytest.raises(DatasetError) as caught:
        read(lab, format, column([*early * 3, late, *early]), [0.5])
    line = 2 + 3 * len(early)
    assert re.search(f"f.csv, line {line}: column 'x': .*{message}", str(caught.value))


def test_a_column_without_values_in_the_sample_takes_texts(lab: Any) -> None:
    format = pinned(lab, CSV, column(["", "NA"]))
    assert (format.undecided, format.inferred) == (("x",), ("x", "other"))
    assert read(lab, format, column(["", "five", "007"])) == ["", "five", "007"]


def test_files_without_rows_decide_nothing(lab: Any) -> None:
    rows = column(["9", "10"])
    for empty in ("x,other\n", "x,other", "\ufeff", "\n\r\n", ""):
        format = pinned(lab, CSV, empty, rows)
        assert format.schema.types == [pa.int64(), pa.string()]
    later = pinned(lab, CSV, column([""]), column([""]), column(["3"]))
    assert later.schema.field("x").type == pa.int64()
    for texts in (("",), ("\ufeff", "\n")):
        with pytest.raises(DatasetError, match=r"0.csv is empty.*pass schema=pa.schema\("):
            pinned(lab, CSV, *texts)
    given = replace(CSV, schema=pa.schema([("x", pa.int64())]))
    assert read(lab, given, "\n") == []


def test_types_that_are_given(lab: Any) -> None:
    def given(type_: Any, text: str) -> Any:
        return read(lab, replace(CSV, schema=pa.schema([("x", type_)])), f"x\n{text}\n")[0]

    assert given(pa.int64(), "007") == 7
    assert given(pa.decimal256(76, 3), "1.5") == Decimal("1.500")
    assert given(pa.decimal128(38, 2), "1e3") == 1000
    assert given(pa.decimal128(38, 2), "1.5" + "0" * 60) == Decimal("1.5")
    assert given(pa.decimal128(38, 2), "0" * 60 + "7") == 7
    assert given(pa.decimal128(5, 2), "-123.45") == Decimal("-123.45")
    assert given(pa.float32(), "16777216") == 16777216
    assert given(pa.float16(), "65504") == 65504
    assert given(pa.string_view(), "a") == "a"
    assert given(pa.dictionary(pa.int32(), pa.string()), "a") == "a"
    for type_, text, message in [
        (pa.float32(), "16777217", "pass schema={'x': 'float64'}"),
        (pa.float16(), "2049", "pass schema={'x': 'float64'}"),
        (pa.float16(), "65520", "would lose digits or overflow in a column of float16"),
        (pa.float32(), "1e300", "would lose digits or overflow in a column of float32"),
        (pa.int64(), "0xF", "is hexadecimal"),
        (pa.decimal128(38, 3), "9" * 37, "pass schema={'x': 'decimal256(76, 3)'}"),
        (pa.decimal128(38, 0), "1" + "0" * 39, "pass schema={'x': 'decimal256(76, 0)'}"),
        (pa.decimal128(38, 0), "1e39", "pass schema={'x': 'decimal256(76, 0)'}"),
        (pa.decimal256(76, 0), "9" * 80, "pass schema={'x': 'string'}"),
        (pa.decimal128(38, 2), "0." + "1" * 60, "pass schema={'x': 'string'}"),
        (pa.decimal128(10, 2), "1.005", "pass schema={'x': 'decimal128(38, 3)'}"),
        (pa.timestamp("s"), "2024-01-01 10:00:00.5", "pass schema={'x': 'timestamp[us]'}"),
        (pa.list_(pa.int64()), "1", "the type list<item: int64>, which CSV is not read as"),
    ]:
        with pytest.raises(DatasetError) as caught:
            given(type_, text)
        assert message in str(caught.value)


def test_samples_are_read_inside_large_files(lab: Any) -> None:
    rows = "".join(f"{n},t\n" for n in range(200_000))
    text = f"x,other\n{rows}0.5,t\n" + rows
    files = {"f": text.encode()}
    at = text.index("0.5") - 9
    places = [formats.Place("f", len(text), offset) for offset in (0, at)]
    sample = formats.sniff(CSV, places, lab.open(files))
    assert sample.schema.field("x").type == pa.float64()
    packed = formats.sniff(replace(CSV, newlines_in_values=True), places, lab.open(files))
    assert packed.schema.field("x").type == pa.int64()
