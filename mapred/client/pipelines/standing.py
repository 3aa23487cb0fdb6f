"""What a pipeline's folder, and those of its runs, say of its state."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from mapred import backends
from mapred.client import drivers
from mapred.client.pipelines import driver, remote
from mapred.display.summary import group_failures
from mapred.display.text.failures import group_line
from mapred.engine.base import PipelineHandle
from mapred.errors import BackendError, MapredError, StorageError
from mapred.model import layout
from mapred.model.coding import decode
from mapred.model.pipelines import PipelineStatus, StepStatus
from mapred.runfolder import starts
from mapred.runfolder.folder import RunFolder
from mapred.runfolder.pipelines import Claim, PipelineFolder, PipelineRecord, Step
from mapred.storage import map_ahead, open_store


@dataclass(frozen=True)
class _Stage:
    name: str
    tasks: int


@dataclass(frozen=True)
class _Claimed:
    """What a display shows of the job.json in a claim."""

    stages: tuple[_Stage, ...]


@dataclass
class Looks:
    """What earlier looks at a pipeline saw of steps that have ended, by the digest of their claims.

    `seen` are the folders of this look: a folder that claims itself is shown once.
    """

    ended: dict[tuple[str, float | None], StepStatus] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)


def at_work(folder: PipelineFolder, known: PipelineHandle | None = None) -> bool:
    """Whether a driver is at work on a pipeline: here, in another process, or in a cluster.

    `known` is what drives it in a cluster, if that is at hand. Raises `BackendError` where a cluster
    does not answer.
    """
    place, seen = folder, {folder.uri}
    while driver.driven(place.uri) is None:
        if place.end() is not None:
            return False
        ref = place.start().ref
        if ref is None or not drivers.is_of_cluster(ref):
            return drivers.alive(RunFolder(place.store))
        parent = place.record().parent
        around = f"{place.uri.rpartition('/')[0]}/{parent}"
        if not layout.is_run_id(parent) or around in seen:
            handle = remote.reopen(place, known if place is folder else None)
            return handle is not None and handle.alive()
        # What drives the pipeline around it drives this one.
        seen.add(around)
        place = PipelineFolder(open_store(around))
    return True


def seen_at_work(folder: PipelineFolder, known: PipelineHandle | None = None) -> bool | None:
    """Return the same; None where a cluster does not answer."""
    try:
        return at_work(folder, known)
    except StorageError:
        raise
    except BackendError:
        return None


def state(folder: PipelineFolder, *, at_work: bool | None) -> str:
    """Return the state of a pipeline; `at_work` says whether a driver lives, None that it is unknown."""
    end = folder.end()
    if end is not None:
        return end.state
    if not at_work:
        return "unknown" if at_work is None else "interrupted"
    return "waiting" if _waits(folder, {folder.uri}) else "running"


def _waits(folder: PipelineFolder, seen: set[str]) -> bool:
    """Whether a pipeline without an end waits for an answer, or one inside of it does."""
    if folder.has_open_gates():
        return True
    inner = [claim.uri for claim in folder.claims() if claim.step.kind == "pipeline"]
    for uri in inner:
        inside = PipelineFolder(open_store(uri))
        if uri in seen:
            continue
        seen.add(uri)
        if inside.end() is None and _waits(inside, seen):
            return True
    return False


def status(
    folder: PipelineFolder,
    record: PipelineRecord,
    *,
    at_work: bool | None,
    looks: Looks | None = None,
) -> PipelineStatus:
    """Return the state of a pipeline and of its steps, in the order in which these were asked for."""
    looks = looks or Looks()
    looks.seen = {folder.uri}
    end = folder.end()
    steps = _steps(folder, looks, live=end is None and bool(at_work))
    if end is not None:
        known: str = end.state
    elif at_work:
        known = "waiting" if _any_waits(steps) else "running"
    else:
        known = "unknown" if at_work is None else "interrupted"
    finished = None if at_work is not False else folder.start().ended
    return PipelineStatus(
        name=record.name,
        state=known,
        steps=steps,
        message="" if end is None else end.message,
        started=record.submitted,
        finished=end.time if end is not None else finished,
        parameters=record.parameters,
        uri=folder.uri,
    )


def _any_waits(steps: tuple[StepStatus, ...]) -> bool:
    """Whether a gate waits for an answer, among these steps or those inside of them."""
    return any(step.state == "waiting" and step.kind in ("gate", "pipeline") for step in steps)


def _steps(folder: PipelineFolder, looks: Looks, *, live: bool) -> tuple[StepStatus, ...]:
    """Return the steps of a pipeline; `live` says whether those that wait may start yet."""
    claims = {claim.step.address: claim for claim in folder.claims()}
    asked = _ordered(folder, claims)
    places: dict[str, int] = {}
    for place, step in enumerate(asked):
        if step.address in claims:
            places[claims[step.address].uri.rpartition("/")[2]] = place
    found = map_ahead(
        folder.store, lambda step: _step_status(folder, step, claims, places, looks), asked
    )
    if live:
        return tuple(found)
    return tuple(
        replace(step, state="not started") if step.state == "waiting" and not step.started else step
        for step in found
    )


def _ordered(folder: PipelineFolder, claims: Mapping[str, Claim]) -> list[Step]:
    """Return the steps of the last generation in their order, then those of other threads."""
    asked = [(name.partition("-"), step) for name, step in folder.steps()]
    if not asked:
        return []
    last = max(int(name[0]) for name, _ in asked)
    mine = [(name[2], step) for name, step in asked if int(name[0]) == last]
    own = [step for place, step in mine if len(place) < 16]
    others = [step for place, step in mine if len(place) >= 16]
    others.sort(key=lambda step: claims[step.address].time if step.address in claims else 0.0)
    return own + others


def _step_status(
    folder: PipelineFolder,
    step: Step,
    claims: Mapping[str, Claim],
    places: Mapping[str, int],
    looks: Looks,
) -> StepStatus:
    if step.kind == "recorded":
        kept = folder.recorded(step.address)
        known = StepStatus(step.kind, step.name, "waiting" if kept is None else "recorded")
        return known if kept is None else replace(known, text=kept.value, started=kept.time)
    if step.kind == "gate":
        return _gate_status(folder, step)
    ids = {uri.rpartition("/")[2] for uri in step.needs}
    needs = tuple(sorted(places[run_id] for run_id in ids & places.keys()))
    known = StepStatus(step.kind, step.name, "waiting", _text_of(step), needs=needs)
    claim = claims.get(step.address)
    if claim is None:
        return known
    known = replace(known, state="unknown", uri=claim.uri, started=claim.time)
    try:
        if claim.step.kind == "pipeline":
            return _pipeline_status(known, claim, looks)
        return _run_status(known, claim, looks)
    except MapredError as error:
        return replace(known, state="unreadable", message=str(error))


def _text_of(step: Step) -> str:
    """Return the dataset of a run, and the arguments of a pipeline."""
    if step.kind == "run":
        return step.parts.get("dataset", "")
    given = [f"{name}={text}" for name, text in step.parts.items() if name != "function"]
    return ", ".join(given)


def _gate_status(folder: PipelineFolder, step: Step) -> StepStatus:
    if not layout.is_run_id(step.name):
        return StepStatus(step.kind, step.name, "unreadable")
    gate, answer = folder.gate(step.name), folder.answer(step.name)
    if gate is None:
        return StepStatus(step.kind, step.name, "waiting")
    until = time.time() if answer is None else answer.time
    return StepStatus(
        step.kind,
        step.name,
        "waiting" if answer is None else "answered",
        gate.question,
        started=gate.asked,
        seconds=max(0.0, until - gate.asked),
        finished=None if answer is None else until,
        message="" if answer is None else answer.note,
        choices=gate.choices,
        answer=None if answer is None else answer.value,
        due=gate.due,
        default=gate.default,
    )


def _run_status(known: StepStatus, claim: Claim, looks: Looks) -> StepStatus:
    folder = RunFolder(open_store(claim.uri))
    end = folder.end()
    if end is not None and (before := looks.ended.get((claim.uri, end.time))):
        return before
    claimed = None
    with suppress(MapredError):
        claimed = decode(_Claimed, claim.record.encode(), f"the claim of {claim.uri}")
    if claimed is not None:
        known = replace(known, tasks=sum(stage.tasks for stage in claimed.stages))
    start = folder.start()
    if end is not None:
        known = _timed(known, start, end.state, end.time)
        if end.state == "succeeded":
            known = replace(known, done=known.tasks)
        else:
            done, message = _count_done(folder, claimed), _error_of(folder) or end.message
            known = replace(known, done=done, message=message)
        looks.ended[claim.uri, end.time] = known
        return known
    if start.ref is not None and drivers.is_of_cluster(start.ref):
        known = _in_cluster(known, folder, start)
    elif drivers.at_work(folder, start):
        known = replace(_timed(known, start, "running", time.time()), finished=None)
    else:
        state = "interrupted" if start.state == "running" else start.state
        known = _timed(known, start, state, start.ended)
    return replace(known, done=_count_done(folder, claimed))


def _in_cluster(known: StepStatus, folder: RunFolder, start: starts.Start) -> StepStatus:
    """Return a run's step by one look at the cluster that works on it."""
    assert start.ref is not None
    try:
        status = backends.standing(folder.store, folder.job(), start.ref)
    except StorageError:
        raise
    except BackendError as error:
        return replace(_timed(known, start, "unknown", start.ended), message=str(error))
    end = folder.end()  # Asking the cluster may have written it.
    if end is not None:
        return replace(_timed(known, start, end.state, end.time), message=end.message)
    if status is None:
        return _timed(known, start, "interrupted", start.ended)
    return replace(_timed(known, start, status.state, time.time()), finished=None)


