"""What may be a key, and how it is made plain."""

from __future__ import annotations

import pyarrow as pa
import pytest

from mapred.errors import FunctionError
from mapred.shuffle.keys import check_keys, plain


@pytest.mark.parametrize(
    "type_",
    [pa.list_(pa.int8()), pa.struct([("a", pa.int8())]), pa.map_(pa.string(), pa.int8())],
    ids=str,
)
def test_nested_keys_are_refused(type_: pa.DataType) -> None:
    with pytest.raises(FunctionError, match=r"key column 'k' is .* cannot be a key: take a column"):
        check_keys(pa.schema([("k", type_)]), ["k"])
    with pytest.raises(FunctionError, match="no key column 'x' in the output; there are k"):
        check_keys(pa.schema([("k", pa.int8())]), ["x"])


def test_dictionaries_and_views_are_made_plain() -> None:
    table = pa.table(
        {
            "d": pa.array(["a", None]).dictionary_encode(),
            "v": pa.array(["b", "c"], pa.string_view()),
        },
        metadata={"pandas": "{}"},
    )
    assert plain(table).schema == pa.schema([("d", pa.string()), ("v", pa.large_string())])
    nested = pa.table({"n": pa.array([["a"]], pa.list_(pa.dictionary(pa.int8(), pa.string())))})
    with pytest.raises(FunctionError, match=r"'n' is .* inside of another type"):
        plain(nested)
