"""One transaction of a Delta table: the files that the tasks wrote, and what they replace.

The run's id is the transaction's `appId`. Delta refuses the second of two transactions of
one `appId` that started from one version, and the table says which were applied: so a run
counts once, however often it is resumed or doubled.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from mapred.errors import DatasetError, MapredError, MissingDependency, StorageError
from mapred.storage import is_local, open_store
from mapred.storage.aws import s3_settings
from mapred.storage.responses import parse_error
from mapred.storage.uris import parse_store_uri
from mapred.writing import replacing
from mapred.writing.parquet_files import WrittenFile, rewrite_typed
from mapred.writing.schemas import fill_null_types
from mapred.writing.target import Target

try:
    from deltalake import DeltaTable, Schema
    from deltalake.exceptions import CommitFailedError, TableNotFoundError
    from deltalake.transaction import (
        AddAction,
        CommitProperties,
        RemoveAction,
        Transaction,
        create_table_with_add_actions,
    )
except ImportError:
    raise MissingDependency("deltalake", "delta") from None

_TRIES = 100
_CHANCE = random.SystemRandom()  # the user's function may have seeded the module's generator
_LONGEST_WAIT = 2.0  # seconds
_REPLACING = "mapred.replacing"


def commit(
    target: Target, write_id: str, written: Sequence[WrittenFile], schema: pa.Schema | None
) -> int:
    """Apply a run to the table, which is created if it is missing; return the version."""
    for attempt in range(_TRIES):
        try:
            return _try_commit(target, write_id, written, schema)
        except MapredError:
            raise
        except CommitFailedError as error:
            # Another transaction was faster: our twin's, or one that ours has to follow.
            if attempt == _TRIES - 1:
                raise StorageError(f"{target.uri}: {_TRIES} transactions failed: {error}") from None
        except Exception as error:
            # Our twin may have made the table meanwhile, before a listing shows it.
            if "already exists" not in str(error) or attempt == _TRIES - 1:
                raise _translate_error(target, error) from None
        time.sleep(_CHANCE.uniform(0, min(0.05 * 2 ** min(attempt, 6), _LONGEST_WAIT)))
    raise AssertionError


def _try_commit(
    target: Target, write_id: str, written: Sequence[WrittenFile], schema: pa.Schema | None
) -> int:
    table = open_table(target)
    options: dict[str, Any] = {"commit_properties": _properties(target, write_id)}
    if table is None:
        if schema is None:
            return -1
        schema, adds = _apply_types(target, written, schema, {})
        create_table_with_add_actions(
            target.uri,
            Schema.from_arrow(schema),
            adds,
            mode="error",
            partition_by=list(target.partition_by),
            storage_options=storage_options(target.uri),
            **options,
        )
        # A listing may not show yet what was just made.
        created = open_table(target)
        return 0 if created is None else int(created.version())
    if table.transaction_version(write_id) is not None:
        return int(table.version())
    types = types_of(table)
    schema, adds = (
        _apply_types(target, written, schema, types) if schema and written else (None, [])
    )
    _check(target, table, schema)
    removes = _removes(target, table, {file.values for file in written}, types)
    if not adds and not removes:
        return int(table.version())
    arrow = pa.schema(table.schema().to_arrow())
    table.create_write_transaction(
        [*removes, *adds], "append", arrow, list(target.partition_by), **options
    )
    table.update_incremental()
    return int(table.version())


def _apply_types(
    target: Target,
    written: Sequence[WrittenFile],
    schema: pa.Schema,
    types: Mapping[str, pa.DataType],
) -> tuple[pa.Schema, list[Any]]:
    """Return the schema and the files to add, once columns of nulls have types."""
    schema, store = (
        fill_null_types(schema, types, target.kind),
        open_store(target.uri, dataset=True),
    )
    return schema, [_add(target, rewrite_typed(target, store, schema, file)) for file in written]


def types_of(table: Any) -> dict[str, pa.DataType]:
    """Return the types of a table's columns; none without a table."""
    if table is None:
        return {}
    return {field.name: field.type for field in pa.schema(table.schema().to_arrow())}


