"""The values that a user starts: a `Job`, and the `Plan` of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING, Annotated, Any

from mapred import backends, dataset, display, writing
from mapred.client import submission
from mapred.client.options import Destination, Options, Progress, RunOptions, StartOptions
from mapred.client.plan import ShardPlan, plan_dataset, resolve_format
from mapred.client.run_handle import Run
from mapred.client.signature import takes
from mapred.client.submission import Submission
from mapred.dataset import Dataset
from mapred.engine.base import Backend, Renders
from mapred.errors import BackendError, DatasetError, FunctionError, PlanError
from mapred.functions import fitting, generators, parameters, transport
from mapred.functions.modules.importing import refuse_while_importing
from mapred.functions.parameters import Value
from mapred.model import checking, layout, retries, rules
from mapred.model.frozen import dataclass
from mapred.model.limits import Limits
from mapred.model.rules import Location
from mapred.process import definitions, interrupts, secrecy, shortages

if TYPE_CHECKING:
    from typing_extensions import Unpack

Function = Callable[..., Any]


def _folder_name(value: Any) -> str:
    if not layout.is_run_id(value):
        raise rules.Unfit
    return str(value)


_RUN_ID = rules.Rule(
    "the name of a folder, of up to 128 letters (a-z, A-Z), digits, '_', '-' and '.', the first of "
    "them a letter or digit",
    _folder_name,
)


@dataclass(frozen=True, kw_only=True)
class Job(Options):
    """What to run, checked but not started: `run` and `submit` start it, any number of times."""

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
                raise PlanError("the dataset is already planned: pass the limits to mapred.plan")
        else:
            object.__setattr__(self, "dataset", dataset.as_dataset(self.dataset))
        if self.write is not None:
            if self.reduce is not None or self.shuffle is not None:
                raise FunctionError("write= is for what map tasks return: leave reduce= out")
            writing.check_losses(self.write, self.max_failed)
        retries.refuse_contradiction(self.retry_on, self.no_retry_on)
        if not self.name:
            object.__setattr__(self, "name", transport.name_of(self.fn))
        if secrecy.looks_secret(self.name):
            raise PlanError(
                "name= looks like a secret, and the names of jobs are visible to others"
            )
        _ = self.reducer  # refuses options that do not go together
        fitting.check_reduce(self.reduce, self.finalize, by_key=self.shuffle is not None)

    def plan(self) -> Plan:
        """Return what would run, with what the function's annotation asks for."""
        plan = self.dataset
        if not isinstance(plan, Plan):
            plan = plan_dataset(plan, self.target_bytes, self.max_tasks, self.per_task)
        return Plan(plan.dataset, resolve_format(plan, self.fn), plan.ranges)

    @property
    def parameters(self) -> frozenset[str]:
        """What `bind` may give values to: places in URIs, the function's further parameters."""
        source = self.dataset
        texts = source.uris if isinstance(source, Dataset) and not source.literal else ()
        texts += () if self.write is None else self.write.texts()
        places = {name for text in texts for name in parameters.names_in(text)}
        return frozenset(places) | parameters.free_parameters(self.fn)

    def bind(self, **values: Value) -> Job:
        """Return the job with values for its parameters: texts, numbers, booleans, dates.

        Each fills the places `{name}`, `{name:format}` and `{date-1d:%Y-%m-%d}` of the dataset's
        URIs, of `write`'s and of the values that it replaces, and is passed to the function as a
        keyword where it has a parameter of that name. Values are stored with the run and shown, so
        what looks like a secret is refused. A `PlanError` names a value that nothing takes, and a
        place without one.
        """
        values = parameters.check(values)
        source, target = self.dataset, self.write
        if isinstance(source, Dataset) and not source.literal:
            uris = tuple(parameters.fill_places(uri, values) for uri in source.uris)
            source = replace(source, uris=uris)
        if target is not None:
            target = target.fill_texts(lambda text: parameters.fill_places(text, values))
        names = self.parameters | {*parameters.accepted_names(self.fn, values)}
        for name in values:
            if name not in names:
                raise PlanError(
                    f"nothing takes the parameter {name!r}: neither a place {{{name}}} of a URI nor a "
                    f"parameter of {transport.name_of(self.fn)} after the first"
                )
        fn = parameters.bind_values(self.fn, values)
        bound = {**self.bound, **values}
        return replace(self, fn=fn, dataset=source, write=target, bound=bound)

    @takes(StartOptions, Destination)
    @checking.checks(BackendError)
    def submit(
        self, *, run_id: Annotated[str, _RUN_ID] | None = None, **start: Unpack[StartOptions]
    ) -> Run:
        """Start it and return at once; `run_id` names the run's folder (default: a new name).

        A name belongs to one job. A run that this job has under that name continues, or is returned
        as it is if it succeeded; a run of another job raises a `RunError` that names it. `mode` is
        that of `mapred.run`.
        """
        __tracebackhide__ = True
        with interrupts.interrupted_with(_nothing_started), shortages.explain_shortages():
            return self._submit(Destination(**start), run_id)

    def _submit(self, destination: Destination, run_id: str | None) -> Run:
        definitions.may_start()
        refuse_while_importing()
        backend = backends.resolve(destination.backend)
        resources = (self.resources, self.reduce_resources or self.resources)
        backends.check(backend, Limits(self.timeout, self.max_tasks_per_worker, resources))
        backend.prepare()
        if self.write is not None:
            writing.check(self.write)
        return self._compile(backend).start(destination.root, destination.mode, run_id)

    @takes(StartOptions, Destination)
    @checking.checks(BackendError)
    def run(self, *, progress: Progress = "auto", **start: Unpack[StartOptions]) -> Run:
        """Start it, show progress, and return the run once it succeeded; else `RunError`."""
        __tracebackhide__ = True
        display.progress(progress)  # Loaded here, not while the run is already at work.
        return self.submit(**start).finish(progress)

    @checking.checks(BackendError)
    def render(self, *, backend: str | Backend = "argo", root: Location | None = None) -> str:
        """Return the Argo Workflow that `submit` would send, as YAML; nothing is written.

        The dataset is listed, since the number of shards decides the loop. Run id and digests
        are made for this text alone: to run the job, `submit` it.
        """
        cluster = backends.resolve(backend)
        if not isinstance(cluster, Renders):
            raise BackendError(f"backend {cluster.name!r} has nothing to render; 'argo' has")
        return self._compile(cluster).render(cluster.render, root)

    def _compile(self, backend: Backend) -> Submission:
        """Return what to submit; code that cannot be shipped raises before anything is listed."""
        source = self.dataset.dataset if isinstance(self.dataset, Plan) else self.dataset
        self._check_fit(source)
        code = submission.code_of(self.fn, self.reducer, source.modules)
        plan = self.plan()
        packages = submission.expected_packages(plan, code, backend)
        return Submission(self, self.fn, self.bound, plan, code, packages, backend)

    def _check_function(self) -> None:
        if not callable(self.fn):
            raise FunctionError(
                f"fn={checking.short_repr(self.fn)} is not callable; pass a function, a class or a command"
            )
        fitting.check_kind(self.fn, piecewise=self._piecewise)

    @property
    def _piecewise(self) -> bool:
        """Whether the function may yield its tables one by one."""
        return self.shuffle is not None or self.write is not None

    def _check_fit(self, source: Dataset) -> None:
        """Raise unless the function can be called as the dataset asks for; warn of generators."""
        names = source.items[0].keys() if source.as_ == "keywords" else None
        fitting.check_function(self.fn, source.format, names, piecewise=self._piecewise)
        step = None if self.reducer is None else self.reducer.step
        for function in (self.fn, step):
            if function is not None:
                generators.warn_if_carried(function, transport.name_of(function))


