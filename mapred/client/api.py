"""What a user calls: `run`, `submit`, `plan`, `job`."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import field, replace
from typing import TYPE_CHECKING, Annotated, Any

from mapred import backends, dataset, display, planner, writing
from mapred._version import __version__
from mapred.client import naming
from mapred.client.options import JobOptions, Options, Progress, refuse_unknown, takes_options
from mapred.client.run_handle import Run, go_on, how_to_continue, open_run, record_write
from mapred.dataset import Dataset
from mapred.engine.base import Backend
from mapred.errors import BackendError, DatasetError, FunctionError, PlanError
from mapred.functions import fitting, generators, origins, parameters, signatures, transport
from mapred.functions.commands import Command
from mapred.functions.modules import refuse_while_importing, shipping
from mapred.functions.parameters import Value
from mapred.model import checking, layout, retries
from mapred.model.checking import FolderMode, FromOne, Location, Size
from mapred.model.frozen import dataclass
from mapred.model.limits import Limits
from mapred.model.spec import Format, Resources, Stage
from mapred.model.spec import Job as JobRecord
from mapred.planner import stages as graph
from mapred.process import definitions, interrupts, secrecy, shortages
from mapred.reducers import Reducer, as_reducer
from mapred.runfolder import pieces, status
from mapred.storage import Store, open_store, probe, refuse_secrets

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from mapred.model.shuffle import Shuffle
    from mapred.storage import Store

__all__ = ["Job", "Plan", "job", "plan", "run", "submit"]

Function = Callable[..., Any]

# A type that was inferred from fewer values is shown with their number.
_FEW = 10


def _folder_name(value: Any) -> str:
    if not layout.is_run_id(value):
        raise checking.Unfit
    return str(value)


_RUN_ID = checking.Rule(
    "the name of a folder, of up to 128 letters (a-z, A-Z), digits, '_', '-' and '.', the first of "
    "them a letter or digit",
    _folder_name,
)


@dataclass(frozen=True)
class Plan:
    """Every shard of a dataset, fixed: what would run, and `run` to run exactly that.

    Its text and HTML show files, bytes, shards, the limit that chose them, skew, the largest
    files and what cannot be split.
    """

    dataset: Dataset
    format: Format
    ranges: planner.Plan

    @property
    def shards(self) -> int:
        return self.ranges.shards

    def run(
        self,
        fn: Function,
        *,
        backend: str | Backend | Executor = "local",
        root: Location | None = None,
        progress: Progress = "auto",
        **options: Unpack[JobOptions],
    ) -> Run:
        """`mapred.run(fn, plan, …)`."""
        return run(fn, self, backend=backend, root=root, progress=progress, **options)

    def summary(self) -> display.PlanSummary:
        """The numbers that are shown."""
        ranges = self.ranges
        skew = ranges.skew if ranges.shards else planner.Skew(0, 0, 0)
        unsplittable: tuple[tuple[int, int, str], ...] = ()
        if ranges.unsplittable_files:
            unsplittable = (
                (ranges.unsplittable_files, ranges.unsplittable_bytes, ranges.unsplittable_reason),
            )
        return display.PlanSummary(
            dataset=str(self.dataset),
            format=self.format.name,
            files=ranges.files,
            bytes=ranges.bytes,
            shards=ranges.shards,
            tasks=ranges.shards,
            items=ranges.items,
            limit=ranges.limit,
            smallest=skew.smallest,
            median=skew.median,
            largest=skew.largest,
            largest_files=ranges.largest_files(),
            columns=_columns(self.format),
            unsplittable=unsplittable,
            shard_bytes=ranges.shard_bytes() if ranges.bytes else ranges.shard_items(),
        )

    def __repr__(self) -> str:
        return display.plan_text(self.summary())

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        summary = self.summary()
        return {"text/plain": display.plan_text(summary), "text/html": display.plan_html(summary)}


def _columns(format: Format) -> tuple[display.Column, ...]:
    """The columns that the function gets, and which of their types rest on little."""
    schema = format.schema
    if schema is None or format.as_ == "dicts":
        return ()
    seen = dict(zip(format.inferred, format.seen, strict=True))

    def note(name: str) -> str:
        if name in format.partitions:
            return "from the folders' names"
        count = seen.get(name, _FEW)
        if not count:
            return "no value in the sample; give its type by schema="
        return f"inferred from {count} value{'s' * (count > 1)}" if count < _FEW else ""

    names = schema.names if format.columns is None else format.columns
    return tuple(display.Column(n, str(schema.field(n).type), note(n)) for n in names)


@checking.checks(PlanError)
def plan(
    source: Any,
    *,
    target_bytes: Size | None = None,
    max_tasks: FromOne | None = None,
    per_task: FromOne | None = None,
) -> Plan:
    """What would run over `source`: a URI or glob, a list of them, a dataset or a frame.

    Lists the files, and opens at most a few for samples of names and types. `target_bytes` is the
    size of a shard (default: a 32nd of all, between 1 MiB and 32 MiB; files that are read whole
    count as larger than they are, since opening one takes time), `max_tasks` the most shards,
    `per_task` the items in one (items, arrays and sweeps alone).
    """
    chosen = dataset.as_dataset(source)
    if chosen.format in ("items", "array"):
        if target_bytes is not None:
            raise PlanError("target_bytes= is for datasets of bytes; items take per_task=")
        offsets = chosen.offsets if chosen.format == "items" else None
        ranges = planner.plan_items(
            chosen.count, per_task=per_task, max_tasks=max_tasks, offsets=offsets
        )
        return Plan(chosen, dataset.item_format(chosen), ranges)
    if per_task is not None:
        raise PlanError("per_task= is for items, arrays and sweeps; files take target_bytes=")
    from mapred import formats

    files = dataset.listing(chosen)
    pinned = dataset.pin(chosen, files, formats.sniff)
    formats.check(pinned)
    ranges = planner.plan(
        files,
        target_bytes=target_bytes,
        max_tasks=max_tasks,
        splittable=formats.splittable(pinned, files["path"]),
        once_per_file=pinned.name == "files",
        reason=dataset.why_whole(pinned),
    )
    return Plan(chosen, pinned, ranges)


@dataclass(frozen=True, kw_only=True)
class Job(Options):
    """What to run, checked but not started: `run` and `submit` start it, as often as wanted."""

    fn: Function
    dataset: Any
    bound: Mapping[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checking.check_fields(self, PlanError)
        self._check_function()
        if self.dataset is None:
            raise DatasetError("dataset=None: pass a URI, a glob, a dataset or items")
        if isinstance(self.dataset, Plan):
            if not (self.target_bytes is self.max_tasks is self.per_task is None):
                raise PlanError("the dataset is planned already: give the limits to mapred.plan")
        else:
            object.__setattr__(self, "dataset", dataset.as_dataset(self.dataset))
        if self.write is not None:
            if self.reduce is not None or self.shuffle is not None:
                raise FunctionError("write= is for what map tasks return: leave reduce= out")
            writing.check_losses(self.write, self.max_failed)
        retries.refuse_contradiction(self.retry_on, self.no_retry_on)
        if not self.name:
            object.__setattr__(self, "name", transport.name_of(self.fn))
        if secrecy.looks(self.name):
            raise PlanError(
                "name= looks like a secret, and the names of jobs are shown in the open"
            )
        _ = self.reducer  # refuses options that do not go together
        fitting.check_reduce(self.reduce, self.finalize, by_key=self.shuffle is not None)

    @functools.cached_property
    def shuffle(self) -> Shuffle | None:
        """The shuffle that `by`, `aggregate`, `sort_by` and `partitions` ask for."""
        asked = (self.by, self.aggregate, self.sort_by, self.partitions)
        if all(each is None for each in asked):
            return None
        from mapred.shuffle.arguments import as_shuffle

        return as_shuffle(*asked)

    @functools.cached_property
    def reducer(self) -> Reducer | None:
        """What merges the outputs, or publishes them."""
        if self.shuffle is not None:
            from mapred.shuffle.arguments import keyed_reducer

            return keyed_reducer(self.shuffle, self.reduce, self.fan_in, self.finalize)
        if self.write is not None:
            return writing.publisher(self.write)
        if self.reduce is not None:
            return as_reducer(self.reduce, fan_in=self.fan_in, finalize=self.finalize)
        if self.fan_in is not None or self.finalize is not None:
            raise FunctionError("fan_in= and finalize= need a reduce=")
        return None

    def plan(self) -> Plan:
        """What would run, with what the function's annotation asks for."""
        if isinstance(self.dataset, Plan):
            planned = self.dataset
        else:
            planned = plan(
                self.dataset,
                target_bytes=self.target_bytes,
                max_tasks=self.max_tasks,
                per_task=self.per_task,
            )
        return replace(planned, format=_handed_over(self.fn, planned.dataset, planned.format))

    @property
    def parameters(self) -> frozenset[str]:
        """What `bind` may give values to: places in URIs, the function's further parameters."""
        source = self.dataset
        texts = source.uris if isinstance(source, Dataset) and not source.literal else ()
        texts += () if self.write is None else self.write.texts()
        places = {name for text in texts for name in parameters.names_in(text)}
        return frozenset(places) | parameters.asked(self.fn)

    def bind(self, **values: Value) -> Job:
        """The job with values for its parameters: texts, numbers, booleans, dates.

        Each fills the places `{name}`, `{name:format}` and `{date-1d:%Y-%m-%d}` of the dataset's
        URIs, of `write`'s and of the values that it replaces, and reaches the function as a
        keyword where it has a parameter of that name. They are stored with the run and shown, so
        what looks like a secret is refused. A `PlanError` names a value that nothing
        takes, and a place without one.
        """
        values = parameters.check(values)
        source, target = self.dataset, self.write
        if isinstance(source, Dataset) and not source.literal:
            uris = tuple(parameters.filled(uri, values) for uri in source.uris)
            source = replace(source, uris=uris)
        if target is not None:
            target = target.filled(lambda text: parameters.filled(text, values))
        known = self.parameters | {*parameters.taken(self.fn, values)}
        for name in values:
            if name not in known:
                raise PlanError(
                    f"nothing takes the parameter {name!r}: neither a place {{{name}}} of a URI nor a "
                    f"parameter of {transport.name_of(self.fn)} after the first"
                )
        fn = parameters.bound(self.fn, values)
        bound = {**self.bound, **values}
        return replace(self, fn=fn, dataset=source, write=target, bound=bound)

    @checking.checks(BackendError)
    def submit(
        self,
        *,
        backend: str | Backend | Executor = "local",
        root: Location | None = None,
        mode: FolderMode | None = None,
        run_id: Annotated[str, _RUN_ID] | None = None,
    ) -> Run:
        """Start it and return at once; `run_id` names the run's folder (default: a new name).

        A name belongs to one job. Where this job has a run of that name already, the run goes on,
        or is given as it is if it succeeded; a run of another job is a `RunError` that names it.
        `mode` is that of `mapred.run`.
        """
        __tracebackhide__ = True
        with interrupts.told(_nothing_started), shortages.told():
            return self._submitted(backend, root, mode, run_id)

    def _submitted(
        self,
        backend: str | Backend | Executor,
        root: Location | None,
        mode: int | None,
        run_id: str | None,
    ) -> Run:
        definitions.may_start()
        refuse_while_importing()
        chosen = backends.resolve(backend)
        backends.check(chosen, self._limits())
        chosen.prepare()
        if self.write is not None:
            writing.check(self.write)
        self._check_fit()
        names: set[str] = set()
        function = transport.dump(self.fn, names)
        planned = self.plan()
        code = self._carried(planned, function, names)
        base = _base(root, chosen)
        probe(open_store(base, mode=mode))
        packages = self._expected(planned, code, chosen)
        chosen = self._proved(planned, code, chosen)
        try:
            store = open_store(f"{base.rstrip('/')}/{run_id or _new_id()}", mode=mode)
            start = self._started if run_id is None else self._named
            return start(chosen, planned, code, packages, store)
        except BaseException:
            _discard(chosen)
            raise

    def _started(
        self,
        chosen: Backend,
        planned: Plan,
        code: Mapping[str, bytes],
        packages: dict[str, str],
        store: Store,
    ) -> Run:
        """Make the run's folder, and start it."""
        digests: dict[str, str] = {}
        with status.withdrawn(store):
            for path, data in self._files(planned, code):
                store.write(path, data)
                digests[path] = hashlib.sha256(data).hexdigest()
            record = self._record(_id_of(store), planned, digests, packages, chosen)
            _note_write(store, record)
            store.write(layout.JOB, record.to_bytes())
            return _begun(store, record, chosen)

    def _named(
        self,
        chosen: Backend,
        planned: Plan,
        code: Mapping[str, bytes],
        packages: dict[str, str],
        store: Store,
    ) -> Run:
        """Start a run under the name that the user gave, or go on with this job's of that name."""
        digests = naming.digests_of(self._files(planned, code))
        record = self._record(_id_of(store), planned, digests, packages, chosen)
        known = naming.find(store)
        if known is None:
            naming.refuse_remains(store, digests)
            with naming.claimed(store) as claim:
                for path, data in self._files(planned, code):
                    claim.put(path, data)
                won = claim.decide(record.to_bytes())
            if won:
                _note_write(store, record)
                return _begun(store, record, chosen)
            known = open_run(store.uri)
        known = naming.same(known, record)
        backends.remember(store.uri, chosen)
        if go_on(known, chosen) != "started":
            _discard(chosen)
        return known

    @checking.checks(BackendError)
    def run(
        self,
        *,
        backend: str | Backend | Executor = "local",
        root: Location | None = None,
        mode: FolderMode | None = None,
        progress: Progress = "auto",
    ) -> Run:
        """Start it, show progress, and return the run once it succeeded; else `RunError`."""
        __tracebackhide__ = True
        display.progress(progress)  # Loaded here, not while the run is already at work.
        return self.submit(backend=backend, root=root, mode=mode).finish(progress)

    @checking.checks(BackendError)
    def render(self, *, backend: str | Backend = "argo", root: Location | None = None) -> str:
        """The Argo Workflow that `submit` would send, as YAML; nothing is written.

        The dataset is listed, as the number of shards decides the loop. Run id and digests
        are those of this rendering: to run it, `submit`.
        """
        chosen = backends.resolve(backend)
        renders = getattr(chosen, "render", None)
        if renders is None:
            raise BackendError(f"backend {chosen.name!r} has nothing to render; 'argo' has")
        self._check_fit()
        names: set[str] = set()
        planned, run_id, function = self.plan(), _new_id(), transport.dump(self.fn, names)
        code = self._carried(planned, function, names)
        digests = {
            path: hashlib.sha256(data).hexdigest() for path, data in self._files(planned, code)
        }
        packages = self._expected(planned, code, chosen)
        record = self._record(run_id, planned, digests, packages, chosen)
        uri = f"{_base(root, chosen).rstrip('/')}/{run_id}"
        digest = hashlib.sha256(record.to_bytes()).hexdigest()
        return str(renders(record, uri=uri, digest=digest))

    def _limits(self) -> Limits:
        asked = (self.resources, self.reduce_resources or self.resources)
        return Limits(self.timeout, self.max_tasks_per_worker, asked)

    def _check_function(self) -> None:
        if not callable(self.fn):
            raise FunctionError(
                f"fn={checking.shown(self.fn)} is not callable; pass a function, a class or a command"
            )
        fitting.check_kind(self.fn, piecewise=self._piecewise)

    @property
    def _piecewise(self) -> bool:
        """Whether the function may yield its tables one by one."""
        return self.shuffle is not None or self.write is not None

    def _check_fit(self) -> None:
        """Raise unless the function can be called as the dataset asks for; warn of generators."""
        source = self.dataset
        source = source.dataset if isinstance(source, Plan) else dataset.as_dataset(source)
        names = source.items[0].keys() if source.as_ == "keywords" else None
        fitting.check_function(self.fn, source.format, names, piecewise=self._piecewise)
        step = None if self.reducer is None else self.reducer.step
        for function in (self.fn, step):
            if function is not None:
                generators.warn_if_carried(function, transport.name_of(function))

    def _seed(self, source: Dataset) -> int:
        """The seed that was given, else the sweep's, else 0."""
        return next((seed for seed in (self.seed, source.seed) if seed is not None), 0)

    def _carried(self, planned: Plan, function: bytes, names: set[str]) -> dict[str, bytes]:
        """The files with the user's code: functions, and the modules that all refer to."""
        code = {layout.FUNCTION: function}
        if self.reducer is not None:
            code[layout.REDUCE] = transport.dump(self.reducer, names)
        archive = shipping.archive(names | planned.dataset.modules)
        return {**code, layout.MODULES: archive} if archive else code

    def _proved(self, planned: Plan, code: Mapping[str, bytes], backend: Backend) -> Backend:
        """The backend, once a process of it, or else one of this machine, has loaded the code."""
        _, stages = self._stages(planned)
        loads = tuple(
            code.get(path, b"") for path in (layout.FUNCTION, layout.REDUCE, layout.MODULES)
        )
        prove = getattr(backend, "prove", None)
        if prove is not None:
            proved: Backend = prove(stages[0], self.timeout, self.shuffle is not None, loads)
            return proved
        here: Any = backends.restore("local", {"workers": 1})
        # This machine need not have what the tasks will have where they run.
        plain = replace(stages[0], resources=Resources(env=stages[0].resources.env))
        here.prove(plain, None, False, loads).discard()
        return backend

    def _files(self, planned: Plan, code: Mapping[str, bytes]) -> Iterator[tuple[str, Any]]:
        """Path and content of every file of the run's folder but job.json."""
        yield from code.items()
        for path, data in planned.dataset.inputs():
            yield path, data
            yield from pieces.sums_of(path, data)
        for path, rows in planner.plan_files(planned.ranges):
            yield path, planner.write_plan(rows)

    def _expected(
        self, planned: Plan, code: Mapping[str, bytes], backend: Backend
    ) -> dict[str, str]:
        """Versions of packages that workers on other machines must have, where one asks."""
        expected = getattr(backend, "expected", None)
        if expected is None:
            return {}
        used: dict[str, str] = {}
        for path in code.keys() & {layout.FUNCTION, layout.REDUCE}:
            used |= transport.packages_of(code[path])
        if planned.format.as_ in ("pandas", "polars"):
            used |= transport.versions_of([planned.format.as_])
        found: dict[str, str] = expected(used)
        return found

    def _record(
        self,
        run_id: str,
        planned: Plan,
        digests: dict[str, str],
        packages: dict[str, str],
        backend: Backend,
    ) -> JobRecord:
        """The job as its job.json says it."""
        shuffle, stages = self._stages(planned)
        return JobRecord(
            run_id=run_id,
            name=self.name,
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            format=planned.format,
            stages=stages,
            shards=planned.shards,
            items=planned.ranges.items,
            files=planned.ranges.files,
            bytes=planned.ranges.bytes,
            function=layout.FUNCTION,
            task_parameters=signatures.task_parameters(self.fn),
            reduce=layout.REDUCE if self.reducer else None,
            modules=layout.MODULES if layout.MODULES in digests else None,
            shuffle=shuffle,
            write=None if self.write is None else self.write.to_json(),
            seed=self._seed(planned.dataset),
            attempts=self.attempts,
            retry_on=None if self.retry_on is None else retries.rules(self.retry_on),
            no_retry_on=retries.rules(self.no_retry_on or ()),
            timeout=self.timeout,
            deadline=self.deadline,
            max_failed=self.max_failed,
            max_tasks_per_worker=self.max_tasks_per_worker,
            backend=backends.recorded(backend),
            digests=digests,
            python=".".join(map(str, sys.version_info[:2])),
            mapred=__version__,
            packages=packages,
            submitted=time.time(),
            dataset=str(planned.dataset),
            parameters=parameters.to_json(self.bound),
            code=self._code(),
        )

    def _code(self) -> dict[str, dict[str, Any]]:
        """Where the functions of the run come from."""
        found = {layout.FUNCTION: vars(origins.of(self.fn, self.bound))}
        if self.reducer is not None:
            found[layout.REDUCE] = vars(origins.of(self.reducer))
        return found

    def _stages(self, planned: Plan) -> tuple[Shuffle | None, tuple[Stage, ...]]:
        """The stages over a plan, and the shuffle with as many partitions as suit it."""
        before, after = self.resources, self.reduce_resources
        if self.shuffle is None:
            return None, graph.stages(
                planned.shards, self.reducer, resources=before, reduce_resources=after
            )
        number = self.shuffle.partitions
        number = number or graph.partitions(planned.shards, planned.ranges.bytes)
        shuffle = replace(self.shuffle, partitions=number)
        final = self.reducer is not None and self.reducer.finish is not None
        return shuffle, graph.keyed_stages(
            planned.shards, shuffle, finalized=final, resources=before, reduce_resources=after
        )


