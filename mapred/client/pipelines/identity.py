"""What makes a step the one that it is: names, code, datasets and options, as text and as digests.

Nothing here rests on pickles, since equal values may differ in theirs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from mapred.client.options import Options
from mapred.functions import code_digest, signatures, transport
from mapred.model import canonical
from mapred.model.checking import short_repr
from mapred.model.frozen import dataclass
from mapred.process import secrecy
from mapred.runfolder.pipelines import Kind, Step

if TYPE_CHECKING:
    from mapred.client.job import Job

# Options that say how a run is done, and not what it gives: a run that was made with others counts.
_HOW = {
    "attempts", "retry_on", "no_retry_on", "timeout", "deadline", "max_tasks_per_worker",
    "resources", "reduce_resources", "name",
}  # fmt: skip
_SHOWN = 5  # items of a dataset, in the text of a step
_CODE = ("reduce", "finalize")
UNKNOWN = ""  # the digest of a part without a canonical form


@dataclass(frozen=True)
class Identity:
    """The parts of a step as text and as digests; `unknown` says why it has no address of its own."""

    kind: Kind
    name: str
    texts: Mapping[str, str]
    digests: Mapping[str, str]
    unknown: str = ""
    needs: tuple[str, ...] = ()

    def step(self, ordinal: str) -> Step:
        """Return the step that is this one of those that are equal."""
        parts = [self.kind, self.name, *(f"{k}={v}" for k, v in sorted(self.digests.items()))]
        key = hashlib.sha256("\0".join([*parts, ordinal]).encode()).hexdigest()
        return Step(
            self.kind, self.name, key[:32], dict(self.texts), dict(self.digests), self.needs
        )


def of_job(job: Job) -> Identity:
    """Return the identity of a run of a job: what it computes, and not how."""
    from mapred.client.job import Plan  # which imports this package

    source: Any = job.dataset
    values: dict[str, Any] = {"function": job.fn, "dataset": source}
    if isinstance(source, Plan):
        values["dataset"] = source.dataset  # a step does not depend on its listing
    if annotation := signatures.input_annotation(job.fn):
        values["input"] = annotation  # by which mapred chooses what the function gets
    for field in fields(Options):
        value = getattr(job, field.name)
        if field.name not in _HOW and value != field.default:
            values[field.name] = value
    source = values["dataset"]
    needs = tuple(reference.uri for reference in source.runs)
    if needs:  # Runs are known by their ids, as all of a root may be moved.
        values["dataset"] = replace(source, runs=tuple(replace(r, uri="") for r in source.runs))
    return replace(of_values("run", job.name, values), needs=needs)


def of_values(kind: Kind, name: str, values: Mapping[str, Any]) -> Identity:
    """Return the identity of a step that these values make what it is."""
    texts, digests, unknown = {}, {}, ""
    for part, value in values.items():
        texts[part] = _text(part, value)
        try:
            digests[part] = digest_of(value)
        except canonical.Unknown as error:
            digests[part] = UNKNOWN
            unknown = unknown or f"{part}: {error}"
    return Identity(kind, name, texts, digests, unknown)


def digest_of(value: Any) -> str:
    """Return the digest of a value, the code that it refers to included; `Unknown` without one."""
    return code_digest.digest(value)


def code_of(function: Any) -> str:
    """Return the digest of a function's code; `UNKNOWN` where it has none."""
    try:
        return digest_of(function)
    except canonical.Unknown:
        return UNKNOWN


def _text(part: str, value: Any) -> str:
    if part in ("function", *_CODE) and callable(value):
        return transport.name_of(value)
    if part != "dataset":
        return short_repr(value)
    shown = short_repr(list(value.items[:_SHOWN])) if value.items else ""
    return f"{value}{': ' * bool(shown)}{secrecy.mask(shown)}"


def differences(one: Step, other: Step) -> Sequence[str]:
    """Return the parts in which two steps differ."""
    if (one.kind, one.name) != (other.kind, other.name):
        return ["name"] if one.kind == other.kind else ["kind"]
    names = {**one.digests, **other.digests}
    return [name for name in names if one.digests.get(name) != other.digests.get(name)]


def describe(step: Step) -> str:
    """Return a step on one line: `the run parse(s3://raw/2026-11-03/*.json)`."""
    inside = ", ".join(
        text if name == "dataset" else f"{name}={text}"
        for name, text in step.parts.items()
        if name != "function"
    )
    what = {"recorded": "the recorded value", "gate": "the gate", "pipeline": "the pipeline"}
    return f"{what.get(step.kind, 'the run')} {step.name}({inside})"
