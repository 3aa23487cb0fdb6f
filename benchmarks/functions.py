"""The functions that every contender runs."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def count_words(lines: Iterable[str]) -> Counter[str]:
    """Words between white space."""
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update(line.split())
    return counts


def count_words_of(path: str) -> Counter[str]:
    with open(path, encoding="utf-8") as file:
        return count_words(file)


def count_by_kernels(lines: pa.Array) -> pa.Table:
    """Words between ASCII white space, as a table of (word, count)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    words = pc.list_flatten(pc.ascii_split_whitespace(lines))
    counts = pc.value_counts(words)
    table = pa.table({"word": counts.field(0), "count": counts.field(1)})
    return table.filter(pc.not_equal(table["word"], ""))


def square(item: int) -> int:
    return item * item


def hits(i: int) -> int:
    """Of 200,000 random points in a square, those in its quarter of a circle."""
    import numpy

    x, y = numpy.random.default_rng(i).random((2, 200_000))
    return int((x * x + y * y < 1).sum())


def stamp(given: Any) -> None:
    """Say when the user's function was reached."""
    now = time.monotonic()
    with open(os.environ["MAPRED_BENCH_STAMP"], "w") as file:
        file.write(repr(now))
