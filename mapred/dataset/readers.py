"""The constructors of datasets. Options are checked here, once; nothing is listed or opened."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from mapred.dataset import globs, options
from mapred.dataset.kinds import kind_of
from mapred.dataset.local_listing import listing
from mapred.dataset.values import TABULAR, Dataset, kind_of_suffix, suffix_of
from mapred.errors import DatasetError
from mapred.model.checking import checks, short_repr
from mapred.model.rules import FromZero, Unfit, as_tuple
from mapred.model.spec import Format
from mapred.process import secrecy
from mapred.process.describing import describe_like
from mapred.storage.fsspec_options import record

if TYPE_CHECKING:
    import pyarrow as pa

URIs: TypeAlias = "str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | Dataset"
Schema: TypeAlias = "pa.Schema | Mapping[str, Any] | None"

_NO_CREDENTIALS = (
    "a plan is written to the run's folder. Leave it out, and set what its client reads (AWS_…, "
    "OSS_…, AZURE_…, GOOGLE_…) for the run and its workers, or name a variable that they have, as in "
    "storage_options={'headers': {'Authorization': '$AUTHORIZATION'}}"
)


@checks(DatasetError)
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
    """Make a dataset of the lines of text files: the function gets an iterator of lines per shard.

    A line ends at a newline, and a carriage return before it goes too.

    Args:
        uris: Paths, globs (`**` is zero or more folders), folders (every file below them), URIs of
            `s3`, `gs`, `az`, `oss`, `https` or any protocol of fsspec, or a list of these. Wildcards
            and folders leave out names that begin with a dot, and in tabular datasets also those
            that begin with an underscore.
        as_: What the function gets: an iterator of `str` (`"lines"`, the default) or of `bytes`
            (`"byte_lines"`), an Arrow array (`"arrow"`), or the bytes themselves (`"bytes"`).
        encoding: The encoding of the text.
        errors: What happens to bytes that are not text, as of `bytes.decode`: `"strict"`,
            `"replace"`, `"ignore"`, …
        compression: `"infer"` (by suffix), None, `"gzip"`, `"bz2"`, `"xz"` or `"zstd"`. Compressed
            files are not cut.
        filesystem: A file system of fsspec to read by (default: the clients that hold roots for
            `s3`, `gs`, `az` and `oss`, fsspec for all others). Workers make it again, so it may not
            carry a credential: those come from the environment.
        storage_options: Arguments of fsspec's file system, likewise without credentials.

    Returns:
        The dataset.

    Raises:
        DatasetError: An option does not fit.

    Examples:
        >>> lines = mapred.read_text("corpus/*.txt")
        >>> mapred.run(lambda lines: sum("road" in line for line in lines), lines, reduce=sum).result()
        3
    """
    chosen = options.text_options(Format("text", ""), encoding, errors, compression)
    return _dataset(chosen, uris, as_, None, filesystem, storage_options)


@describe_like(read_text)
@checks(DatasetError)
def read_csv(
    uris: URIs,
    *,
    as_: str | None = None,
    dtype_backend: str = "numpy_nullable",
    schema: Schema = None,
    columns: Sequence[str] | None = None,
    filters: Any = None,
    missing_columns: str = "error",
    extra_columns: str = "error",
    hive: bool = True,
    delimiter: str | None = None,
    quote: str = '"',
    escape: str | None = None,
    header: bool | str = True,
    names: Sequence[str] | None = None,
    skip_rows: FromZero = 0,
    comment: str | None = None,
    newlines_in_values: bool = False,
    null_values: Sequence[str] | None = None,
    true_values: Sequence[str] | None = None,
    false_values: Sequence[str] | None = None,
    date_formats: Sequence[str] | None = None,
    decimal: str = ".",
    thousands: str | None = None,
    on_bad_rows: str = "error",
    encoding: str = "utf-8",
    errors: str = "strict",
    compression: str | None = "infer",
    filesystem: Any = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Dataset:
    """Make a dataset of the tables in CSV files: the function gets a `pa.Table` per shard.

    Args:
        as_: What the function gets: `"table"` (the default), `"batches"` (an iterator of
            `pa.RecordBatch`), `"pandas"` or `"polars"`. An annotation of its first parameter says
            the same.
        dtype_backend: How types become pandas': `"numpy_nullable"`, `"pyarrow"` or `"numpy"`. Each
            gives one dtype for a type, whatever a shard holds; with `"numpy"` a null among whole
            numbers or booleans is an error, since numpy has no place for it.
        schema: The types of some columns by name, or a `pa.Schema` of all. Other types are inferred
            from samples of the first, middle, last and largest file: whole numbers are int64, uint64
            or decimal, as they need; numbers with leading zeros, a plus sign or `0x` stay text. A
            later value that does not fit is an error.
        columns: The columns to read, in this order (default: all).
        filters: Which rows to read: an Arrow expression, or conditions such as
            `[("price", ">", 3)]`, all of which must hold (default: all rows).
        missing_columns: `"error"`, or `"null"` for columns that a file lacks. Columns are matched by
            name, whatever their order in a file.
        extra_columns: `"error"`, or `"ignore"` for columns that the first files did not have.
        hive: Whether folders named `name=value` are columns.
        delimiter: One character (default: a comma, or a tab in `.tsv` files).
        quote: The character around values that hold delimiters; `""` for none.
        escape: The character that takes the meaning from the one behind it, such as a backslash
            (default: none).
        header: Whether each file begins with names; `"first"`: only the first file of all does.
        names: The columns' names; with a header, they replace its names.
        skip_rows: How many lines to leave out at the start of each file, before the header.
        comment: The character with which lines begin that are left out (default: none).
        newlines_in_values: Whether quoted values may hold line ends. Such files are not cut.
        null_values: Texts that mean null, in columns of any type. In columns other than text, the
            empty text, `NA`, `null` and the like mean null as well, quoted or not.
        true_values: Texts that mean true, beside `true` and `1`.
        false_values: Texts that mean false, beside `false` and `0`.
        date_formats: Formats of dates and times, as of `strptime`, such as `"%d.%m.%Y"` (default:
            ISO 8601).
        decimal: The decimal point.
        thousands: The character between groups of three digits (default: none).
        on_bad_rows: `"error"`, or `"skip"` for rows with too many or too few values, which are
            counted and shown.

    Returns:
        The dataset.

    Raises:
        DatasetError: An option does not fit.

    Examples:
        >>> sales = mapred.read_csv("sales.csv", columns=["price"], filters=[("price", ">", 3)])
        >>> mapred.run(lambda table: table["price"].to_pylist(), sales).result()
        [[5, 4]]
    """
    chosen = Format(
        "csv",
        "",
        delimiter=options.character("delimiter", delimiter) if delimiter is not None else "",
        quote=options.character("quote", quote) if quote else "",
        escape=options.character("escape", escape) if escape else "",
        header=options.header_of(header),
        names=options.names("names", names),
        skip_rows=skip_rows,
        comment=options.character("comment", comment) if comment else "",
        newlines_in_values=newlines_in_values,
        null_values=options.names("null_values", null_values, empty=True),
        true_values=options.names("true_values", true_values),
        false_values=options.names("false_values", false_values),
        date_formats=options.names("date_formats", date_formats),
        decimal=options.character("decimal", decimal),
        thousands=options.character("thousands", thousands) if thousands else "",
        on_bad_rows=options.choice("on_bad_rows", on_bad_rows, ("error", "skip")),
    )
    options.check_dialect(chosen)
    chosen = options.text_options(chosen, encoding, errors, compression)
    chosen = options.table_options(
        chosen, dtype_backend, columns, filters, missing_columns, extra_columns
    )
    return _dataset(chosen, uris, as_, schema, filesystem, storage_options, hive)


@describe_like(read_csv, read_text)
@checks(DatasetError)
def read_json(
    uris: URIs,
    *,
    as_: str | None = None,
    dtype_backend: str = "numpy_nullable",
    schema: Schema = None,
    columns: Sequence[str] | None = None,
    filters: Any = None,
    extra_columns: str = "error",
    hive: bool = True,
    encoding: str = "utf-8",
    errors: str = "strict",
    compression: str | None = "infer",
    filesystem: Any = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Dataset:
    r"""Make a dataset of JSON lines, one object a line: the function gets a `pa.Table` per shard.

    A field that a line lacks is null.

    Args:
        as_: What the function gets: `"table"` (the default), `"batches"`, `"pandas"`, `"polars"`, or
            `"dicts"`: an iterator of Python dicts, with whole numbers of any size, also where fields
            have no common type.

    Returns:
        The dataset.

    Raises:
        DatasetError: An option does not fit.

    Examples:
        >>> from pathlib import Path
        >>> lines = Path("sales.jsonl").write_text('{"price": 3}\n{"price": 5}\n')
        >>> sales = mapred.read_json("sales.jsonl", as_="dicts")
        >>> mapred.run(lambda rows: [row["price"] for row in rows], sales).result()
        [[3, 5]]
    """
    chosen = options.text_options(Format("json", ""), encoding, errors, compression)
    chosen = options.table_options(chosen, dtype_backend, columns, filters, "null", extra_columns)
    return _dataset(chosen, uris, as_, schema, filesystem, storage_options, hive)


@describe_like(read_csv, read_text)
@checks(DatasetError)
def read_parquet(
    uris: URIs,
    *,
    as_: str | None = None,
    dtype_backend: str = "numpy_nullable",
    columns: Sequence[str] | None = None,
    filters: Any = None,
    schema: Schema = None,
    missing_columns: str = "error",
    extra_columns: str = "error",
    hive: bool = True,
    filesystem: Any = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Dataset:
    """Make a dataset of Parquet files: the function gets a `pa.Table` per shard.

    Files may differ in types that convert without loss. A folder that a run wrote, or a partition
    of it, is read by its manifest: the files that are live, with the partition columns in the types
    that were written.

    Args:
        filters: Which rows to read: an Arrow expression, or conditions such as
            `[("price", ">", 3)]`, all of which must hold (default: all rows). Row groups that cannot
            hold a match are not read.
        schema: The types of some columns by name, or a `pa.Schema` of all (default: as the files
            have them).

    Returns:
        The dataset.

    Raises:
        DatasetError: An option does not fit.

    Examples:
        >>> import pyarrow as pa, pyarrow.parquet as pq
        >>> pq.write_table(pa.table({"price": [3, 5, 4]}), "sales.parquet")
        >>> sales = mapred.read_parquet("sales.parquet", as_="pandas")
        >>> mapred.run(lambda frame: float(frame["price"].mean()), sales).result()
        [4.0]
    """
    chosen = options.table_options(
        Format("parquet", ""), dtype_backend, columns, filters, missing_columns, extra_columns
    )
    return _dataset(chosen, uris, as_, schema, filesystem, storage_options, hive)


@describe_like(read_parquet, read_csv, read_text)
@checks(DatasetError)
def read_arrow(
    uris: URIs,
    *,
    as_: str | None = None,
    dtype_backend: str = "numpy_nullable",
    columns: Sequence[str] | None = None,
    filters: Any = None,
    schema: Schema = None,
    missing_columns: str = "error",
    extra_columns: str = "error",
    hive: bool = True,
    filesystem: Any = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Dataset:
    """Make a dataset of Arrow IPC files (Feather), file or stream: the function gets a `pa.Table`.

    Returns:
        The dataset.

    Raises:
        DatasetError: An option does not fit.

    Examples:
        >>> import pyarrow as pa, pyarrow.feather as feather
        >>> feather.write_feather(pa.table({"price": [3, 5, 4]}), "sales.arrow")
        >>> mapred.run(lambda table: table.num_rows, mapred.read_arrow("sales.arrow")).result()
        [3]
    """
    chosen = options.table_options(
        Format("arrow", ""), dtype_backend, columns, filters, missing_columns, extra_columns
    )
    return _dataset(chosen, uris, as_, schema, filesystem, storage_options, hive)


@describe_like(read_text)
@checks(DatasetError)
def read_files(
    uris: URIs,
    *,
    as_: str | None = None,
    filesystem: Any = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Dataset:
    """Make a dataset of whole files: the function is called for each.

    Args:
        as_: What the function gets: a `mapred.File` (`"file"`, the default), its `"bytes"`, or the
            `"path"` of a local copy.

    Returns:
        The dataset.

    Raises:
        DatasetError: An option does not fit.

    Examples:
        >>> mapred.run(lambda file: file.size, mapred.read_files("corpus/*.txt")).result()
        [42, 13]
    """
    chosen = Format("files", "")
    return _dataset(chosen, uris, as_, None, filesystem, storage_options)


@describe_like(read_text)
@checks(DatasetError)
def files(
    paths: Iterable[str | os.PathLike[str]],
    *,
    format: str | None = None,
    as_: str | None = None,
    filesystem: Any = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Dataset:
    """Make a dataset of files by their literal paths: `*`, `?` and `[` are characters like all others.

    Args:
        paths: The files, in the order in which they are taken.
        format: What they hold: None for whole files, as of `read_files`, or `"text"`, `"csv"`,
            `"json"`, `"parquet"` or `"arrow"`. For more options: `read_csv(files([…]), …)`.
        as_: What the function gets; see the `read_…` function of the format.

    Returns:
        The dataset.

    Raises:
        DatasetError: There is no such format, or an option does not fit.

    Examples:
        >>> two = mapred.files(["corpus/a.txt", "corpus/b.txt"], as_="bytes")
        >>> mapred.run(len, two).result()
        [42, 13]
    """
    if format is not None and format not in ("files", "text", *TABULAR):
        raise DatasetError(
            f"format={format!r} is not one of 'files', 'text', {', '.join(map(repr, TABULAR))}"
        )
    name = format or "files"
    chosen = Format(name, "", delimiter="" if name == "csv" else ",")
    texts = _uris(paths)
    chosen = replace(chosen, storage=_storage(texts, filesystem, storage_options))
    return Dataset(name, texts, literal=True, as_=as_, options=chosen)


def format_of(source: Any) -> str:
    """Return the format of paths by their suffixes; folders and wildcards are listed."""
    chosen = by_suffix(source)
    return chosen.format or kind_of(listing(chosen)["path"])[0]


def by_suffix(source: Any) -> Dataset:
    """Return a dataset whose format follows from the URIs' suffixes, or from a later listing."""
    uris, exact = _uris(source), _exact(source)
    endings = {suffix_of(uri.rstrip("/").rpartition("/")[2]) for uri in uris}
    kinds = {kind_of_suffix(ending) for ending in endings if not globs.is_glob(ending)}
    if len(kinds) == len(endings) == 1:
        [(name, delimiter)] = kinds
        if name in TABULAR:
            return Dataset(name, uris, exact=exact, options=Format(name, "", delimiter=delimiter))
    return Dataset(None, uris, exact=exact, options=Format("", "", delimiter=""))


