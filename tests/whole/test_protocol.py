"""The commit protocol against a model: workers, drivers and cancellers that meet in any order.

Each actor is a thread that runs the real code and stops before every operation on the store,
until the machine lets it go on, die, or lose an answer. One of them moves at a time, so that an
example that fails is the same when it is played again.
"""

from __future__ import annotations

import itertools
import math
import os
import re
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import mapred
from mapred.backends.inline import Inline
from mapred.client import run_handle, submission
from mapred.errors import RunError, StorageError
from mapred.model import layout
from mapred.model.records import Block, Commit
from mapred.model.spec import Stage
from mapred.runfolder import liveness, outputs, results
from mapred.runfolder.folder import RunFolder
from mapred.storage import Store, retries
from mapred.storage.responses import ErrorResponse
from mapred.testing import Idle, MemoryStore, StoreContract
from mapred.worker import context
from mapred.worker import tasks as worker

URI = "/memory/run"
TASKS, ITEMS = 3, 6
BROKEN = "MAPRED_TEST_BROKEN"  # the items that the function refuses, with commas between
GO, DIE_BEFORE, DIE_AFTER, LOSE, FAIL = "go on", "die before", "die after", "lose", "fail"
TASK = re.compile(r"(?P<stage>map|reduce-[0-9]+|result)/[a-z]+/(?P<index>[0-9]{6})")
LOST = ErrorResponse(None, "", "", "the answer got lost")


class Died(BaseException):
    """The process is gone: whatever it does next does not reach the store."""


class Actor(threading.Thread):
    """A process of its own, as far as the store can tell."""

    def __init__(self, what: str, act: Callable[[], Any]) -> None:
        super().__init__(name=what, daemon=True)
        self.act, self.at = act, ""
        self.error: BaseException | None = None
        self.disturbed = False
        self._orders: list[str] = []
        self._dead = False
        self._mine, self._yours = threading.Semaphore(0), threading.Semaphore(0)
        self.start()
        self._wait()

    def run(self) -> None:
        try:
            self.act()
        except BaseException as error:
            self.error = error
        self.at = "the end"
        self._yours.release()

    @property
    def over(self) -> bool:
        return self.at == "the end"

    def order(self, order: str) -> None:
        """Have it do, or not do, what it is at, and go on to its next operation."""
        self.disturbed |= order != GO
        self._orders.append(order)
        self._mine.release()
        self._wait()

    def gate(self, at: str) -> str:
        """Called by the actor itself before each operation: what is to become of it."""
        if self._dead:
            raise Died
        self.at = at
        self._yours.release()
        self._mine.acquire()
        order = self._orders.pop()
        self._dead = order in (DIE_BEFORE, DIE_AFTER)
        return order

    def finish(self, order: str = GO) -> None:
        while not self.over:
            self.order(order)

    def _wait(self) -> None:
        assert self._yours.acquire(timeout=60), f"{self.name} hangs after {self.at}"


