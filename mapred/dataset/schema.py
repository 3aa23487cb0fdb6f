"""What the client fixes before a run: the format with its schema, read once from one file."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from mapred.arrow.buffers import from_arrow, scalar
from mapred.arrow.samples import ENOUGH, Place, Sample
from mapred.dataset import lakes
from mapred.dataset.kinds import kind_of, partitions, refuse_archives
from mapred.dataset.local_listing import is_remote
from mapred.dataset.values import TABULAR, Dataset, function_input, suffixes
from mapred.errors import DatasetError
from mapred.model.spec import Format
from mapred.process.lazy import np, pa, pc
from mapred.storage import open_source

Sniff: TypeAlias = "Callable[[Format, Iterable[Place], Callable[..., Any]], Sample]"
_SAMPLE = 2**20
# Files without rows are replaced by others as samples, up to this number.
_MOST_PLACES = 16


def pin(dataset: Dataset, files: pa.Table, sniff: Sniff) -> Format:
    """Return the format that workers are told: its name, what is handed over, names and types.

    `files` is the listing; `sniff(format, places, open)` reads
    samples at places in the order in which they are worth it. Raises `DatasetError` where
    names or types contradict each other.
    """
    options = replace(dataset.options, schema=None)
    if dataset.frame is not None:
        return _require_columns(
            replace(
                options,
                name="arrow",
                as_=function_input("arrow", dataset.as_),
                schema=dataset.frame.schema,
                dtype_backend=_backend_of(dataset.frame),
            )
        )
    name, delimiter = (
        (dataset.format, "") if dataset.format else kind_of(lakes.published_paths(files))
    )
    assert name is not None
    format = replace(options, name=name, as_=function_input(name, dataset.as_))
    refuse_archives(files["path"], name)
    if name not in TABULAR:
        return format
    if name == "csv" and not format.delimiter:
        format = replace(format, delimiter=delimiter or _delimiter(files))
    folders = partitions(files["path"], _unwritten(dataset, files)) if dataset.hive else {}
    written = lakes.partition_types(files)
    folders = {name: written.get(name, type_) for name, type_ in folders.items()}
    if format.as_ == "dicts":
        return _with_folders(format, dataset.schema, folders)
    return _require_columns(_with_schema(format, dataset.schema, folders, files, sniff))


def why_whole(format: Format) -> str:
    """Why files of this format may not be cut, where they may not."""
    if format.name == "files":
        return "each is read whole"
    if format.newlines_in_values:
        return "newlines_in_values=True"
    if "\n".encode(format.encoding) != b"\n":
        return f"encoding={format.encoding!r}"
    return "compressed"


def _with_folders(
    format: Format, schema: pa.Schema | Mapping[str, Any] | None, folders: dict[str, pa.DataType]
) -> Format:
    """Return the format of dicts, in which only columns that come from folders have types."""
    if isinstance(schema, pa.Schema):
        schema = {field.name: field.type for field in schema}
    chosen = dict(schema or {})
    if format.filter is not None or not folders.keys() >= chosen.keys():
        option = "schema=" if format.filter is None else "filters="
        raise DatasetError(
            f'as_="dicts" takes no {option}: each dict has the values of its line; choose and'
            " convert them in the function"
        )
    types = folders | chosen
    return replace(format, schema=pa.schema(list(types.items())), partitions=tuple(folders))


def _with_schema(
    format: Format,
    schema: pa.Schema | Mapping[str, Any] | None,
    folders: dict[str, pa.DataType],
    files: pa.Table,
    sniff: Sniff,
) -> Format:
    if isinstance(schema, pa.Schema):
        sample, chosen = Sample(schema), {field.name: field.type for field in schema}
        unknown = []
    else:
        opened = functools.partial(open_source, storage=format.storage)
        sample, chosen = sniff(format, places(files), opened), dict(schema or {})
        unknown = [n for n in chosen if n not in sample.schema.names and n not in folders]
        if unknown and format.missing_columns == "error":
            raise DatasetError(
                f"schema= names {unknown[0]!r}, which is not a column; there are "
                f"{', '.join([*sample.schema.names, *folders])}"
            )
    fields = [
        pa.field(field.name, chosen.get(field.name, field.type), field.nullable, field.metadata)
        for field in [*sample.schema, *(pa.field(name, chosen[name]) for name in unknown)]
        if field.name not in folders
    ]
    seen = (
        {f.name: sample.seen[f.name] for f in fields if f.name not in chosen} if sample.seen else {}
    )
    fields += [pa.field(name, chosen.get(name, type_)) for name, type_ in folders.items()]
    return replace(
        format,
        schema=pa.schema(fields, sample.schema.metadata),
        partitions=tuple(folders),
        inferred=tuple(seen),
        seen=tuple(seen.values()),
    )


def places(files: pa.Table) -> Iterator[Place]:
    """Where samples are worth reading: in the first, largest, last and middle file with bytes.

    Where these are fewer than enough, places inside the largest come next. Further files follow, largest
    first, for datasets in which some of those have no rows.
    """
    sizes = from_arrow(files["size"])
    there = np.flatnonzero(sizes > 0)
    if not len(there):
        yield Place(files["path"][0].as_py(), 0)
        return
    largest = int(sizes.argmax())
    rows = (there[0], largest, there[-1], there[len(there) // 2])
    chosen = dict.fromkeys(int(row) for row in rows)
    for row in chosen:
        yield Place(files["path"][row].as_py(), int(sizes[row]))
    if len(chosen) < ENOUGH and sizes[largest] > _SAMPLE:
        path, size = files["path"][largest].as_py(), int(sizes[largest])
        yield Place(path, size, size - _SAMPLE)
        if size > 2 * _SAMPLE:
            yield Place(path, size, size // 2)
    by_size = there[np.argsort(-sizes[there], kind="stable")][:_MOST_PLACES]
    for row in by_size:
        if int(row) not in chosen:
            yield Place(files["path"][int(row)].as_py(), int(sizes[row]))


def _backend_of(frame: pa.Table) -> str:
    """Return the `dtype_backend` of a frame: pandas' own types stay as they are."""
    return "" if b"pandas" in (frame.schema.metadata or {}) else Format("", "").dtype_backend


def _require_columns(format: Format) -> Format:
    """Return the format, once the chosen columns are known to exist."""
    assert format.schema is not None
    for name in format.columns or ():
        if name not in format.schema.names:
            raise DatasetError(
                f"columns= names {name!r}, which is not one of {', '.join(format.schema.names)}"
            )
    return format


def _delimiter(files: pa.Table) -> str:
    """Return the delimiter by suffix: a tab for `.tsv`, else a comma, and never both."""
    tabs = pc.sum(pc.equal(suffixes(files["path"]), scalar("tsv"))).as_py()
    if tabs == len(files):
        return "\t"
    if tabs:
        raise DatasetError("some files end in .tsv and some do not; pass delimiter=")
    return ","


def _unwritten(dataset: Dataset, files: pa.Table) -> str:
    """Return the part of the paths that the user did not write, whose folders are not columns."""
    if dataset.options.storage or any(is_remote(uri) or os.path.isabs(uri) for uri in dataset.uris):
        return ""
    here = os.getcwd().rstrip("/") + "/"
    return here if pc.all(pc.starts_with(files["path"], here)).as_py() else ""
