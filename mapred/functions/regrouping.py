"""Whether a tree may use a reducer: a few real outputs at once, and in groups of unequal size.

Groups of equal size would let a mean of means pass, and a median of evenly spaced values.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from mapred.errors import ReduceError
from mapred.process.lazy import np
from mapred.reducers import Reducer

WINDOW = 5
_PLAIN = (int, float, complex, str, bytes, bool, type(None))


def is_checked(task: int) -> bool:
    """Whether a task checks what it reduces: the first one, and ever fewer after it."""
    return task & (task - 1) == 0


def check_while_reducing(reducer: Reducer, outputs: Iterable[Any]) -> Iterator[Any]:
    """Yield the outputs as they come; some that follow each other are checked in between.

    Those are the first ones, and some from the 16th, the 64th, the 256th on, as outputs may
    be alike at first. A reducer that is not associative is a `ReduceError`.
    """
    window: list[Any] = []
    start = 0
    for number, output in enumerate(outputs):
        if number >= start:
            window.append(_copy(output))
        if len(window) == WINDOW:
            check_associative(reducer, window)
            window, start = [], max(16, 4 * start)
        yield output
    check_associative(reducer, window)


def check_associative(reducer: Reducer, outputs: Sequence[Any]) -> None:
    """Compare the ways to group a few outputs; a difference is a `ReduceError`."""
    if len(outputs) < 2:
        return
    whole = reducer.step(map(_copy, outputs))
    try:
        for sizes in _groupings(len(outputs)):
            grouped = reducer.merge(iter(_partials(reducer, outputs, sizes)))
            if not _looks_equal(whole, grouped, outputs):
                break
        else:
            return
    except Exception as error:
        raise ReduceError(
            f"{reducer.name} cannot reduce its own results ({type(error).__name__}: {error}); "
            "a tree needs a result that may be an input: leave fan_in out"
        ) from error
    groups = " and ".join(map(str, sizes))
    raise ReduceError(
        f"{reducer.name} is not associative: {len(outputs)} outputs at once gave "
        f"{_short(whole)}, in groups of {groups} {_short(grouped)}; leave fan_in out, or move the "
        "last step into finalize="
    )


def _groupings(count: int) -> list[tuple[int, ...]]:
    groupings = [(1, count - 1), (count - 1, 1), (2, count - 2), (1, count - 2, 1)]
    return list(dict.fromkeys(sizes for sizes in groupings if min(sizes) > 0))


def _partials(reducer: Reducer, outputs: Sequence[Any], sizes: Sequence[int]) -> list[Any]:
    partials, start = [], 0
    for size in sizes:
        partials.append(reducer.step(map(_copy, outputs[start : start + size])))
        start += size
    return partials


def _copy(output: Any) -> Any:
    """Return an output that a reducer may change in place, as it may change the real one."""
    kind = type(output)
    if kind in _PLAIN or kind.__module__.split(".")[0] == "pyarrow":
        return output
    values = output.values() if isinstance(output, dict) else output
    flat = kind in (list, set, frozenset) or isinstance(output, dict)
    if flat and all(type(value) in _PLAIN for value in values):
        return copy.copy(output)
    return copy.deepcopy(output)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _looks_equal(whole: Any, grouped: Any, outputs: Sequence[Any]) -> bool:
    try:
        return equal(whole, grouped, outputs)
    except Exception:
        return True  # they cannot be compared, and nothing is known against them


def equal(left: Any, right: Any, inputs: Sequence[Any] = ()) -> bool:
    """Whether two results are equal but for how sums of floats are rounded.

    Rounding is in proportion to the values that were added: those at the same place of `inputs`.
    """
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(
            equal(left[key], right[key], _at(inputs, key)) for key in left
        )
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(
            equal(*pair, _at(inputs, place))
            for place, pair in enumerate(zip(left, right, strict=True))
        )
    columns, others = _columns(left), _columns(right)
    if columns is not None and others is not None:
        return equal(columns, others, list(map(_columns, inputs)))
    if _is_number(left) and _is_number(right):
        return _close(left, right, inputs)
    if hasattr(left, "equals"):
        return bool(left.equals(right))
    if hasattr(left, "__array__") and hasattr(right, "__array__"):
        return _equal_arrays(left, right, inputs)
    return _equal_objects(left, right, inputs)


def _at(inputs: Sequence[Any], key: Any) -> list[Any]:
    values = []
    for value in inputs:
        with suppress(KeyError, IndexError, TypeError):
            values.append(value[key])
    return values


def _columns(value: Any) -> dict[str, Any] | None:
    package, name = type(value).__module__.split(".")[0], type(value).__name__
    if (package, name) == ("pandas", "Series"):
        floats = _array(value)
        return None if floats is value else {"index": value.index, "values": floats}
    if (package, name) == ("pandas", "DataFrame"):
        numbered = {f"{i} {name}": _array(column) for i, (name, column) in enumerate(value.items())}
        return {"index": value.index, **numbered}
    if (package, name) == ("polars", "DataFrame"):
        return _columns(value.to_arrow())
    if package == "pyarrow" and name in ("Table", "RecordBatch"):
        names = value.schema.names
        return {f"{i} {names[i]}": _array(value.column(i)) for i in range(len(names))}
    return None


def _array(column: Any) -> Any:
    kind = str(getattr(column, "type", None) or column.dtype).lower()
    if kind.startswith(("float", "double", "halffloat")):
        return np.asarray(column, float)
    return column


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | complex | np.number) and not isinstance(value, bool)


def _close(left: Any, right: Any, inputs: Sequence[Any]) -> bool:
    if left == right or (left != left and right != right):
        return True
    try:
        if not (math.isfinite(abs(left)) and math.isfinite(abs(right))):
            return False
        largest = max([abs(left), abs(right), *(abs(x) for x in inputs if _is_number(x))])
        return bool(abs(left - right) <= largest * _tolerance(left))
    except OverflowError:
        return False


def _tolerance(value: Any) -> float:
    kind = getattr(value, "dtype", None)
    coarse = kind is not None and kind.kind in "fc"
    return max(1e-9, 64 * float(np.finfo(kind).eps)) if coarse else 1e-9


def _equal_arrays(left: Any, right: Any, inputs: Sequence[Any]) -> bool:
    left, right = np.asarray(left), np.asarray(right)
    if left.shape != right.shape:
        return False
    if left.dtype.kind not in "fc" or right.dtype.kind not in "fc":
        return bool(np.array_equal(left, right))
    scale = np.maximum(np.abs(left), np.abs(right))
    for value in inputs:
        if hasattr(value, "__array__") and np.shape(value) == left.shape:
            scale = np.maximum(scale, np.abs(np.asarray(value)))
    with np.errstate(invalid="ignore"):
        close = np.abs(left - right) <= np.nan_to_num(scale * _tolerance(left), posinf=0)
    same = (left == right) | ((left != left) & (right != right))
    return bool(np.all(close | same))


def _equal_objects(left: Any, right: Any, inputs: Sequence[Any]) -> bool:
    if bool(left == right):
        return True
    if type(left) is not type(right):
        return False
    fields = _fields(left)
    if not fields:
        return "__eq__" not in {name for kind in type(left).__mro__[:-1] for name in vars(kind)}
    return equal(
        fields, _fields(right), [_fields(value) for value in inputs if type(value) is type(left)]
    )


def _fields(value: Any) -> dict[str, Any]:
    fields = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                fields[name] = getattr(value, name)
    return fields
