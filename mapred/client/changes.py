"""What a resumed run does differently: another function or reduce, other limits.

The changed job replaces job.json, whose digest travels with the new start; new functions lie
beside the old ones, and every commit names the one that made it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from mapred import writing
from mapred.client.options import Reduce, ResumeOptions, validate_options
from mapred.errors import FunctionError, PlanError
from mapred.functions import fitting, origins, parameters, pickling, signatures, transport
from mapred.functions.modules import shipping
from mapred.functions.modules.importing import merge_archives
from mapred.model import checking, layout
from mapred.model.resources import Resources
from mapred.model.spec import Job, Stage
from mapred.reducers import Reducer, as_reducer
from mapred.runfolder import agreement, pieces
from mapred.runfolder.folder import RunFolder
from mapred.shuffle.arguments import keyed_reducer
from mapred.storage import Store


@dataclass(frozen=True)
class Changes:
    """The changes that `Run.resume` makes, checked like the options of a job."""

    fn: Callable[..., Any] | None = None
    options: ResumeOptions = field(default_factory=ResumeOptions)

    def __post_init__(self) -> None:
        if self.fn is not None and not callable(self.fn):
            raise FunctionError(f"fn={self.fn!r} is not callable; pass a function or a class")
        options = {name: value for name, value in self.options.items() if value is not None}
        checking.check("reduce", options.get("reduce"), Reduce | None, PlanError)
        object.__setattr__(self, "options", validate_options(options))

    def names(self) -> list[str]:
        return [*(["fn"] if self.fn is not None else []), *self.options]


@dataclass(frozen=True)
class Revision:
    """A run as it is to be resumed: its job, files to write, and files that no longer hold."""

    job: Job
    files: Mapping[str, bytes] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """All files of the folder that `write` touches."""
        return layout.JOB, *self.files, *self.dropped

    def write(self, folder: RunFolder) -> None:
        for path, data in self.files.items():
            folder.store.write(path, data)
        folder.delete(self.dropped)
        folder.write_job(self.job)


def plan_revision(folder: RunFolder, job: Job, changes: Changes) -> Revision:
    """Return the run with the changes, without writing it; raises where they do not fit it."""
    if not changes.names():
        return Revision(job)
    store = folder.store
    new = _apply_limits(job, changes)
    files: dict[str, bytes] = {}
    modules: set[str] = set()
    if changes.fn is not None:
        fn = parameters.bind_values(changes.fn, parameters.from_json(job.parameters))
        _check_fit(store, job, fn)
        new, path = _add_code(new, files, fn, layout.FUNCTION, modules)
        receiving = signatures.task_parameters(fn)
        new = dataclasses.replace(new, function=path, task_parameters=receiving)
    reduce = changes.options.get("reduce")
    if reduce is not None:
        reducer = _reducer(store, job, reduce)
        new, path = _add_code(new, files, reducer, layout.REDUCE, modules)
        stages = [dataclasses.replace(s, check=_checks(s, reducer)) for s in new.stages]
        new = dataclasses.replace(new, reduce=path, stages=tuple(stages))
    if files:
        new = _add_modules(store, new, files, modules)
        new = dataclasses.replace(new, python=".".join(map(str, sys.version_info[:2])))
        _check_versions(folder, new)
    return Revision(new, files, tuple(_find_stale_paths(folder, new, changes)))


def _check_fit(store: Store, job: Job, fn: Callable[..., Any]) -> None:
    """Raise unless another function can be called as the run's was."""
    names = None
    if job.format.as_ == "keywords":
        try:
            with pieces.open_input(store, job.digests, layout.ITEMS) as file:
                names = pickling.load(file).keys()
        except Exception:
            return  # its classes may exist only on other machines: the workers will check
    piecewise = job.shuffle is not None or job.write is not None
    fitting.check_function(fn, job.format.name, names, piecewise=piecewise)


def _apply_limits(job: Job, changes: Changes) -> Job:
    names = ("timeout", "deadline", "attempts", "max_failed")
    limits: dict[str, Any] = {n: value for n, value in changes.options.items() if n in names}
    if "deadline" in limits:
        limits["deadline_since"] = time.time()
    if "max_failed" in limits and job.write is not None:
        writing.check_losses(writing.Target.from_json(job.write), limits["max_failed"])
    stages = [dataclasses.replace(s, resources=_resources(job, s, changes)) for s in job.stages]
    return dataclasses.replace(job, stages=tuple(stages), **limits)


