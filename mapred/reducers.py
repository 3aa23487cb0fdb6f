"""Merging the outputs of a stage: ready reducers, and how a plain function becomes one.

A reducer has three steps: `step` turns some outputs into a partial result, `merge` turns
consecutive partials into one, `finish` turns the last one into the answer. A user's own
function is all of `step` and `merge`, which is why a tree of it must be associative.
"""

from __future__ import annotations

import builtins
import heapq
import inspect
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mapred.arrow import schemas as unifying
from mapred.errors import ReduceError
from mapred.model.checking import checks, short_repr
from mapred.model.frozen import dataclass
from mapred.model.rules import FromOne
from mapred.process.lazy import np, pa, pd, pl

__all__ = ["Reducer", "concat", "count", "max", "mean", "merge_counts", "min", "sum", "top_k"]

FAN_IN = 256

Step = Callable[[Iterable[Any]], Any]


@dataclass(frozen=True)
class Reducer:
    """A reduce in three steps, for `reduce=`.

    `step` turns some outputs into a partial result, `merge` turns consecutive partials into one, and
    `finish` turns the last one into the answer. The ready ones of `mapred.reducers` are values of
    this class.

    Args:
        name: How the reduce is shown.
        step: A function of an iterable of outputs, which returns a partial result.
        merge: A function of an iterable of partial results, in plan order, which returns one.
        finish: A function of the last partial result, which returns the answer (default: it is the
            answer).
        fan_in: How many inputs a task takes where the reduce is a tree (default: one task takes
            all).
        check: Whether to compare several groupings, since a tree may not be associative.

    Examples:
        >>> import math
        >>> product = mapred.Reducer("product", math.prod, math.prod, fan_in=64)
        >>> mapred.run(abs, [-2, 3, -4], reduce=product).result()
        24
    """

    name: str
    step: Step
    merge: Step
    finish: Callable[[Any], Any] | None = None
    fan_in: int | None = None
    check: bool = False


def as_reducer(
    reduce: Callable[..., Any] | Reducer,
    *,
    fan_in: int | None = None,
    finalize: Callable[[Any], Any] | None = None,
) -> Reducer:
    """Return what `reduce=`, `fan_in=` and `finalize=` mean together."""
    if isinstance(reduce, Reducer):
        finish = reduce.finish
        if finalize is not None:
            finish = finalize if finish is None else _Then(finish, finalize)
        return Reducer(reduce.name, reduce.step, reduce.merge, finish, fan_in or reduce.fan_in)
    if not callable(reduce):
        raise ReduceError(
            f"reduce={short_repr(reduce)} must be a function of an iterable of outputs"
        )
    name = getattr(reduce, "__name__", type(reduce).__name__)
    return Reducer(name, reduce, reduce, finalize, fan_in, check=fan_in is not None)


class _Then:
    """One finish after another; a class, so that it pickles by reference."""

    def __init__(self, first: Callable[[Any], Any], then: Callable[[Any], Any]) -> None:
        self.first, self.then = first, then

    def __call__(self, value: Any) -> Any:
        return self.then(self.first(value))


def _nothing(name: str) -> ReduceError:
    return ReduceError(f"{name} of no outputs is not defined; every output was None or given up")


def _peek(outputs: Iterable[Any]) -> tuple[Any, Iterator[Any]]:
    iterator = iter(outputs)
    first = next(iterator, None)
    return first, iterator if first is None else itertools.chain((first,), iterator)


@dataclass(frozen=True)
class _Stacked:
    """pandas frames below each other, and whether each had the index 0, 1, 2, …"""

    frame: Any
    plain: bool


def _concat(outputs: Iterable[Any]) -> Any:
    first, outputs = _peek(outputs)
    if first is None:
        return []
    module = type(first).__module__.split(".")[0]
    if isinstance(first, _Stacked) or (module == "pandas" and hasattr(first, "index")):
        return _stack(list(outputs))
    if module == "pyarrow":
        return _concat_tables(list(outputs))
    if module == "polars":
        return _concat_polars(list(outputs))
    if module == "numpy":
        return _concat_arrays(list(outputs))
    if isinstance(first, str | bytes):
        return type(first)().join(outputs)
    if isinstance(first, Mapping):
        merged: dict[Any, Any] = {}
        for output in outputs:
            merged.update(output)
        return merged
    return list(itertools.chain.from_iterable(outputs))


def _unstack(value: Any) -> Any:
    """Return the answer of `concat`: frames without an index of their own are renumbered."""
    if not isinstance(value, _Stacked):
        return value
    return value.frame.reset_index(drop=True) if value.plain else value.frame


