"""Running tasks: `run_block`, the same in every process.

An attempt writes its data under a name of its own, then puts the commit if absent; one that
loses leaves the winner alone. A task whose commit exists does nothing.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import resource
import shutil
import sys
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from mapred import formats
from mapred.errors import FunctionError, MapredError, RecordError, ReduceError, StorageError
from mapred.functions import instances, regrouping, signatures, transport
from mapred.functions.modules import install, is_known, offer
from mapred.functions.task import Task, written
from mapred.model import layout, packs, seeds
from mapred.model.coding import EMPTY
from mapred.model.spec import Commit, Job, Outcome, Output, Stage, StoredFile
from mapred.planner import PlanFile
from mapred.process import forks, interrupts, surroundings
from mapred.reducers import Reducer
from mapred.runfolder import agreement, failures, outputs, pieces, points, records
from mapred.storage import Store, each, open_store, source_opener
from mapred.worker import turns

if TYPE_CHECKING:
    import pyarrow as pa

    from mapred.worker import keyed

_FOLLOW_HERE, _FOLLOW_REMOTE = (0.01, 0.01), (0.1, 1.0)  # seconds: shortest and longest wait
_LISTED = 500


@dataclass(frozen=True)
class Context:
    """One run as its workers see it; loaded once per process, checked against digests."""

    store: Store
    job: Job
    plans: dict[int, PlanFile] = field(default_factory=dict)
    inputs: dict[str, bytes | pieces.Pieces] = field(default_factory=dict)
    agreed: dict[str, agreement.Agreed | None] = field(default_factory=dict)

    def load(self, path: str) -> bytes:
        """A file of the run, refused if its digest is not the one the job names."""
        try:
            return pieces.read(self.store, self.job.digests, path)
        except FileNotFoundError:
            raise self._lost(path, "is gone") from None
        except RecordError as error:
            raise self._lost(path, EMPTY) from error

    def _lost(self, path: str, why: str) -> MapredError:
        """The error of a file that a power cut or a hand took away, with what can be done."""
        what = f"{self.store.uri}/{path} {why}"
        if path in (self.job.function, self.job.reduce, self.job.modules):
            option = "reduce=" if path == self.job.reduce else "fn="
            return FunctionError(f"{what}; resume with the function once more, by {option}")
        return RecordError(f"{what}; put a copy of it back, or start a new run")

    def check_python(self, stage: Stage) -> None:
        """Refuse a stage whose function holds code of another Python than this one."""
        path = self.job.function_of(stage)
        made, here = self.job.python_of(path), ".".join(map(str, sys.version_info[:2]))
        if made != here and not transport.is_portable(self.load(path)):
            option = "fn=" if path == self.job.function else "reduce="
            raise FunctionError(
                f"the run was made by Python {made} and this worker has {here}: pickled functions "
                f"need the same minor version; resume with the function once more, by {option}"
            )

    @functools.cached_property
    def _function(self) -> Callable[[], Callable[..., Any]]:
        code: Any = transport.loaded(self.load(self.job.function))
        if transport.makes_callables(code):
            return instances.PerThread(self.store.uri, code).here
        return lambda: code

    @property
    def function(self) -> Callable[..., Any]:
        """The user's function; of a class, this thread's instance."""
        return self._function()

    @functools.cached_property
    def task_parameters(self) -> tuple[str, ...]:
        named = self.job.task_parameters
        return signatures.task_parameters(self.function) if named is None else named

    @functools.cached_property
    def takes_repeat(self) -> bool:
        """Whether a sweep's function wants to know which repeat it is."""
        return signatures.takes(self.function, "repeat")

    @functools.cached_property
    def reducer(self) -> Reducer:
        reducer = transport.load(self.load(self.job.reduce or ""))
        if not isinstance(reducer, Reducer):
            raise FunctionError(f"{self.job.reduce} holds no reducer")
        return reducer

    def ranges(self, shard: int) -> pa.Table:
        """The plan's rows of one shard."""
        number = shard // layout.PLAN_SHARDS
        if number not in self.plans:
            if len(self.plans) >= 8:
                self.plans.pop(next(iter(self.plans)))
            self.plans[number] = PlanFile(self.load(layout.plan_file(number)))
        return self.plans[number].shard(shard)

    @functools.cached_property
    def occurrences(self) -> Sequence[int] | None:
        """How many items before each are spelled alike; None where all differ."""
        if layout.OCCURRENCES not in self.job.digests:
            return None
        return memoryview(self.load(layout.OCCURRENCES)).cast("q")

    def commit(self, stage: str, index: int) -> Commit | None:
        return records.read_commit(self.store, stage, index)

    def given_up(self) -> dict[int, list[int] | None]:
        """The map tasks given up under max_failed; a list names single items of a task."""
        return records.read_given_up(self.store) if self.job.max_failed else {}

    @functools.cached_property
    def dataset(self) -> Callable[[str, tuple[int, str] | None], BinaryIO]:
        """Opens the dataset's files."""
        if self.job.format.storage is not None:
            from mapred.storage import fsspec_options

            fsspec_options.admit(self.job.format.storage)
        return source_opener(self.job.format.storage)

    def open(self, path: str, known: tuple[int, str] | None = None) -> Any:
        """A dataset's file, or one of the run's own input files."""
        if path.startswith("input/"):
            return self._input(path)
        return self.dataset(path, known)

    def _input(self, path: str) -> Any:
        """An input file, held against its digests; a small one is loaded once a process."""
        if path not in self.inputs:
            self.inputs[path] = pieces.held(self.store, self.job.digests, path)
        return pieces.opened(self.inputs[path])


