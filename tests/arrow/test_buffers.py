"""Arrow arrays as numpy's and back."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapred.arrow import buffers

TEXTS = st.lists(st.text("aä\0", max_size=2) | st.none(), max_size=30)


@given(TEXTS, TEXTS, st.integers(0, 3))
def test_dictionaries_are_spelled(
    first: list[str | None], last: list[str | None], cut: int
) -> None:
    chunks = [pa.array(each, pa.string()).dictionary_encode()[cut:] for each in (first, last)]
    column = pa.chunked_array(chunks, pa.dictionary(pa.int32(), pa.string()))
    spelled = buffers.decode_dictionary(column)
    spelled.validate(full=True)
    assert spelled.equals(column.cast(pa.string()))


@pytest.mark.parametrize("words", [["N", "R", "A"], ["ab", "cd"], ["a", "bc"], [""]])
def test_dictionaries_of_equal_and_unequal_words(words: list[str]) -> None:
    known = pa.array(["dropped", *words], pa.string())[1:]
    codes = pa.array(np.random.default_rng(0).integers(0, len(words), 1000), pa.int32())[7:]
    column = pa.chunked_array([pa.DictionaryArray.from_arrays(codes, known)])
    spelled = buffers.decode_dictionary(column)
    spelled.validate(full=True)
    assert spelled.to_pylist() == column.to_pylist()


def test_rows_are_picked_from_chunks() -> None:
    table = pa.concat_tables([pa.table({"x": range(s, s + 5)}) for s in range(0, 30, 5)])
    places = np.array([0, 4, 5, 5, 17, 29])
    assert buffers.take_sorted(table, places)["x"].to_pylist() == places.tolist()
    assert buffers.take_sorted(table, places[:0]).num_rows == 0
    assert buffers.take_sorted(table, places).schema == table.schema


@given(st.lists(st.booleans(), max_size=40), st.lists(st.booleans(), max_size=9), st.integers(0, 9))
def test_truths_come_and_go(first: list[bool], last: list[bool], cut: int) -> None:
    column = pa.chunked_array([buffers.flags(each)[cut:] for each in (first, last)], pa.bool_())
    column.validate(full=True)
    assert column.to_pylist() == first[cut:] + last[cut:]
    assert buffers.from_arrow(column).tolist() == first[cut:] + last[cut:]
    assert buffers.from_arrow(column.chunk(0)).tolist() == first[cut:]


@settings(max_examples=30)
@given(st.lists(st.text(), max_size=5))
def test_strings(values: list[str]) -> None:
    assert buffers.strings(values).equals(pa.array(values, pa.string()))
    assert buffers.large_strings(values).equals(pa.array(values, pa.large_string()))


@pytest.mark.parametrize("value", ["", "ä", 0, -7, True, False])
def test_scalars(value: str | int | bool) -> None:
    assert buffers.scalar(value).equals(pa.scalar(value))


@given(
    st.sampled_from([pa.string(), pa.large_string()]),
    st.sampled_from([1, 2, 4, 8]),
    st.lists(st.lists(st.binary(min_size=8, max_size=8), max_size=6), max_size=3),
    st.integers(0, 3),
)
def test_short_strings_are_numbers(
    type_: pa.DataType, width: int, chunks: list[list[bytes]], cut: int
) -> None:
    texts = [[bytes(b & 127 for b in value[:width]).decode() for value in each] for each in chunks]
    column = pa.chunked_array([pa.array(each, type_)[cut:] for each in texts], type_)
    numbers = buffers.as_numbers(column)
    if not len(column):
        assert numbers is None
        return
    assert numbers is not None
    assert numbers.type.bit_width == 8 * width
    again = buffers.as_strings(numbers, type_)
    again.validate(full=True)
    assert again.equals(column)


@pytest.mark.parametrize(
    "values", [["a", "bc"], ["abc"], ["a", None], [""], ["ä", "bc", "d"], [b"a"], [1]]
)
def test_other_columns_are_no_such_numbers(values: list[object]) -> None:
    assert buffers.as_numbers(pa.chunked_array([values])) is None


def test_strings_whose_lengths_only_add_up_are_no_numbers() -> None:
    assert buffers.as_numbers(pa.chunked_array([["aa", "a", "aaa"]])) is None
    assert buffers.as_numbers(pa.chunked_array([["aa"], ["a", "bbb"]])) is None