def _stack(outputs: list[Any]) -> _Stacked:
    stacks = [
        output if isinstance(output, _Stacked) else _Stacked(output, _is_plain(output.index))
        for output in outputs
    ]
    # Rows decide, where there are any: frames without rows have the types of nothing.
    stacks = [item for item in stacks if len(item.frame)] or stacks[:1]
    pieces = [item.frame for item in stacks]
    try:
        frame = pd.concat(pieces)
    except (TypeError, ValueError, pd.errors.InvalidIndexError) as error:
        raise ReduceError(f"concat of frames: {error}; {_ONE_TYPE}") from error
    if isinstance(frame, pd.DataFrame):
        for name, column in frame.items() if frame.columns.is_unique else ():
            parts = [piece[name] for piece in pieces if name in piece]
            _refuse_rounding(f"column {name!r}", parts, column.dtype)
    else:
        _refuse_rounding("the series", pieces, frame.dtype)
    return _Stacked(frame, all(item.plain for item in stacks))


_ONE_TYPE = "give the column one type in the function, or reduce=list to get them one by one"


def _is_plain(index: Any) -> bool:
    return (
        isinstance(index, pd.RangeIndex)
        and index.equals(pd.RangeIndex(len(index)))
        and (index.name is None)
    )


def _refuse_rounding(what: str, parts: list[Any], dtype: Any) -> None:
    """Raise for whole numbers that have digits which the common dtype, a float, has not."""
    if getattr(dtype, "kind", "O") != "f":
        return
    for part in parts:
        if getattr(part.dtype, "kind", "O") not in "iu":
            continue
        rounded = part.astype(dtype)
        if any(int(a) != int(b) for a, b in _beyond_floats(part, rounded)):
            raise ReduceError(
                f"concat: {what} is {part.dtype} in one output and not in another, and as {dtype} "
                f"its whole numbers would be rounded; {_ONE_TYPE}"
            )


def _beyond_floats(whole: Any, rounded: Any) -> Iterator[tuple[Any, Any]]:
    """Those of the whole numbers that a float may not hold, and what it makes of them."""
    numbers = np.asarray(whole[whole.notna()] if hasattr(whole, "notna") else whole)
    floats = np.asarray(rounded[whole.notna()] if hasattr(whole, "notna") else rounded)
    limit = 2 ** (np.finfo(floats.dtype).nmant + 1)
    large = (numbers > limit) | (numbers < -limit) if numbers.dtype.kind == "i" else numbers > limit
    return zip(numbers[large].tolist(), floats[large].tolist(), strict=True)


def _concat_tables(tables: list[Any]) -> Any:
    tables = [
        pa.Table.from_batches([table]) if isinstance(table, pa.RecordBatch) else table
        for table in tables
    ]
    if all(table.schema.equals(tables[0].schema) for table in tables) and tables[0].schema.names:
        return pa.concat_tables(tables)
    tables = [table for table in tables if table.num_rows] or tables[:1]
    schema = unifying.observed_schema(tables[0])
    for number, table in enumerate(tables):
        name = unifying.find_duplicate_column(table.schema)
        if name is not None:
            raise ReduceError(f"concat: a table has two columns {name!r}; give each its own name")
        try:
            schema = unifying.unify(schema, unifying.observed_schema(table))
        except unifying.ColumnTypeConflict as error:
            raise ReduceError(
                f"concat: output {number} is a table of another schema than those before it: "
                f"{error}; {_ONE_TYPE}"
            ) from None
    if not schema.names:
        return unifying.make_columnless_table(builtins.sum(table.num_rows for table in tables))
    return pa.concat_tables([unifying.conform(table, schema) for table in tables])


def _concat_polars(frames: list[Any]) -> Any:
    frames = [frame for frame in frames if len(frame)] or frames[:1]
    if not isinstance(frames[0], pl.DataFrame):
        return pl.concat(frames)
    if all(frame.schema == frames[0].schema for frame in frames):
        return pl.concat(frames)
    return pl.from_arrow(_concat_tables([frame.to_arrow() for frame in frames]))


def _concat_arrays(arrays: list[Any]) -> Any:
    try:
        whole = np.concatenate(arrays)
    except ValueError as error:
        raise ReduceError(f"concat of arrays: {error}") from error
    _refuse_rounding("the array", arrays, whole.dtype)
    return whole