class Plan(ShardPlan):
    """Every shard of a dataset, fixed: what would run, and `run` to run exactly that.

    Its text and HTML show files, bytes, shards, the limit that chose them, skew, the largest
    files and what cannot be split.
    """

    @takes(RunOptions, Options, Destination)
    def run(
        self, fn: Function, *, progress: Progress = "auto", **options: Unpack[RunOptions]
    ) -> Run:
        """`mapred.run(fn, plan, …)`."""
        __tracebackhide__ = True
        job, start = prepare_job(fn, self, options)
        return job.run(progress=progress, **start)

    @takes(RunOptions, Options, Destination)
    def submit(self, fn: Function, **options: Unpack[RunOptions]) -> Run:
        """`mapred.submit(fn, plan, …)`."""
        __tracebackhide__ = True
        job, start = prepare_job(fn, self, options)
        return job.submit(**start)


def prepare_job(
    fn: Function, dataset: Any, options: Mapping[str, object]
) -> tuple[Job, StartOptions]:
    """Return the job of these options, and those of them that belong to its start."""
    own: dict[str, Any] = {**options}
    start: Any = {name: own.pop(name) for name in StartOptions.__annotations__ if name in own}
    with interrupts.interrupted_with(_nothing_started):
        return Job(fn=fn, dataset=dataset, **own), start


def _nothing_started() -> str:
    return "stopped; no run was started"
