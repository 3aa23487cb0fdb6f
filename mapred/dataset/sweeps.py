"""Parameter sweeps: points of a grid, zipped lists, or samples."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mapred.dataset.values import Dataset, how_to_list_rows
from mapred.errors import DatasetError, MissingDependency
from mapred.model.checking import check, short_repr
from mapred.model.rules import FromOne, FromZero, Unfit, real
from mapred.process import secrecy
from mapred.process.lazy import np

_MODES = ("grid", "zip", "random", "sobol")
_MOST_POINTS = 10**7
_LOOKED_AT = 100  # values of a parameter that are checked for secrets


@dataclass(frozen=True)
class Interval:
    """The numbers from `low` up to `high` that a sampled parameter may take."""

    low: float
    high: float
    log: bool = False

    def at(self, unit: float) -> float:
        """Return the value at a point of [0, 1)."""
        if not self.log:
            return self.low + unit * (self.high - self.low)
        low, high = math.log(self.low), math.log(self.high)
        return min(self.high, max(self.low, math.exp(low + unit * (high - low))))


def uniform(low: float, high: float) -> Interval:
    """Describe any number from `low` to `high`, all equally likely, for a sampled sweep.

    Args:
        low: The least number.
        high: The greatest number.

    Returns:
        A value for a parameter of `mapred.sweep`.

    Raises:
        DatasetError: The two are not finite numbers in this order.

    Examples:
        >>> mapred.sweep(rate=mapred.uniform(0, 1), mode="random", n=5)
        <Dataset sweep of 5 points over rate>
    """
    return _interval(low, high, log=False)


def loguniform(low: float, high: float) -> Interval:
    """Describe any number from `low` to `high`, its logarithm equally likely, for a sampled sweep.

    Args:
        low: The least number, above zero.
        high: The greatest number.

    Returns:
        A value for a parameter of `mapred.sweep`.

    Raises:
        DatasetError: The two are not finite numbers above zero in this order.

    Examples:
        >>> mapred.sweep(rate=mapred.loguniform(1e-4, 1), mode="random", n=5, repeats=2)
        <Dataset sweep of 10 points over rate, repeat>
    """
    return _interval(low, high, log=True)


def sweep(
    parameters: Mapping[str, Any] | None = None,
    /,
    *,
    mode: str = "grid",
    n: int | None = None,
    repeats: int = 1,
    seed: int = 0,
    **named: Any,
) -> Dataset:
    """Make a dataset of points of a parameter space: the function gets each point as keywords.

    Args:
        parameters: A mapping of names to values, for parameters that are called `n`, `mode`,
            `seed` or `repeats`: `sweep({"n": [1, 2]})`.
        mode: `"grid"` takes every combination, the last parameter changing fastest; `"zip"` the
            first values of all, then the second ones, and so on; `"random"` and `"sobol"` (evenly
            spread, by the scrambled sequence of `scipy.stats.qmc.Sobol`) take `n` samples, where a
            list means any of its values, and `uniform(low, high)` or `loguniform(low, high)` a
            number between.
        n: How many points to sample, for `"random"` and `"sobol"` alone.
        repeats: How often each point comes, numbered from 0 by the parameter `repeat` where that
            is more than once.
        seed: The seed of the samples and of `task.rng`: the same one gives the same points.
        **named: The parameters by name: a list of values, or one value.

    Returns:
        The dataset, with one item per point.

    Raises:
        DatasetError: The space is empty, too large (above 10,000,000 points), or does not fit the
            mode.
        MissingDependency: `"sobol"` needs scipy.

    Examples:
        >>> def area(width, height):
        ...     return width * height
        >>> mapred.run(area, mapred.sweep(width=[1, 2], height=[10, 20])).result()
        [10, 20, 20, 40]
        >>> mapred.run(area, mapred.sweep(width=[1, 2], height=[10, 20], mode="zip")).result()
        [10, 40]
    """
    space = {**_space(parameters), **named}
    n, repeats, seed = _numbers(n, repeats, seed)
    _check(space, mode, n, repeats)
    for name, value in space.items():
        for item in value[:_LOOKED_AT] if isinstance(value, list | tuple) else (value,):
            secrecy.refuse_parameter(name, item, DatasetError)
    points = _points(space, mode, n, repeats, seed)
    if repeats > 1:
        points = ({**point, "repeat": i} for point in points for i in range(repeats))
    taken = tuple(points)
    return Dataset(
        "items",
        as_="keywords",
        items=taken,
        count=len(taken),
        seed=seed,
        title=f"sweep of {len(taken):,} points over {', '.join(taken[0]) or 'nothing'}",
    )


def _space(parameters: Any) -> Mapping[Any, Any]:
    if parameters is None or isinstance(parameters, Mapping):
        return parameters or {}
    kind = type(parameters).__name__
    if how_to_list_rows(parameters) is not None:
        raise DatasetError(
            f"sweep() got a {kind}, which lists its columns: pass "
            f"items(frame{how_to_list_rows(parameters)}) for its rows one by one"
        )
    raise DatasetError(
        f"sweep() takes a mapping of parameters to values, not {kind}: write sweep(rate=[0.1, 0.01])"
    )


def _numbers(n: Any, repeats: Any, seed: Any) -> tuple[int | None, int, int]:
    numbers: list[Any] = []
    for what, value, hint in (
        ("n", n, FromOne),
        ("repeats", repeats, FromOne),
        ("seed", seed, FromZero),
    ):
        try:
            numbers.append(
                None if value is None and what == "n" else check(what, value, hint, DatasetError)
            )
        except DatasetError as error:
            raise DatasetError(
                f"{error}; a parameter of that name goes into a mapping: sweep({{{what!r}: …}})"
            ) from None
    return numbers[0], numbers[1], numbers[2]


def _check(space: Mapping[Any, Any], mode: Any, n: int | None, repeats: int) -> None:
    if not isinstance(mode, str) or mode not in _MODES:
        raise DatasetError(f"mode={short_repr(mode)} must be one of {', '.join(map(repr, _MODES))}")
    if (n is None) == (mode in ("random", "sobol")):
        need = "needs n= samples" if n is None else "takes no n="
        raise DatasetError(f"mode={mode!r} {need}")
    if not space and repeats == 1:
        raise DatasetError("sweep() got no parameters; write sweep(rate=[0.1, 0.01])")
    if "repeat" in space and repeats > 1:
        raise DatasetError("a parameter may not be called 'repeat' where repeats= numbers it so")
    for name in space:
        if not isinstance(name, str) or not name.isidentifier():
            raise DatasetError(
                f"{name!r} cannot be the name of a parameter: the function gets keywords"
            )
    if n is not None and n * repeats > _MOST_POINTS:
        raise DatasetError(f"a sweep of {n * repeats:,} points is above {_MOST_POINTS:,}")


def _values(name: str, value: Any, mode: str) -> Sequence[Any]:
    """Return the values of a parameter; a number, a string or a mapping is one value."""
    if isinstance(value, Interval):
        raise DatasetError(f"{name} is an interval, which mode={mode!r} cannot list; give values")
    rows = how_to_list_rows(value)
    if rows is not None:
        raise DatasetError(
            f"{name} is a {type(value).__name__}, which lists its columns: pass {name}=[frame] for "
            f"one value, or items(frame{rows}) for its rows"
        )
    if hasattr(value, "to_pylist"):  # an Arrow array, whose own values are wrapped
        value = value.to_pylist()
    elif (
        hasattr(value, "tolist") and getattr(getattr(value, "dtype", None), "kind", "") not in "mM"
    ):
        value = value.tolist()  # not of times, which would become bare numbers
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        return [value]
    values = list(itertools.islice(value, _MOST_POINTS + 1))
    if not values:
        raise DatasetError(f"{name} has no values: there is nothing to run")
    if len(values) > _MOST_POINTS:
        raise DatasetError(f"{name} has more than {_MOST_POINTS:,} values, the limit of a sweep")
    return values


def _points(
    space: Mapping[str, Any], mode: str, n: int | None, repeats: int, seed: int
) -> Iterable[dict[str, Any]]:
    if mode in ("grid", "zip"):
        lists = {name: _values(name, value, mode) for name, value in space.items()}
        return _grid(lists, repeats) if mode == "grid" else _zip(lists)
    assert n is not None
    return _samples(space, _units(mode, n, len(space), seed))


def _grid(lists: Mapping[str, Sequence[Any]], repeats: int) -> Iterator[dict[str, Any]]:
    points = math.prod(map(len, lists.values())) * repeats
    if points > _MOST_POINTS:
        raise DatasetError(
            f"a sweep of {points:,} points is above {_MOST_POINTS:,}; sample it by mode='sobol'"
        )
    return (dict(zip(lists, point, strict=True)) for point in itertools.product(*lists.values()))


def _zip(lists: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    length = max(map(len, lists.values()), default=1)
    several = {name: len(values) for name, values in lists.items() if len(values) != length}
    if any(count > 1 for count in several.values()):
        counts = ", ".join(f"{name} has {len(values)}" for name, values in lists.items())
        raise DatasetError(f"mode='zip' needs lists of one length, or single values: {counts}")
    full = [values if len(values) == length else [*values] * length for values in lists.values()]
    return (
        (dict(zip(lists, point, strict=True)) for point in zip(*full, strict=True))
        if full
        else iter([{}])
    )


def _units(mode: str, n: int, dimensions: int, seed: int) -> Any:
    """`n` points of the unit cube."""
    generator = np.random.default_rng(seed)
    if mode == "random" or not dimensions:
        return generator.random((n, dimensions))
    try:
        from scipy.stats import qmc
    except ImportError as error:
        raise MissingDependency("scipy", "sweep") from error
    try:
        sampler = qmc.Sobol(dimensions, rng=generator)
    except TypeError:  # scipy before 1.15
        sampler = qmc.Sobol(dimensions, seed=generator)
    except ValueError as error:
        raise DatasetError(
            f"mode='sobol' cannot take {dimensions:,} parameters: {error}; use mode='random'"
        ) from error
    return sampler.random_base2(max(0, (n - 1).bit_length()))[:n]


def _samples(space: Mapping[str, Any], units: Any) -> Iterator[dict[str, Any]]:
    domains = {
        name: value if isinstance(value, Interval) else _values(name, value, "random")
        for name, value in space.items()
    }
    for row in units.tolist():
        yield {
            name: domain.at(unit)
            if isinstance(domain, Interval)
            else domain[min(int(unit * len(domain)), len(domain) - 1)]
            for (name, domain), unit in zip(domains.items(), row, strict=True)
        }


def _interval(low: float, high: float, log: bool) -> Interval:
    try:
        low, high = float(real(low)), float(real(high))
    except Unfit:
        raise DatasetError(
            f"an interval needs two numbers, not {short_repr(low)} and {short_repr(high)}"
        ) from None
    if not low < high:
        raise DatasetError(f"an interval from {low} to {high} is empty")
    if not math.isfinite(high - low):
        raise DatasetError(f"an interval from {low} to {high} is too wide for floats")
    if log and low <= 0:
        raise DatasetError(f"loguniform({low}, {high}) must begin above zero")
    return Interval(low, high, log)