@functools.lru_cache(maxsize=4)
def context(run_uri: str, digest: str) -> Context:
    """The run at `run_uri`, whose job.json must have the SHA-256 `digest`."""
    store = open_store(run_uri)
    data = records.read_data(store, layout.JOB)
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise FunctionError(
            f"{run_uri}/{layout.JOB} has SHA-256 {found}, not {digest} as the run was started "
            "with: it was resumed with another function, or someone changed it"
        )
    run = Context(store, records.decoded(store, layout.JOB, Job, data))
    if run.job.modules is not None:
        install(run.load(run.job.modules))
    return run


def offer_modules(run: Context) -> None:
    """Have the classes of a run's values found where this process cannot import them itself."""
    if run.job.modules is not None and not is_known(run.job.digests[run.job.modules]):
        offer(run.load(run.job.modules))


def run_block(
    run_uri: str,
    digest: str,
    stage: str,
    tasks: Iterable[int],
    attempt: int = 1,
    read_log: Callable[[], str] | None = None,
    follow: bool = False,
    fresh: bool = False,
    pack: packs.Pack | None = None,
    note: packs.Note | None = None,
) -> list[Outcome]:
    """Run tasks of one stage, one after the other, each with its own commit.

    `attempt` counts from 1; `read_log` gives what the process printed since its last call.
    A reduce that is to `follow` waits for inputs that are not committed yet, as its driver
    sees to it that they will be. Tasks that are `fresh` had neither a commit nor kept values a
    moment ago: nobody asks again, since the commit decides. `pack` says whose turn it is in a
    task whose items failed; `note` is told of each item before its call. A failure of the
    function is an outcome; a failing store raises `StorageError`, and a Ctrl-C what it does.
    """
    run = context(run_uri, digest)
    chosen = run.job.stage(stage)
    run.check_python(chosen)
    tasks = list(tasks)
    there = {} if fresh else committed(run, chosen, tasks)
    with interrupts.noted(), instances.working(run.store.uri), seeds.kept():
        return [
            Outcome(index, there[index])
            if index in there
            else _run_task(run, chosen, index, attempt, read_log, follow, fresh, pack, note)
            for index in tasks
        ]


def committed(run: Context, stage: Stage, tasks: list[int]) -> dict[int, Commit]:
    """The commits of those of the tasks that have one; of many, by one listing."""
    if stage.tasks < _LISTED * (len(tasks) - 1):
        listed = set(records.committed(run.store, stage.name))
        tasks = [index for index in tasks if index in listed]
    found = zip(tasks, records.read_commits(run.store, stage.name, tasks), strict=True)
    return {index: commit for index, commit in found if commit is not None}


def run_task(
    run: Context,
    stage: Stage,
    index: int,
    number: int = 1,
    read_log: Callable[[], str] | None = None,
    pack: packs.Pack | None = None,
    note: packs.Note | None = None,
) -> Outcome:
    """One attempt at one task, unless it is committed already."""
    committed = run.commit(stage.name, index)
    if committed is not None:
        return Outcome(index, committed)
    return _run_task(run, stage, index, number, read_log, False, False, pack, note)


