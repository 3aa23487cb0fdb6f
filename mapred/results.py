"""The outputs of a whole run, in plan order: one by one, as a list, a dataset, a frame."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mapred import cells, frames, gathering, layout, outputs, records, unifying
from mapred.errors import FunctionError
from mapred.frames import import_pandas as import_pandas
from mapred.model import Job, Output
from mapred.storage import Store, each

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Entry = tuple[int, Output | None]  # a task, and what it gave; None if it was given up


def result(store: Store, job: Job) -> Any:
    """The reduced value; without a reduce a lazily read dataset of the tables or frames, else a list.

    In the list of a job that runs once per item there is one place for every item, None
    where it returned None or was given up; other lists leave None out.
    """
    entries = _entries(store)
    if job.stages[-1].kind == "reduce":
        return _reduced(store, job, entries)
    if gathering.are_tabular([output for _, output in entries]):
        return gathering.dataset(store, job.stages[-1].name, entries)
    if job.shuffle is not None:
        return _nothing()
    return [value for _, value in _numbered(store, job, entries)]


def _entries(store: Store) -> list[Entry]:
    return [(task, output) for task, output, _ in records.read_manifest(store)]


def _reduced(store: Store, job: Job, entries: list[Entry]) -> Any:
    output = entries[0][1]
    if output is None:
        return None
    value = next(outputs.load(store, output), None)
    if isinstance(value, outputs.Broken):
        raise FunctionError(f"the result of {job.stages[-1].name} {value}") from value.error
    return value


def _nothing() -> Any:
    """The dataset of a keyed reduce whose function gave no table at all."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    return ds.dataset(pa.table({}))


def one_by_one(
    store: Store, job: Job, stage: str | None, errors: str
) -> Iterator[tuple[int, Any]]:
    """What the committed tasks of a stage returned: the number of item or task, and the value."""
    if errors not in ("raise", "skip"):
        raise FunctionError(f"errors={errors!r} is neither 'raise' nor 'skip'")
    chosen = job.stage(stage or (job.stages[-1].name if job.shuffle else "map"))
    if job.shuffle is not None and chosen is not job.stages[-1]:
        raise FunctionError(
            f"{chosen.name} tasks of a keyed reduce return nothing that can be read by itself; "
            f"leave stage= out, or say stage={job.stages[-1].name!r}"
        )
    tasks = records.committed(store, chosen.name)
    commits = records.read_commits(store, chosen.name, tasks)
    entries = [(commit.task, commit.output) for commit in commits if commit is not None]
    per_item = chosen.kind == "map" and job.format.once_per_item
    firsts = records.first_items(store, job) if per_item else None
    for task, place, value in _loaded(store, entries):
        number = task if firsts is None else int(firsts[task]) + place
        if not isinstance(value, outputs.Broken):
            yield number, value
        elif errors == "raise":
            raise _broken(chosen.name, task, number if per_item else None, value)


def _broken(stage: str, task: int, item: int | None, value: outputs.Broken) -> FunctionError:
    which = f"{stage} task {task}" + ("" if item is None else f", item {item}")
    error = FunctionError(
        f"what {which} returned {value}; run.outputs(errors='skip') gives what can be loaded"
    )
    error.__cause__ = value.error
    return error


def _loaded(store: Store, entries: Sequence[Entry]) -> Iterator[tuple[int, int, Any]]:
    """Task, place in the task, and value; of a task that returned nothing, None."""
    there = [(task, output) for task, output in entries if output is not None]
    fetched = each(store, lambda entry: outputs.fetch(store, entry[1]), there)
    for (task, output), data in zip(there, fetched, strict=True):
        place = -1
        for place, value in enumerate(outputs.load(store, output, data)):
            yield task, place, value
        if place < 0:
            yield task, 0, None


def _numbered(store: Store, job: Job, entries: list[Entry]) -> Iterator[tuple[int, Any]]:
    """The number of every item, and its value; where the function takes shards, those not None."""
    per_item = job.format.once_per_item
    if not per_item:
        for task, _, value in _loaded(store, entries):
            if isinstance(value, outputs.Broken):
                raise _broken("map", task, None, value)
            if value is not None:
                yield task, value
        return
    number = 0
    loaded = _loaded(store, entries)
    counts = [_count(store, task, output) for task, output in entries]
    for (task, output), count in zip(entries, counts, strict=True):
        for item in range(number, number + count):
            value = None if output is None else next(loaded)[2]
            if isinstance(value, outputs.Broken):
                raise _broken("map", task, item, value)
            yield item, value
        number += count


def _count(store: Store, task: int, output: Output | None) -> int:
    """How many items a task has, whether or not it was given up."""
    return output.count if output else len(records.items_of(records.shard_ranges(store, task)))


