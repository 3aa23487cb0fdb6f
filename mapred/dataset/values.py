"""A dataset as a frozen value: what to read and how, before anything is listed or opened."""

from __future__ import annotations

import functools
import pickle
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from mapred.errors import DatasetError, FunctionError
from mapred.functions import pickling
from mapred.model import layout, seeds
from mapred.model.checking import safe_text
from mapred.model.frozen import dataclass
from mapred.model.spec import Format, RunReference
from mapred.process.lazy import np, pa, pc

if TYPE_CHECKING:
    import numpy.typing as npt

TABULAR = ("parquet", "csv", "json", "arrow")
COMPRESSED = ("gz", "bz2", "xz", "zst")
_FRAME_BATCH = 2**20

_SUFFIXES = {
    "parquet": "parquet", "pq": "parquet",
    "csv": "csv", "tsv": "csv",
    "json": "json", "jsonl": "json", "ndjson": "json",
    "arrow": "arrow", "feather": "arrow", "ipc": "arrow",
}  # fmt: skip
_TABLE_AS = {name: name for name in ("table", "batches", "pandas", "polars")} | {"arrow": "table"}
_AS = {
    "text": {"lines": "lines", "byte_lines": "byte_lines", "arrow": "strings", "bytes": "bytes"},
    "files": {name: name for name in ("file", "bytes", "path")},
    "items": {name: name for name in ("item", "keywords")},
    "array": {"item": "item"},
    "outputs": {"item": "item", **_TABLE_AS},
    **dict.fromkeys(TABULAR, _TABLE_AS),
    "json": _TABLE_AS | {"dicts": "dicts"},
}


@runtime_checkable
class GivesDataset(Protocol):
    """What stands for a dataset, such as a run."""

    def __mapred_dataset__(self) -> Dataset:
        """Return that dataset; nothing is opened yet."""
        ...


