"""From a job to a run: what the run's folder holds at first, and the start."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mapred import backends, planner
from mapred._version import __version__
from mapred.client import naming
from mapred.client.naming import default_root
from mapred.client.options import Options
from mapred.client.pipelines import context
from mapred.client.plan import ShardPlan
from mapred.client.run_handle import Run, continue_run, how_to_continue, open_run
from mapred.engine.base import Backend, Discards, ExpectsPackages, NamesRoot, Proves
from mapred.functions import origins, parameters, signatures, transport
from mapred.functions.modules import shipping
from mapred.functions.parameters import Value
from mapred.model import layout, retries
from mapred.model.frozen import dataclass
from mapred.model.resources import Resources
from mapred.model.rules import Location
from mapred.model.spec import Job as JobRecord
from mapred.model.spec import Stage
from mapred.planner import stages as graph
from mapred.process import interrupts
from mapred.reducers import Reducer
from mapred.runfolder import pieces
from mapred.runfolder.folder import RunFolder
from mapred.storage import Store, open_store, probe, refuse_secrets

if TYPE_CHECKING:
    from mapred.model.shuffle import Shuffle


@dataclass(frozen=True)
class Submission:
    """A job that is about to start: its plan, the pickled `code`, and the backend.

    `packages` are the versions that workers on other machines must have, where the backend asks.
    """

    options: Options
    fn: Callable[..., Any]
    bound: Mapping[str, Value]
    plan: ShardPlan
    code: Mapping[str, bytes]
    packages: dict[str, str]
    backend: Backend

    def start(self, root: Location | None, mode: int | None, run_id: str | None) -> Run:
        """Make the run's folder below `root`, and start the run."""
        base = choose_root(root, self.backend)
        probe(open_store(base, mode=mode))
        proved = replace(self, backend=self._prove_backend())
        try:
            store = open_store(f"{base.rstrip('/')}/{run_id or new_id()}", mode=mode)
            return proved._start_new(store) if run_id is None else proved._start_named(store)
        except BaseException:
            proved._discard()
            raise

    def start_if(
        self, root: Location | None, mode: int | None, may_start: Callable[[str, bytes], bool]
    ) -> Run | None:
        """Start a run if `may_start` says so; leave nothing of it and return None where it does not.

        It is asked with the run's folder and its job.json once all but this file is in the folder.
        """
        base = choose_root(root, self.backend)
        probe(open_store(base, mode=mode))
        proved = replace(self, backend=self._prove_backend())
        try:
            store = open_store(f"{base.rstrip('/')}/{new_id()}", mode=mode)
            with RunFolder(store).remove_on_error():
                record = proved._put_files(store)
                if may_start(store.uri, record.to_bytes()):
                    RunFolder(store).put_job(record)
                    return proved._begin(store, record)
        except BaseException:
            proved._discard()
            raise
        RunFolder(store).discard()
        proved._discard()
        return None

    def render(self, renders: Callable[..., Any], root: Location | None) -> str:
        """Return what `start` would send, as text."""
        uri = f"{choose_root(root, self.backend).rstrip('/')}/{new_id()}"
        record = self._record(uri, naming.digests_of(self._files()))
        digest = hashlib.sha256(record.to_bytes()).hexdigest()
        return str(renders(record, uri=uri, digest=digest))

    def _start_new(self, store: Store) -> Run:
        with RunFolder(store).remove_on_error():
            record = self._put_files(store)
            RunFolder(store).write_job(record)
            return self._begin(store, record)

    def _put_files(self, store: Store) -> JobRecord:
        """Write all files of a run's folder but job.json, and return what that will hold."""
        digests: dict[str, str] = {}
        for path, data in self._files():
            store.write(path, data)
            digests[path] = hashlib.sha256(data).hexdigest()
        inside = context.current()
        pipeline = "" if inside is None else inside.id
        record = replace(self._record(store.uri, digests), pipeline=pipeline)
        _note_write(store, record)
        return record

    def _start_named(self, store: Store) -> Run:
        """Start a run under the name that the user chose, or continue with this job's of that name."""
        digests = naming.digests_of(self._files())
        record = self._record(store.uri, digests)
        if not RunFolder(store).has_job():
            naming.refuse_remains(store, digests)
            if naming.claim(store, self._files(), record):
                _note_write(store, record)
                return self._begin(store, record)
        run = open_run(store.uri)
        naming.require_same_job(run, record)
        backends.remember(store.uri, self.backend)
        if continue_run(run, self.backend) != "started":
            self._discard()
        return run

    def _begin(self, store: Store, record: JobRecord) -> Run:
        """Start a run whose folder is complete."""
        with interrupts.interrupted_with(lambda: how_to_continue(store.uri, record)):
            digest = hashlib.sha256(record.to_bytes()).hexdigest()
            handle = self.backend.submit(store, record, digest)
        backends.remember(store.uri, self.backend)
        return Run(store, record, handle)

    def _discard(self) -> None:
        """End the worker that was to be the run's first one."""
        if isinstance(self.backend, Discards):
            self.backend.discard()

    def _prove_backend(self) -> Backend:
        """Return the backend once one of its processes, or else of this machine, loaded the code."""
        first = self._stages[1][0]
        loads = tuple(
            self.code.get(path, b"") for path in (layout.FUNCTION, layout.REDUCE, layout.MODULES)
        )
        if isinstance(self.backend, Proves):
            keyed = self.options.shuffle is not None
            return self.backend.prove(first, self.options.timeout, keyed, loads)
        here: Any = backends.restore("local", {"workers": 1})
        # This machine need not have what the tasks will have where they run.
        plain = replace(first, resources=Resources(env=first.resources.env))
        here.prove(plain, None, False, loads).discard()
        return self.backend

    def _files(self) -> Iterator[tuple[str, Any]]:
        """Yield path and content of every file of the run's folder but job.json."""
        yield from self.code.items()
        for path, data in self.plan.dataset.inputs():
            yield path, data
            yield from pieces.hash_pieces(path, data)
        for path, rows in planner.plan_files(self.plan.ranges):
            yield path, planner.write_plan(rows)

    def _record(self, uri: str, digests: dict[str, str]) -> JobRecord:
        job, plan, (shuffle, stages) = self.options, self.plan, self._stages
        seeds = (job.seed, plan.dataset.seed)
        code = {layout.FUNCTION: vars(origins.of(self.fn, self.bound))}
        if job.reducer is not None:
            code[layout.REDUCE] = vars(origins.of(job.reducer))
        return JobRecord(
            run_id=uri.rpartition("/")[2],
            name=job.name,
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            format=plan.format,
            stages=stages,
            shards=plan.shards,
            items=plan.ranges.items,
            files=plan.ranges.files,
            bytes=plan.ranges.bytes,
            function=layout.FUNCTION,
            task_parameters=signatures.task_parameters(self.fn),
            reduce=layout.REDUCE if job.reducer else None,
            modules=layout.MODULES if layout.MODULES in digests else None,
            shuffle=shuffle,
            write=None if job.write is None else job.write.to_json(),
            seed=next((seed for seed in seeds if seed is not None), 0),
            attempts=job.attempts,
            retry_on=None if job.retry_on is None else retries.rules(job.retry_on),
            no_retry_on=retries.rules(job.no_retry_on or ()),
            timeout=job.timeout,
            deadline=job.deadline,
            max_failed=job.max_failed,
            max_tasks_per_worker=job.max_tasks_per_worker,
            backend=backends.to_record(self.backend),
            digests=digests,
            python=".".join(map(str, sys.version_info[:2])),
            mapred=__version__,
            packages=self.packages,
            submitted=time.time(),
            dataset=str(plan.dataset),
            parameters=parameters.to_json(self.bound),
            code=code,
        )

    @functools.cached_property
    def _stages(self) -> tuple[Shuffle | None, tuple[Stage, ...]]:
        """The shuffle, with as many partitions as suit the plan, and the stages over the plan."""
        shuffle, reducer = self.options.shuffle, self.options.reducer
        before, after = self.options.resources, self.options.reduce_resources
        shards = self.plan.shards
        if shuffle is None:
            return None, graph.stages(shards, reducer, resources=before, reduce_resources=after)
        number = shuffle.partitions or graph.partitions(shards, self.plan.ranges.bytes)
        shuffle = replace(shuffle, partitions=number)
        final = reducer is not None and reducer.finish is not None
        return shuffle, graph.keyed_stages(
            shards, shuffle, finalized=final, resources=before, reduce_resources=after
        )


