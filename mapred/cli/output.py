"""Results, runs and tables as text for a terminal and as JSON for scripts; pure."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from itertools import islice
from typing import TYPE_CHECKING, Any

from mapred.display.format import one_line, pluralize, visible
from mapred.display.summary import pace
from mapred.display.tables import table_text
from mapred.display.text.run import stages_to_show
from mapred.functions.parameters import to_json

if TYPE_CHECKING:
    from mapred.client.audit import Audit
    from mapred.client.audit.pipelines import PipelineAudit
    from mapred.client.history import Entry
    from mapred.display import PlanSummary
    from mapred.display.pipelines.rows import Row
    from mapred.model.pipelines import PipelineStatus, StepStatus
    from mapred.model.records import GivenUp
    from mapred.model.status import RunStatus

_HEAD = 10
_ROWS_IN_JSON = 10_000
_TABULAR = {"pyarrow", "pandas", "polars"}


def result_text(value: Any, width: int = 100) -> str:
    """Return the beginning of a result: the top of counts, the head of a table, the first items."""
    if isinstance(value, str):
        return visible(value) if len(value) <= 2000 else visible(value[:2000]) + "…"
    if isinstance(value, Mapping):
        return _mapping_text(value, width)
    if _is_table(value):
        rows, count = _head(value, _HEAD)
        head = pluralize(count, "row")
        if count > len(rows):
            head += f", the first {len(rows)}"
        return f"{head}\n{table_text(rows, width)}" if rows else head
    if isinstance(value, list | tuple):
        head = f"{type(value).__name__} of {pluralize(len(value), 'item')}"
        if len(value) > _HEAD:
            head += f", the first {_HEAD}"
        return "\n".join([head, *(f"  {_short(item, width - 2)}" for item in value[:_HEAD])])
    text = visible(repr(value))
    return text if len(text) <= 2000 else text[:2000] + "…"


def _mapping_text(value: Mapping[Any, Any], width: int) -> str:
    counts = isinstance(value, Counter)
    pairs = value.most_common(_HEAD) if isinstance(value, Counter) else islice(value.items(), _HEAD)
    head = f"{type(value).__name__} of {pluralize(len(value), 'key')}"
    if len(value) > _HEAD:
        head += f", the {_HEAD} most common" if counts else f", the first {_HEAD}"
    shown = [(_short(key, 40), _short(item, max(width - 44, 20))) for key, item in pairs]
    room = max((len(key) for key, _ in shown), default=0)
    return "\n".join([head, *(f"  {key:<{room}}  {item}" for key, item in shown)])


def _short(value: Any, width: int) -> str:
    return one_line(value if isinstance(value, str) else repr(value), max(width, 20))


def _is_table(value: Any) -> bool:
    if type(value).__module__.split(".")[0] not in _TABULAR:
        return False
    return hasattr(value, "head") or hasattr(value, "to_pylist")


def _head(value: Any, most: int) -> tuple[list[dict[str, Any]], int]:
    """Return the first rows of a table, frame or dataset, and how many there are."""
    if hasattr(value, "count_rows"):
        return value.head(most).to_pylist(), value.count_rows()
    if hasattr(value, "to_pylist"):
        head = value.slice(0, most).to_pylist()
        return [row if isinstance(row, dict) else {"value": row} for row in head], len(value)
    head = value.head(most)
    if hasattr(head, "to_dicts"):
        return head.to_dicts(), len(value)
    if not hasattr(head, "columns"):
        head = head.to_frame()
    return head.to_dict("records"), len(value)


def jsonable(value: Any) -> Any:
    """Return a result as JSON writes it; TypeError for what JSON cannot hold.

    A table of up to 10,000 rows becomes a list of objects, a number that is not finite null.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_key(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if _is_table(value):
        rows, count = _head(value, _ROWS_IN_JSON)
        if count > len(rows):
            raise TypeError(f"{count:,} rows are too many for JSON")
        return jsonable(rows)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if type(value).__module__.split(".")[0] == "numpy":
        return jsonable(value.tolist())
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, int | float) and not isinstance(key, bool):
        return str(key)
    raise TypeError(f"a key of type {type(key).__name__} cannot be written as JSON")


# The fields of a run's status that scripts get, in this order, after its id.
_STATUS = (
    "uri name state message stages parameters started finished pauses queued_since bytes "
    "bytes_done records skipped given_up counters heavy failures retries"
).split()


