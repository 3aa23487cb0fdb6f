"""Tasks of several items: what succeeded is not called again, what fails is tried alone."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mapred
from mapred.model import layout
from mapred.model.failure import Failure
from mapred.model.losses import lost_items
from mapred.model.packs import Pack
from mapred.process.whereabouts import Place
from mapred.testing import Script
from mapred.worker import storing

QUIET: dict[str, Any] = {"progress": "none"}


def script(tmp_path: Path, outcomes: dict[int, list[str]]) -> Script:
    (tmp_path / "calls").mkdir(exist_ok=True)
    return Script(tmp_path / "calls", outcomes)


def calls(script: Script, items: Iterable[int]) -> list[int]:
    return [script.calls(item) for item in items]


@given(
    bad=st.dictionaries(st.integers(0, 8), st.tuples(st.sampled_from(["raise", "lost"]), st.integers(1, 9))),
    attempts=st.integers(1, 4),
)  # fmt: skip
@settings(max_examples=66)
def test_turns_do_every_item_and_no_more(bad: dict[int, tuple[str, int]], attempts: int) -> None:
    """A driver in small: who raises does so beside the others, who crashes takes them along."""
    pack, done = Pack(), set[int]()
    called = dict.fromkeys(range(9), 0)
    for _ in range(200):
        left = [i for i in range(9) if i not in done | pack.lost]
        if not left:
            break
        turn = pack.turn(left)
        assert turn
        raising, ended = [], None
        for item in turn:
            called[item] += 1
            how, times = bad.get(item, ("", 0))
            if pack.tries.get(item, 0) >= times:
                continue
            if how == "lost":
                ended = item
                break
            raising.append(item)
        attempt = pack.attempt(turn[0])
        assert attempt <= attempts
        if ended is not None:
            failure = Failure(
                "map", 0, "a", "lost", "e", "m", items=(ended,), attempts=pack.attempt(ended)
            )
            pack = pack.after(failure, lost_items(attempts, failure))
            continue
        done |= set(turn) - set(raising)
        if raising:
            failure = Failure(
                "map", 0, "a", "function", "e", "m", items=tuple(raising), attempts=attempt
            )
            pack = pack.after(failure, lost_items(attempts, failure))
        assert Pack.from_json(pack.to_json()) == pack
    else:
        raise AssertionError("it never ends")
    assert pack.lost == {item for item, (_, times) in bad.items() if times >= attempts}
    if not any(how == "lost" for how, _ in bad.values()):
        for item, number in called.items():
            assert number == min(
                attempts, bad.get(item, ("", 0))[1] + (bad.get(item, ("", 0))[1] < attempts)
            )


def test_a_place_is_shared() -> None:
    descriptor = os.memfd_create("place") if hasattr(os, "memfd_create") else None
    for place in (Place(), Place(descriptor)):
        assert place.read() is None
        place.note(3, -1)
        assert place.read() == (3, -1)
        if not (pid := os.fork()):
            place.note(5, 2**40)
            os._exit(0)
        os.waitpid(pid, 0)
        assert place.read() == (5, 2**40)
        place.close()


@pytest.mark.parametrize("backend", ["local", "inline"])
def test_what_counted_and_wrote_in_a_failed_attempt_is_there_once(
    backend: str, tmp_path: Path
) -> None:
    tried = script(tmp_path, {3: ["raise"], 5: ["raise", "raise"]})

    def function(item: int, task: mapred.Task) -> int:
        task.count("all")
        task.output("note.txt").write_text(f"item {item}")
        value = tried(item)
        task.count("done", item)
        return value

    run = mapred.run(
        function, mapred.items(range(8)), per_task=4, backend=backend, root=tmp_path, **QUIET
    )
    assert run.result() == [item * 10 for item in range(8)]
    assert calls(tried, range(8)) == [1, 1, 1, 2, 1, 3, 1, 1]
    assert run.counters == {"all": 8, "done": 28}
    texts = [Path(path).read_text() for path in run.files["path"]]
    assert sorted(texts) == [f"item {item}" for item in range(8)]
    assert run.store.list(layout.KEPT) == []
    assert run.audit().ok


@pytest.mark.parametrize("ending", ["_exit", "kill", pytest.param("hang", marks=pytest.mark.slow)])
def test_an_item_that_takes_its_process_down_is_isolated(ending: str, tmp_path: Path) -> None:
    tried = script(tmp_path, {4: [ending] * 9})
    options: dict[str, Any] = {"timeout": 1} if ending == "hang" else {}
    run = mapred.run(
        tried, mapred.items(range(10)), per_task=10, max_failed=1, attempts=2, root=tmp_path,
        **options, **QUIET,
    )  # fmt: skip
    assert run.result() == [None if item == 4 else item * 10 for item in range(10)]
    assert run.status().given_up.indices == (4,)
    assert [failure.items for failure in run.failures] == [(4,)]
    assert tried.calls(4) == 2
    assert calls(tried, (5, 6, 7, 8, 9)) == [1] * 5
    assert run.audit().ok


def test_an_item_that_dies_once_costs_no_other_more_than_one_call(tmp_path: Path) -> None:
    tried = script(tmp_path, {4: ["_exit"], 6: ["raise"]})
    run = mapred.run(tried, mapred.items(range(10)), per_task=10, root=tmp_path, **QUIET)
    assert run.result() == [item * 10 for item in range(10)]
    assert calls(tried, range(10)) == [2] * 5 + [1, 2, 1, 1, 1]


@pytest.mark.slow
def test_items_too_slow_together_are_done_one_by_one(tmp_path: Path) -> None:
    import time

    def slow(item: int) -> int:
        time.sleep(0.4)
        return item

    run = mapred.run(slow, mapred.items(range(5)), per_task=5, timeout=1, root=tmp_path, **QUIET)
    assert run.result() == list(range(5))


def test_a_failure_that_is_final_ends_the_run_at_once(tmp_path: Path) -> None:
    tried = script(tmp_path, {2: ["raise"] * 9})
    with pytest.raises(mapred.RunError, match="1 item of map failed"):
        mapred.run(
            tried, mapred.items(range(9)), per_task=9, root=tmp_path, no_retry_on=ValueError,
            backend="inline", **QUIET,
        )  # fmt: skip
    assert calls(tried, range(9)) == [1, 1, 1, 0, 0, 0, 0, 0, 0]


def test_a_resumed_run_calls_only_what_is_not_there(tmp_path: Path) -> None:
    tried = script(tmp_path, {2: ["raise"] * 3})
    with pytest.raises(mapred.RunError) as caught:
        mapred.run(tried, mapred.items(range(6)), per_task=6, root=tmp_path, **QUIET)
    run = mapred.open(caught.value.run.uri).resume(progress="none")
    assert run.result() == [item * 10 for item in range(6)]
    assert calls(tried, range(6)) == [1, 1, 4, 1, 1, 1]


def test_another_function_starts_afresh(tmp_path: Path) -> None:
    tried = script(tmp_path, {2: ["raise"] * 3})
    with pytest.raises(mapred.RunError) as caught:
        mapred.run(tried, mapred.items(range(4)), per_task=4, root=tmp_path, **QUIET)
    run = mapred.open(caught.value.run.uri).resume(lambda item: -item, progress="none")
    assert run.result() == [0, -1, -2, -3]


class Unloadable:
    """Can be stored, and not be loaded again."""

    def __reduce__(self) -> Any:
        return int, ("not a number",)


@pytest.mark.parametrize(
    ("make", "text"),
    [(threading.Lock, "cannot be stored"), (Unloadable, "cannot be loaded again")],
)
def test_a_value_that_cannot_be_kept_is_its_items_failure(
    make: Any, text: str, tmp_path: Path
) -> None:
    """Nothing is tried for ever."""
    tried = script(tmp_path, {1: ["raise"]})

    class Function:
        def __call__(self, item: int) -> Any:
            tried(item)
            return make() if item == 0 else item

    run = mapred.run(
        Function(), mapred.items(range(3)), per_task=3, backend="inline", root=tmp_path,
        max_failed=1, **QUIET,
    )  # fmt: skip
    assert run.result() == [None, 1, 2]
    assert calls(tried, range(3)) == [1, 2, 1]
    (failure,) = run.failures
    assert text in failure.message
    assert failure.items == (0,)


def test_a_task_that_fails_when_its_items_have_succeeded_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, tried = storing.store_values, list[int]()

    def failing(*arguments: Any) -> Any:
        tried.append(1)
        if len(tried) == 1:
            raise MemoryError("no room for the values")
        return store(*arguments)

    monkeypatch.setattr(storing, "store_values", failing)
    run = mapred.run(abs, mapred.items([-1]), root=tmp_path, backend="inline", progress="none")
    assert (run.result(), len(tried)) == ([1], 2)