class GatedStore(MemoryStore):
    """A store before each operation of which actors stop."""

    def __init__(self, uri: str, files: dict[str, bytes], on_change: Any = None) -> None:
        super().__init__(uri, files)
        self.on_change = on_change or (lambda path: None)

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        whole = self._do("read", path, lambda: MemoryStore.read(self, path))
        return whole[offset : None if length is None else offset + length]

    def write(self, path: str, data: bytes) -> str:
        return self._do("write", path, lambda: self._changed(path, MemoryStore.write, data))

    def put_if_absent(self, path: str, data: bytes) -> bool:
        outcome = retries.put_if_absent(
            data, lambda: self._put_once(path, data), lambda: self.read(path), iter((0.0, 0.0))
        )
        if isinstance(outcome, ErrorResponse):
            raise StorageError(f"cannot write {path}: {outcome.text}")
        return outcome

    def list(self, prefix: str) -> list[tuple[str, int]]:
        return self._do("list", prefix, lambda: MemoryStore.list(self, prefix))

    def delete(self, path: str) -> None:
        self._do("delete", path, lambda: self._changed(path, MemoryStore.delete))

    def _changed(self, path: str, act: Callable[..., Any], *data: bytes) -> Any:
        answer = act(self, path, *data)
        if answer is not False:
            self.on_change(path)
        return answer

    def _put_once(self, path: str, data: bytes) -> bool | ErrorResponse:
        return self._do("put", path, lambda: self._changed(path, MemoryStore.put_if_absent, data))

    def _do(self, verb: str, path: str, act: Callable[[], Any]) -> Any:
        actor = threading.current_thread()
        # What never changes once a run has begun is no meeting place.
        if not isinstance(actor, Actor) or path.startswith(("plan/", "function", "reduce.pkl")):
            return act()
        order = actor.gate(f"{verb} {path}")
        if order == DIE_BEFORE:
            raise Died
        answer = None if order == FAIL else act()
        if order == DIE_AFTER:
            raise Died
        if order in (LOSE, FAIL):
            if verb == "put":
                return LOST
            raise StorageError(f"cannot {verb} {path}: no answer")
        return answer


class TestMemoryStore(StoreContract):
    test_one_of_many_writers_wins = None  # the writers are processes, and this memory is one's

    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()

    def again(self, store: Store) -> Store:
        return store


@contextmanager
def opened(store: GatedStore) -> Iterator[None]:
    """Every module that opens a store gets this one.

    No actor can see whether another one lives, and all have been quiet for long, so that nobody
    holds back: a driver meets twins, and is cancelled while it works.
    """
    with (
        mock.patch.object(liveness, "lives", return_value=None),
        mock.patch.object(liveness, "seconds_quiet", return_value=math.inf),
        mock.patch.object(context, "open_store", return_value=store),
        mock.patch.object(run_handle, "open_store", return_value=store),
        mock.patch.object(submission, "open_store", lambda uri, **_: GatedStore(uri, store.files)),
    ):
        yield


def per_item(item: int) -> list[Any]:
    """Never the same twice, so that a value shows whose it is; a task's two fill a file."""
    if str(item) in os.environ[BROKEN].split(","):
        raise ValueError(f"item {item}")
    return [(item, os.urandom(8), bytes(9000 if item < 4 else 0))]


def per_shard(lines: Iterator[str]) -> list[Any]:
    return [value for line in lines for value in per_item(int(line))]


def chain(parts: Iterable[list[Any]]) -> list[Any]:
    return [value for part in parts for value in part]


def begin(folder: Path, shape: str, max_failed: int) -> dict[str, bytes]:
    """The folder of a run that was planned and not started."""
    files: dict[str, bytes] = {}
    options: dict[str, Any] = {"max_failed": max_failed, "attempts": 2}
    if "tree" in shape:
        options |= {"reduce": chain, "fan_in": 2}
    if "shards" in shape:
        job = mapred.job(per_shard, f"{folder}/*.txt", target_bytes=4, **options)
    else:
        job = mapred.job(per_item, mapred.array(ITEMS), per_task=2, **options)
    with opened(GatedStore(URI, files)):
        run = job.submit(backend=Idle(), root="/memory")
    assert run.job.shards == TASKS
    return {path: data for path, data in files.items() if not path.startswith(".probe")}