def to_arrow(store: Store, job: Job) -> pa.Table:
    """The result as one table; see `to_pandas` for what is not a table."""
    import pyarrow as pa

    entries = _entries(store)
    if job.stages[-1].kind == "reduce":
        whole = _reduced(store, job, entries)
        table = outputs.as_arrow(whole)
        return _array_table(*_reduced_rows(whole)) if table is None else table
    if gathering.are_tabular([output for _, output in entries]):
        if job.format.once_per_item and job.shuffle is None:
            return _beside(store, job, entries)[0]
        return gathering.table(store, job.stages[-1].name, entries)
    if job.shuffle is not None:
        return pa.table({})
    return _array_table(*_rows(store, job, entries))


def to_pandas(store: Store, job: Job, dtype_backend: str) -> pd.DataFrame:
    """The result as one frame; see `Run.to_pandas`."""
    pd = import_pandas()
    frames.check(dtype_backend)
    entries = _entries(store)
    if job.stages[-1].kind == "reduce":
        whole = _reduced(store, job, entries)
        if isinstance(whole, pd.DataFrame):
            return whole
        table = outputs.as_arrow(whole)
        if table is not None:
            return frames.to_pandas(table, dtype_backend)
        return _object_frame(_reduced_rows(whole)[0], dtype_backend)
    if gathering.are_tabular([output for _, output in entries]):
        if job.format.once_per_item and job.shuffle is None:
            table, objects = _beside(store, job, entries)
            frame = frames.to_pandas(table, dtype_backend)
            for place, (name, values) in enumerate(objects.items()):
                frame.insert(place + 1, name, pd.Series(_listed(values), dtype=object))
            return frame
        return _labelled(store, job, entries, dtype_backend)
    if job.shuffle is not None:
        return pd.DataFrame()
    return _object_frame(_rows(store, job, entries)[0], dtype_backend)


def _array_table(columns: dict[str, list[Any]], where: Sequence[str]) -> pa.Table:
    import pyarrow as pa

    arrays = {
        name: cells.to_array(name, values, where.__getitem__) for name, values in columns.items()
    }
    return pa.table(arrays) if arrays else unifying.blank(len(where))


def _object_frame(columns: dict[str, list[Any]], dtype_backend: str) -> pd.DataFrame:
    """A frame of numbers, text and times by Arrow, and of all else as Python objects."""
    import pandas as pd
    import pyarrow as pa

    found: dict[str, Any] = {}
    for name, values in columns.items():
        array = cells.convert(values) if cells.is_plain(values) else None
        if array is None or isinstance(array, cells.Unfit):
            found[name] = pd.Series(_listed(values), dtype=object)
        else:
            found[name] = frames.to_pandas(pa.table({name: array}), dtype_backend)[name]
    return pd.DataFrame(found)


def _listed(values: Sequence[Any]) -> Any:
    """An array of one object a row: numpy would make an axis of arrays that are equally long."""
    import numpy as np

    array = np.empty(len(values), object)
    for place, value in enumerate(values):
        array[place] = value
    return array


def _reduced_rows(whole: Any) -> tuple[dict[str, list[Any]], list[str]]:
    if isinstance(whole, Mapping):
        columns = {"key": list(whole), "value": list(whole.values())}
    elif isinstance(whole, list | tuple):
        rows = [dict(v) if isinstance(v, Mapping) else {"value": v} for v in whole]
        columns = _columns(rows)
    else:
        raise FunctionError(f"the result is a {type(whole).__name__}, not a table; use result()")
    return columns, [f"row {row}" for row in range(len(whole))]


def _rows(store: Store, job: Job, entries: list[Entry]) -> tuple[dict[str, list[Any]], list[str]]:
    """Values that are not tables as columns: what each is of, then its keys or `result`."""
    numbered = list(_numbered(store, job, entries))
    inputs = _inputs(store, job)
    before = _columns([inputs[number] if inputs else {"item": number} for number, _ in numbered])
    mappings = any(isinstance(value, Mapping) for _, value in numbered)
    returned = _columns(
        [
            {str(key): each_ for key, each_ in value.items()}
            if isinstance(value, Mapping)
            else {}
            if value is None and mappings
            else {"result": value}
            for _, value in numbered
        ]
    )
    names = renamed(list(returned), before)
    after = {name: values for name, values in zip(names, returned.values(), strict=True)}
    what = "item" if job.format.once_per_item else "shard"
    return {**before, **after}, [f"{what} {number}" for number, _ in numbered]


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows as columns of every name that one of them has, None where another lacks it."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def renamed(returned: Sequence[str], taken: Mapping[str, Any]) -> list[str]:
    """Names of returned columns: one that is taken gets `_result` until it is free."""
    names = []
    for name in returned:
        new = name
        while new in taken or (new != name and new in returned):
            new += "_result"
        names.append(new)
    return names


