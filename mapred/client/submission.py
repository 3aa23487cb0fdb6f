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
        base = _choose_root(root, self.backend)
        probe(open_store(base, mode=mode))
        proved = replace(self, backend=self._prove_backend())
        try:
            store = open_store(f"{base.rstrip('/')}/{run_id or _new_id()}", mode=mode)
            return proved._start_new(store) if run_id is None else proved._start_named(store)
        except BaseException:
            proved._discard()
            raise

    def render(self, renders: Callable[..., Any], root: Location | None) -> str:
        """Return what `start` would send, as text."""
        uri = f"{_choose_root(root, self.backend).rstrip('/')}/{_new_id()}"
        record = self._record(uri, naming.digests_of(self._files()))
        digest = hashlib.sha256(record.to_bytes()).hexdigest()
        return str(renders(record, uri=uri, digest=digest))

    def _start_new(self, store: Store) -> Run:
        digests: dict[str, str] = {}
        with RunFolder(store).remove_on_error():
            for path, data in self._files():
                store.write(path, data)
                digests[path] = hashlib.sha256(data).hexdigest()
            record = self._record(store.uri, digests)
            _note_write(store, record)
            RunFolder(store).write_job(record)
            return self._begin(store, record)

    def _start_named(self, store: Store) -> Run:
        """Start a run under the name that the user gave, or go on with this job's of that name."""
        digests = naming.digests_of(self._files())
        record = self._record(store.uri, digests)
        known = naming.find(store)
        if known is None:
            naming.refuse_remains(store, digests)
            with naming.claim(store) as claim:
                for path, data in self._files():
                    claim.put(path, data)
                won = claim.decide(record)
            if won:
                _note_write(store, record)
                return self._begin(store, record)
            known = open_run(store.uri)
        known = naming.require_same_job(known, record)
        backends.remember(store.uri, self.backend)
        if continue_run(known, self.backend) != "started":
            self._discard()
        return known

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
        """Return the backend, once a process of it, or else one of this machine, has loaded the
        code."""
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
        """Path and content of every file of the run's folder but job.json."""
        yield from self.code.items()
        for path, data in self.plan.dataset.inputs():
            yield path, data
            yield from pieces.hash_pieces(path, data)
        for path, rows in planner.plan_files(self.plan.ranges):
            yield path, planner.write_plan(rows)

    def _record(self, uri: str, digests: dict[str, str]) -> JobRecord:
        """Return the job as the job.json of a folder says it."""
        job, plan, (shuffle, stages) = self.options, self.plan, self._stages
        seeds = (job.seed, plan.dataset.seed)
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
            code={path: vars(found) for path, found in self._iter_origins()},
        )

    def _iter_origins(self) -> Iterator[tuple[str, origins.Origin]]:
        """Where the functions of the run come from."""
        yield layout.FUNCTION, origins.of(self.fn, self.bound)
        if self.options.reducer is not None:
            yield layout.REDUCE, origins.of(self.options.reducer)

    @functools.cached_property
    def _stages(self) -> tuple[Shuffle | None, tuple[Stage, ...]]:
        """The stages over the plan, and the shuffle with as many partitions as suit it."""
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
    """Return the files with the user's code: functions, and the modules that they and others refer
    to."""
    names = {*modules}
    code = {layout.FUNCTION: transport.dump(fn, names)}
    if reducer is not None:
        code[layout.REDUCE] = transport.dump(reducer, names)
    archive = shipping.archive(names)
    return {**code, layout.MODULES: archive} if archive else code


def expected_packages(
    plan: ShardPlan, code: Mapping[str, bytes], backend: Backend
) -> dict[str, str]:
    """Versions of packages that workers on other machines must have, where the backend asks."""
    if not isinstance(backend, ExpectsPackages):
        return {}
    used: dict[str, str] = {}
    for path in code.keys() & {layout.FUNCTION, layout.REDUCE}:
        used |= transport.packages_of(code[path])
    if plan.format.as_ in ("pandas", "polars"):
        used |= transport.versions_of([plan.format.as_])
    return backend.expected(used)


def _new_id() -> str:
    """Return the id of a run: its time, which sorts, and a random part."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.urandom(4).hex()}"


def _note_write(store: Store, record: JobRecord) -> None:
    if record.write is not None:
        RunFolder(store).note_write(record.write["uri"], record.run_id)


def _choose_root(root: Location | None, backend: Backend) -> str:
    """Where the run's folder goes: `root=`, else what a named backend says, else the default."""
    if root is not None:
        found = os.fspath(root)
    else:
        found = (isinstance(backend, NamesRoot) and backend.root) or default_root()
    refuse_secrets(found)
    return found
