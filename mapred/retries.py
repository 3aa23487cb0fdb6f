"""Which failed attempts are tried again, and after what pause.

`retry_on=` and `no_retry_on=` travel by name: whether an exception is one of them is decided in
the process that caught it, by the names of its classes.
"""

from __future__ import annotations

import builtins
import random
from typing import Any

from mapred.errors import CommandError, DatasetError, FunctionError, PlanError
from mapred.model import Job

_FIRST, _LONGEST, _JITTER = 0.5, 30.0, 0.2  # seconds, seconds, a fraction

_GROUP: Any = getattr(builtins, "BaseExceptionGroup", ())  # of Python 3.11 and later

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
    """The most seconds that all pauses between so many attempts take together."""
    waits = (min(_LONGEST, _FIRST * 2.0 ** min(n, 30)) for n in range(max(0, attempts - 2)))
    return sum(waits) * (1 + _JITTER)


def rules(
    retry_on: Any = None, no_retry_on: Any = None
) -> tuple[tuple[Rule, ...] | None, tuple[Rule, ...]]:
    """Both options as a job records them; a `PlanError` names what cannot be one."""
    again = None if retry_on is None else _listed("retry_on", retry_on)
    never = () if no_retry_on is None else _listed("no_retry_on", no_retry_on)
    for rule in again or ():
        names = {rule} if isinstance(rule, int) else _names(rule)
        if both := names.intersection(_rule(each) for each in never):
            raise PlanError(
                f"retry_on= and no_retry_on= contradict each other: {_shown(rule)} would never be "
                f"tried again, as no_retry_on= names {', '.join(map(str, sorted(both, key=str)))}"
            )
    return None if again is None else tuple(map(_rule, again)), tuple(map(_rule, never))


def _listed(option: str, value: Any) -> list[Any]:
    try:
        given = [value] if isinstance(value, type | int | str) else list(value)
    except TypeError:
        given = [value]
    for each in given:
        is_error = isinstance(each, type) and issubclass(each, BaseException)
        is_status = isinstance(each, int) and not isinstance(each, bool) and each != 0
        if not is_error and not is_status:
            raise PlanError(
                f"{option}={each!r} must be an exception type such as ConnectionError, an exit "
                "status of a command other than 0 such as 75, or a list of these"
            )
    return given


def _rule(given: Any) -> Rule:
    return given if isinstance(given, int) else _name(given)


def _shown(given: Any) -> str:
    return str(given) if isinstance(given, int) else str(given.__name__)


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _names(kind: type) -> set[Rule]:
    """The names of a class and of all that it inherits from."""
    return {_name(each) for each in kind.__mro__}


def is_final(job: Job, error: BaseException, *, reached: bool) -> bool:
    """Whether no other attempt is made after `error`, however many are left.

    So it is where the options say so, and where another attempt cannot help: the input cannot be
    read, the function cannot be loaded, its value cannot be stored, or its signature does not
    fit the call: then the call raised a TypeError and `reached` no code of the user's.
    """
    if isinstance(error, CommandError):
        return not _asked(job, {*_names(type(error)), error.status})
    if isinstance(error, FunctionError | DatasetError):
        return True
    if isinstance(error, TypeError) and not reached:
        return True
    if isinstance(error, _GROUP) and _names(type(error)).isdisjoint(job.retry_on or ()):
        return any(is_final(job, each, reached=True) for each in error.exceptions)
    code = {error.code} if isinstance(error, SystemExit) and isinstance(error.code, int) else set()
    return not _asked(job, _names(type(error)) | code)


def ends_for_good(job: Job, kind: str) -> bool:
    """The same for an attempt whose process ended: by its limits, or by itself (`lost`)."""
    return kind in _ENDED and not _asked(job, _names(_ENDED[kind]))


def _asked(job: Job, names: set[Rule]) -> bool:
    """Whether the job has an error of these names tried again."""
    if names.intersection(job.no_retry_on):
        return False
    return job.retry_on is None or bool(names.intersection(job.retry_on))