class Protocol(RuleBasedStateMachine):
    """The model is the set of words that stand: commits, failed.json, the last word, the answer."""

    begun: dict[tuple[str, int], dict[str, bytes]]

    @initialize(
        shape=st.sampled_from(["items", "items, tree", "shards", "shards, tree"]),
        max_failed=st.sampled_from([0, 2]),
        broken=st.sets(st.integers(0, ITEMS - 1), max_size=2),
    )
    def plan(self, shape: str, max_failed: int, broken: set[int]) -> None:
        self.store = GatedStore(URI, dict(self.begun[shape, max_failed]), self.changed)
        self.patches = opened(self.store)
        self.patches.__enter__()
        self.live: list[Actor] = []
        self.broken = set(broken)
        self.ever_broken = bool(broken)
        self.named: set[str] = set()
        self.words: dict[str, bytes] = {}
        self.end: bytes | None = None
        self.answer: list[Any] | None = None
        self.violations: list[str] = []
        self.numbers = itertools.count(1)
        self.reopen()
        self.tell()

    def reopen(self) -> mapred.Run:
        self.run = mapred.open(URI)
        self.job = self.run.job
        return self.run

    def tell(self) -> None:
        os.environ[BROKEN] = ",".join(map(str, sorted(self.broken)))

    # --- what happens ---

    def begin(self, what: str, act: Callable[[], Any]) -> Actor:
        context.context.cache_clear()
        actor = Actor(f"{what} {next(self.numbers)}", act)
        self.keep(actor)
        return actor

    def keep(self, actor: Actor) -> None:
        """Follow an actor until it is over, and look at what it ended with."""
        if not actor.over:
            self.live += [] if actor in self.live else [actor]
            return
        self.live = [other for other in self.live if other is not actor]
        if not isinstance(actor.error, RunError | StorageError | Died | None):
            raise actor.error
        kind, path = actor.name.split(" ")[0], actor.name.split(" ")[2]
        if kind == "worker" and not actor.disturbed and not self.ever_broken:
            # Whatever others did or left undone, it saw to its inputs and to its own task.
            assert path in self.store.files, f"{actor.name} left nothing"

    @rule(data=st.data(), attempt=st.integers(1, 3))
    def start_a_worker(self, data: st.DataObject, attempt: int) -> None:
        """A twin, a late one, or one of an engine that knows nothing of the others."""
        stages = self.job.stages
        if self.job.max_failed and layout.FAILED not in self.store.files:
            # Before a reduce begins, an engine has the word on what was given up.
            stages = stages[:1]
        stage: Stage = data.draw(st.sampled_from(stages))
        self.begin_task(stage.name, data.draw(st.integers(0, stage.tasks - 1)), attempt)

    def begin_task(self, stage: str, task: int, attempt: int) -> Actor:
        digest = self.run.digest
        return self.begin(
            f"worker of {layout.commit(stage, task)}",
            lambda: worker.run_block(Block(URI, digest, stage, [task], attempt)),
        )

    @precondition(lambda self: any(TASK.search(actor.at) for actor in self.live))
    @rule(which=st.integers(0, 9), at_once=st.booleans())
    def overtake(self, which: int, at_once: bool) -> None:
        """A worker of the task that another one, or a driver, is busy with."""
        busy = [found for actor in self.live if (found := TASK.search(actor.at))]
        found = busy[which % len(busy)]
        actor = self.begin_task(found["stage"], int(found["index"]), 1)
        if at_once:
            actor.finish()
            self.keep(actor)

    @rule(at_once=st.booleans())
    def start_a_driver(self, at_once: bool) -> None:
        actor = self.begin(
            "driver of run", lambda: mapred.open(URI).resume(backend=Inline(), progress="none")
        )
        if at_once:
            actor.finish()
            self.keep(actor)

    @rule(how=st.sampled_from(["cancel", "suspend"]))
    def stop_the_run(self, how: str) -> None:
        self.begin(f"{how} of run", getattr(mapred.open(URI), how))

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 9), operations=st.integers(1, 25))
    def let_go_on(self, which: int, operations: int) -> None:
        actor = self.live[which % len(self.live)]
        for _ in range(operations):
            if not actor.over:
                actor.order(GO)
        self.keep(actor)

    @precondition(lambda self: self.live)
    @rule(
        which=st.integers(0, 9),
        at=st.sampled_from(["put ", "failed.json", "end.json", "write ", "delete ", "the end"]),
    )
    def let_come_to(self, which: int, at: str) -> None:
        """Stop it right before it says a word, where another one may say it first."""
        actor = self.live[which % len(self.live)]
        actor.order(GO)
        while not actor.over and at not in actor.at:
            actor.order(GO)
        self.keep(actor)

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 9), order=st.sampled_from([DIE_BEFORE, DIE_AFTER]))
    def kill(self, which: int, order: str) -> None:
        actor = self.live[which % len(self.live)]
        actor.order(order)
        self.keep(actor)

    @precondition(lambda self: any(self.may_lose(actor) for actor in self.live))
    @rule(which=st.integers(0, 9), orders=st.lists(st.sampled_from([LOSE, FAIL]), max_size=3))
    def lose_answers(self, which: int, orders: list[str]) -> None:
        """The store is told and does not answer, or is not told, up to the client's patience."""
        able = [actor for actor in self.live if self.may_lose(actor)]
        actor = able[which % len(able)]
        for order in orders:
            if self.may_lose(actor):
                actor.order(order)
        self.keep(actor)

    def may_lose(self, actor: Actor) -> bool:
        # A driver waits a while before it repeats what the store refused: puts alone, there.
        return actor.at.startswith("put ") or (not actor.over and actor.name.startswith("worker"))

    @rule(item=st.integers(0, ITEMS - 1))
    def break_or_mend(self, item: int) -> None:
        self.broken ^= {item}
        self.ever_broken = True
        self.tell()

    # --- what must stay true ---

    def changed(self, path: str) -> None:
        """Called at every change of the store, by whoever makes it, who may catch what is raised."""
        data = self.store.files.get(path)
        if path in self.named:
            self.violations.append(f"{path} changed after its commit")
        if "/commits/" in path or path == layout.FAILED:
            if path in self.words:
                self.violations.append(f"{path} changed")
            elif path != layout.FAILED:
                self.check_commit(Commit.from_bytes(data or b""), path)
            self.words[path] = data or b""
        if path == layout.END:
            by = threading.current_thread().name
            # Only who takes a run up again takes its last word back.
            if self.end is not None and (data is not None or not by.startswith("driver")):
                self.violations.append(f"{by} changed {self.end!r} to {data!r}")
            self.end = data

    def check_commit(self, commit: Commit, path: str) -> None:
        others = [data for word, data in self.words.items() if "/commits/" in word]
        if layout.commit(commit.stage, commit.task) != path:
            self.violations.append(f"{path} is the commit of {commit.stage} {commit.task}")
        if commit.attempt in {Commit.from_bytes(data).attempt for data in others}:
            self.violations.append(f"{path} is an attempt that has another commit")
        if commit.output.path is not None:
            self.named.add(commit.output.path)
            data = self.store.files.get(commit.output.path, b"")
            if (len(data), zlib.crc32(data)) != (commit.output.size, commit.output.crc32):
                self.violations.append(f"{path} names {commit.output.path}, which is not written")

    @invariant()
    def no_word_changes(self) -> None:
        assert not getattr(self, "violations", None)

    @invariant()
    def an_answer_is_the_models_and_never_changes(self) -> None:
        if layout.MANIFEST not in self.store.files or self.end is None:
            return
        if b'"succeeded"' in self.end:
            found = results.result(RunFolder(self.store), self.job)
            assert self.answer in (None, found), "the answer changed"
            assert found == self.expected()
            self.answer = found

    def expected(self) -> list[Any]:
        """What the run has to give, by the outputs that won and the tasks given up."""
        given_up = RunFolder(self.store).given_up_tasks()
        values: list[Any] = []
        for task in range(TASKS):
            items = given_up.get(task, [])
            if items is None:
                values += [None] * 2 if self.job.format.once_per_item else []
                continue
            commit = Commit.from_bytes(self.words[layout.commit("map", task)])
            mine = list(outputs.decode(self.store, commit.output))
            held = [item for value in mine if value for item, *_ in value]
            # An item may be given up; the commit says whether it was.
            assert set(held) <= {2 * task, 2 * task + 1} <= {*held, *items}
            values += mine
        return values if self.job.reduce is None else chain(value for value in values if value)

    def teardown(self) -> None:
        """Whatever happened: once the function is fixed, the run comes to its one answer."""
        if not hasattr(self, "live"):
            return
        try:
            for number, actor in enumerate(list(self.live)):
                actor.finish(GO if number % 2 else DIE_AFTER)
                self.keep(actor)
            self.broken = set()
            self.tell()
            self.begin(
                "driver of run", lambda: self.reopen().resume(backend=Inline(), progress="none")
            )
            for actor in list(self.live):
                actor.finish()
                assert actor.error is None, actor.error
            assert self.run.state == "succeeded"
            self.no_word_changes()
            self.an_answer_is_the_models_and_never_changes()
            assert self.answer is not None
            report = self.run.audit()
            assert report.ok, report
        finally:
            for actor in self.live:
                actor.finish(DIE_BEFORE)
            self.patches.__exit__(None, None, None)


