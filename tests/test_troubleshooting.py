"""The messages that docs/troubleshooting.md explains are those that users see.

A message is raised where that is cheap (`RAISED`); the others are compared with the texts in the source.
"""

from __future__ import annotations

import ast
import functools
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import mapred

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/troubleshooting.md"
MESSAGES = re.findall(r"^### `(.*)`$", PAGE.read_text(), re.M)
FOREIGN = {"ImagePullBackOff"}  # Kubernetes' word, which mapred repeats


@functools.cache
def texts_of_the_source() -> tuple[str, ...]:
    """Every text in mapred's modules, with `…` for what an f-string fills in."""
    found = []
    for module in sorted((ROOT / "mapred").rglob("*.py")):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else "…" for p in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return tuple(found)


def holds(text: str, message: str) -> bool:
    """Whether a text has the pieces of a message of the page, in order; `…` is anything."""
    at = 0
    for piece in filter(None, map(str.strip, message.split("…"))):
        found = text.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def lock_in_function() -> None:
    lock = threading.Lock()
    mapred.run(lambda item: lock.locked(), [1])


def named(rate: float) -> float:
    return rate


def closure_of(data: bytes) -> Callable[[int], int]:
    return lambda item: len(data)


def failing(function: Any, dataset: Any, **options: Any) -> None:
    mapred.run(function, dataset, backend="inline", attempts=1, progress="none", **options)


def text_file() -> str:
    Path("lines.txt").write_text("one\ntwo\n")
    return "lines.txt"


def mixed() -> list[str]:
    Path("table.csv").write_text("a\n1\n")
    return [text_file(), "table.csv"]


def ask_twice() -> None:
    for _ in range(2):
        mapred.approve("publish", timeout=0, default=True)


def change_its_mind() -> None:
    numbers = iter(range(9))

    @mapred.pipeline(retries=1)
    def other_each_time() -> None:
        mapred.run(abs, [next(numbers)], progress="none")
        raise OSError

    other_each_time.run(backend="inline")


def of_pipeline(body: Callable[..., Any], *args: Any) -> None:
    mapred.pipeline(body).run(*args, backend="inline")


RAISED: dict[str, Callable[[], Any]] = {
    "… matches no file": lambda: mapred.plan("nowhere/*.txt"),
    "… does not exist": lambda: mapred.plan("nowhere/one.csv"),
    "the files are of different kinds": lambda: mapred.plan(mixed()),
    "… is not a dataset": lambda: mapred.plan(object()),
    "a … can be read only once": lambda: mapred.plan(x for x in [1]),
    "… cannot be sent to a worker": lock_in_function,
    "… carries … bytes": lambda: mapred.run(closure_of(bytes(105 * 2**20)), [1]),
    "… has no parameter": lambda: mapred.run(named, mapred.sweep(rte=[1])),
    "no backend …": lambda: mapred.run(abs, [1], backend="prod"),
    "… got an unexpected keyword": lambda: mapred.run(abs, [1], workers=4),  # type: ignore[call-arg]
    "… looks like a secret": lambda: mapred.Resources(env={"API_KEY": "hunter2"}),
    "object of type 'LineIterator'": lambda: failing(len, mapred.read_text(text_file())),
    "'pyarrow.lib.Table' object has no": lambda: failing(_assign, pa.table({"a": [1]})),
    "no run … in …": lambda: mapred.open("no-such-run"),
    "step … of the pipeline": change_its_mind,
    "… of the pipeline … has no canonical form": lambda: of_pipeline(lambda n: n, iter("ab")),
    "recorded … gave …": lambda: of_pipeline(lambda: mapred.recorded(lambda: (1, 2))),
    "run_id=…: a pipeline": lambda: of_pipeline(lambda: mapred.job(abs, [1]).submit(run_id="one")),
    "approve(…) asks": lambda: mapred.approve("publish"),
    "the gate … is asked twice": lambda: of_pipeline(ask_twice),
    "root … is a path on this machine": lambda: mapred.job(abs, [1]).render(root="/tmp/runs"),
}


def _assign(table: Any) -> Any:
    return table.assign(b=1)


@pytest.mark.parametrize("message", MESSAGES)
def test_the_message_is_one_that_users_see(
    message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    makers = [make for start, make in RAISED.items() if message.startswith(start)]
    if makers:
        with pytest.raises((mapred.MapredError, TypeError)) as caught:
            makers[0]()
        assert holds(str(caught.value), message)
    elif message not in FOREIGN:
        assert any(holds(text, message) for text in texts_of_the_source()), message


def test_all_that_is_raised_is_on_the_page() -> None:
    assert [start for start in RAISED if not any(m.startswith(start) for m in MESSAGES)] == []


def test_a_message_that_nobody_writes_is_noticed() -> None:
    assert not any(holds(text, "the … flux capacitor …") for text in texts_of_the_source())
    assert any(holds(text, "… may be running: …") for text in texts_of_the_source())
    assert not holds("may be … alive", "alive … may be")


def test_what_each_message_means_is_said() -> None:
    sections = re.split(r"^### ", PAGE.read_text(), flags=re.M)[1:]
    assert all(len(section.split("\n", 1)[1].split()) > 6 for section in sections)
    assert len(set(MESSAGES)) == len(MESSAGES)
