"""Check that a pipeline is whole: its own files and records, and every run that does a step."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mapred import display
from mapred.client.audit import Audit, audit, files
from mapred.client.audit.files import Stored
from mapred.client.audit.problems import Problem
from mapred.display.format import pluralize
from mapred.errors import MapredError, RecordError
from mapred.model import layout
from mapred.process.secrecy import mask
from mapred.runfolder.folder import RunFolder
from mapred.runfolder.pipelines import Claim, PipelineFolder, PipelineRecord, Step
from mapred.storage import open_store

_MOST = 50


@dataclass(frozen=True)
class PipelineAudit:
    """What `PipelineRun.audit` checked, and the problems: none means that the pipeline is whole.

    Its text says it in a few lines.

    Attributes:
        run: The id of the pipeline.
        steps: How many steps it has asked for.
        files: How many files the pipeline itself has.
        runs: The audits of its runs, those of pipelines inside of it among them.
        own: What is wrong with the files and records of the pipeline, or of those inside of it.

    Examples:
        >>> @mapred.pipeline
        ... def signs():
        ...     return mapred.run(abs, [-1, -2])
        >>> audit = signs.run().audit()
        >>> audit.ok, audit.complete, audit.steps, len(audit.runs)
        (True, True, 1, 1)
    """

    run: str
    steps: int
    files: int
    runs: tuple[Audit, ...]
    own: tuple[Problem, ...]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All problems, those of runs with the run's id before the place."""
        inside = (
            Problem(problem.kind, f"{run.run}: {problem.where}", problem.text)
            for run in self.runs
            for problem in run.problems
        )
        return (*self.own, *inside)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong but for losses that options of the runs allow."""
        return not self.problems

    @property
    def complete(self) -> bool:
        """Whether nothing is wrong, and no run has given up or skipped anything."""
        return self.ok and all(run.complete for run in self.runs)

    def __str__(self) -> str:
        counts = [pluralize(self.steps, "step"), pluralize(len(self.runs), "run")]
        head = f"{self.run}: {', '.join(counts)}; {pluralize(self.files, 'file')} checked: "
        problems = self.problems
        end = "whole" if self.complete else "whole but for what its runs went without"
        if problems:
            end = pluralize(len(problems), "problem")
        lines = [head + end, *map(str, problems[:_MOST])]
        more = len(problems) - _MOST
        lines += [f"… and {more:,} more"] if more > 0 else []
        return "\n".join([*lines, *(str(run).partition("\n")[0] for run in self.runs)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = [
            {"run": run.run, "commits": run.commits, "problems": len(run.problems)}
            for run in self.runs
        ]
        return display.table_html(rows, str(self).partition("\n")[0].split("\n"))


def audit_pipeline(
    folder: PipelineFolder, record: PipelineRecord, *, content: bool = True, contact: bool = False
) -> PipelineAudit:
    """Check a pipeline's folder and its runs; nothing that a user wrote is unpickled."""

    def audit_run(run: RunFolder) -> Audit:
        return audit(run, run.job(), content=content, contact=contact)

    return _Auditor(audit_run, {folder.uri}).audit(folder, record)


class _Auditor:
    """Audits pipelines, each of them once; `seen` are their folders and those of runs."""

    def __init__(self, audit_run: Callable[[RunFolder], Audit], seen: set[str]) -> None:
        self._audit_run, self._seen = audit_run, seen

    def audit(self, folder: PipelineFolder, record: PipelineRecord) -> PipelineAudit:
        run_id = folder.uri.rpartition("/")[2]
        own = [*_check_end(folder), *_check_files(folder, record)]
        number = len(folder.code_files(record)) + 1 + _count_results(folder)
        steps, runs = 0, list[Audit]()
        try:
            asked, claims = folder.last_steps(), folder.claims()
            steps = len(asked)
            own += _check_steps(folder, asked, claims)
            for claim in claims:
                inner, problems, files_in = self._audit_claim(claim, run_id)
                runs += inner
                own += problems
                number += files_in
        except RecordError as error:
            if error.newer:
                raise
            own.append(Problem("changed", run_id, str(error)))
        return PipelineAudit(run_id, steps, number, tuple(runs), tuple(own))

    def _audit_claim(self, claim: Claim, parent: str) -> tuple[Sequence[Audit], list[Problem], int]:
        """Return the audits of the run, or the pipeline, that does a step, and what is wrong."""
        where = layout.claim(claim.step.address)
        run_id = claim.uri.rpartition("/")[2]
        if claim.uri in self._seen:
            return (), [Problem("duplicate", where, f"{run_id} does another step too")], 0
        self._seen.add(claim.uri)
        store = open_store(claim.uri)
        inside = PipelineFolder(store)
        try:
            if inside.parent() != parent:
                text = f"{run_id} is not a step of this pipeline, or is gone"
                return (), [Problem("changed", where, text)], 0
            if claim.step.kind == "pipeline":
                found = self.audit(inside, inside.record())
                wrong = [
                    Problem(problem.kind, f"{run_id}: {problem.where}", problem.text)
                    for problem in found.own
                ]
                return found.runs, wrong, found.files
            return (self._audit_run(RunFolder(store)),), [], 0
        except MapredError as error:
            if isinstance(error, RecordError) and error.newer:
                raise
            return (), [Problem("unreadable", where, f"{run_id}: {error}")], 0