SHAPES = ["items", "items, tree", "shards", "shards, tree"]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Protocol]:
    monkeypatch.setenv(BROKEN, "")
    for task in range(TASKS):
        (tmp_path / f"{task}.txt").write_text(f"{2 * task}\n{2 * task + 1}\n")
    begun = {
        (shape, max_failed): begin(tmp_path, shape, max_failed)
        for shape in SHAPES
        for max_failed in (0, 2)
    }
    return type("Machine", (Protocol,), {"begun": begun})


def drive(machine: type[Protocol], examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
def test_the_protocol_holds(machine: type[Protocol]) -> None:
    drive(machine, examples=40, steps=30)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_protocol_holds_for_long(machine: type[Protocol]) -> None:
    drive(machine, examples=150, steps=60)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("at", ["write ", "put "])
def test_who_is_overtaken_at_each_word_leaves_the_winner_alone(
    machine: type[Protocol], shape: str, at: str
) -> None:
    state = machine()
    state.plan(shape=shape, max_failed=0, broken=set())
    state.start_a_driver(at_once=False)
    while state.live:
        state.let_come_to(which=0, at=at)
        if state.live and "/0" in state.live[0].at:
            state.overtake(which=0, at_once=True)
        state.no_word_changes()
    state.an_answer_is_the_models_and_never_changes()
    assert state.answer is not None
    state.teardown()


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["items, tree", "shards, tree"])
def test_a_reduce_runs_what_was_skipped(machine: type[Protocol], shape: str) -> None:
    state = machine()
    state.plan(shape=shape, max_failed=0, broken=set())
    last = state.job.stages[-1].name
    state.begin_task(last, 0, 1).finish()
    assert layout.commit(last, 0) in state.words
    state.teardown()


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_who_gives_up_late_changes_no_answer(machine: type[Protocol], shape: str) -> None:
    state = machine()
    state.plan(shape=shape, max_failed=2, broken={0})
    state.start_a_driver(at_once=False)
    state.let_come_to(which=0, at="failed.json")
    state.break_or_mend(item=0)
    state.start_a_driver(at_once=True)
    state.an_answer_is_the_models_and_never_changes()
    assert state.answer is not None
    state.let_come_to(which=0, at="the end")
    state.an_answer_is_the_models_and_never_changes()
    state.teardown()


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_of_two_who_give_up_the_first_is_right(machine: type[Protocol], shape: str) -> None:
    state = machine()
    state.plan(shape=shape, max_failed=2, broken={0})
    state.start_a_driver(at_once=False)
    state.let_come_to(which=0, at="failed.json")
    state.break_or_mend(item=0)
    state.break_or_mend(item=5)
    state.start_a_driver(at_once=True)
    state.let_come_to(which=0, at="the end")
    state.an_answer_is_the_models_and_never_changes()
    state.teardown()
