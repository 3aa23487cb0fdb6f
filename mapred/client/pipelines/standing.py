"""What a pipeline's folder, and those of its runs, say of its state."""

from __future__ import annotations

import time
from dataclasses import replace

from mapred.client import drivers
from mapred.errors import MapredError
from mapred.model.pipelines import PipelineStatus, StepStatus
from mapred.runfolder.folder import RunFolder
from mapred.runfolder.pipelines import Claim, PipelineFolder, PipelineRecord, Step
from mapred.storage import open_store


def state(folder: PipelineFolder, *, at_work: bool) -> str:
    """Return the state of a pipeline; `at_work` says whether a driver lives."""
    end = folder.end()
    if end is not None:
        return end.state
    if not at_work:
        return "interrupted"
    waiting = any(folder.answer(gate.name) is None for gate in folder.gates())
    return "waiting" if waiting else "running"


def status(folder: PipelineFolder, record: PipelineRecord, *, at_work: bool) -> PipelineStatus:
    """Return the state of a pipeline and of its steps, in the order in which these were asked for."""
    end = folder.end()
    claims = {claim.step.address: claim for claim in folder.claims()}
    steps = [_step_status(folder, step, claims) for step in _ordered(folder, claims)]
    finished = None if at_work else folder.start().ended
    return PipelineStatus(
        name=record.name,
        state=state(folder, at_work=at_work),
        steps=tuple(steps),
        message="" if end is None else end.message,
        started=record.submitted,
        finished=end.time if end is not None else finished,
        parameters=record.parameters,
    )


def _ordered(folder: PipelineFolder, claims: dict[str, Claim]) -> list[Step]:
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


def _step_status(folder: PipelineFolder, step: Step, claims: dict[str, Claim]) -> StepStatus:
    if step.kind == "recorded":
        kept = folder.recorded(step.address)
        known = StepStatus(step.kind, step.name, "waiting" if kept is None else "recorded")
        return known if kept is None else replace(known, text=kept.value, started=kept.time)
    if step.kind == "gate":
        return _gate_status(folder, step)
    text = step.parts.get("dataset", "")
    claim = claims.get(step.address)
    if claim is None:
        return StepStatus(step.kind, step.name, "waiting", text)
    known = StepStatus(step.kind, step.name, "unknown", text, claim.uri, claim.time)
    try:
        return _run_status(known, claim)
    except MapredError:
        return replace(known, state="unreadable")


def _gate_status(folder: PipelineFolder, step: Step) -> StepStatus:
    gate, answer = folder.gate(step.name), folder.answer(step.name)
    if gate is None:
        return StepStatus(step.kind, step.name, "waiting")
    until = time.time() if answer is None else answer.time
    return StepStatus(
        step.kind,
        step.name,
        "waiting" if answer is None else "answered",
        gate.question if answer is None else f"{gate.question} {answer.value}",
        started=gate.asked,
        seconds=max(0.0, until - gate.asked),
    )


def _run_status(known: StepStatus, claim: Claim) -> StepStatus:
    store = open_store(claim.uri)
    folder = PipelineFolder(store) if claim.step.kind == "pipeline" else RunFolder(store)
    end, start = folder.end(), folder.start()
    now = time.time()
    if end is not None:
        return replace(known, state=end.state, seconds=max(0.0, (end.time or now) - claim.time))
    plain = RunFolder(store)
    if drivers.at_work(plain, start):
        return replace(known, state="running", seconds=max(0.0, now - claim.time))
    state = "interrupted" if start.state == "running" else start.state
    return replace(known, state=state)