def status_json(status: RunStatus) -> dict[str, Any]:
    """Return what scripts get of a run; `seconds` are without pauses, `heavy` is estimated."""
    return {
        "id": status.run_id,
        **{name: getattr(status, name) for name in _STATUS},
        "stages": _plain(stages_to_show(status)),
        "parameters": to_json(status.parameters),
        "started": iso_time(status.started),
        "finished": iso_time(status.finished),
        "pauses": [[iso_time(begin), iso_time(end)] for begin, end in status.pauses],
        "queued_since": iso_time(status.queued_since),
        "given_up": _given_up_json(status.given_up),
        "failures": _timed(status.failures),
        "retries": _timed(status.retries),
        "seconds": pace(status, time.time()).elapsed,
    }


def pipeline_json(status: PipelineStatus) -> dict[str, Any]:
    """Return what scripts get of a pipeline, in steps that may have steps of their own."""
    until = status.finished if status.finished is not None else time.time()
    return {
        "id": status.id,
        "uri": status.uri,
        "name": status.name,
        "state": status.state,
        "message": status.message,
        "parameters": dict(status.parameters),
        "started": iso_time(status.started),
        "finished": iso_time(status.finished),
        "seconds": max(0.0, until - status.started),
        "steps": [_step_json(step) for step in status.steps],
    }


def _step_json(step: StepStatus) -> dict[str, Any]:
    return {
        **vars(step),
        "started": iso_time(step.started or None),
        "finished": iso_time(step.finished),
        "due": iso_time(step.due),
        "steps": [_step_json(inner) for inner in step.steps],
    }


def gate_json(row: Row) -> dict[str, Any]:
    """Return what scripts get of a gate that waits: `pipeline` is the folder to answer it in."""
    step = row.step
    return {
        "pipeline": row.owner,
        "name": step.name,
        "question": step.text,
        "choices": step.choices,
        "asked": iso_time(step.started),
        "due": iso_time(step.due),
        "default": step.default,
    }


def iso_time(seconds: float | None) -> str | None:
    """Return a moment, in seconds since the epoch, as `2026-01-02T03:04:05.678Z`, in UTC."""
    if seconds is None:
        return None
    when = datetime.fromtimestamp(seconds, timezone.utc)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def entry_json(entry: Entry) -> dict[str, Any]:
    """Return what scripts get of a run in a list."""
    return {
        **vars(entry),
        "parameters": to_json(entry.parameters),
        "queued_since": iso_time(entry.queued_since),
    }


def plan_json(summary: PlanSummary) -> dict[str, Any]:
    """Return what scripts get of a plan; sizes in bytes (items where there are no bytes)."""
    unsplittable = ("files", "bytes", "reason")
    return {
        **vars(summary),
        "columns": _plain(summary.columns),
        "largest_files": [{"path": path, "bytes": size} for path, size in summary.largest_files],
        "unsplittable": [
            dict(zip(unsplittable, part, strict=True)) for part in summary.unsplittable
        ],
        "shard_bytes": [int(size) for size in summary.shard_bytes],
    }


def audit_json(audit: Audit) -> dict[str, Any]:
    """Return what scripts get of an audit."""
    return {
        **vars(audit),
        "ok": audit.ok,
        "complete": audit.complete,
        "given_up": _given_up_json(audit.given_up),
        "functions": _plain(audit.functions),
        "problems": _plain(audit.problems),
    }


def pipeline_audit_json(audit: PipelineAudit) -> dict[str, Any]:
    """Return what scripts get of the audit of a pipeline."""
    return {
        "run": audit.run,
        "ok": audit.ok,
        "complete": audit.complete,
        "steps": audit.steps,
        "files": audit.files,
        "runs": [audit_json(run) for run in audit.runs],
        "problems": _plain(audit.problems),
    }


def _timed(values: Iterable[Any]) -> list[dict[str, Any]]:
    return [{**vars(value), "time": iso_time(value.time)} for value in values]


def _plain(values: Iterable[Any]) -> list[dict[str, Any]]:
    return [vars(value) for value in values]


def _given_up_json(given_up: GivenUp) -> dict[str, Any]:
    return {"what": given_up.what, "indices": given_up.indices}