@takes_options
def job(fn: Function, dataset: Any, **options: Unpack[JobOptions]) -> Job:
    """A job, checked and not started; the arguments are those of `run`."""
    return _job("job", fn, dataset, options)


@takes_options
def submit(
    fn: Function,
    dataset: Any,
    *,
    backend: str | Backend | Executor = "local",
    root: Location | None = None,
    mode: FolderMode | None = None,
    **options: Unpack[JobOptions],
) -> Run:
    """Like `run`, but returns the live `Run` at once."""
    __tracebackhide__ = True
    return _job("submit", fn, dataset, options).submit(backend=backend, root=root, mode=mode)


@takes_options
def run(
    fn: Function,
    dataset: Any,
    *,
    backend: str | Backend | Executor = "local",
    root: Location | None = None,
    mode: FolderMode | None = None,
    progress: Progress = "auto",
    **options: Unpack[JobOptions],
) -> Run:
    """Run `fn` over every shard of `dataset`, reduce the outputs, and return the run.

    Args:
        fn: called once per shard, or once per item (files, items, arrays, sweeps); a class
            is made once per worker process (and thread), and closed at the end: by `__exit__`
            if it is a context manager, else by `close()`; a `mapred.command` runs a program.
        dataset: a URI or glob, a list of them, a `read_…` dataset, a frame, a plan; or items: a
            `range`, a list of what is not text, an array or a series of one dimension.
        reduce: a function of an iterable of outputs, in plan order, run once and streaming;
            or a ready one of `mapred.reducers`. Without it the outputs are the result. A reduce
            never gets None; the list of a run over items has None where an item returned it.
        fan_in: makes the reduce a tree of groups of so many outputs; it must be associative.
        finalize: applied once to the reduced value.
        by: the key's column or columns: the function returns tables or frames, and `reduce` is a
            function of a `pa.Table` that has all rows of its keys, or `aggregate` maps columns
            to `"sum"`, `"median"`, `("stddev", {"ddof": 0})`, … (one or a list), or new names to
            `("price", "quantile", {"q": 0.95})`; the result is a dataset.
        sort_by: columns, or pairs such as `("price", "descending")`, that put all rows of the
            result in order; `partitions`, how many parts either has (default: by size).
        write: `write_parquet(uri, …)` or `write_delta(uri, …)`: map tasks write the tables that
            `fn` returns, and the result says what was written; without `reduce` only.
        backend: `"local"`, `"inline"`, a backend object or any `concurrent.futures.Executor`.
        root: where the run's folder is made (default `$MAPRED_ROOT`, else `~/.mapred/runs`).
        mode: rights of that folder, such as `0o750`, and of a root that is made for it (default:
            this user's alone, or the group's too in a root that is setgid or group-writable).
        progress: `"auto"`, `"bar"`, `"plain"`, `"jupyter"` or `"none"`.
        attempts: how often a task may be tried, each time in a fresh process: again at once, then
            after 0.5 s and up to 30 s. Of several items in one task, only those that failed run again.
        retry_on: exception types, or exit statuses of a command: these alone are tried again;
            `no_retry_on`, those that are not. A time limit counts as `TimeoutError`, a memory
            limit as `MemoryError`.
        timeout: what one attempt may take: seconds, a `timedelta`, or a text such as `"90s"`,
            `"1h30m"`, `"2d"`; `deadline`, the same for the whole run, from its submission and
            without pauses.
        max_failed: how many shards (items, where `fn` runs once per item) may be given up: a
            count, or a fraction below 1 such as `0.01` or `"1%"`.
        max_tasks_per_worker: how many tasks a worker process may run before a new one takes its
            place (default: any number), for libraries that leak.
        target_bytes, max_tasks, per_task: see `plan`.
        resources: of a map task; `reduce_resources`, of a reduce task.
        seed: of the generators `task.rng` (default: the sweep's, else 0).
        name: shown and recorded; the function's by default.

    Raises:
        RunError: the run ended without its result; its `.run` can be resumed.
        DatasetError, FunctionError, BackendError: what was passed cannot be run. An option that
            does not fit is named with its value and what fits, before anything is written.
    """
    __tracebackhide__ = True
    started = _job("run", fn, dataset, options)
    return started.run(backend=backend, root=root, mode=mode, progress=progress)


