"""What `aggregate=` asks for, checked once: names, columns, functions and their options."""

from __future__ import annotations

import difflib
import numbers
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from mapred.errors import ReduceError
from mapred.model.shuffle import Aggregate, Aggregation
from mapred.shuffle.aggregates import STATES, Aggregations

# What other libraries call them.
_OTHER_NAMES = {
    "std": "stddev",
    "stdev": "stddev",
    "var": "variance",
    "avg": "mean",
    "average": "mean",
    "count_distinct": "nunique",
    "n_unique": "nunique",
    "percentile": "quantile",
    "collect": "list",
    "array_agg": "list",
    "agg_list": "list",
}


def as_aggregates(aggregate: Aggregate, by: Sequence[str]) -> Aggregations:
    """`{"qty": "sum", "p95": ("price", "quantile", {"q": 0.95})}` as the columns of an answer."""
    if not hasattr(aggregate, "items") or not aggregate:
        raise ReduceError(f"aggregate={aggregate!r} must be a mapping such as {{'qty': 'sum'}}")
    columns = [one for name, entry in aggregate.items() for one in _entry(name, entry)]
    _check_names(columns, by)
    return tuple(columns)


def _entry(name: Any, value: Any) -> Iterator[Aggregation]:
    """Yield the columns that one entry of the mapping asks for."""
    if isinstance(value, tuple) and len(value) in (2, 3) and isinstance(value[1], str):
        yield _aggregation({name: value}, name, *value)
        return
    functions = value if isinstance(value, list) else [value]
    for item in functions:
        function, options = item if _has_options(item) else (item, {})
        yield _aggregation({name: value}, f"{name}_{function}", name, function, options)
    if not functions:
        raise _unclear({name: value})


def _has_options(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], Mapping)


def _aggregation(
    entry: Mapping[Any, Any], name: Any, column: Any, function: Any, options: Any = None
) -> Aggregation:
    options = {} if options is None else options
    texts = all(isinstance(text, str) for text in (name, column, function))
    if not texts or not isinstance(options, Mapping):
        raise _unclear(entry)
    if function not in STATES:
        raise ReduceError(
            f"aggregate={entry!r}: there is no {function!r}{_nearest(function, STATES)}; there are "
            f"{', '.join(STATES)}; for anything else pass reduce=, which sees all rows of a key"
        )
    return Aggregation(name, column, function, _options(entry, function, options))


def _unclear(entry: Mapping[Any, Any]) -> ReduceError:
    return ReduceError(
        f"aggregate={entry!r} must give a column a function, or a list of them ({{'price': "
        "['min', 'max']}), or a new name a tuple of column, function and options ({'p95': "
        "('price', 'quantile', {'q': 0.95})})"
    )


def _nearest(word: str, words: Iterable[str]) -> str:
    """Return a hint at the known word that was meant, if any is near."""
    lower = word.lower()
    close = [lower] if lower in words else difflib.get_close_matches(lower, words, 1)
    meant = _OTHER_NAMES.get(lower) or next(iter(close), None)
    return f"; did you mean {meant!r}?" if meant else ""


def _options(
    entry: Mapping[Any, Any], function: str, options: Mapping[Any, Any]
) -> Mapping[str, Any]:
    """Return the options of a function with their defaults, as plain numbers and texts."""
    checks = _OPTIONS.get(function, {})
    for name in options:
        if name not in checks:
            takes = f"it takes {', '.join(checks)}" if checks else "it takes none"
            raise ReduceError(
                f"aggregate={entry!r}: {function} has no option {name!r}"
                f"{_nearest(str(name), checks)}; {takes}"
            )
    values = {name: options.get(name, default) for name, (default, _) in checks.items()}
    for name, (_, check) in checks.items():
        try:
            values[name] = check(values[name])
        except (TypeError, ValueError) as error:
            raise ReduceError(
                f"aggregate={entry!r}: {name}={values[name]!r} must be {error}"
            ) from None
    return values


def _as_ddof(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 0:
        raise ValueError("a whole number from 0; 1 is of a sample, 0 of a whole population")
    return int(value)


def _as_share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= float(value) <= 1:
        raise ValueError("a number from 0 to 1, as in {'q': 0.95}")
    return float(value)


def _as_interpolation(value: Any) -> str:
    if value not in ("linear", "lower", "higher"):
        raise ValueError("'linear', 'lower' or 'higher'")
    return str(value)


_Checks = dict[str, tuple[Any, Callable[[Any], Any]]]
_DDOF: _Checks = {"ddof": (1, _as_ddof)}
_INTERPOLATION: _Checks = {"interpolation": ("linear", _as_interpolation)}
# The default and the check of every option.
_OPTIONS = {
    "variance": _DDOF,
    "stddev": _DDOF,
    "median": _INTERPOLATION,
    "quantile": {"q": (None, _as_share), **_INTERPOLATION},
}


def _check_names(aggregates: Sequence[Aggregation], by: Sequence[str]) -> None:
    """Refuse an answer with two columns of one name."""
    taken = dict.fromkeys(by, "a key of by=")
    for aggregate in aggregates:
        twin = taken.get(aggregate.name)
        taken[aggregate.name] = f"{aggregate.function} of {aggregate.column!r}"
        if twin is None:
            continue
        raise ReduceError(
            f"aggregate= names two columns of the answer {aggregate.name!r}: {aggregate.function} of "
            f"{aggregate.column!r} and {twin}; give one another name, as in "
            f"{{'another_name': {(aggregate.column, aggregate.function, *filter(None, [aggregate.options]))}}}"
        )