def _run_task(
    run: Context,
    stage: Stage,
    index: int,
    number: int,
    read_log: Callable[[], str] | None,
    follow: bool,
    fresh: bool,
    pack: packs.Pack | None,
    note: packs.Note | None,
) -> Outcome:
    attempt = f"{number}-{uuid.uuid4().hex[:8]}"
    folder = f"mapred-{os.getpid()}-{attempt}"
    task = Task(stage=stage.name, shard=index, attempt=number, seed=run.job.seed, folder=folder)
    reading = formats.Reading()
    pid, started, clock = os.getpid(), time.time(), time.perf_counter()
    drop: Callable[[], None] | None = None
    turn: turns.Turn | None = None
    _reset_peak_memory()
    if note is not None:
        note(index, packs.NO_ITEM)
    found = surroundings.current()
    try:
        found = _with_code(run, stage)
        forks.leave_unless(pid)
        if stage.kind == "map" and run.job.format.once_per_item:
            given_up = run.given_up().get(index) or ()
            turn = turns.Turn(run, task, given_up, pack, again=not fresh)
            values: Any = _map_items(run, task, reading, turn, note)
        elif stage.kind == "map":
            values = _map(run, task, reading)
        elif stage.kind == "reduce":
            values = _reduce(run, stage, task, reading, follow)
        else:
            values = _shuffle(run, stage, task, reading)
        forks.leave_unless(pid)
        surroundings.restore(found)
        if stage.kind == "map" and (run.job.write is not None or run.job.shuffle is not None):
            values = [forks.held_values(v) if isinstance(v, Iterator) else v for v in values]
        if stage.kind == "map" and run.job.write is not None:
            values, drop = _write_values(run.job, index, attempt, values)
        if stage.kind == "map" and run.job.shuffle is not None:
            from mapred.worker import keyed

            values = keyed.sent(run.job.shuffle, values, keyed.memory_limit(stage))
        output = _store_values(run, stage, index, attempt, values)
        if turn is not None:
            turn.bring_files()
        files = _store_files(run, stage, index, attempt, task.folder) if task.wrote_files else ()
        _store_log(run, stage, index, attempt, read_log)
        commit = Commit(
            stage=stage.name,
            task=index,
            attempt=attempt,
            function=run.job.digests[run.job.function_of(stage)],
            output=output,
            files=files,
            records=reading.records,
            skipped=reading.skipped,
            bytes=reading.bytes,
            ranges=reading.ranges,
            spans=tuple(reading.spans),
            units=reading.units,
            started=started,
            seconds=time.perf_counter() - clock,
            peak_memory=_peak_memory(),
            counters=task.counters,
            heavy=reading.heavy,
            worker=f"{os.uname().nodename}:{pid}",
        )
        # From here on nobody here knows whether the commit is there.
        drop_unless, drop = drop, None
        commit = _put_commit(run, commit)
        if commit.attempt != attempt and drop_unless is not None:
            drop_unless()
        if turn is not None:
            turn.forget()
        return Outcome(index, commit)
    except BaseException as error:
        forks.leave_unless(pid)
        error = failures.plain(error)
        if drop is not None:
            drop()
        if interrupts.is_real(error) or failures.is_of_store(error):
            raise
        if turn is not None:
            error = turn.keep(attempt, error)
        more = turn is not None and turn.more
        if isinstance(error, turns.Unfinished):
            return Outcome(index, more=more)
        whole = turn is not None and not more and not isinstance(error, failures.ItemsFailed)
        items, final, error = failures.failed_items(error, task, run.job)
        if whole and not final:
            items = {}  # none of them failed: it is what became of their values
        values = points.values_of(run.job, run.ranges(index), run.open, items) if items else {}
        where = _where(run, stage, task, reading, items, values)
        failure = failures.describe(error, task, attempt, where, items, final, values)
        failure = failures.record(run.store, failure, time.perf_counter() - clock, read_log)
        return Outcome(index, failure=failure, more=more)
    finally:
        surroundings.restore(found)
        if task.wrote_files:
            shutil.rmtree(task.folder, ignore_errors=True)


def _with_code(run: Context, stage: Stage) -> surroundings.Surroundings | None:
    """The process as each task finds it: what loading the code has set is there for all."""
    if stage.kind == "map":
        # A class is made here: where it draws numbers, each worker is to make the same one.
        seeds.seed_globals(seeds.entropy(run.job.seed, "function"))
        _ = run.function
    elif stage.kind != "manifest" and run.job.reduce is not None:
        _ = run.reducer
    return surroundings.current()


