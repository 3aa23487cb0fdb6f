"""Damages runs, for tests that it is noticed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from mapred.model import layout
from mapred.model.checksums import add_seal


def tamper(run: Any, path: str, change: Callable[[Any], Any]) -> None:
    """Change a JSON record of a run in place, as if it had been written so: its seal fits.

    Args:
        run: The run.
        path: The record's path in the run's folder.
        change: A function of what the record holds, which returns what it holds instead.

    Examples:
        >>> run = mapred.run(abs, [-1, -2])
        >>> mapred.testing.tamper(run, "job.json", lambda job: job | {"name": "other"})
        >>> mapred.open(run.uri).job.name
        'other'
    """
    value = json.loads(run.store.read(path))
    was_sealed = value.pop("seal", None) is not None
    data = json.dumps(change(value)).encode()
    run.store.write(path, add_seal(data) if was_sealed else data)


def drop_commit(run: Any, task: int, stage: str = "map") -> None:
    """Take a commit away, as if its task had been skipped.

    Args:
        run: The run.
        task: The number of the task.
        stage: The stage of the task.

    Examples:
        >>> run = mapred.run(abs, [-1, -2], per_task=1)
        >>> mapred.testing.drop_commit(run, 1)
        >>> run.audit().ok
        False
    """
    run.store.delete(layout.commit(stage, task))
