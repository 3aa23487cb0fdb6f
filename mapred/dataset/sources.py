"""The constructors of datasets. Options are checked here, once; nothing is listed or opened."""

from __future__ import annotations

import codecs
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from mapred.dataset import globs
from mapred.dataset.pins import as_type
from mapred.dataset.values import TABULAR, Dataset, kind_of_suffix, suffix_of
from mapred.errors import DatasetError
from mapred.model import Format
from mapred.storage.filesystems import refuse_secrets_in

if TYPE_CHECKING:
    import pyarrow as pa

URIs: TypeAlias = "str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | Dataset"
Schema: TypeAlias = "pa.Schema | Mapping[str, Any] | None"

_COMPRESSIONS = ("infer", "gzip", "bz2", "xz", "zstd", None)
_KNOWN = ("parquet", "csv", "json", "arrow")


def read_text(
    uris: URIs,
    *,
    as_: str | None = None,
    encoding: str = "utf-8",
    errors: str = "strict",
    compression: str | None = "infer",
    filesystem: Any = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Dataset:
    """Lines of text files, which end at a newline; a carriage return before it goes too.

    The function gets an iterator of `str` per shard; with `as_` an iterator of `bytes`
    ("byte_lines"), an Arrow array ("arrow"), or the bytes themselves ("bytes"). `errors` is
    that of `bytes.decode`; `compression` is "infer" (by suffix), None, "gzip", "bz2", "xz"
    or "zstd".

    URIs are paths, globs (`**` is zero or more folders), folders (every file below them), or
    lists of these. Wildcards and folders leave out names that begin with a dot, and in
    tabular datasets also those that begin with an underscore.

    URIs of `s3`, `gs`, `az` and `oss` are read by the clients that hold roots, all others by
    fsspec; so is everything with `filesystem`, a file system of fsspec, or `storage_options`,
    its arguments. Workers make it anew, so neither may carry a credential: those come from
    the environment.
    """
    options = _text_options("text", encoding, errors, compression)
    return _dataset("text", uris, as_, options, None, filesystem, storage_options)


def read_csv(
    uris: URIs,
    *,
    as_: str | None = None,
    schema: Schema = None,
    columns: Sequence[str] | None = None,
    filters: Any = None,
    delimiter: str | None = None,
    quote: str = '"',
    header: bool = True,
    newlines_in_values: bool = False,
    null_values: Sequence[str] | None = None,
    encoding: str = "utf-8",
    errors: str = "strict",
    compression: str | None = "infer",
    filesystem: Any = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Dataset:
    """Tables of CSV files, a `pa.Table` per shard (`as_`: "batches", "pandas", "polars").

    Names and types come from the first file; `schema` gives all of them (`pa.Schema`), or
    the types of some (a mapping of names). `delimiter` is a comma, or a tab in `.tsv` files,
    unless given; no `quote` is "". Files with `newlines_in_values` are not cut. See `read_text` for URIs.
    """
    options = Format(
        "csv",
        "",
        columns=_names("columns", columns),
        filter=_filters(filters),
        delimiter=_character("delimiter", delimiter) if delimiter is not None else "",
        quote=_character("quote", quote) if quote else "",
        header=_flag("header", header),
        newlines_in_values=_flag("newlines_in_values", newlines_in_values),
        null_values=_names("null_values", null_values, empty=True),
    )
    options = _text_options("csv", encoding, errors, compression, options)
    return _dataset("csv", uris, as_, options, schema, filesystem, storage_options)


def read_json(
    uris: URIs,
    *,
    as_: str | None = None,
    schema: Schema = None,
    columns: Sequence[str] | None = None,
    filters: Any = None,
    encoding: str = "utf-8",
    errors: str = "strict",
    compression: str | None = "infer",
    filesystem: Any = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Dataset:
    """Tables of JSON lines, one object a line; see `read_csv`."""
    options = Format("json", "", columns=_names("columns", columns), filter=_filters(filters))
    options = _text_options("json", encoding, errors, compression, options)
    return _dataset("json", uris, as_, options, schema, filesystem, storage_options)


def read_parquet(
    uris: URIs,
    *,
    as_: str | None = None,
    columns: Sequence[str] | None = None,
    filters: Any = None,
    schema: Schema = None,
    filesystem: Any = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Dataset:
    """Tables of Parquet files, a `pa.Table` per shard (`as_`: "batches", "pandas", "polars").

    `filters` is an Arrow expression or conditions such as `[("price", ">", 3)]`; row groups
    that cannot hold a match are not read. See `read_text` for URIs, `read_csv` for `schema`.
    """
    options = Format("parquet", "", columns=_names("columns", columns), filter=_filters(filters))
    return _dataset("parquet", uris, as_, options, schema, filesystem, storage_options)


def read_arrow(
    uris: URIs,
    *,
    as_: str | None = None,
    columns: Sequence[str] | None = None,
    filters: Any = None,
    schema: Schema = None,
    filesystem: Any = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Dataset:
    """Tables of Arrow IPC files (Feather), file or stream; see `read_parquet`."""
    options = Format("arrow", "", columns=_names("columns", columns), filter=_filters(filters))
    return _dataset("arrow", uris, as_, options, schema, filesystem, storage_options)


def read_files(
    uris: URIs,
    *,
    as_: str | None = None,
    filesystem: Any = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Dataset:
    """Whole files: the function is called for each with a `mapred.File`.

    With `as_` it gets the "bytes", or the "path" of a local copy. See `read_text` for URIs.
    """
    options = Format("files", "")
    return _dataset("files", uris, as_, options, None, filesystem, storage_options)


def files(
    paths: Iterable[str | os.PathLike[str]],
    *,
    format: str | None = None,
    as_: str | None = None,
    filesystem: Any = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Dataset:
    """Files by their literal paths: `*`, `?` and `[` are characters like all others.

    Each is handed over whole, as by `read_files`, unless `format` says "text", "csv",
    "json", "parquet" or "arrow". `read_csv(files([...]), …)` and its like give options. See
    `read_text` for `filesystem` and `storage_options`.
    """
    if format is not None and format not in ("files", "text", *TABULAR):
        raise DatasetError(
            f"format={format!r} is none of 'files', 'text', {', '.join(map(repr, TABULAR))}"
        )
    name = format or "files"
    options = Format(name, "", delimiter="" if name == "csv" else ",")
    listed = _uris(paths)
    options = replace(options, storage=_storage(listed, filesystem, storage_options))
    return Dataset(name, listed, literal=True, as_=as_, options=options)


def items(iterable: Iterable[Any]) -> Dataset:
    """Python objects: the function is called for each. They are taken from the iterable now."""
    if isinstance(iterable, str | bytes | Mapping) or not isinstance(iterable, Iterable):
        raise DatasetError(
            f"items() takes a list or another iterable of items, not {type(iterable).__name__}"
        )
    taken = tuple(iterable)
    if not taken:
        raise DatasetError("items() got no items: there is nothing to run")
    return Dataset("items", items=taken, count=len(taken), title=f"{len(taken):,} items")


def array(n: int) -> Dataset:
    """The indices 0 to n - 1 of an array job: the function is called for each."""
    try:
        count = operator.index(n)
    except TypeError:
        raise DatasetError(f"array({n!r}) needs a whole number of tasks") from None
    if count < 1 or isinstance(n, bool):
        raise DatasetError(f"array({n!r}) needs at least one task")
    return Dataset("array", count=count, title=f"array of {count:,}")


def as_dataset(source: Any) -> Dataset:
    """Whatever a user may hand over as a dataset.

    A URI, glob or folder, or a list of them, in the format of their suffixes (text for any
    that is not known); an Arrow table; a pandas or polars frame; or a dataset.
    """
    if isinstance(source, Dataset):
        return source
    if isinstance(source, str | os.PathLike):
        return _by_suffix(_uris(source))
    frame = _frame(source)
    if frame is not None:
        title = f"table of {frame.num_rows:,} rows"
        return Dataset("arrow", frame=frame, title=title, options=Format("arrow", ""))
    if isinstance(source, list | tuple | set | frozenset):
        listed = sorted(source, key=str) if isinstance(source, set | frozenset) else source
        return _by_suffix(_uris(listed))
    hint = "array(n)" if isinstance(source, int) else "items([...])"
    raise DatasetError(
        f"{type(source).__name__} is no dataset; pass a path or glob, a list of them, a table "
        f"or frame, or mapred.{hint}"
    )


def _by_suffix(uris: tuple[str, ...]) -> Dataset:
    """A dataset of the format that the URIs say; else the listing's suffixes will."""
    endings = {suffix_of(uri.rstrip("/").rpartition("/")[2]) for uri in uris}
    told = {kind_of_suffix(ending) for ending in endings if not globs.is_glob(ending)}
    if len(told) == len(endings) == 1:
        [(name, delimiter)] = told
        if name in _KNOWN:
            return Dataset(name, uris, options=Format(name, "", delimiter=delimiter))
    return Dataset(None, uris, options=Format("", "", delimiter=""))


def _dataset(
    name: str,
    uris: URIs,
    as_: str | None,
    options: Format,
    schema: Schema,
    filesystem: Any,
    storage_options: Mapping[str, Any] | None,
) -> Dataset:
    literal = isinstance(uris, Dataset)
    if isinstance(uris, Dataset) and not uris.literal:
        raise DatasetError(f"read_{name} takes paths, or mapred.files([...]), not {uris!r}")
    listed = uris.uris if isinstance(uris, Dataset) else _uris(uris)
    storage: Mapping[str, Any] | None = _storage(listed, filesystem, storage_options)
    if isinstance(uris, Dataset) and storage is None:
        storage = uris.options.storage
    return Dataset(
        name,
        listed,
        literal=literal,
        as_=as_,
        options=replace(options, storage=storage),
        schema=_schema(schema),
    )


def _storage(
    uris: Sequence[str], filesystem: Any, storage_options: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """The record of the user's own file system, checked to hold no credential."""
    if filesystem is None and storage_options is None:
        return None
    from mapred.storage.filesystems import record

    schemes = {uri.partition("://")[0] for uri in uris if "://" in uri}
    if filesystem is None and (len(schemes) != 1 or not all("://" in uri for uri in uris)):
        raise DatasetError("storage_options= are for URIs of one scheme, such as s3://")
    return record(filesystem, storage_options, next(iter(schemes), ""))


def _uris(uris: Any) -> tuple[str, ...]:
    listed = [uris] if isinstance(uris, str | os.PathLike) else uris
    if isinstance(uris, bytes) or not isinstance(listed, Iterable):
        raise DatasetError(f"{uris!r} is no path; pass a str, a Path or a list of them")
    found = []
    for uri in listed:
        if not isinstance(uri, str | os.PathLike):
            raise DatasetError(
                f"{uri!r} in a list of paths is no path; pass mapred.items([...]) for a list of "
                "other things"
            )
        text = os.fsdecode(os.fspath(uri))
        if not text or "\0" in text:
            raise DatasetError(f"{text!r} is no path")
        if "://" in text:
            refuse_secrets_in(text)
        found.append(text)
    if not found:
        raise DatasetError("the list of files is empty: there is nothing to read")
    return tuple(found)


def _frame(source: Any) -> pa.Table | None:
    """An Arrow table of a table or frame; None for anything else."""
    package = type(source).__module__.split(".")[0]
    names = {f"{c.__module__.split('.')[0]}.{c.__name__}" for c in type(source).__mro__}
    if "polars.LazyFrame" in names:
        raise DatasetError("a polars LazyFrame is not read yet: pass .collect() of it")
    import pyarrow as pa

    try:
        if isinstance(source, pa.Table):
            return source
        if isinstance(source, pa.RecordBatch):
            return pa.Table.from_batches([source])
        if "pandas.DataFrame" in names:
            return pa.Table.from_pandas(source)
        if "polars.DataFrame" in names:
            return source.to_arrow()
    except (pa.ArrowException, TypeError, ValueError) as error:
        detail = " ".join(map(str, error.args))
        raise DatasetError(f"the {package} frame does not fit into Arrow: {detail}") from error
    return None


def _text_options(
    name: str, encoding: str, errors: str, compression: str | None, rest: Format | None = None
) -> Format:
    for what, value, look_up in (
        ("encoding", encoding, codecs.lookup),
        ("errors", errors, codecs.lookup_error),
    ):
        try:
            look_up(value)
        except (LookupError, TypeError) as error:
            raise DatasetError(f"{what}={value!r} is unknown to Python") from error
    if compression not in _COMPRESSIONS:
        raise DatasetError(
            f"compression={compression!r} is none of {', '.join(map(repr, _COMPRESSIONS))}"
        )
    options = rest or Format(name, "")
    return replace(options, encoding=encoding, errors=errors, compression=compression)


def _schema(schema: Any) -> Any:
    if schema is None:
        return None
    if isinstance(schema, Mapping):
        return {name: as_type(name, type_) for name, type_ in schema.items()}
    import pyarrow as pa

    if not isinstance(schema, pa.Schema):
        raise DatasetError(f"schema={schema!r} is no pa.Schema, nor types by column name")
    return schema


def _names(what: str, names: Any, empty: bool = False) -> tuple[str, ...] | None:
    if names is None:
        return None
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise DatasetError(f"{what}={names!r} must be a list of strings")
    taken = tuple(names)
    if not all(isinstance(name, str) for name in taken) or not (taken or empty):
        raise DatasetError(f"{what}={names!r} must be a list of strings, at least one")
    if len(set(taken)) < len(taken):
        raise DatasetError(f"{what}={names!r} names one twice")
    return taken


def _filters(filters: Any) -> Any:
    if filters is None or type(filters).__name__ == "Expression":
        return filters
    groups = filters if isinstance(filters, list) else None
    if groups and all(isinstance(group, list) for group in groups):
        groups = [condition for group in groups for condition in group]
    if not groups or not all(isinstance(c, tuple) and len(c) == 3 for c in groups):
        raise DatasetError(
            f"filters={filters!r} must be an Arrow expression or conditions such as "
            "[('price', '>', 3)]"
        )
    return filters


def _character(what: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) != 1 or value in "\r\n" or ord(value) > 127:
        raise DatasetError(f"{what}={value!r} must be one ASCII character, and no line end")
    return value


def _flag(what: str, value: bool) -> bool:
    if not isinstance(value, bool):
        raise DatasetError(f"{what}={value!r} must be True or False")
    return value