def code_of(
    fn: Callable[..., Any], reducer: Reducer | None, modules: frozenset[str]
) -> dict[str, bytes]:
    """Return the files with the user's code: the functions and the modules that they need."""
    names = {*modules}
    code = {layout.FUNCTION: transport.dump(fn, names)}
    if reducer is not None:
        code[layout.REDUCE] = transport.dump(reducer, names)
    archive = shipping.archive(names)
    return {**code, layout.MODULES: archive} if archive else code


def expected_packages(
    plan: ShardPlan, code: Mapping[str, bytes], backend: Backend
) -> dict[str, str]:
    """Return the packages, with versions, that workers elsewhere need, if the backend checks."""
    if not isinstance(backend, ExpectsPackages):
        return {}
    used: dict[str, str] = {}
    for path in code.keys() & {layout.FUNCTION, layout.REDUCE}:
        used |= transport.packages_of(code[path])
    if plan.format.as_ in ("pandas", "polars"):
        used |= transport.versions_of([plan.format.as_])
    return backend.expected(used)


def new_id() -> str:
    """Return an id: its time, by which ids sort, and a random part."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.urandom(4).hex()}"


def _note_write(store: Store, record: JobRecord) -> None:
    if record.write is not None:
        RunFolder(store).note_write(record.write["uri"], record.run_id)


def choose_root(root: Location | None, backend: Backend) -> str:
    """Return the folder of runs: `root=`, else that of a named backend, else the default."""
    if root is not None:
        uri = os.fspath(root)
    else:
        uri = (isinstance(backend, NamesRoot) and backend.root) or default_root()
    refuse_secrets(uri)
    return uri