def _dataset(
    chosen: Format,
    uris: URIs,
    as_: str | None,
    schema: Schema,
    filesystem: Any,
    storage_options: Mapping[str, Any] | None,
    hive: bool = True,
) -> Dataset:
    storage: Mapping[str, Any] | None = None
    literal = isinstance(uris, Dataset)
    if isinstance(uris, Dataset):
        if not uris.literal:
            raise DatasetError(
                f"read_{chosen.name} takes paths, or mapred.files([...]), not {short_repr(uris)}"
            )
        paths, exact, storage = uris.uris, uris.exact, uris.options.storage
    else:
        uris = list(uris) if isinstance(uris, Iterator) else uris
        paths, exact = _uris(uris), _exact(uris)
    storage = _storage(paths, filesystem, storage_options) or storage
    return Dataset(
        chosen.name,
        paths,
        literal=literal,
        exact=exact,
        hive=hive,
        as_=as_,
        options=replace(chosen, storage=storage),
        schema=options.schema(schema),
    )


def _storage(
    uris: Sequence[str], filesystem: Any, storage_options: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Return the record of the user's own file system, checked to hold no credential."""
    if filesystem is None and storage_options is None:
        return None
    schemes = {uri.partition("://")[0] for uri in uris if "://" in uri}
    if filesystem is None and (len(schemes) != 1 or not all("://" in uri for uri in uris)):
        raise DatasetError("storage_options= are for URIs of one scheme, such as s3://")
    return record(filesystem, storage_options, next(iter(schemes), ""))


def _uris(uris: Any) -> tuple[str, ...]:
    try:
        collection = (uris,) if isinstance(uris, str | os.PathLike) else as_tuple(uris)
    except Unfit:
        raise DatasetError(
            f"{short_repr(uris)} is not a path; pass a str, a Path or a list of them"
        ) from None
    texts = []
    for uri in collection:
        if not isinstance(uri, str | os.PathLike):
            raise DatasetError(
                f"{short_repr(uri)} in a list of paths is not a path; pass mapred.items([...]) for a list of "
                "other things"
            )
        text = os.fsdecode(os.fspath(uri))
        if not text or "\0" in text:
            raise DatasetError(f"{text!r} is not a path")
        texts.append(text)
    if not texts:
        raise DatasetError("the list of files is empty: there is nothing to read")
    secrecy.refuse_urls(texts, "a path", DatasetError, _NO_CREDENTIALS)
    return tuple(texts)


def _exact(uris: Any) -> tuple[int, ...]:
    """Return the places of the URIs that are `Path` objects, which are never patterns."""
    collection = [uris] if isinstance(uris, str | os.PathLike) else uris
    return tuple(number for number, uri in enumerate(collection) if isinstance(uri, os.PathLike))
