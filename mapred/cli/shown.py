"""Results, runs and tables as text for a terminal and as JSON for scripts; pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from mapred.display.numbers import one_line, several, visible
from mapred.display.text import settled

if TYPE_CHECKING:
    from mapred.audit import Audit
    from mapred.display import PlanSummary
    from mapred.model import Failure, GivenUp, RunStatus

_HEAD = 10
_ROWS_IN_JSON = 10_000
_TABULAR = {"pyarrow", "pandas", "polars"}


def result_text(value: Any, width: int = 100) -> str:
    """The beginning of a result: the top of counts, the head of a table, the first items."""
    if isinstance(value, str):
        return visible(value) if len(value) <= 2000 else visible(value[:2000]) + "…"
    if isinstance(value, Mapping):
        return _mapping_text(value, width)
    if _is_table(value):
        rows, count = _head(value, _HEAD)
        head = several(count, "row")
        if count > len(rows):
            head += f", the first {len(rows)}"
        return f"{head}\n{table_text(rows, width)}" if rows else head
    if isinstance(value, list | tuple):
        head = f"{type(value).__name__} of {several(len(value), 'item')}"
        if len(value) > _HEAD:
            head += f", the first {_HEAD}"
        return "\n".join([head, *(f"  {_short(item, width - 2)}" for item in value[:_HEAD])])
    text = visible(repr(value))
    return text if len(text) <= 2000 else text[:2000] + "…"


def _mapping_text(value: Mapping[Any, Any], width: int) -> str:
    counts = isinstance(value, Counter)
    pairs = value.most_common(_HEAD) if isinstance(value, Counter) else islice(value.items(), _HEAD)
    head = f"{type(value).__name__} of {several(len(value), 'key')}"
    if len(value) > _HEAD:
        head += f", the {_HEAD} most common" if counts else f", the first {_HEAD}"
    shown = [(_short(key, 40), _short(item, max(width - 44, 20))) for key, item in pairs]
    room = max((len(key) for key, _ in shown), default=0)
    return "\n".join([head, *(f"  {key:<{room}}  {item}" for key, item in shown)])


def _short(value: Any, width: int) -> str:
    return one_line(value if isinstance(value, str) else repr(value), max(width, 20))


def table_text(rows: Sequence[Mapping[str, Any]], width: int | None, shrink: str = "") -> str:
    """Rows with aligned columns, numbers to the right.

    Where they need more than `width` characters, the column `shrink` gives way first, then
    the last columns do.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = {name: [one_line(name, 40), *(_cell(row.get(name)) for row in rows)] for name in names}
    sizes = {name: max(map(len, column)) for name, column in cells.items()}
    if width is not None:
        over = sum(sizes.values()) + 2 * (len(sizes) - 1) - width
        if shrink in sizes and over > 0:
            sizes[shrink] = max(sizes[shrink] - over, 8)
        while len(sizes) > 1 and sum(sizes.values()) + 2 * (len(sizes) - 1) > width:
            sizes.popitem()
    numbers = {name for name in names if all(_is_number(row.get(name)) for row in rows)}
    lines = []
    for number in range(len(rows) + 1):
        parts = []
        for name, size in sizes.items():
            text = cells[name][number]
            text = text if len(text) <= size else text[: size - 1] + "…"
            parts.append(text.rjust(size) if name in numbers else text.ljust(size))
        lines.append("  ".join(parts).rstrip())
    if len(sizes) < len(names):
        lines.append(f"and the columns {', '.join(names[len(sizes) :])}"[:width])
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return one_line("" if value is None else str(value), 60)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_table(value: Any) -> bool:
    if type(value).__module__.split(".")[0] not in _TABULAR:
        return False
    return hasattr(value, "head") or hasattr(value, "to_pylist")


def _head(value: Any, most: int) -> tuple[list[dict[str, Any]], int]:
    """The first rows of a table, frame or dataset, and how many there are."""
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
    """A result as JSON writes it; TypeError for what JSON cannot hold.

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
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, int | float) and not isinstance(key, bool):
        return str(key)
    raise TypeError(f"a key of type {type(key).__name__} has no place in JSON")


def status_json(status: RunStatus) -> dict[str, Any]:
    """What scripts are told of a run; times in seconds since the epoch, `heavy` is estimated."""
    return {
        "id": status.run_id,
        "uri": status.uri,
        "name": status.name,
        "state": status.state,
        "message": status.message,
        "stages": [vars(stage) for stage in settled(status)],
        "started": status.started,
        "finished": status.finished,
        "bytes": status.bytes,
        "bytes_done": status.bytes_done,
        "records": status.records,
        "skipped": status.skipped,
        "given_up": _given_up_json(status.given_up),
        "counters": dict(status.counters),
        "heavy": dict(status.heavy),
        "failures": [_failure_json(failure) for failure in status.failures],
    }


def _given_up_json(given_up: GivenUp) -> dict[str, Any]:
    return {"what": given_up.what, "indices": list(given_up.indices)}


def _failure_json(failure: Failure) -> dict[str, Any]:
    return {**vars(failure), "items": list(failure.items)}


def plan_json(summary: PlanSummary) -> dict[str, Any]:
    """What scripts are told of a plan; sizes in bytes (items where there are no bytes)."""
    return {
        **vars(summary),
        "columns": [vars(column) for column in summary.columns],
        "largest_files": [{"path": path, "bytes": size} for path, size in summary.largest_files],
        "unsplittable": [
            {"files": files, "bytes": size, "reason": reason}
            for files, size, reason in summary.unsplittable
        ],
        "shard_bytes": [int(size) for size in summary.shard_bytes],
    }


def audit_json(audit: Audit) -> dict[str, Any]:
    """What scripts are told of an audit."""
    problems = [vars(problem) for problem in audit.problems]
    given_up = _given_up_json(audit.given_up)
    return {**vars(audit), "ok": audit.ok, "given_up": given_up, "problems": problems}
