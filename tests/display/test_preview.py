from __future__ import annotations

from collections import Counter, OrderedDict

import numpy as np
import pyarrow as pa
import pytest

from mapred.display.preview import preview


class Hostile:
    def __repr__(self) -> str:
        raise ValueError("no")


@pytest.mark.parametrize(
    ("value", "head", "text"),
    [
        (7, "int", "7"),
        (None, "NoneType", "None"),
        ("a\x1b[31m" * 1000, "str of 6,000 characters", "'a"),
        (b"xyz", "bytes of 3 bytes", "b'xyz'"),
        ([1, 2, 3], "list of 3 items", "1\n2\n3"),
        (range(3), "range", "range(0, 3)"),
        (list(range(10**6)), "list of 1,000,000 items", "0\n1\n2\n3\n4\n…"),
        (np.zeros((2, 3)), "numpy.ndarray of shape 2 × 3, float64", "array"),
        (Hostile(), "Hostile", "Hostile"),
    ],
)
def test_values_of_all_kinds(value: object, head: str, text: str) -> None:
    shown = preview(value)
    assert head in shown.head
    assert text in shown.text
    assert len(shown.text) < 1000
    assert "\x1b" not in shown.text


def test_mappings_are_rows() -> None:
    shown = preview(Counter({"the": 10, "a": 3, **{str(n): 1 for n in range(10)}}))
    assert shown.head == "Counter of 12 keys, the 5 most common"
    assert shown.rows[0] == {"key": "'the'", "value": "10"}
    assert preview(OrderedDict(a=1)).head == "OrderedDict of 1 key"


def test_tables_are_rows() -> None:
    table = pa.table({"shop": ["x"] * 100, "n": range(100)})
    shown = preview(table)
    assert shown.head == "pyarrow Table of 100 rows and 2 columns"
    assert len(shown.rows) == 5
    assert shown.rows[1] == {"shop": "x", "n": "1"}


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_are_rows(library: str) -> None:
    package = pytest.importorskip(library)
    frame = package.DataFrame({"a": [1, 2, 3], "b": ["x", "y", None]})
    shown = preview(frame, rows=2)
    assert shown.head == f"{library} DataFrame of 3 rows and 2 columns"
    assert shown.rows == ({"a": "1", "b": "x"}, {"a": "2", "b": "y"})
    assert preview(frame["a"]).head == f"{library} Series of 3 rows"
