from __future__ import annotations

import html.parser

import numpy as np
import pytest

from mapred.display import PlanSummary
from mapred.model.failure import Failure
from mapred.model.status import RunStatus, StageStatus, TaskTime

STARTED = 1_795_536_301.0
EVIL = 's3://b/<script>alert("1")</script>&\x1b[31m\u202e\udcff\r'


class Tree(html.parser.HTMLParser):
    """Checks that every element is closed in order; keeps tags, attributes and text."""

    VOID = frozenset({"br", "hr", "img"})

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for found, attrs in self.tags if found == tag]


def parse(source: str) -> Tree:
    source.encode()  # no half characters: a page can be stored and sent
    return Tree(source)


def make_plan(sizes: list[int] | np.ndarray, **changes: object) -> PlanSummary:
    values = np.asarray(sizes)
    known: dict[str, object] = {
        "dataset": "s3://logs/2026/*.txt",
        "format": "text",
        "files": 1234,
        "bytes": int(values.sum()),
        "shards": len(values),
        "tasks": len(values),
        "items": 0,
        "limit": "target_bytes = 16 MB",
        "smallest": int(values.min()) if len(values) else 0,
        "median": int(np.median(values)) if len(values) else 0,
        "largest": int(values.max()) if len(values) else 0,
        "shard_bytes": values,
    }
    return PlanSummary(**{**known, **changes})  # type: ignore[arg-type]


def make_times(tasks: int, workers: int, seconds: float = 1.0) -> tuple[TaskTime, ...]:
    """Tasks dealt round-robin, back to back on each worker."""
    return tuple(
        TaskTime("map", i, STARTED + (i // workers) * seconds, seconds, f"w-{i % workers}", 1000)
        for i in range(tasks)
    )


def make_failure(task: int = 0, **changes: object) -> Failure:
    known: dict[str, object] = {
        "stage": "map",
        "task": task,
        "attempt": "a1",
        "kind": "function",
        "error": "ValueError",
        "message": "could not convert string to float: 'n/a'",
        "traceback": 'Traceback (most recent call last):\n  File "w.py", line 3, in f\nValueError: n/a\n',
        "signature": "s1",
        "where": f"/data/{task}.csv bytes 0-100",
        "log": "reading\n",
    }
    return Failure(**{**known, **changes})  # type: ignore[arg-type]


def make_status(**changes: object) -> RunStatus:
    known: dict[str, object] = {
        "run_id": "20261124-160501-3f9c2e1b",
        "uri": "/runs/20261124-160501-3f9c2e1b",
        "name": "count_words",
        "state": "succeeded",
        "stages": (StageStatus("map", 43, 43), StageStatus("reduce-1", 1, 1)),
        "started": STARTED,
        "finished": STARTED + 13.2,
        "bytes": 694_000_000,
        "bytes_done": 694_000_000,
        "records": 12_100_233,
    }
    return RunStatus(**{**known, **changes})  # type: ignore[arg-type]


class Sample:
    """What the tests draw: plans, runs, failures; and a parser for the HTML."""

    started = STARTED
    evil = EVIL
    parse = staticmethod(parse)
    plan = staticmethod(make_plan)
    times = staticmethod(make_times)
    failure = staticmethod(make_failure)
    status = staticmethod(make_status)

    @staticmethod
    def half_done(**changes: object) -> RunStatus:
        stages = (StageStatus("map", 43, 20, 2, 1), StageStatus("reduce-1", 1))
        known = {"state": "running", "finished": None, "bytes_done": 347_000_000}
        return make_status(**{**known, "stages": stages, **changes})

    @staticmethod
    def at(done: int, **changes: object) -> RunStatus:
        stages = (StageStatus("map", 100, done, failed=done // 50), StageStatus("reduce-1", 1))
        sizes = {"bytes": 1_000_000, "bytes_done": done * 10_000}
        return Sample.half_done(**{"stages": stages, **sizes, **changes})


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def sample() -> Sample:
    return Sample()


@pytest.fixture
def clock() -> Clock:
    return Clock(STARTED)