def _timed(known: StepStatus, start: starts.Start, state: str, until: float | None) -> StepStatus:
    """Return a step in a state that it has, or had, until then."""
    seconds = None if until is None else starts.working_seconds(known.started, start, until)
    return replace(known, state=state, seconds=seconds, finished=until)


def _error_of(folder: RunFolder) -> str:
    """Return the most frequent failure of a run on one line; nothing where none can be read."""
    with suppress(MapredError, FileNotFoundError):
        groups = group_failures(folder.failures(folder.job()))
        return group_line(groups[0]) if groups else ""
    return ""


def _count_done(folder: RunFolder, claimed: _Claimed | None) -> int | None:
    if claimed is None:
        return None
    return sum(len(folder.list_committed(stage.name)) for stage in claimed.stages)


def _pipeline_status(known: StepStatus, claim: Claim, looks: Looks) -> StepStatus:
    if claim.uri in looks.seen:
        raise MapredError(f"{claim.uri} is a step in several places")
    looks.seen.add(claim.uri)
    folder = PipelineFolder(open_store(claim.uri))
    end, start = folder.end(), folder.start()
    live = end is None and bool(seen_at_work(folder))
    steps = _steps(folder, looks, live=live)
    message = "" if end is None or end.state == "succeeded" else end.message
    known = replace(known, steps=steps, message=message)
    if end is not None:
        return _timed(known, start, end.state, end.time)
    if not live:
        return _timed(known, start, "interrupted", start.ended)
    state = "waiting" if _any_waits(steps) else "running"
    return replace(_timed(known, start, state, time.time()), finished=None)