def _resources(job: Job, stage: Stage, changes: Changes) -> Resources:
    """Return the resources of a stage; a reduce that shared those of the maps still does."""
    of_map, of_reduce = changes.options.get("resources"), changes.options.get("reduce_resources")
    if stage.kind == "map":
        return of_map or stage.resources
    if of_reduce is not None:
        return of_reduce
    shared = stage.resources == job.stages[0].resources.on_demand()
    return of_map.on_demand() if of_map is not None and shared else stage.resources


def _add_code(
    job: Job, files: dict[str, bytes], function: Any, original: str, modules: set[str]
) -> tuple[Job, str]:
    """Add a function to `files` and the job; return the job and the function's path."""
    job, path = _add_file(job, files, transport.dump(function, modules), original)
    code = {**job.code, path: vars(origins.of(function, job.parameters))}
    return dataclasses.replace(job, code=code), path


def _add_modules(store: Store, job: Job, files: dict[str, bytes], modules: set[str]) -> Job:
    """Add the modules of the new code, and the old ones that are not among these."""
    data = shipping.archive(modules)
    if not data:
        return job
    if job.modules is not None:
        data = merge_archives(pieces.read(store, job.digests, job.modules), data)
    job, path = _add_file(job, files, data, layout.MODULES)
    return dataclasses.replace(job, modules=path)


def _add_file(job: Job, files: dict[str, bytes], data: bytes, original: str) -> tuple[Job, str]:
    digest = hashlib.sha256(data).hexdigest()
    path = layout.changed(original, digest)
    files[path] = data
    return dataclasses.replace(job, digests={**job.digests, path: digest}), path


def _reducer(store: Store, job: Job, reduce: Reduce) -> Reducer:
    """Return the reducer that replaces the run's, with the tree and the `finalize` of the run."""
    if job.reduce is None or job.write is not None:
        raise FunctionError(
            f"run {job.run_id} has no reduce= that another one could replace; its outputs are in "
            "run.outputs()"
        )
    fitting.check_reduce(reduce, None, by_key=job.shuffle is not None)
    levels = [stage for stage in job.stages if stage.kind == "reduce"]
    fan_in = levels[0].fan_in if levels and job.shuffle is None else None
    finalize = None
    if not isinstance(reduce, Reducer):
        data = pieces.read(store, job.digests, job.reduce)
        with suppress(FunctionError):  # its code may have gone
            finalize = transport.load(data).finish
    if job.shuffle is not None:
        reducer = keyed_reducer(job.shuffle, reduce, None, finalize)
        assert reducer is not None
        return reducer
    return as_reducer(reduce, fan_in=fan_in, finalize=finalize)


def _checks(stage: Stage, reducer: Reducer) -> bool:
    return stage.kind == "reduce" and stage.inputs == "map" and reducer.check


def _check_versions(folder: RunFolder, new: Job) -> None:
    """Refuse a run that needs code of this Python and code of another one."""
    functions = [("reduce", "reduce", new.reduce)]
    if len(folder.list_committed("map")) < new.shards:
        functions.insert(0, ("function", "fn", new.function))
    for what, option, path in functions:
        if path is None or (python := new.python_of(path)) == new.python:
            continue
        if not transport.is_portable(pieces.read(folder.store, new.digests, path)):
            raise FunctionError(
                f"the {what} of run {new.run_id} was pickled by Python {python}, and this is "
                f"{new.python}: pass it again as well, by {option}="
            )


def _find_stale_paths(folder: RunFolder, job: Job, changes: Changes) -> Iterator[str]:
    """Yield the files of the old functions and limits that the new ones must not find."""
    later = [stage for stage in job.stages if stage.kind != "map"]
    if changes.fn is not None:
        yield from agreement.list_uncommitted(folder, job.stages[-1].name)
    if "reduce" in changes.options:
        # One answer comes from one reduce.
        for stage in later:
            if stage.kind in ("reduce", "shuffle"):
                for index in _find_committed(folder, stage):
                    yield layout.commit(stage.name, index)
                yield from agreement.files(folder.store, stage.name)
    if "max_failed" in changes.options and not any(
        _find_committed(folder, stage) for stage in later
    ):
        # Tasks that were given up are tried again: no later stage has gone on without them.
        yield layout.FAILED


def _find_committed(folder: RunFolder, stage: Stage) -> list[int]:
    """Return the committed tasks of a stage, with those that a listing does not show yet."""
    commits = folder.commits(stage.name, range(stage.tasks))
    named = {index for index, commit in enumerate(commits) if commit is not None}
    return sorted(named.union(folder.list_committed(stage.name)))