def open_table(target: Target) -> Any:
    """Return the table as it is now, or None."""
    try:
        return DeltaTable(target.uri, storage_options=storage_options(target.uri))
    except TableNotFoundError:
        return None


def storage_options(uri: str) -> dict[str, str] | None:
    """Return deltalake's options for an S3 bucket, from the settings of our own client."""
    if is_local(uri) or not uri.startswith("s3://"):
        return None
    settings = s3_settings(parse_store_uri(uri).bucket)
    options = {
        name if name.startswith("aws_") else f"aws_{name}": str(value)
        for name, value in settings.config.items()
        if name not in ("aws_endpoint_url_s3", "disable_bulk_delete")
    }
    if settings.credentials is not None:
        fresh = settings.credentials()
        options["aws_access_key_id"] = fresh["access_key_id"]
        options["aws_secret_access_key"] = fresh["secret_access_key"]
        options["aws_session_token"] = fresh["token"] or ""
    if settings.allow_http:
        options["aws_allow_http"] = "true"
    # A version is put with If-None-Match: no lock table is needed.
    options["aws_conditional_put"] = "etag"
    return options


def _properties(target: Target, write_id: str) -> Any:
    transactions = [Transaction(write_id, 1)]
    if target.mode != "append":
        # So that the later of two runs that replace conflicts, and removes what the other added.
        transactions.append(Transaction(_REPLACING, 1))
    return CommitProperties(custom_metadata={"mapred.run": write_id}, app_transactions=transactions)


def _add(target: Target, file: WrittenFile) -> Any:
    return AddAction(
        path=file.path,
        size=file.bytes,
        partition_values=dict(zip(target.partition_by, file.values, strict=True)),
        modification_time=int(time.time() * 1000),
        data_change=True,
        stats=file.stats,
    )


def _removes(
    target: Target,
    table: Any,
    touched: set[tuple[str | None, ...]],
    types: Mapping[str, pa.DataType],
) -> list[Any]:
    """Return what `mode` and `replace` replace of the table's files."""
    named = replacing.spell_values(target, types)
    if target.mode == "append" or (target.mode != "overwrite" and not touched and not named):
        return []
    now = int(time.time() * 1000)
    removes = []
    for file in pa.table(table.get_add_actions(flatten=False)).to_pylist():
        values = tuple(_as_text((file.get("partition") or {}).get(n)) for n in target.partition_by)
        owned = replacing.owns(named, target.partition_by, values)
        if target.mode == "overwrite" or values in touched or owned:
            removes.append(
                RemoveAction(
                    path=unquote(file["path"]),  # the log quotes it again
                    data_change=True,
                    deletion_timestamp=now,
                    size=file["size_bytes"],
                    partition_values=dict(zip(target.partition_by, values, strict=True)),
                )
            )
    return removes


def _as_text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)


def _check(target: Target, table: Any, schema: pa.Schema | None) -> None:
    columns = tuple(table.metadata().partition_columns)
    if columns != target.partition_by:
        raise DatasetError(
            f"{target.uri} is partitioned by {list(columns)}, and this run by "
            f"{list(target.partition_by)}; use the same, or another table"
        )
    if schema is None:
        return
    theirs = {field.name: str(field.type) for field in table.schema().fields}
    ours = {field.name: str(field.type) for field in Schema.from_arrow(schema).fields}
    for name in dict.fromkeys([*ours, *theirs]):
        if ours.get(name) != theirs.get(name):
            raise DatasetError(
                f"column {name!r} is {ours.get(name, 'missing')}, and {target.uri} holds it as "
                f"{theirs.get(name, 'no column')}; alter the table, or pass schema= to cast"
            )


def _translate_error(target: Target, error: Exception) -> MapredError:
    answer = parse_error(str(error))
    reason = f"{answer.code}: {answer.message}" if answer.code else answer.text
    return StorageError(
        f"{target.uri}: the transaction failed: {type(error).__name__}: {reason}: check the table, "
        "then resume the run"
    )
