"""Where and how a run's tables are written: `write_parquet(uri, …)`, `write_delta(uri, …)`."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time
from typing import Any, TypeAlias

from mapred.arrow.types import NULL_FOLDER
from mapred.errors import DatasetError
from mapred.model.checking import checks, short_repr
from mapred.model.coding import read
from mapred.model.frozen import dataclass
from mapred.model.resources import parse_bytes
from mapred.model.rules import Location, Size, Text
from mapred.process import secrecy
from mapred.process.describing import describe_like
from mapred.process.lazy import pa

Replace: TypeAlias = "Mapping[str, Any] | None"

MODES = ("overwrite_partitions", "append", "overwrite")
_COMPRESSIONS = ("zstd", "snappy", "gzip", "lz4", "brotli", "none")
# A copy within a store takes an object of up to 1 GiB at once (OSS; elsewhere it is more).
_LARGEST_FILE = 2**30


@dataclass(frozen=True)
class Target:
    """A folder to write tables to; made by `write_parquet` and `write_delta`.

    `kind` is `parquet` or `delta`, `target_bytes` the size at which a file is closed and the
    next one begun, `schema` (serialised) what every table is cast to. `replace` holds columns
    with the values, as texts, whose partitions the run replaces, whether it has rows for them.
    """

    kind: str
    uri: str
    partition_by: tuple[str, ...] = ()
    mode: str = "overwrite_partitions"
    target_bytes: int = 128 * 2**20
    compression: str = "zstd"
    schema: str | None = None
    replace: tuple[tuple[str, tuple[str | None, ...]], ...] = ()

    def to_json(self) -> dict[str, Any]:
        named = [[name, list(values)] for name, values in self.replace]
        return {**vars(self), "partition_by": list(self.partition_by), "replace": named}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Target:
        """Return the target that job.json holds."""
        return read(cls, values, "job.json: write")

    def parse_schema(self) -> pa.Schema | None:
        if self.schema is None:
            return None

        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(self.schema)))

    def texts(self) -> tuple[str, ...]:
        """Return the texts that may hold places for parameters."""
        named = [text for _, texts in self.replace for text in texts if text is not None]
        return (self.uri, *named)

    def fill_texts(self, fill: Callable[[str], str]) -> Target:
        """Return the target with every one of its `texts` as `fill` gives it."""
        named = tuple(
            (name, tuple(None if text is None else fill(text) for text in texts))
            for name, texts in self.replace
        )
        return replace(self, uri=_absolute(fill(self.uri)), replace=named)


@checks(DatasetError)
def write_parquet(
    uri: Location,
    *,
    partition_by: Text | Sequence[str] = (),
    mode: str | None = None,
    replace: Replace = None,
    target_file_bytes: Size = "128Mi",
    compression: str = "zstd",
    schema: pa.Schema | None = None,
) -> Target:
    """Describe a folder of Parquet files, for the tables that map tasks return: `run(…, write=…)`.

    Workers write the files themselves, under names that no reader looks at; one last task publishes
    them, so that what was there before stays until everything new is complete.

    Args:
        uri: A folder, local or on an object store; it need not be the run's own store.
        partition_by: Columns whose values become `name=value` folders: text, whole numbers, dates or
            booleans (default: no folders).
        mode: `"overwrite_partitions"` (the default) replaces the partitions that the run writes to
            and no others (without `partition_by`, all there is); `"append"` adds; `"overwrite"`
            replaces the whole dataset.
        replace: What the run owns, such as `{"day": date(2026, 11, 3)}`, `{"day": [one, two]}` or
            `{"day": "{date:%Y-%m-%d}"}` for `Job.bind`: all partitions with these values are
            replaced, those without a row in this run vanish, and a row with another value is an
            error. Instead of `mode`; not with `max_failed`.
        target_file_bytes: The size at which a file ends and the next one begins, up to 1 GiB.
        compression: `"zstd"`, `"snappy"`, `"gzip"`, `"lz4"`, `"brotli"` or `"none"`.
        schema: A `pa.Schema` to which every table is cast (default: all tables must agree by
            themselves).

    Returns:
        The target, for `write=`. The run's result is a `mapred.Written`.

    Raises:
        DatasetError: An argument does not fit.

    Examples:
        >>> target = mapred.write_parquet("by-city", partition_by="city")
        >>> mapred.run(lambda table: table, "sales.csv", write=target).result().rows
        3
        >>> oslo = mapred.read_parquet("by-city/city=Oslo", as_="pandas")
        >>> mapred.run(lambda frame: float(frame["price"].mean()), oslo).result()
        [3.5]
    """
    mode = _mode(mode, replace, "overwrite_partitions")
    return _target(
        "parquet", uri, partition_by, mode, replace, target_file_bytes, compression, schema
    )


@describe_like(write_parquet)
@checks(DatasetError)
def write_delta(
    uri: Location,
    *,
    partition_by: Text | Sequence[str] = (),
    mode: str | None = None,
    replace: Replace = None,
    target_file_bytes: Size = "128Mi",
    compression: str = "zstd",
    schema: pa.Schema | None = None,
) -> Target:
    """Describe a Delta table, for the tables that map tasks return: `run(…, write=…)`.

    Workers write the data files; one transaction at the end adds them, and removes what `mode`
    replaces. The run's id goes into the transaction, so a run is applied once however often it is
    resumed.

    Args:
        uri: The table's folder, local or on an object store other than `oss://`.
        mode: `"append"` (the default) adds; `"overwrite_partitions"` replaces the partitions that
            the run writes to and no others (without `partition_by`, all there is); `"overwrite"`
            replaces the whole table.

    Returns:
        The target, for `write=`. The run's result is a `mapred.Written`.

    Raises:
        DatasetError: An argument does not fit.

    Examples:
        >>> run = mapred.run(lambda table: table, "sales.csv", write=mapred.write_delta("sales"))
        >>> run.result().version, run.result().rows
        (0, 3)
    """
    mode = _mode(mode, replace, "append")
    target = _target(
        "delta", uri, partition_by, mode, replace, target_file_bytes, compression, schema
    )
    if target.uri.startswith("oss://"):
        raise DatasetError(
            f"write_delta({target.uri!r}): Delta tables are written by the deltalake package, "
            "which has no oss://; use the bucket's S3 interface: s3://BUCKET/…, AWS_ENDPOINT_URL"
        )
    return target


def _mode(mode: str | None, replace: Replace, default: str) -> str:
    if replace is None:
        return default if mode is None else mode
    if mode not in (None, "overwrite_partitions"):
        raise DatasetError(f"replace= says what is replaced: leave mode={mode!r} out")
    return "overwrite_partitions"


def _target(
    kind: str,
    uri: str | os.PathLike[str],
    partition_by: str | Sequence[str],
    mode: str,
    replace: Replace,
    target_file_bytes: int | str,
    compression: str,
    schema: pa.Schema | None,
) -> Target:
    remedy = "credentials come from the environment or a profile"
    secrecy.refuse_urls((os.fspath(uri),), f"the URI of write_{kind}", DatasetError, remedy)
    place = _absolute(os.fspath(uri).removeprefix("file://"))
    columns = _partition_columns(partition_by)
    if mode not in MODES:
        raise DatasetError(f"mode={mode!r} must be one of {', '.join(MODES)}")
    if compression not in _COMPRESSIONS:
        raise DatasetError(f"compression={compression!r} must be one of {', '.join(_COMPRESSIONS)}")
    size = parse_bytes(target_file_bytes, "target_file_bytes")
    if size > _LARGEST_FILE:
        raise DatasetError(f"target_file_bytes={target_file_bytes!r} must be at most 1 GiB")
    text = None if schema is None else _schema_text(schema, columns)
    named = () if replace is None else _parse_replace(replace, columns)
    return Target(kind, place.rstrip("/"), columns, mode, size, compression, text, named)


def _absolute(place: str) -> str:
    """Return a path that means the same in every folder, as workers may run in others."""
    # What begins with a parameter may become the URI of a bucket.
    if "://" in place or place.startswith("{"):
        return place
    return os.path.abspath(os.path.expanduser(place))


def _partition_columns(partition_by: str | Sequence[str]) -> tuple[str, ...]:
    columns = (partition_by,) if isinstance(partition_by, str) else tuple(partition_by)
    if len(set(columns)) < len(columns):
        raise DatasetError(f"partition_by={list(columns)} names a column twice")
    for name in columns:
        # Readers take the text before `=` as it is, unlike the value behind it.
        if not name or name[0] in "_." or set(name) & set("/=%\0"):
            raise DatasetError(
                f"partition_by={name!r}: the name of a folder cannot hold it; rename the column, "
                "without / = % and without _ or . at its start"
            )
    return columns


def _schema_text(schema: Any, columns: Sequence[str]) -> str:
    if not isinstance(schema, pa.Schema):
        raise DatasetError(f"schema={short_repr(schema)} must be a pa.Schema")
    missing = [name for name in columns if name not in schema.names]
    if missing:
        raise DatasetError(f"partition_by={missing[0]!r} is not a column of schema=")
    return base64.b64encode(schema.remove_metadata().serialize().to_pybytes()).decode()


def _parse_replace(
    replace: Any, columns: tuple[str, ...]
) -> tuple[tuple[str, tuple[str | None, ...]], ...]:
    """Return `replace=` as a target holds it: columns of `partition_by`, and values as texts."""
    if not isinstance(replace, Mapping) or not replace:
        raise DatasetError(
            f'replace={short_repr(replace)} must name columns and values, such as {{"day": date(2026, 11, 3)}}'
        )
    for name in replace:
        if name not in columns:
            raise DatasetError(
                f"replace= names {short_repr(name)}, which is not in partition_by={list(columns)}: only whole "
                "partitions can be replaced"
            )
    named = []
    for name, values in replace.items():
        many = isinstance(values, Iterable) and not isinstance(values, str | bytes)
        texts = dict.fromkeys(_text_of(name, value) for value in (values if many else (values,)))
        if not texts:
            raise DatasetError(
                f"replace={{{name!r}: {short_repr(values)}}} names no value; name at least one"
            )
        named.append((name, tuple(texts)))
    return tuple(named)


def _text_of(name: str, value: Any) -> str | None:
    """Return a value as it stands in a folder's name; None for null."""
    if type(value).__module__ == "numpy":
        value = (value.astype("datetime64[us]") if value.dtype.kind == "M" else value).item()
    if isinstance(value, datetime) and value == value and value.time() == time():
        value = value.date()
    if value is None or isinstance(value, str):
        if value == NULL_FOLDER:
            raise DatasetError(f"replace= names {name}={value!r}, which is null: write None")
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    raise DatasetError(
        f"replace= names {name}={short_repr(value)}, and a partition is a text, a whole number, a date, a "
        "boolean or None; convert it to one of these"
    )
