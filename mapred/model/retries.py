"""Which failed attempts are tried again, and after what pause.

`retry_on=` and `no_retry_on=` travel by name: whether an exception is one of them is decided in
the process that caught it, by the names of its classes.
"""

from __future__ import annotations

import builtins
import random
from collections.abc import Iterable, Mapping
from typing import Any

from mapred.errors import CommandError, DatasetError, FunctionError, PlanError
from mapred.model.rules import Unfit, whole
from mapred.model.spec import Job

# Exit codes of pods. Argo starts a pod again unless it ended by FAILED, where the run is over, or
# by MISMATCH, where no other pod could do better: packages or rights are missing. A pod that ends by
# WAITING left while a pipeline waits.
DONE, FAILED, TRY_AGAIN, MISMATCH, WAITING, KILLED = 0, 1, 75, 78, 79, 137

_FIRST, _LONGEST, _JITTER = 0.5, 30.0, 0.2  # seconds, seconds, a fraction

_GROUP: Any = getattr(builtins, "BaseExceptionGroup", ())  # of Python 3.11 and later

Given = type[BaseException] | int
Retried = Given | Iterable[Given]
Rule = str | int
# What an attempt that its limits ended counts as; a process that died otherwise has no exception.
_ENDED: dict[str, type[BaseException]] = {"timeout": TimeoutError, "memory": MemoryError}


def pause(failed: int) -> float:
    """Seconds to wait after so many failed attempts: none at first, then 0.5 doubling to 30."""
    if failed <= 1:
        return 0.0
    seconds = min(_LONGEST, _FIRST * 2.0 ** min(failed - 2, 30))
    return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)


def longest_pauses(attempts: int) -> float:
    """Return the most seconds that all pauses between so many attempts take together."""
    waits = (min(_LONGEST, _FIRST * 2.0 ** min(n, 30)) for n in range(max(0, attempts - 2)))
    return sum(waits) * (1 + _JITTER)


def option_values(value: Any) -> tuple[Given, ...]:
    """Return what one of the options holds, as a tuple."""
    if isinstance(value, bytes | Mapping):
        raise Unfit
    try:
        values = [value] if isinstance(value, type | str) else list(value)
    except TypeError:
        values = [value]
    return tuple(_check_given(item) for item in values)


def _check_given(item: Any) -> Given:
    if isinstance(item, type) and issubclass(item, BaseException):
        return item
    status = whole(item)
    if status == 0:
        raise Unfit("0 is success")
    return status


def refuse_contradiction(
    retry_on: tuple[Given, ...] | None, no_retry_on: tuple[Given, ...] | None
) -> None:
    """Refuse an error that one option wants tried again, and that the other forbids for good."""
    never = rules(no_retry_on or ())
    for item in retry_on or ():
        names = {item} if isinstance(item, int) else _names(item)
        if both := names.intersection(never):
            shown = item if isinstance(item, int) else item.__name__
            raise PlanError(
                f"retry_on= and no_retry_on= contradict each other: {shown} would never be tried "
                f"again, as no_retry_on= has {', '.join(map(str, both))}"
            )


def rules(items: tuple[Given, ...]) -> tuple[Rule, ...]:
    """Return an option as a job records it."""
    return tuple(item if isinstance(item, int) else _name(item) for item in items)


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _names(kind: type) -> set[Rule]:
    """Return the names of a class and of all that it inherits from."""
    return {_name(base) for base in kind.__mro__}


def is_final(job: Job, error: BaseException, *, reached: bool, nested: bool = False) -> bool:
    """Whether no other attempt is made after `error`, however many are left.

    So it is where the options say so, and where another attempt cannot help: the input cannot be
    read, the function cannot be loaded, its value cannot be stored, or its signature does not
    fit the call: then the call raised a TypeError and `reached` no code of the user's. What a
    `nested` run of the function's own raised may be otherwise next time.
    """
    if isinstance(error, CommandError):
        return not _is_retryable(job, {*_names(type(error)), error.status})
    if isinstance(error, FunctionError | DatasetError) and not nested:
        return True
    if isinstance(error, TypeError) and not reached:
        return True
    if isinstance(error, _GROUP) and _names(type(error)).isdisjoint(job.retry_on or ()):
        return any(is_final(job, member, reached=True) for member in error.exceptions)
    code = {error.code} if isinstance(error, SystemExit) and isinstance(error.code, int) else set()
    return not _is_retryable(job, _names(type(error)) | code)


def ends_for_good(job: Job, kind: str) -> bool:
    """Return the same for an attempt whose process ended: by its limits, or by itself (`lost`)."""
    return kind in _ENDED and not _is_retryable(job, _names(_ENDED[kind]))


def _is_retryable(job: Job, names: set[Rule]) -> bool:
    """Whether the job has an error of these names tried again."""
    if names.intersection(job.no_retry_on):
        return False
    return job.retry_on is None or bool(names.intersection(job.retry_on))