def how_to_list_rows(value: Any) -> str | None:
    """Return the call that lists the rows of a frame, which iterates over its columns."""
    calls = {
        "pandas.DataFrame": ".to_dict('records')",
        "polars.DataFrame": ".to_dicts()",
        "polars.LazyFrame": ".collect().to_dicts()",
        "pyarrow.Table": ".to_pylist()",
        "pyarrow.RecordBatch": ".to_pylist()",
    }
    names = (f"{base.__module__.split('.')[0]}.{base.__name__}" for base in type(value).__mro__)
    return next((calls[name] for name in names if name in calls), None)


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """What to read: URIs and a format, a table, items, indices, or runs. Nothing is opened yet.

    Made by `mapred.items`, `array`, `sweep`, `outputs`, `files` and the `read_…` functions.

    Attributes:
        format: `text`, `csv`, `json`, `parquet`, `arrow`, `files`, `items`, `array` or `outputs`;
            None where the suffixes of the listed files will say it.
        uris: The paths, globs and URIs to read.
        literal: Whether the URIs are files by their names, not globs.
        exact: The places of URIs that are files or folders, not globs.
        hive: Whether folders named `name=value` are columns.
        as_: What the function gets, as the user chose it; None for the format's default.
        options: The rest of the format, as far as the user said it.
        schema: A whole `pa.Schema`, types of some columns by name, or nothing.
        items: The items.
        count: How many items there are.
        frame: The table of a frame that was passed.
        title: How it is shown.
        seed: The seed of a sweep.
        runs: The runs whose outputs it has.

    Examples:
        >>> mapred.items(["oslo", "rome"])
        <Dataset 2 items>
        >>> mapred.read_text("corpus/*.txt")
        <Dataset corpus/*.txt>
    """

    format: str | None
    uris: tuple[str, ...] = ()
    literal: bool = False
    exact: tuple[int, ...] = ()
    hive: bool = True
    as_: str | None = None
    options: Format = field(default_factory=lambda: Format("", ""))
    schema: pa.Schema | Mapping[str, Any] | None = None
    items: Sequence[Any] = ()
    count: int = 0
    frame: pa.Table | None = None
    title: str = ""
    seed: int | None = None
    runs: tuple[RunReference, ...] = ()

    def __post_init__(self) -> None:
        if self.format is not None:
            function_input(self.format, self.as_)

    def __str__(self) -> str:
        if self.title:
            return self.title
        more = f" and {len(self.uris) - 1:,} more" if len(self.uris) > 1 else ""
        return f"{self.uris[0]}{more}"

    def __repr__(self) -> str:
        return f"<Dataset {self}>"

    @property
    def offsets(self) -> npt.NDArray[np.int64]:
        """Where each pickled item begins in the items file, in bytes, and where the last one ends."""
        return self._pickles[1]

    @property
    def modules(self) -> frozenset[str]:
        """The names of the modules that items refer to."""
        return self._pickles[2] if self.format == "items" else frozenset()

    def inputs(self) -> Iterator[tuple[str, Any]]:
        """Yield the files that a run's folder must hold for this dataset: path and bytes."""
        if self.frame is not None:
            yield layout.FRAME, self.frame_file
        elif self.format == "items":
            yield layout.ITEMS, self._pickles[0]
            spelling = seeds.of_point if self.as_ == "keywords" else seeds.of_item
            counted = seeds.occurrences(self.items, spelling)
            if counted is not None:
                yield layout.OCCURRENCES, counted

    @functools.cached_property
    def frame_file(self) -> pa.Buffer:
        """The frame as an Arrow file, in record batches of about 1 MiB."""
        assert self.frame is not None
        rows = max(1, self.frame.num_rows * _FRAME_BATCH // max(1, self.frame.nbytes))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, self.frame.schema) as writer:
            writer.write_table(self.frame.combine_chunks(), max_chunksize=rows)
        return sink.getvalue()

    @functools.cached_property
    def _pickles(self) -> tuple[bytes, npt.NDArray[np.int64], frozenset[str]]:
        modules: set[str] = set()
        pickles = [_pickle_item(number, item, modules) for number, item in enumerate(self.items)]
        offsets = np.zeros(len(pickles) + 1, np.int64)
        np.cumsum([len(data) for data in pickles], out=offsets[1:])
        return b"".join(pickles), offsets, frozenset(modules)


def function_input(format: str, as_: Any) -> str:
    """Return the `Format.as_` of what a user wrote as `as_=`, or of the format's default."""
    names = _AS[format]
    if as_ is None:
        return next(iter(names.values()))
    if not isinstance(as_, str) or as_ not in names:
        raise DatasetError(
            f"as_={as_!r} is not for {format}; choose one of {', '.join(map(repr, names))}"
        )
    return names[as_]


def as_option_for(format: str, kind: str | None) -> str:
    """Return the `as_=` that means a `Format.as_`; the format's default where None."""
    names = _AS[format]
    return next(name for name, value in names.items() if kind is None or value == kind)


def kind_of_suffix(suffix: str) -> tuple[str, str]:
    """Format and delimiter of files with a suffix (no dot); text for any that is not known."""
    name = _SUFFIXES.get(suffix.lower(), "text")
    return name, "\t" if suffix.lower() == "tsv" else ","


def suffix_of(name: str) -> str:
    """Return the suffix of a file's name (no dot), looking through that of a compression."""
    match = re.search(rf"\.([^./]*?)(?:\.(?:{'|'.join(COMPRESSED)}))?$", name, re.I)
    return match[1].lower() if match else ""


def suffixes(paths: pa.ChunkedArray) -> pa.ChunkedArray:
    """`suffix_of` for all of a listing; null where a file has none."""
    pattern = rf"(?i)\.(?P<suffix>[^./]*?)(?:\.(?:{'|'.join(COMPRESSED)}))?$"
    return pc.utf8_lower(pc.struct_field(pc.extract_regex(paths, pattern), "suffix"))


def _pickle_item(number: int, item: Any, modules: set[str]) -> bytes:
    """Pickle an item, and add the modules that it refers to to `modules`."""
    if pickling.is_plain(item):
        return pickle.dumps(item, protocol=5)
    try:
        return pickling.dumps(item, modules)
    except FunctionError:
        raise
    except Exception as error:
        raise DatasetError(
            f"item {number} ({type(item).__name__}) cannot be pickled: {safe_text(str, error)}; pass what it is "
            "made from, and make it in the function"
        ) from error