def _count_results(folder: PipelineFolder) -> int:
    """Return how many results a pipeline has: one once it succeeded."""
    end = folder.end()
    return int(end is not None and end.state == "succeeded")


def _check_end(folder: PipelineFolder) -> Iterator[Problem]:
    end = folder.end()
    if end is None or end.state != "succeeded":
        text = "it has no end record that can be read: it is at work, or was interrupted"
        if end is not None:
            error = mask(end.message.partition("\n")[0])
            text = ": ".join(part for part in (f"the pipeline {end.state}", error) if part)
        yield Problem("unfinished", layout.END, text)
        return
    if folder.record_digest() != end.job:
        text = f"it is not what the pipeline ended with: {layout.END} names another SHA-256"
        yield Problem("changed", layout.PIPELINE, text)
    problem = _check_file(folder, layout.RESULT, end.manifest)
    if problem is not None:
        yield problem


def _check_files(folder: PipelineFolder, record: PipelineRecord) -> Iterator[Problem]:
    """Yield what is wrong with the files of the function, as edited too, and its arguments."""
    named = dict(folder.code_files(record).values())
    for path, digest in sorted({**record.digests, **named}.items()):
        problem = _check_file(folder, path, digest)
        if problem is not None:
            yield problem


def _check_file(folder: PipelineFolder, path: str, digest: str) -> Problem | None:
    return files.check_file(folder.store, Stored(path, path, "the file", None, digest), None)


def _check_steps(
    folder: PipelineFolder, asked: Sequence[Step], claims: Sequence[Claim]
) -> Iterator[Problem]:
    """Yield a problem for each step without the record that did it."""
    claimed = {claim.step.address: claim.step for claim in claims}
    for step in asked:
        if step.kind in ("run", "pipeline"):
            known = claimed.get(step.address)
            if known is None:
                text = f"no run does the step {step.name!r}"
                yield Problem("missing", layout.claim(step.address), text)
            elif known != step:
                text = f"it is the claim of another step than {step.name!r}"
                yield Problem("changed", layout.claim(step.address), text)
        elif step.kind == "recorded":
            yield from _check_recorded(folder, step)
        else:
            yield from _check_gate(folder, step)


def _check_recorded(folder: PipelineFolder, step: Step) -> Iterator[Problem]:
    path, kept = layout.recorded(step.address), folder.recorded(step.address)
    if kept is None:
        yield Problem("missing", path, f"the value of {step.name!r} is not there")
        return
    if kept.step != step:
        yield Problem("changed", path, f"it is the value of another step than {step.name!r}")
    try:
        json.loads(kept.value)
    except ValueError:
        yield Problem("changed", path, f"the value of {step.name!r} is not JSON")


def _check_gate(folder: PipelineFolder, step: Step) -> Iterator[Problem]:
    gate, answer = folder.gate(step.name), folder.answer(step.name)
    if gate is None or answer is None:
        path = layout.gate(step.name) if gate is None else layout.answer(step.name)
        yield Problem("missing", path, f"the gate {step.name!r} has no such record")
        return
    same = any(type(answer.value) is type(one) and answer.value == one for one in gate.choices)
    if not same or (gate.name, answer.name) != (step.name, step.name):
        text = f"it is not an answer of the gate {step.name!r}"
        yield Problem("changed", layout.answer(step.name), text)