def _put_commit(run: Context, commit: Commit) -> Commit:
    path = layout.commit(commit.stage, commit.task)
    if run.store.put_if_absent(path, commit.to_bytes()):
        return commit
    # Another attempt won, or it was our own put whose answer got lost: the record tells.
    winner = run.commit(commit.stage, commit.task)
    if winner is not None:
        return winner
    # What cannot be read, such as an empty file after a power cut, has the name of a commit.
    records.move_aside(run.store, commit.stage, commit.task)
    if run.store.put_if_absent(path, commit.to_bytes()):
        return commit
    winner = run.commit(commit.stage, commit.task)
    if winner is None:
        raise StorageError(f"{run.store.uri}/{path} was refused as existing, but is not there")
    return winner


def _map(run: Context, task: Task, reading: formats.Reading) -> list[Any]:
    """The value that the function returns for one shard."""
    ranges = run.ranges(task.shard)
    inputs = formats.read(run.job.format, ranges, run.open, reading)
    task.begin(None, seeds.of_shard(ranges))
    value = run.function(inputs, **dict.fromkeys(run.task_parameters, task))
    return [] if value is None else [value]


def _map_items(
    run: Context,
    task: Task,
    reading: formats.Reading,
    turn: turns.Turn,
    note: packs.Note | None = None,
) -> list[Any]:
    """The values that the function returns for the items of one shard."""
    ranges = run.ranges(task.shard)
    inputs = formats.read(run.job.format, ranges, run.open, reading)
    given: dict[str, Any] = dict.fromkeys(run.task_parameters, task)
    called = functools.partial(_call, run, given) if given or _keywords(run) else run.function
    spelling = _spelling(run, ranges)

    def call(value: Any) -> Any:
        item = task.item
        assert item is not None
        task.begin(item, spelling(item, value))
        return called(value)

    return turn.call_each(inputs, call, reading, note)


def _keywords(run: Context) -> bool:
    return run.job.format.as_ == "keywords"


def _spelling(run: Context, ranges: pa.Table) -> Callable[[int, Any], str]:
    """What spells an item, by its index and value."""
    if run.job.format.name == "files":
        numbered = zip(ranges["first"].to_pylist(), ranges["path"].to_pylist(), strict=True)
        paths = dict(numbered)
        return lambda item, value: seeds.of_item(paths[item])
    spell = seeds.of_point if _keywords(run) else seeds.of_item
    counted = run.occurrences
    return lambda item, value: spell(value, 0 if counted is None else counted[item])


def _call(run: Context, given: dict[str, Any], value: Any) -> Any:
    if _keywords(run):
        if not run.takes_repeat:
            value.pop("repeat", None)
        return run.function(**value, **given)
    return run.function(value, **given)


def _reduce(
    run: Context, stage: Stage, task: Task, reading: formats.Reading, follow: bool = False
) -> list[Any]:
    """The reduced value of consecutive outputs of the stage before, streaming, in order."""
    reducer = run.reducer
    if not follow:
        _see_to_inputs(run, stage, task.shard)
    task.begin(None, f"{stage.name} {task.shard}")
    first_level = stage.inputs == "map"
    checked = stage.check and regrouping.is_checked(task.shard)
    if checked and not first_level:
        # Where two outputs make a group, only those of several groups tell means apart.
        below = run.job.stage(stage.inputs or "")
        few = [i for each in stage.input_range(task.shard) for i in below.input_range(each)]
        raw = _values_of(run, run.job.stage("map"), few, formats.Reading())
        regrouping.check_associative(reducer, list(itertools.islice(raw, regrouping.WINDOW)))
    values = _input_values(run, stage, task.shard, reading, follow)
    if checked:
        values = regrouping.watched(reducer, values)
    result = (reducer.step if first_level else reducer.merge)(values)
    return [reducer.finish(result) if stage.last and reducer.finish else result]


def _shuffle(run: Context, stage: Stage, task: Task, reading: formats.Reading) -> keyed.Sheets:
    """The manifest of the map tasks, or the answer of one partition."""
    from mapred.worker import keyed

    job = run.job
    assert job.shuffle is not None
    _see_to_inputs(run, stage, task.shard)
    task.begin(None, f"{stage.name} {task.shard}")
    if stage.kind == "manifest":
        given_up = run.given_up()
        there = [i for i in range(stage.input_tasks) if given_up.get(i, ()) is not None]
        return keyed.listed(run.store, job.shuffle, there, reading)
    takes_rows = not (job.shuffle.aggregates or job.shuffle.descending)
    function = forks.held(run.reducer.step) if takes_rows else None
    return keyed.reduced(run.store, job, stage, task.shard, function, reading)