def _inputs(store: Store, job: Job) -> list[dict[str, Any]]:
    """The parameters of every item, for the first columns; empty where its number is all."""
    if job.format.name == "items":
        with store.open(layout.ITEMS) as file:
            items = [pickle.load(file) for _ in range(job.items)]
        return items if job.format.as_ == "keywords" else [{"item": item} for item in items]
    if job.format.name == "files":
        plans = (records.plan_of(store, number) for number in records.plan_numbers(job))
        return [{"item": path} for plan in plans for path in plan["path"].to_pylist()]
    return []


def _beside(
    store: Store, job: Job, entries: list[Entry]
) -> tuple[pa.Table, dict[str, list[Any]]]:
    """The rows of all tables beside what they are of: the number of the point, its parameters.

    Second come, row by row, parameters that are objects, which Arrow does not hold.
    """
    import numpy as np
    import pyarrow as pa

    found = _tables(store, job, entries)
    parts = [gathering.Part(number, table.schema, table=table) for number, _, table in found]
    schema = gathering.agreed(store, job.stages[-1].name, parts)
    rows = gathering.together(schema, [table for _, _, table in found])
    numbers = np.repeat([number for number, _, _ in found], [t.num_rows for _, _, t in found])
    inputs = _columns(_inputs(store, job))
    columns: dict[str, Any] = {_number_name(inputs): pa.array(numbers, pa.int64())}
    objects: dict[str, list[Any]] = {}
    for name, values in inputs.items():
        array = cells.convert(values)
        if isinstance(array, cells.Unfit) or not cells.is_plain(values):
            objects[name] = [values[number] for number in numbers]
        else:
            columns[name] = array.take(pa.array(numbers, pa.int64()))
    names = renamed(schema.names, {**columns, **objects})
    arrays = [*columns.values(), *rows.columns]
    return pa.Table.from_arrays(arrays, names=[*columns, *names]), objects


def _number_name(inputs: Mapping[str, Any]) -> str:
    """The column of the number: `item` where that is all there is, else `point`."""
    name = "point" if inputs else "item"
    while name in inputs:
        name += "_number"
    return name


def _tables(
    store: Store, job: Job, entries: list[Entry]
) -> list[tuple[int, str, pa.Table]]:
    """Number, kind and rows of each returned table that has rows; of one, where none has."""
    per_item = job.format.once_per_item and job.shuffle is None
    there = [(task, output) for task, output in entries if output is not None]
    fetched = each(store, lambda entry: outputs.fetch(store, entry[1]), there)
    found: list[tuple[int, str, pa.Table]] = []
    first = 0
    for task, output in entries:
        count = _count(store, task, output) if per_item else 1
        if output is not None:
            data = next(fetched)
            if outputs.is_tabular(output):
                for place, value in enumerate(outputs.load_tables(store, output, data)):
                    if value is not None:
                        found.append((first + place if per_item else task, *value))
        first += count
    return [each_ for each_ in found if each_[2].num_rows] or found[:1]


def _labelled(store: Store, job: Job, entries: list[Entry], dtype_backend: str) -> pd.DataFrame:
    """Tables below each other; an index and labels that all frames share come back."""
    found = _tables(store, job, entries)
    parts = [
        gathering.Part(task, table.schema.remove_metadata(), table=table)
        for task, _, table in found
    ]
    schema = gathering.agreed(store, job.stages[-1].name, parts)
    rows = gathering.together(schema, [table for _, _, table in found])
    frame = frames.to_pandas(rows, dtype_backend)
    if {kind for _, kind, _ in found} != {"pandas"}:
        return frame
    known = {(table.schema.metadata or {}).get(b"pandas", b"") for _, _, table in found}
    indexes = {json.dumps(json.loads(text)["index_columns"]) for text in known}
    index = json.loads(indexes.pop()) if len(indexes) == 1 else []
    if index and all(isinstance(name, str) for name in index):
        frame = frame.set_index(index)
    elif any(isinstance(name, str) for text in indexes for name in json.loads(text)):
        return frame
    labels = [table.slice(0, 0).to_pandas() for _, _, table in found[:1]][0]
    if len(known) == 1 or all(
        labels.columns.equals(table.slice(0, 0).to_pandas().columns) for _, _, table in found[1:]
    ):
        frame.columns = labels.columns
        if index and all(isinstance(name, str) for name in index):
            frame.index.names = labels.index.names
    return frame
