"""A pipeline whose driver is killed at any operation on the store continues, and does nothing twice."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import mapred
from mapred.runfolder.folder import RunFolder
from mapred.storage.local import LocalStore

# The threads that drive runs are killed as well.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
QUIET: dict[str, Any] = {"progress": "none"}
CHANGES = ("write", "put_if_absent", "delete")


class Killed(BaseException):
    """The process ends here, and what it would write later is not written."""


@contextmanager
def killed_at(number: int, *, after: bool) -> Iterator[list[int]]:
    """Let so many changes of folders happen, and none from then on; yield how many were tried."""
    count = [0]
    before = {name: getattr(LocalStore, name) for name in CHANGES}

    def dying(name: str) -> Any:
        def change(self: LocalStore, *args: Any) -> Any:
            count[0] += 1
            if count[0] > number:
                raise Killed
            done = before[name](self, *args)
            if count[0] == number and after:
                raise Killed
            return done

        return change

    for name in CHANGES:
        setattr(LocalStore, name, dying(name))
    try:
        yield count
    finally:
        for name in CHANGES:
            setattr(LocalStore, name, before[name])


def note(n: int, folder: str) -> int:
    with open(f"{folder}/{n}", "a") as file:
        file.write("called\n")
    return n


@mapred.pipeline
def nightly(folder: str) -> Any:
    size = mapred.recorded(len, "abc")
    first = mapred.submit(lambda n: note(n, folder), range(size), name="first")
    second = mapred.submit(lambda n: note(n, folder), [10], name="second")
    if not mapred.approve("go", timeout="0s", default=True):
        return None
    total = inner.run(sum(first.result() + second.result()), folder)
    return total.result(), mapred.run(abs, [-size], reduce=sum, name="last", **QUIET)


@mapred.pipeline
def inner(n: int, folder: str) -> Any:
    return mapred.run(lambda n: note(n, folder), [n * 10], name="third", **QUIET).result()


def continue_killed(root: Path, folder: Path, number: int, *, after: bool) -> int:
    """Run a pipeline whose driver is killed at a change; return how many changes it took before."""
    with killed_at(number, after=after) as count:
        try:
            nightly.run(str(folder), root=root, run_id="night", backend="inline")
        except Killed:
            pass
    return count[0]


def check(root: Path, folder: Path) -> None:
    """Run the pipeline again, and compare with one that was never killed."""
    run = nightly.run(str(folder), root=root, run_id="night", backend="inline")
    value, last = run.result()
    assert (value, last.result()) == ([130], 3)
    claims = [claim.uri for claim in run._folder.claims()]
    folders = [path.parent for path in root.glob("*/job.json")]
    assert len(claims) == 4
    assert len(folders) == 4, "each step has one run"
    assert all(RunFolder(mapred.open(path).store).end() is not None for path in folders)
    assert all(not mapred.open(path).audit().problems for path in folders)


def test_a_driver_that_is_killed_anywhere_continues(tmp_path: Path) -> None:
    folder = tmp_path / "calls"
    folder.mkdir()
    total = continue_killed(tmp_path / "whole", folder, 10**6, after=False)
    check(tmp_path / "whole", folder)
    chosen = random.Random(0).sample(range(1, total), 12)
    for number in [*range(1, 8), *chosen]:
        root = tmp_path / f"{number}"
        continue_killed(root, folder, number, after=bool(number % 2))
        check(root, folder)


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True])
def test_a_driver_that_is_killed_everywhere_continues(tmp_path: Path, after: bool) -> None:
    folder = tmp_path / "calls"
    folder.mkdir()
    number, total = 0, 10**6
    while number < total:
        number += 1
        root = tmp_path / f"{number}"
        done = continue_killed(root, folder, number, after=after)
        total = total if done > number or after else min(total, number)
        check(root, folder)
        if done < number:
            break


def test_a_driver_that_is_killed_again_and_again_continues(tmp_path: Path) -> None:
    folder = tmp_path / "calls"
    folder.mkdir()
    draw = random.Random(1)
    for _ in range(40):
        continue_killed(tmp_path / "runs", folder, draw.randint(1, 12), after=draw.random() < 0.5)
    check(tmp_path / "runs", folder)