def _sum(outputs: Iterable[Any]) -> Any:
    iterator = iter(outputs)
    total = next(iterator, 0)
    for output in iterator:
        total = _plus(total, output)
    return total


def _plus(one: Any, other: Any) -> Any:
    """Return the sum of two values; whole numbers of numpy, which would wrap around, are exact or
    refused."""
    if "numpy" not in (type(one).__module__, type(other).__module__):
        return one + other

    one, other = (
        value.item() if isinstance(value, np.integer) else value for value in (one, other)
    )
    whole = one + other
    if isinstance(whole, np.ndarray):
        mine, theirs = np.asarray(one), np.asarray(other)
        if mine.dtype.kind in "iu" and theirs.dtype.kind in "iu" and _wraps(mine, theirs, whole):
            raise ReduceError(
                f"the sum of arrays is beyond what {whole.dtype} holds; return arrays of a wider "
                "type, such as int64 or object"
            )
    return whole


def _wraps(one: Any, other: Any, whole: Any) -> bool:
    """Whether the sum of two arrays of whole numbers is another than that of their values."""
    if whole.dtype.kind == "u":
        return bool((whole < one).any())
    return whole.dtype.kind == "f" or bool((((one ^ whole) & (other ^ whole)) < 0).any())


def _rows(output: Any) -> int:
    rows = getattr(output, "num_rows", None)
    if rows is None and type(output).__module__.split(".")[0] in ("pandas", "polars"):
        rows = len(output)
    return 1 if rows is None else int(rows)


def _count(outputs: Iterable[Any]) -> int:
    return builtins.sum(_rows(output) for output in outputs)


def _mean_step(outputs: Iterable[Any]) -> tuple[Any, int]:
    return _mean_merge((output, 1) for output in outputs)


def _mean_merge(partials: Iterable[tuple[Any, int]]) -> tuple[Any, int]:
    total: Any = 0
    n = 0
    for part, count in partials:
        total, n = _plus(total, part), n + count
    return total, n


def _mean_finish(partial: tuple[Any, int]) -> Any:
    total, n = partial
    if n == 0:
        raise _nothing("mean")
    return total / n


class _Extreme:
    """The least or greatest output: partials are lists of at most one value."""

    def __init__(self, name: str) -> None:
        self.name = name

    def step(self, outputs: Iterable[Any]) -> list[Any]:
        choose = builtins.min if self.name == "min" else builtins.max
        iterator = iter(outputs)
        for best in iterator:
            for output in iterator:
                best = choose(best, output)
            return [best]
        return []

    def merge(self, partials: Iterable[list[Any]]) -> list[Any]:
        return self.step(value for partial in partials for value in partial)

    def finish(self, partial: list[Any]) -> Any:
        if not partial:
            raise _nothing(self.name)
        return partial[0]


def _merge_counts(outputs: Iterable[Any]) -> Any:
    first, outputs = _peek(outputs)
    if type(first).__module__.split(".")[0] == "pyarrow":
        return _merge_count_tables(outputs)
    merged: Counter[Any] = Counter()
    for output in outputs:
        if merged:
            merged.update(output)
        else:
            merged = Counter(output)
    return merged


def _merge_count_tables(outputs: Iterable[Any]) -> Any:
    """Tables of (value, count): the first column is the key, the others are summed."""
    merged = _concat_tables(list(outputs))
    key, *rest = merged.column_names
    if _are_words_and_counts(merged):
        return _sum_counts(merged)
    summed = merged.group_by(key).aggregate([(name, "sum") for name in rest])
    return summed.select([key, *(f"{name}_sum" for name in rest)]).rename_columns([key, *rest])


def _are_words_and_counts(table: Any) -> bool:
    """Whether the key is text and every other column a whole number, nothing null."""
    key, *rest = table.schema.types
    text = pa.types.is_string(key) or pa.types.is_large_string(key)
    whole = all(pa.types.is_int64(type_) for type_ in rest)
    return text and whole and not any(column.null_count for column in table.columns)


def _sum_counts(table: Any) -> Any:
    """Return sums by a column of words: numbering the words and adding up by number.

    Arrow's `group_by` is much slower where most words are different.
    """
    key, *rest = table.column_names
    numbered = table[key].cast(pa.large_string()).combine_chunks().dictionary_encode()
    words, numbers = numbered.dictionary, np.asarray(numbered.indices)
    columns = {key: words.cast(table.schema.field(key).type)}
    for name in rest:
        sums = np.zeros(len(words), np.int64)
        np.add.at(sums, numbers, np.asarray(table[name]))
        columns[name] = pa.array(sums)
    return pa.table(columns)


