"""The values that a user starts: a `Job`, and the `Plan` of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING, Annotated, Any

from mapred import backends, dataset, display, writing
from mapred.client import submission
from mapred.client.options import Destination, Options, Progress, RunOptions, StartOptions
from mapred.client.pipelines import context
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
from mapred.model.rules import Location, Text
from mapred.process import definitions, interrupts, secrecy, shortages
from mapred.process.describing import plain_annotations

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from mapred.client.deploying import Deployment

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


@plain_annotations
@dataclass(frozen=True, kw_only=True)
class Job(Options):
    """A job: what to run, checked and not started. Made by `mapred.job`.

    It holds every argument of `mapred.run` as an attribute, and can be run any number of times.

    Args:
        fn: As for `mapred.run`; so are all options.
        dataset: As for `mapred.run`.
        bound: The values that `bind` gave to its parameters, by name.
        reduce: See `mapred.run`.
        fan_in: See `mapred.run`.
        finalize: See `mapred.run`.
        by: See `mapred.run`.
        aggregate: See `mapred.run`.
        sort_by: See `mapred.run`.
        partitions: See `mapred.run`.
        write: See `mapred.run`.
        target_bytes: See `mapred.run`.
        max_tasks: See `mapred.run`.
        per_task: See `mapred.run`.
        attempts: See `mapred.run`.
        retry_on: See `mapred.run`.
        no_retry_on: See `mapred.run`.
        timeout: See `mapred.run`; kept in seconds.
        deadline: See `mapred.run`; kept in seconds.
        max_failed: See `mapred.run`.
        max_tasks_per_worker: See `mapred.run`.
        resources: See `mapred.run`.
        reduce_resources: See `mapred.run`.
        seed: See `mapred.run`.
        name: See `mapred.run`.

    Examples:
        >>> job = mapred.job(abs, [-1, -2], reduce=sum)
        >>> job.name, job.attempts
        ('abs', 3)
        >>> job.run().result()
        3
    """

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
        """Return what would run, with what the function's annotation asks for. Nothing is written.

        Returns:
            The plan of the dataset, within the job's `target_bytes`, `max_tasks` and `per_task`.

        Raises:
            DatasetError: The dataset cannot be listed or read.

        Examples:
            >>> mapred.job(len, "corpus/*.txt", target_bytes=20).plan().shards
            3
        """
        plan = self.dataset
        if not isinstance(plan, Plan):
            plan = plan_dataset(plan, self.target_bytes, self.max_tasks, self.per_task)
        return Plan(plan.dataset, resolve_format(plan, self.fn), plan.ranges)

    @property
    def parameters(self) -> frozenset[str]:
        """The names that `bind` may give values to: places in URIs, the function's further parameters.

        Examples:
            >>> sorted(mapred.job(pow, [1, 2, 3]).parameters)
            ['exp', 'mod']
        """
        places = {name for text in self._texts_with_places() for name in parameters.names_in(text)}
        return frozenset(places) | parameters.free_parameters(self.fn)

    def _texts_with_places(self) -> tuple[str, ...]:
        source = self.dataset
        texts = source.uris if isinstance(source, Dataset) and not source.literal else ()
        return (*texts, *(() if self.write is None else self.write.texts()))

    def bind(self, **values: Value) -> Job:
        """Return the job with values for its parameters.

        Each value fills the places `{name}`, `{name:format}` and `{date-1d:%Y-%m-%d}` of the dataset's
        URIs, of `write`'s and of the values that it replaces, and is passed to the function as a
        keyword where it has a parameter of that name.

        Args:
            **values: Texts, numbers, booleans or dates, by the parameter's name. They are stored with
                the run and shown, so what looks like a secret is refused.

        Returns:
            Another job; this one stays as it is.

        Raises:
            PlanError: Nothing takes a value, or a place is left without one.

        Examples:
            >>> def longer_than(lines, limit):
            ...     return sum(len(line) > limit for line in lines)
            >>> job = mapred.job(longer_than, "corpus/{name}.txt", reduce=sum)
            >>> job.bind(name="a", limit=20).run().result()
            1
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
        """Start the job and return the run at once, while it is at work.

        Args:
            backend: Where tasks run; see `mapred.run`.
            root: Where the run's folder is made; see `mapred.run`.
            mode: The rights of that folder; see `mapred.run`.
            run_id: The name of the run's folder (default: a new one). A name belongs to one job: a run
                that this job has under that name continues, or is returned as it is if it succeeded.

        Returns:
            The run.

        Raises:
            RunError: Another job has a run of that name; the error names it.
            BackendError: The backend does not exist, or does not answer.

        Examples:
            >>> job = mapred.job(abs, [-1, -2], reduce=sum)
            >>> run = job.submit(run_id="nightly-2026-11-03")
            >>> run.result()
            3
            >>> job.submit(run_id="nightly-2026-11-03").id  # done: nothing runs twice
            'nightly-2026-11-03'
        """
        __tracebackhide__ = True
        pipeline = context.current()
        with interrupts.interrupted_with(_nothing_started), shortages.explain_shortages():
            if pipeline is not None:
                run: Run = pipeline.submit(self, start, run_id)
                return run
            to = Destination(**start)
            return self._prepare(to).start(to.root, to.mode, run_id)

    def _prepare(self, destination: Destination) -> Submission:
        definitions.may_start()
        refuse_while_importing()
        backend = backends.resolve(destination.backend)
        resources = (self.resources, self.reduce_resources or self.resources)
        backends.check(backend, Limits(self.timeout, self.max_tasks_per_worker, resources))
        backend.prepare()
        if self.write is not None:
            writing.check(self.write)
        return self._compile(backend)

    @takes(StartOptions, Destination)
    @checking.checks(BackendError)
    def run(self, *, progress: Progress = "auto", **start: Unpack[StartOptions]) -> Run:
        """Start the job, show progress, and return the run once it succeeded.

        Args:
            backend: Where tasks run; see `mapred.run`.
            root: Where the run's folder is made; see `mapred.run`.
            mode: The rights of that folder; see `mapred.run`.
            progress: How progress is shown; see `mapred.run`.

        Returns:
            The run, which succeeded.

        Raises:
            RunError: The run ended without its result; the error's `run` can be resumed.
            BackendError: The backend does not exist, or does not answer.

        Examples:
            >>> job = mapred.job(abs, [-1, -2], reduce=sum)
            >>> job.run(backend="inline").result()
            3
        """
        __tracebackhide__ = True
        display.progress(progress)  # Loaded here, not while the run is already at work.
        return self.submit(**start).finish(progress)

    @checking.checks(BackendError)
    def render(self, *, backend: str | Backend = "argo", root: Location | None = None) -> str:
        """Return the Argo Workflow that `submit` would send, as YAML. Nothing is sent or written.

        The dataset is listed, since the number of shards decides the loop. Run id and digests are made
        for this text alone: to run the job, `submit` it.

        Args:
            backend: `"argo"`, a name of mapred.toml, or `mapred.Argo(…)`.
            root: Where the run's folder would be made, which pods must reach: see `mapred.run`.

        Returns:
            A manifest of kind `Workflow`.

        Raises:
            BackendError: The backend has nothing to render.

        Examples:
            >>> cluster = mapred.Argo(image="team/jobs:1.4", namespace="jobs", packages=())
            >>> text = mapred.job(abs, [-1, -2]).render(backend=cluster, root="s3://team/runs")
            >>> text.splitlines()[:2]
            ['apiVersion: argoproj.io/v1alpha1', 'kind: Workflow']
        """
        cluster = backends.resolve(backend)
        if not isinstance(cluster, Renders):
            raise BackendError(f"backend {cluster.name!r} has nothing to render; 'argo' has")
        return self._compile(cluster).render(cluster.render, root)

    @checking.checks(PlanError)
    def deploy(
        self,
        name: Text | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        description: str = "",
        replace: bool = False,
        backend: str | Backend = "argo",
        root: Location | None = None,
    ) -> Deployment:
        """Keep the job in a cluster under a name, where others start it with values of their own.

        They need neither its code nor Python: `mapred start`, `mapred.deployed(name).start(…)`,
        Argo's page, `argo submit --from` and triggers all start it. Deploying again replaces it;
        runs that have begun keep the version with which they began.

        Args:
            name: The deployment's name, of lower case, digits and `-` (default: the job's).
            params: Values that its parameters have unless a start gives others. A default of the
                function counts in the same way; a parameter with neither must be given. The
                annotations str, int, float, bool, date, datetime, Literal and enums say what fits.
            description: What it is for, which lists and Argo's page show.
            replace: Whether to replace what another user deployed under that name, what has
                another root, or what mapred did not make.
            backend: `"argo"`, a name of mapred.toml, or `mapred.Argo(…)`.
            root: Where the job is stored and its runs are made, which pods must reach (default: the
                backend's).

        Returns:
            The deployment, whose `start` starts it.

        Raises:
            PlanError: A value does not fit, or no text can be given for a parameter.
            BackendError: The cluster does not take it, the backend keeps no jobs, or the name is
                someone else's.

        Examples:
            >>> def longer_than(lines, limit: int):
            ...     return sum(len(line) > limit for line in lines)
            >>> job = mapred.job(longer_than, mapred.read_text("corpus/*.txt", as_="lines"), reduce=sum)
            >>> deployment = job.deploy("long-lines", params={"limit": 20})
            >>> mapred.deployed("long-lines").start(limit=12).result()
            2
        """
        from mapred.client import deploying, stored  # runs load neither

        return deploying.deploy(
            stored.apply_annotation(self),
            self._texts_with_places(),
            name=name,
            params=params,
            description=description,
            replace=replace,
            backend=backend,
            root=root,
        )

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


