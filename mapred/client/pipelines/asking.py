"""What the function of a pipeline may ask for beside runs: values that are kept, and answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mapred.client.pipelines import context
from mapred.errors import FunctionError
from mapred.functions import transport
from mapred.model import layout
from mapred.model.checking import short_repr
from mapred.model.rules import Duration, seconds


def recorded(fn: Callable[..., Any], *args: Any, name: str | None = None) -> Any:
    """Call a function once in the life of a pipeline, and return the same value in every replay.

    For what would differ when the pipeline is started again: the time, random numbers, an answer of a
    server. Outside of a pipeline it calls the function.

    Args:
        fn: The function. What it returns must come back from JSON as it is, in up to 1 MiB.
        *args: What it is called with.
        name: By which the value is found again, with `args` (default: the function's name).

    Returns:
        What the function returned when it was first called.

    Raises:
        FunctionError: JSON cannot hold the value.

    Examples:
        >>> import time
        >>> @mapred.pipeline
        ... def stamped():
        ...     return mapred.recorded(time.time)
        >>> stamped.run().result() <= time.time()
        True
    """
    inside = context.current()
    if inside is None:
        return fn(*args)
    return inside.recorded(fn, args, name or transport.name_of(fn))


def approve(
    name: str,
    question: str = "",
    *,
    choices: Sequence[Any] = (True, False),
    timeout: Duration | None = None,
    default: Any = None,
) -> Any:
    """Ask a person, and wait for the answer: a gate in a pipeline.

    `run.approve(name, value)` and, in a shell, `mapred approve RUN NAME` answer it. The first answer
    stands, in every replay. Anyone who can write to the root can answer.

    Args:
        name: The name of the gate, of letters, digits, `_`, `-` and `.`; once in a pipeline.
        question: What is asked.
        choices: What may be answered: texts, numbers, true or false.
        timeout: After which time the default is taken: seconds, a `timedelta` or a text such as
            `"12h"` (default: never).
        default: The choice that is taken then.

    Returns:
        The answer.

    Raises:
        FunctionError: Called outside of a pipeline, or with a name or choices that do not fit.

    Examples:
        >>> @mapred.pipeline
        ... def guarded():
        ...     return mapred.approve("release", "Publish?", timeout="0.1s", default=False)
        >>> guarded.run().result()
        False
    """
    inside = context.current()
    if inside is None:
        raise FunctionError(
            f"approve({name!r}) asks where a pipeline waits: call it inside of a function with "
            "@mapred.pipeline, started by its run() or submit()"
        )
    if not layout.is_run_id(name):
        raise FunctionError(
            f"the gate {short_repr(name)} must have a name of up to 128 letters, digits, '_', '-' and "
            "'.', the first of them a letter or digit"
        )
    chosen = tuple(choices)
    if not chosen or not all(type(one) in (bool, int, float, str) for one in chosen):
        raise FunctionError(
            f"choices={short_repr(choices)} must be texts, numbers, true or false, at least one"
        )
    limit = None if timeout is None else seconds(timeout)
    if limit is not None and not any(
        type(one) is type(default) and one == default for one in chosen
    ):
        raise FunctionError(
            f"default={short_repr(default)} must be one of the choices of the gate {name!r}, as "
            f"timeout= takes it: {', '.join(map(repr, chosen))}"
        )
    return inside.approve(name, question, chosen, limit, default)
