"""Damages runs, for tests that it is noticed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from mapred.model import layout
from mapred.model.checksums import add_seal


def tamper(run: Any, path: str, change: Callable[[Any], Any]) -> None:
    """Change a JSON record of a run in place, as if it had been written so: its seal fits."""
    value = json.loads(run.store.read(path))
    was_sealed = value.pop("seal", None) is not None
    data = json.dumps(change(value)).encode()
    run.store.write(path, add_seal(data) if was_sealed else data)


def drop_commit(run: Any, task: int, stage: str = "map") -> None:
    """Take a commit away, as if its task had been skipped."""
    run.store.delete(layout.commit(stage, task))
