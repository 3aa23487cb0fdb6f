"""What a resumed run does differently: another function or reduce, other limits.

The job that says so replaces job.json, whose digest travels with the new start; the functions lie
beside those of before, and every commit names the one that made it.
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
from mapred.functions.modules import merge_archives, shipping
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
    """What `Run.resume` was given, checked as the options of a job are."""

    fn: Callable[..., Any] | None = None
    options: ResumeOptions = field(default_factory=ResumeOptions)

    def __post_init__(self) -> None:
        if self.fn is not None and not callable(self.fn):
            raise FunctionError(f"fn={self.fn!r} is not callable; pass a function or a class")
        given = {name: value for name, value in self.options.items() if value is not None}
        checking.check("reduce", given.get("reduce"), Reduce | None, PlanError)
        object.__setattr__(self, "options", validate_options(given))

    def given_names(self) -> list[str]:
        """Return the names of what was given."""
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
    """Return the run with what was given; nothing is written. What does not fit it raises."""
    if not changes.given_names():
        return Revision(job)
    store = folder.store
    new = _apply_limits(job, changes)
    files: dict[str, bytes] = {}
    names: set[str] = set()
    if changes.fn is not None:
        fn = parameters.bind_values(changes.fn, parameters.from_json(job.parameters))
        _check_fit(store, job, fn)
        new, path, data = _with_code(new, fn, layout.FUNCTION, names)
        receiving = signatures.task_parameters(fn)
        new = dataclasses.replace(new, function=path, task_parameters=receiving)
        files[path] = data
    reduce = changes.options.get("reduce")
    if reduce is not None:
        reducer = _reducer(store, job, reduce)
        new, path, data = _with_code(new, reducer, layout.REDUCE, names)
        new, files[path] = dataclasses.replace(new, reduce=path), data
        stages = [dataclasses.replace(s, check=_checks(s, reducer)) for s in new.stages]
        new = dataclasses.replace(new, stages=tuple(stages))
    if files:
        new, modules = _with_modules(store, new, names)
        files |= modules
        here = ".".join(map(str, sys.version_info[:2]))
        new = dataclasses.replace(new, python=here)
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
            return  # its classes may be those of another machine: the workers will tell
    piecewise = job.shuffle is not None or job.write is not None
    fitting.check_function(fn, job.format.name, names, piecewise=piecewise)


def _apply_limits(job: Job, changes: Changes) -> Job:
    limits = ("timeout", "deadline", "attempts", "max_failed")
    given: dict[str, Any] = {n: value for n, value in changes.options.items() if n in limits}
    if "deadline" in given:
        given["deadline_since"] = time.time()
    if "max_failed" in given and job.write is not None:
        writing.check_losses(writing.Target.from_json(job.write), given["max_failed"])
    stages = [dataclasses.replace(s, resources=_resources(job, s, changes)) for s in job.stages]
    return dataclasses.replace(job, stages=tuple(stages), **given)


def _resources(job: Job, stage: Stage, changes: Changes) -> Resources:
    """Return what a task asks for now; a reduce that had what the maps had, on demand, has it
    still."""
    asked, before = changes.options.get("resources"), job.stages[0].resources
    if stage.kind == "map":
        return asked or stage.resources
    of_reduce = changes.options.get("reduce_resources")
    if of_reduce is not None:
        return of_reduce
    shared = stage.resources == before.on_demand()
    return asked.on_demand() if asked is not None and shared else stage.resources


def _with_modules(store: Store, job: Job, names: set[str]) -> tuple[Job, dict[str, bytes]]:
    """Return the job with the modules of its new code, and those of before that it does without."""
    data = shipping.archive(names)
    if not data:
        return job, {}
    if job.modules is not None:
        data = merge_archives(pieces.read(store, job.digests, job.modules), data)
    digest = hashlib.sha256(data).hexdigest()
    path = layout.changed(layout.MODULES, digest)
    digests = {**job.digests, path: digest}
    return dataclasses.replace(job, modules=path, digests=digests), {path: data}


def _with_code(job: Job, function: Any, place: str, names: set[str]) -> tuple[Job, str, bytes]:
    """Return the job that knows one more function, its path, and what is to be written there."""
    data = transport.dump(function, names)
    digest = hashlib.sha256(data).hexdigest()
    path = layout.changed(place, digest)
    code = {**job.code, path: vars(origins.of(function, job.parameters))}
    digests = {**job.digests, path: digest}
    return dataclasses.replace(job, code=code, digests=digests), path, data


def _reducer(store: Store, job: Job, reduce: Reduce) -> Reducer:
    """Return the reducer in place of the run's: its tree and its `finalize` are those of the run."""
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
        # Its code may be what cannot be loaded any more.
        with suppress(FunctionError):
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
    left = len(folder.list_committed("map")) < new.shards
    needed = [("fn", new.function)] if left else []
    for option, path in [*needed, ("reduce", new.reduce)]:
        made = new.python_of(path) if path else new.python
        if (
            path
            and made != new.python
            and not transport.is_portable(pieces.read(folder.store, new.digests, path))
        ):
            what = "function" if option == "fn" else "reduce"
            raise FunctionError(
                f"the {what} of run {new.run_id} was pickled by Python {made}, and this is "
                f"{new.python}: pass it once more as well, by {option}="
            )


def _find_stale_paths(folder: RunFolder, job: Job, changes: Changes) -> Iterator[str]:
    """Yield what the functions and limits of before left behind, and the new ones are not to find."""
    folds = [stage for stage in job.stages if stage.kind in ("reduce", "shuffle")]
    if changes.fn is not None:
        yield from agreement.list_uncommitted(folder, job.stages[-1].name)
    if "reduce" in changes.options:
        # One answer comes from one reduce.
        for stage in folds:
            yield from (
                layout.commit(stage.name, index) for index in _find_committed(folder, stage)
            )
            yield from agreement.files(folder.store, stage.name)
    later = (stage for stage in job.stages if stage.kind != "map")
    if "max_failed" in changes.options and not any(
        _find_committed(folder, stage) for stage in later
    ):
        # Nothing was made without what was given up: it is tried once more.
        yield layout.FAILED


def _find_committed(folder: RunFolder, stage: Stage) -> list[int]:
    """Return the committed tasks of a stage, those among them that a listing does not show yet."""
    commits = folder.commits(stage.name, range(stage.tasks))
    named = {index for index, commit in enumerate(commits) if commit is not None}
    return sorted(named.union(folder.list_committed(stage.name)))
