"""One contender in this process: `python -m benchmarks.child MODULE NAME ARGUMENT [FILE]`.

Prints one JSON object, `seconds` and `ended`; with a file, the rows of the answer go there.

A contender is a function of its argument, and is timed from the start of its process to its
answer. One that is a generator function sets up what may be warm and yields calls: the last one
is timed, and what the generator returns stands for the answer of that call if it is not None.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pickle
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def run(contender: Callable[[str], Any], argument: str) -> tuple[Any, float | None, float]:
    """The answer, the seconds of a call that was yielded, and when it had ended."""
    if not inspect.isgeneratorfunction(contender):
        answer = contender(argument)
        return answer, None, time.time()
    calls = contender(argument)
    answer = seconds = None
    ended = 0.0
    while True:
        try:
            call = next(calls)
        except StopIteration as end:
            return answer if end.value is None else end.value, seconds, ended
        start = time.perf_counter()
        answer = call()
        seconds, ended = time.perf_counter() - start, time.time()


def main(module_name: str, name: str, argument: str, file: str = "") -> None:
    module = importlib.import_module(module_name)
    answer, seconds, ended = run(module.CONTENDERS[name], argument)
    if file:
        Path(file).write_bytes(pickle.dumps(module.rows(answer)))
    print(json.dumps({"seconds": seconds, "ended": ended}))


if __name__ == "__main__":
    main(*sys.argv[1:])
