"""The failures of a run as a value that shows itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

from mapred.display.html import failures_html
from mapred.display.markup import page
from mapred.display.text.failures import failures_text
from mapred.model.failure import Failure

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = (
    "stage", "task", "item", "value", "attempt", "kind", "type", "message", "where", "worker",
    "time", "seconds", "final", "traceback",
)  # fmt: skip


class Failures(tuple[Failure, ...]):
    """The failures of a run: a tuple of `mapred.Failure` that shows itself grouped, with tracebacks.

    Examples:
        >>> run = mapred.run(lambda n: 12 / n, [1, 0, 4], max_failed=1, attempts=1)
        >>> len(run.failures)
        1
    """

    __slots__ = ()

    @overload
    def __getitem__(self, key: SupportsIndex, /) -> Failure: ...
    @overload
    def __getitem__(self, key: slice, /) -> Failures: ...
    def __getitem__(self, key: SupportsIndex | slice, /) -> Failure | Failures:
        value = super().__getitem__(key)
        return Failures(value) if isinstance(value, tuple) else value

    def to_pandas(self) -> pd.DataFrame:
        """Return a frame with a row for every failed item, or for every failed task without items.

        Returns:
            A frame. Its `value` is the item as text, `attempt` the number of the last attempt, `type`
            the exception's class; `item` and `value` are missing where they are not known.

        Raises:
            MissingDependency: pandas is not installed.

        Examples:
            >>> run = mapred.run(lambda n: 12 / n, [1, 0, 4], max_failed=1, attempts=1)
            >>> run.failures.to_pandas()[["item", "value", "type"]]
               item value               type
            0     1     0  ZeroDivisionError
        """
        from mapred.arrow.to_frames import import_pandas

        pd = import_pandas()
        frame = pd.DataFrame(list(_rows(self)), columns=list(_COLUMNS))
        types = {"task": "int64", "item": "Int64", "attempt": "int64", "seconds": "float64"}
        frame = frame.astype({**types, "final": "bool"})
        frame["time"] = pd.to_datetime(frame["time"].astype("float64"), unit="s", utc=True)
        return frame

    def __repr__(self) -> str:
        return failures_text(self) or "no failures"

    def _repr_html_(self) -> str:
        return page([failures_html(self) or "no failures"])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}


def _rows(failures: Failures) -> Iterator[tuple[Any, ...]]:
    for failure in failures:
        for item in failure.items or (None,):
            value = None if item is None else failure.values.get(item)
            where = failure.where
            kind, message = failure.error, failure.message
            if item is not None and item in failure.errors:
                kind, _, message = failure.errors[item].partition(": ")
            if item is not None and len(failure.items) > 1:
                where = f"item {item}" + (f": {value}" if value is not None else "")
            yield (
                failure.stage,
                failure.task,
                item,
                value,
                failure.attempts,
                failure.kind,
                kind,
                message,
                where,
                failure.worker,
                failure.time,
                failure.seconds,
                failure.final,
                failure.traceback,
            )