class _TopK:
    def __init__(self, k: int, key: Callable[[Any], Any] | None) -> None:
        self.k, self.key = k, key

    def step(self, outputs: Iterable[Any]) -> list[Any]:
        return heapq.nlargest(self.k, itertools.chain.from_iterable(outputs), key=self.key)


_MIN, _MAX = _Extreme("min"), _Extreme("max")


def _described(reducer: Reducer, doc: str) -> Reducer:
    """Have `help()` and notebooks say what a ready reducer does, not what any of them is."""
    object.__setattr__(reducer, "__doc__", inspect.cleandoc(doc))
    return reducer


concat = _described(
    Reducer("concat", _concat, _concat, _unstack, fan_in=FAN_IN),
    """Put outputs one after the other: frames, tables, arrays, texts, lists or mappings.

    Frames whose index is 0, 1, 2, … are renumbered. Columns of tables are matched by name, and
    their types widened where nothing is lost. Without outputs the answer is `[]`.

    Examples:
        >>> def words(lines):
        ...     return [word for line in lines for word in line.split()]
        >>> mapred.run(words, "corpus/b.txt", reduce=mapred.reducers.concat).result()
        ['the', 'one', 'road']
    """,
)
sum = _described(
    Reducer("sum", _sum, _sum, fan_in=FAN_IN),
    """Add up outputs: numbers, arrays, series, or what else has a `+`.

    Whole numbers of numpy are exact, or an error where an array's type cannot hold the sum.
    Without outputs the answer is 0.

    Examples:
        >>> mapred.run(abs, [-1, -2, -3], reduce=mapred.reducers.sum).result()
        6
    """,
)
count = _described(
    Reducer("count", _count, _sum, fan_in=FAN_IN),
    """Count outputs; of tables and frames, their rows.

    Examples:
        >>> mapred.run(lambda table: table, "sales.csv", reduce=mapred.reducers.count).result()
        3
    """,
)
mean = _described(
    Reducer("mean", _mean_step, _mean_merge, _mean_finish, fan_in=FAN_IN),
    """Average outputs: their sum divided by their number, each output counting once.

    Without outputs it is a `ReduceError`.

    Examples:
        >>> mapred.run(abs, [-1, -2, -6], reduce=mapred.reducers.mean).result()
        3.0
    """,
)
min = _described(
    Reducer("min", _MIN.step, _MIN.merge, _MIN.finish, fan_in=FAN_IN),
    """Keep the least output, the first of several. Without outputs it is a `ReduceError`.

    Examples:
        >>> mapred.run(abs, [-1, -2, -6], reduce=mapred.reducers.min).result()
        1
    """,
)
max = _described(
    Reducer("max", _MAX.step, _MAX.merge, _MAX.finish, fan_in=FAN_IN),
    """Keep the greatest output, the first of several. Without outputs it is a `ReduceError`.

    Examples:
        >>> mapred.run(abs, [-1, -2, -6], reduce=mapred.reducers.max).result()
        6
    """,
)
merge_counts = _described(
    Reducer("merge_counts", _merge_counts, _merge_counts, fan_in=FAN_IN),
    """Add up counts by key: of `Counter`s and mappings, or of Arrow tables.

    Of tables the first column is the key, and each other one is summed by it.

    Examples:
        >>> from collections import Counter
        >>> def words(lines):
        ...     return Counter(word for line in lines for word in line.split())
        >>> run = mapred.run(words, "corpus/*.txt", reduce=mapred.reducers.merge_counts)
        >>> run.result().most_common(2)
        [('the', 4), ('road', 3)]
    """,
)


@checks(ReduceError)
def top_k(k: FromOne, key: Callable[[Any], Any] | None = None) -> Reducer:
    """Return a reduce that keeps the `k` largest elements of outputs that are lists, largest first.

    Args:
        k: How many elements to keep, from 1.
        key: What to compare elements by (default: the elements).

    Returns:
        The reduce, a tree of groups of 256.

    Raises:
        ReduceError: `k` is not a whole number from 1 up.

    Examples:
        >>> def words(lines):
        ...     return [word for line in lines for word in line.split()]
        >>> longest = mapred.reducers.top_k(2, key=len)
        >>> mapred.run(words, "corpus/*.txt", reduce=longest).result()
        ['road', 'goes']
    """
    ranking = _TopK(k, key)
    return Reducer(f"top_{k}", ranking.step, ranking.step, fan_in=FAN_IN)


def __dir__() -> list[str]:
    return __all__
