"""The folder of a pipeline: its steps in their order, and the answers that replays get from it.

Every record of a step is put if absent, so drivers that replay a pipeline at the same time agree.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import field, replace
from typing import Any, Literal, TypeVar

from mapred.errors import MapredError, RecordError, RunError, StorageError
from mapred.model import layout
from mapred.model.coding import encode
from mapred.model.fields import Count, Moment, Seconds
from mapred.model.frozen import dataclass
from mapred.runfolder import liveness, records
from mapred.runfolder.run_records import RunRecords
from mapred.storage import is_there, map_ahead

T = TypeVar("T")

Kind = Literal["run", "pipeline", "recorded", "gate"]


@dataclass(frozen=True)
class PipelineRecord:
    """What pipeline.json says: the function, and what it is called with.

    `parameters` are as text, to be shown; `digests` are the SHA-256 of the files; `code` is the
    canonical digest of the function, `arguments` that of what it is called with; `parent` is the pipeline that this one is a step of.
    """

    run_id: str
    name: str
    created: Moment
    submitted: Seconds
    digests: Mapping[str, str]
    parameters: Mapping[str, str] = field(default_factory=dict)
    retries: Count = 0
    backend: Mapping[str, Any] = field(default_factory=dict)
    code: str = ""
    arguments: str = ""
    parent: str = ""
    mode: Count | None = None
    python: str = ""
    mapred: str = ""


@dataclass(frozen=True)
class Step:
    """What a pipeline asked for: `parts` are what makes it this step, each as text.

    `digests` tell the parts apart where texts do not; a part without a canonical form has "".
    `needs` are the folders of the runs whose outputs it reads.
    """

    kind: Kind
    name: str
    address: str
    parts: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """The run, or the pipeline, that does a step; `record` is its job.json or pipeline.json."""

    step: Step
    uri: str
    record: str
    generation: Count = 0
    time: Seconds = 0.0


@dataclass(frozen=True)
class _StoredClaim:
    """A claim as a file has it: by the id of the run, whose folder lies beside the pipeline's."""

    step: Step
    run: str
    record: str
    generation: Count = 0
    time: Seconds = 0.0


@dataclass(frozen=True)
class Recorded:
    """What `mapred.recorded` keeps: `value` is JSON."""

    step: Step
    value: str
    time: Seconds = 0.0


@dataclass(frozen=True)
class Gate:
    """A question that a pipeline waits at. Listed by the `gates` of a pipeline's run.

    Attributes:
        name: The name of the gate, by which it is answered.
        question: What is asked.
        choices: What may be answered, as JSON values.
        asked: When it was asked first, in seconds since the epoch.
        due: When the default is taken; None where it waits without end.
        default: What is taken then.

    Examples:
        >>> @mapred.pipeline
        ... def guarded():
        ...     return mapred.approve("release", "Publish?", choices=["now", "later"])
        >>> run = guarded.submit()
        >>> while not run.gates:
        ...     _ = run.wait(timeout=0.1)
        >>> gate = run.gates["release"]
        >>> gate.question, gate.choices, gate.due
        ('Publish?', ('now', 'later'), None)
        >>> run.approve("release", "later").value
        'later'
    """

    name: str
    question: str
    choices: tuple[Any, ...]
    asked: Seconds
    due: Seconds | None = None
    default: Any = None


@dataclass(frozen=True)
class Answer:
    """The answer of a gate, which stands.

    Attributes:
        name: The name of the gate.
        value: The choice.
        note: What was said of it.
        by: Who answered, as told by the client; `timeout` for the default.
        time: When, in seconds since the epoch.

    Examples:
        >>> @mapred.pipeline
        ... def guarded():
        ...     return mapred.approve("release", "Publish?")
        >>> run = guarded.submit()
        >>> while not run.gates:
        ...     _ = run.wait(timeout=0.1)
        >>> answer = run.approve("release", note="checked the report")
        >>> answer.value, answer.note, run.result()
        (True, 'checked the report', True)
    """

    name: str
    value: Any
    note: str = ""
    by: str = ""
    time: Seconds = 0.0


@dataclass(frozen=True)
class Resumption:
    """A resumption: the runs that had failed, and so start again, by the times of their ends.

    `files` are those of an edited function, with their SHA-256: it begins a new generation of the
    order.
    """

    number: Count
    failed: Mapping[str, Seconds]
    by: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    automatic: bool = False
    time: Seconds = 0.0


@dataclass(frozen=True)
class _Parent:
    """What job.json or pipeline.json says of the pipeline that a run is a step of."""

    pipeline: str = ""
    parent: str = ""