def _see_to_inputs(run: Context, stage: Stage, index: int) -> None:
    """Check the commit of every input of a reduce task before it reads one.

    What is neither committed nor given up was skipped, whatever an engine says: it is run
    here, or named.
    """
    _see_to(run, run.job.stage(stage.inputs or ""), stage.input_range(index))


def _see_to(run: Context, source: Stage, indices: Iterable[int]) -> None:
    given_up = run.given_up() if source.kind == "map" else {}
    there = set(records.committed(run.store, source.name))
    for i in indices:
        if i in there or (i in given_up and given_up[i] is None):
            continue
        outcome = run_task(run, source, i)
        if outcome.failure is not None:
            raise ReduceError(
                f"{source.name} task {i} was never committed, and running it here failed: "
                f"{outcome.failure.error}: {outcome.failure.message}"
            )


def _input_values(
    run: Context, stage: Stage, index: int, reading: formats.Reading, follow: bool
) -> Iterator[Any]:
    """The outputs that task `index` reduces, in plan order; to follow is to wait for them."""
    source = run.job.stage(stage.inputs or "")
    yield from _values_of(run, source, stage.input_range(index), reading, follow)


def _values_of(
    run: Context,
    source: Stage,
    indices: Iterable[int],
    reading: formats.Reading,
    follow: bool = False,
) -> Iterator[Any]:
    given_up = run.given_up() if source.kind == "map" else {}
    wanted = [i for i in indices if given_up.get(i, ()) is not None]
    for ready in _ready(run, source, wanted) if follow else [wanted]:
        fetched = each(run.store, lambda i: _fetch(run, source, i), ready)
        for output, data in fetched:
            reading.ranges += 1
            for value in outputs.decode(run.store, output, data):
                if value is not None:
                    reading.records += 1
                    yield value


def _fetch(run: Context, source: Stage, index: int) -> tuple[Output, bytes | None]:
    """What a committed task gave, and its bytes if they are to be fetched ahead."""
    commit = run.commit(source.name, index)
    if commit is None:
        raise StorageError(f"{run.store.uri}: the commit of {source.name} task {index} is gone")
    return commit.output, outputs.fetch(run.store, commit.output)


def _ready(run: Context, source: Stage, wanted: list[int]) -> Iterator[list[int]]:
    """The wanted tasks in order, as their commits come: those that can be read next."""
    shortest, longest = _FOLLOW_HERE if hasattr(run.store, "local_path") else _FOLLOW_REMOTE
    wait = shortest
    while wanted:
        ready = _committed_first(run, source, wanted)
        if not ready and wait == longest and run.commit(source.name, wanted[0]) is not None:
            ready = wanted[:1]  # which a listing that lags behind does not show yet
        if ready:
            yield ready
            wanted, wait = wanted[len(ready) :], shortest
        else:
            time.sleep(wait)
            wait = min(longest, 1.5 * wait)


def _committed_first(run: Context, source: Stage, wanted: list[int]) -> list[int]:
    """Those of the wanted tasks, from the first on, that are committed."""
    locate = getattr(run.store, "local_path", None)
    if locate is not None:
        paths = (f"{locate('')}{layout.commit(source.name, i)}" for i in wanted)
        return wanted[: sum(1 for _ in itertools.takewhile(os.path.exists, paths))]
    there = set(records.committed(run.store, source.name))
    return list(itertools.takewhile(there.__contains__, wanted))