def _job(function: str, fn: Function, dataset: Any, options: Mapping[str, Any]) -> Job:
    refuse_unknown(function, options)
    with interrupts.told(_nothing_started):
        return Job(fn=fn, dataset=dataset, **options)


def _nothing_started() -> str:
    return "stopped; no run was started"


def _new_id() -> str:
    """The id of a run: its time, which sorts, and a random part."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.urandom(4).hex()}"


def _id_of(store: Store) -> str:
    return store.uri.rpartition("/")[2]


def _discard(chosen: Backend) -> None:
    """End the worker that was to be a run's first one."""
    discard = getattr(chosen, "discard", None)
    if discard is not None:
        discard()


def _note_write(store: Store, record: JobRecord) -> None:
    if record.write is not None:
        record_write(store, record.write["uri"], record.run_id)


def _begun(store: Store, record: JobRecord, chosen: Backend) -> Run:
    """Start a run whose folder is complete."""
    with interrupts.told(lambda: how_to_continue(store.uri, record)):
        handle = chosen.submit(store, record, hashlib.sha256(record.to_bytes()).hexdigest())
    backends.remember(store.uri, chosen)
    return Run(store, record, handle)


def _base(root: Location | None, backend: Backend) -> str:
    """Where the run's folder goes: `root=`, else what a named backend says, else the default."""
    if root is not None:
        found = os.fspath(root)
    else:
        found = getattr(backend, "root", None) or status.default_root()
    refuse_secrets(found)
    return found


def _handed_over(fn: Function, source: Dataset, pinned: Format) -> Format:
    """The format with what the function is handed: `as_=`, else its annotation, else the default."""
    if source.as_ is not None:
        return pinned
    if isinstance(fn, Command):
        kinds = {"text": "bytes", "files": "path", "items": pinned.as_, "array": pinned.as_}
        if pinned.name not in kinds:
            raise DatasetError(
                f"a command cannot be handed {pinned.name}; pass text, files, items or an array"
            )
        return replace(pinned, as_=kinds[pinned.name])
    kind = signatures.input_kind(fn, pinned)
    return pinned if kind is None else replace(pinned, as_=kind)