class PipelineFolder(RunRecords):
    """The folder of a pipeline; its start, its end and its heartbeat are those of a run."""

    def record(self) -> PipelineRecord:
        """Return what pipeline.json says; a `RunError` where there is none."""
        try:
            record = records.read(self.store, layout.PIPELINE, PipelineRecord)
        except FileNotFoundError:
            raise RunError(
                f"{self.uri} holds no pipeline: it has no {layout.PIPELINE} in it"
            ) from None
        if not layout.is_run_id(record.run_id):
            raise RecordError(
                f"{self.uri}/{layout.PIPELINE}: what it says as run_id is not the id of a run"
            )
        return record

    def parent(self) -> str:
        """Return the id of the pipeline that a run, or a pipeline, is a step of; "" for any other.

        Only a record that can be read says so.
        """
        own = self.uri.rpartition("/")[2]
        for path in (layout.JOB, layout.PIPELINE):
            with suppress(MapredError, FileNotFoundError):
                said = records.read(self.store, path, _Parent)
                parent = said.pipeline or said.parent
                return parent if layout.is_run_id(parent) and parent != own else ""
        return ""

    def has_record(self) -> bool:
        return is_there(self.store, layout.PIPELINE)

    def put_record(self, record: PipelineRecord) -> bool:
        return self.store.put_if_absent(layout.PIPELINE, encode(record, indent=1))

    def put_record_data(self, data: bytes) -> bool:
        """Write pipeline.json as another driver has made it, unless it is there."""
        return self.store.put_if_absent(layout.PIPELINE, data)

    def send_heartbeats(self, ref: str) -> AbstractContextManager[None]:
        return liveness.send_heartbeats(self.store, ref, layout.PIPELINE)

    def record_digest(self) -> str:
        return _sha256(self.store.read(layout.PIPELINE))

    def put_order(self, generation: int, place: int | str, step: Step) -> Step:
        """Note the step that was asked for in a place; return the one that stands there."""
        return self._put(layout.order(generation, place), step)

    def steps(self) -> list[tuple[str, Step]]:
        """Return all that was asked for, with the names of the records, in the order of these."""
        return list(self._all(layout.ORDER, Step))

    def last_steps(self) -> list[Step]:
        """Return the steps that were asked for in the last generation, in the order of their names."""
        asked = [(name.partition("-")[0], step) for name, step in self.steps()]
        last = max((int(generation) for generation, _ in asked), default=0)
        return [step for generation, step in asked if int(generation) == last]

    def count_asked(self) -> int:
        """Return how many steps were asked for in the last generation, by their names alone."""
        paths = [path.removeprefix(layout.ORDER) for path, _ in self.store.list(layout.ORDER)]
        generations = [path.partition("-")[0] for path in paths if path.endswith(".json")]
        return generations.count(max(generations, key=int)) if generations else 0

    def claim(self, address: str) -> Claim | None:
        path = layout.claim(address)
        stored = self._get(path, _StoredClaim)
        return None if stored is None else self._locate(path, stored)

    def put_claim(self, claim: Claim) -> Claim:
        """Put the run that does a step; return the one that stands."""
        path = layout.claim(claim.step.address)
        stored = _StoredClaim(
            claim.step, self._id_of(claim.uri), claim.record, claim.generation, claim.time
        )
        return self._locate(path, self._put(path, stored))

    def claims(self) -> list[Claim]:
        """Return the runs and pipelines that do steps, in the order in which they were made."""
        found = (
            self._locate(f"{layout.CLAIMS}{name}.json", stored)
            for name, stored in self._all(layout.CLAIMS, _StoredClaim)
        )
        return sorted(found, key=lambda claim: claim.time)

    @property
    def _root(self) -> str:
        return self.uri.rpartition("/")[0]

    def _id_of(self, uri: str) -> str:
        root, _, run_id = uri.rpartition("/")
        if root != self._root:
            raise RunError(
                f"{uri} does not lie beside {self.uri}: a pipeline and its runs have one root"
            )
        return run_id

    def _locate(self, path: str, stored: _StoredClaim) -> Claim:
        """Return a claim with the folder of its run, which lies beside this one."""
        where = f"{self.uri}/{path}"
        if not layout.is_run_id(stored.run):
            raise RecordError(f"{where}: what it says as run is not the id of a run")
        if path != layout.claim(stored.step.address):
            raise RecordError(f"{where}: it is the claim of another step, {stored.step.name!r}")
        uri = f"{self._root}/{stored.run}"
        if self.store.local_path("") is not None and os.path.islink(uri):
            raise RecordError(f"{where}: {uri} is a link, and links are not followed")
        return Claim(stored.step, uri, stored.record, stored.generation, stored.time)

    def recorded(self, address: str) -> Recorded | None:
        return self._get(layout.recorded(address), Recorded)

    def put_recorded(self, kept: Recorded) -> Recorded:
        return self._put(layout.recorded(kept.step.address), kept)

    def gate(self, name: str) -> Gate | None:
        return self._get(layout.gate(name), Gate)

    def put_gate(self, gate: Gate) -> Gate:
        return self._put(layout.gate(gate.name), gate)

    def gates(self) -> list[Gate]:
        """Return the gates in the order in which they were asked."""
        return sorted((gate for _, gate in self._all(layout.GATES, Gate)), key=lambda g: g.asked)

    def answer(self, name: str) -> Answer | None:
        return self._get(layout.answer(name), Answer)

    def put_answer(self, answer: Answer) -> Answer:
        return self._put(layout.answer(answer.name), answer)

    def has_open_gates(self) -> bool:
        """Whether a gate has no answer."""
        return any(self.answer(gate.name) is None for gate in self.gates())

    def resumptions(self) -> list[Resumption]:
        """Return the resumptions, the first one first."""
        found = [self._with_uris(one) for _, one in self._all(layout.RESUMPTIONS, Resumption)]
        return sorted(found, key=lambda one: one.number)

    def put_resumption(self, resumption: Resumption) -> Resumption:
        failed = {self._id_of(uri): ended for uri, ended in resumption.failed.items()}
        path = layout.resumption(resumption.number)
        return self._with_uris(self._put(path, replace(resumption, failed=failed)))

    def _with_uris(self, stored: Resumption) -> Resumption:
        failed = {f"{self._root}/{run}": ended for run, ended in stored.failed.items()}
        return replace(stored, failed=failed)

    def put_edited(self, files: Mapping[str, bytes]) -> dict[str, str]:
        """Write the files of an edited function beside the first ones; return paths and SHA-256."""
        digests = {}
        for path, data in files.items():
            digest = _sha256(data)
            digests[layout.changed(path, digest)] = digest
            self.store.write(layout.changed(path, digest), data)
        return digests

    def code_files(self, record: PipelineRecord) -> dict[str, tuple[str, str]]:
        """Return path and SHA-256 of function.pkl and modules.pkl as the last resumption has them."""
        first = (layout.FUNCTION, layout.MODULES)
        files = {path: (path, record.digests[path]) for path in first if path in record.digests}
        for one in self.resumptions():
            if one.files:
                files = {
                    f"{path.partition('-')[0]}.pkl": (path, one.files[path]) for path in one.files
                }
        return files

    def read_checked(self, path: str, digest: str) -> bytes:
        """Return a file whose SHA-256 is recorded; a `RunError` where it is not that file."""
        try:
            data = self.store.read(path)
        except FileNotFoundError:
            raise RunError(f"{self.uri}/{path} is gone; restore it from a copy") from None
        if _sha256(data) != digest:
            raise RunError(
                f"{self.uri}/{path} is not what was stored; its SHA-256 differs: restore it from a "
                "copy, or start a new pipeline"
            )
        return data

    def _get(self, path: str, cls: type[T]) -> T | None:
        try:
            return records.read(self.store, path, cls)
        except FileNotFoundError:
            return None

    def _put(self, path: str, record: T) -> T:
        """Put a record unless there is one; return the one that stands."""
        if self.store.put_if_absent(path, encode(record)):
            return record
        standing = self._get(path, type(record))
        if standing is None:
            raise StorageError(
                f"{self.uri}/{path} was refused as there already, and is not: try again"
            )
        return standing

    def _all(self, folder: str, cls: type[T]) -> Iterator[tuple[str, T]]:
        paths = sorted(path for path, _ in self.store.list(folder) if path.endswith(".json"))
        found: Iterable[T | None] = map_ahead(self.store, lambda path: self._get(path, cls), paths)
        for path, record in zip(paths, found, strict=True):
            if record is not None:
                yield path.removeprefix(folder).removesuffix(".json"), record


def to_json(value: Any) -> str:
    """Return a value as JSON; `TypeError` or `ValueError` for one that would not come back equal."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=True)
    if not _same(value, json.loads(text)):
        raise TypeError("it does not come back from JSON as it is")
    return text


def _same(value: Any, back: Any) -> bool:
    """Whether two values are equal with their types; a NaN is itself."""
    if type(value) is not type(back):
        return False
    if isinstance(value, dict):
        return list(value) == list(back) and all(_same(value[key], back[key]) for key in value)
    if isinstance(value, list):
        return len(value) == len(back) and all(map(_same, value, back))
    return bool(value == back) or (value != value and back != back)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
