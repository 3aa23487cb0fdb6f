"""A task as a worker runs it, with a clock and a meter: RUN_URI DIGEST STAGE TASK 1; prints one JSON object.

`steps` are moments on the monotonic clock; `bytes` is what was read through the store.
"""

from __future__ import annotations

import time

STEPS = [("interpreter", time.monotonic())]


def step(name: str) -> None:
    STEPS.append((name, time.monotonic()))


def main() -> None:
    import json
    import sys

    import numpy  # noqa: F401

    step("import numpy")
    import pyarrow  # noqa: F401

    step("import pyarrow")
    from mapred.model.records import Block
    from mapred.storage.local import LocalStore
    from mapred.worker import tasks

    step("import mapred.worker.tasks")
    read: dict[str, int] = {}
    original = LocalStore.read

    def reading(self: LocalStore, path: str, *place: int | None) -> bytes:
        data = original(self, path, *place)
        read[path] = read.get(path, 0) + len(data)
        return data

    LocalStore.read = reading  # type: ignore[method-assign, assignment]
    run_uri, digest, _, first, _ = sys.argv[1:]
    run = tasks.context(run_uri, digest)
    step("job.json")
    run.ranges(int(first))
    step("the plan's rows of one shard")
    function = run.function
    step("the function")

    def first_call(*arguments: object, **named: object) -> object:
        step("opening the input")
        return function(*arguments, **named)

    vars(run)["_function"] = lambda: first_call
    (outcome,) = tasks.run_block(Block(run_uri, digest, "map", [int(first)]))
    status = int(outcome.failure is not None)
    print(json.dumps({"steps": STEPS, "bytes": read, "status": status}))


if __name__ == "__main__":
    main()
