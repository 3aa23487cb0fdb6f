"""Attempts that failed: those that a task ends with, and those that were retried with success."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mapred.model.coding import decode, encode
from mapred.model.fields import Count, Seconds, StageName, Tasks
from mapred.process.secrecy import mask


@dataclass(frozen=True, repr=False)
class Failure:
    """One failed attempt, or a task that was lost with its worker. `Run.failures` has them.

    Attributes:
        stage: The stage: `"map"`, `"reduce-1"`, …
        task: The number of the task.
        attempt: The name of the attempt.
        kind: `function` (it raised), `dataset` (its input cannot be read), `lost` (its process
            died), `timeout` or `memory`.
        error: The exception's class.
        message: The exception's text.
        traceback: Where it was raised.
        signature: Equal for equal failures.
        where: The file and byte range, or the item.
        log: The end of what the attempt printed.
        items: The indices of the failed items, where the function runs once per item.
        attempts: How many attempts at the task there have been.
        time: When it failed, in seconds since the epoch.
        seconds: How long the attempt took.
        final: Whether the task is not tried again.
        lost: Those of the items that are not tried again.
        values: What the first of the items are, as text, by their indices.
        worker: The worker of the attempt, if it lived to tell.
        errors: Class and message of the first of several failed items, each on one line, by their
            indices.

    Examples:
        >>> run = mapred.run(lambda n: 12 / n, [1, 0, 4], max_failed=1, attempts=1)
        >>> run.failures[0]
        <Failure of map item 1: ZeroDivisionError: division by zero>
        >>> run.failures[0].values
        {1: '0'}
    """

    stage: StageName
    task: Tasks
    attempt: str
    kind: str
    error: str
    message: str
    traceback: str = ""
    signature: str = ""
    where: str = ""
    log: str = ""
    items: tuple[Count, ...] = ()
    attempts: Count = 1
    time: Seconds = 0.0
    seconds: Seconds = 0.0
    final: bool = False
    lost: tuple[Count, ...] = ()
    values: Mapping[int, str] = field(default_factory=dict, hash=False)
    worker: str = ""
    errors: Mapping[int, str] = field(default_factory=dict, hash=False)

    def to_bytes(self) -> bytes:
        """Return the failure as the JSON of its record."""
        return encode(self, indent=1)

    @classmethod
    def from_bytes(cls, data: bytes, where: str = "an error record") -> Failure:
        """Return the failure in a file, whose place is `where`; a `RecordError` if there is none."""
        return decode(cls, data, where)

    def __repr__(self) -> str:
        """One line; `str` has the place, the traceback and the log as well. Both show no secrets."""
        items = ", ".join(map(str, self.items[:3])) + "…" * (len(self.items) > 3)
        at = f"item{'s' * (len(self.items) > 1)} {items}" if items else f"task {self.task}"
        message = " ".join(mask(self.message[:20_000]).split())[:120]
        return f"<Failure of {self.stage} {at}: {self.error}{': ' * bool(message)}{message}>"

    def __str__(self) -> str:
        lines = [f"{self.stage} task {self.task}: {self.error}: {self.message}"]
        lines += [f"at {self.where}"] * bool(self.where)
        lines += [self.traceback.rstrip()] * bool(self.traceback)
        lines += ["log ends with", self.log.rstrip()] * bool(self.log)
        return mask("\n".join(lines))


def merge_failures(before: Failure | None, failure: Failure) -> Failure:
    """Return the later of two failures of a task, with the items of both."""
    if before is None:
        return failure
    later = max(before, failure, key=lambda attempt: attempt.time)
    values = {**before.values, **failure.values}
    errors = {**before.errors, **failure.errors}
    if not before.items or not failure.items:
        return replace(later, items=(), values=values, errors=errors)
    items = tuple(sorted({*before.items, *failure.items}))
    return replace(later, items=items, values=values, errors=errors)


@dataclass(frozen=True)
class Retry:
    """A failed attempt, as short as a timeline needs it: what failed, when it ended, and where.

    `message`, `where` and `values` are those of the `Failure`.
    """

    stage: str
    task: int
    kind: str
    error: str
    items: tuple[int, ...] = ()
    time: float = 0.0
    seconds: float = 0.0
    worker: str = ""
    message: str = ""
    where: str = ""
    values: Mapping[int, str] = field(default_factory=dict, hash=False)