@plain_annotations
class Plan(ShardPlan):
    """A plan: every shard of a dataset, fixed. Made by `mapred.plan` and `Job.plan`.

    Its text and HTML show files, bytes, shards, the limit that chose them, skew, the largest files
    and what cannot be split.

    Attributes:
        dataset: The dataset that it is made of.
        format: How a task reads its shard, with the columns of tables.
        ranges: The byte ranges, row groups or items of each shard, as Arrow.

    Examples:
        >>> plan = mapred.plan("corpus/*.txt", target_bytes=20)
        >>> plan.shards
        3
    """

    @takes(RunOptions, Options, Destination)
    def run(
        self, fn: Function, *, progress: Progress = "auto", **options: Unpack[RunOptions]
    ) -> Run:
        """Run a function over exactly these shards: `mapred.run(fn, plan, …)`.

        Returns:
            The run, which succeeded.

        Raises:
            RunError: The run ended without its result; the error's `run` can be resumed.

        Examples:
            >>> plan = mapred.plan("corpus/*.txt")
            >>> plan.run(lambda lines: len(list(lines)), reduce=sum).result()
            3
        """
        __tracebackhide__ = True
        job, start = prepare_job(fn, self, options)
        return job.run(progress=progress, **start)

    @takes(RunOptions, Options, Destination)
    def submit(self, fn: Function, **options: Unpack[RunOptions]) -> Run:
        """Start a run over exactly these shards and return it at once: `mapred.submit(fn, plan, …)`.

        Returns:
            The run at work.

        Raises:
            BackendError: The backend does not exist, or does not answer.

        Examples:
            >>> plan = mapred.plan("corpus/*.txt")
            >>> plan.submit(lambda lines: len(list(lines)), reduce=sum).result()
            3
        """
        __tracebackhide__ = True
        job, start = prepare_job(fn, self, options)
        return job.submit(**start)


def start_if(job: Job, to: Destination, may_start: Callable[[str, bytes], bool]) -> Run | None:
    """Start a run of a pipeline if `may_start`, asked once its folder is there, says so; else None."""
    return job._prepare(to).start_if(to.root, to.mode, may_start)


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