def replay(store: Store, job: Job, stage: str, index: int) -> list[Any]:
    """The values of one task, computed in this process; nothing is stored, nothing caught."""
    # The first failure is the one to look at.
    run = Context(store, replace(job, attempts=1))
    offer_modules(run)
    # Made by the first `task.output`; what is written there stays, to be looked at.
    folder = f"mapred-replay-{uuid.uuid4().hex[:8]}"
    task = Task(stage=stage, shard=index, attempt=1, seed=job.seed, folder=folder)
    found = surroundings.current()
    try:
        with seeds.kept():
            _with_code(run, job.stage(stage))
            if job.stage(stage).kind == "map" and job.format.once_per_item:
                given_up = run.given_up().get(index) or ()
                turn = turns.Turn(run, task, given_up, None, again=False)
                return _map_items(run, task, formats.Reading(), turn)
            if job.stage(stage).kind == "map":
                return _map(run, task, formats.Reading())
            if job.stage(stage).kind != "reduce":
                return list(_shuffle(run, job.stage(stage), task, formats.Reading()).tables)
            return _reduce(run, job.stage(stage), task, formats.Reading())
    except failures.ItemsFailed as error:
        raise error.first from None
    finally:
        surroundings.restore(found)
        instances.close(store.uri)


def _write_values(
    job: Job, index: int, attempt: str, values: list[Any]
) -> tuple[list[Any], Callable[[], None]]:
    """Write a map task's tables where the job says.

    Gives what the last task needs to publish them, and what removes them again.
    """
    from mapred import writing

    target = writing.Target.from_json(job.write or {})
    wrote = writing.write_values(target, job.run_id, index, attempt, values)
    return [wrote], functools.partial(writing.drop, target, wrote)


def _store_values(
    run: Context, stage: Stage, index: int, attempt: str, values: list[Any] | keyed.Sheets
) -> Output:
    if not isinstance(values, list):
        from mapred.worker import keyed

        path = layout.data(stage.name, index, attempt, "arrow")
        return keyed.store_sheets(run.store, values, path, keyed.memory_limit(stage))
    is_result = stage.kind == "map" and stage.last
    check = functools.partial(_hold, run, stage, index) if is_result else None
    pid = os.getpid()
    output, payload = outputs.encode(values, check)
    forks.leave_unless(pid)  # values may do what they like while they are pickled
    if payload is None:
        return output
    path = layout.data(stage.name, index, attempt, outputs.suffix(output))
    etag = run.store.write(path, payload)
    return replace(output, path=path, etag=etag)


def _hold(run: Context, stage: Stage, index: int, tables: list[pa.Table | None]) -> None:
    """Hold the tables of a task against those of the others, since they make one result."""
    if run.job.format.once_per_item:
        items = records.items_of(run.ranges(index))
        sources = [agreement.Source(index, item) for item in items]
    else:
        sources = [agreement.Source(index)]
    held = [pair for pair in zip(sources, tables, strict=True) if pair[1] is not None]
    known = run.agreed.get(stage.name)
    run.agreed[stage.name] = agreement.hold(run.store, stage.name, known, held)


def _store_files(
    run: Context, stage: Stage, index: int, attempt: str, folder: str
) -> tuple[StoredFile, ...]:
    stored = []
    for source in written(folder):
        path = layout.output(stage.name, index, attempt, source.name)
        size, crc32 = _measure(source)
        etag = run.store.put_file(source, path)
        stored.append(StoredFile(source.name, path, size, crc32, etag))
    return tuple(stored)


def _measure(path: Path) -> tuple[int, int]:
    """Size in bytes and CRC-32 of a local file."""
    size = crc32 = 0
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                size, crc32 = size + len(block), zlib.crc32(block, crc32)
    except OSError as error:
        raise FunctionError(
            f"task.output({path.name!r}) is not a readable file: {error}"
        ) from error
    return size, crc32


def _store_log(
    run: Context,
    stage: Stage,
    index: int,
    attempt: str,
    read_log: Callable[[], str] | None,
) -> None:
    text = read_log() if read_log else ""
    if text:
        run.store.write(layout.log(stage.name, index, attempt), text.encode(errors="replace"))


def _where(
    run: Context,
    stage: Stage,
    task: Task,
    reading: formats.Reading,
    items: Iterable[int],
    values: Mapping[int, str],
) -> str:
    """What the task was at: an item, a line, a file's bytes or row group, what it reduced."""
    for item in items:
        return points.item_text(item, values)
    where = ""
    if stage.kind == "map":
        where = points.line_text(run.job.format, reading, run.open) or reading.where()
    return where or records.where_of(run.store, stage, task.shard)


def _reset_peak_memory() -> None:
    # Linux resets a process's high-water mark when 5 is written here; elsewhere it only grows.
    with suppress(OSError), open("/proc/self/clear_refs", "wb", buffering=0) as file:
        file.write(b"5")


def _peak_memory() -> int:
    """Bytes resident at most since the last reset."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024
