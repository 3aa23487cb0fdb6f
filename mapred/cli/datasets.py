"""The DATASET of a command line: the options that say how it is read, and what they make."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

import mapred
from mapred import dataset
from mapred.cli import completing
from mapred.cli.options import gather_fields, gather_given, param_option, setting_options, spell
from mapred.errors import DatasetError

FORMATS = ("text", "csv", "json", "parquet", "arrow", "files", "items", "array")
_HEADERS = {"yes": True, "no": False, "first": "first"}


def _parse_names(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    return None if value is None else tuple(part.strip() for part in value.split(","))


def _parse_types(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> Any:
    types = {}
    for word in value:
        name, _, type_ = word.rpartition("=")
        if not name or not type_:
            raise click.BadParameter(f"{word!r}: write NAME=TYPE, such as zip=string")
        types[name] = type_
    return types or None


def _parse_character(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    return {"tab": "\t", "\\t": "\t", "space": " "}.get(value or "", value)


def _parse_header(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    return None if value is None else _HEADERS[value]


def _option(name: str, help: str, spelled: str = "", **settings: Any) -> tuple[str, Any]:
    """Return a keyword of `mapred.read_…` and its option."""
    return name, click.option(spelled or spell(name), name, help=help, **settings)


def _one_of(*words: str) -> dict[str, Any]:
    return {"type": click.Choice(words)}


_NAMES: dict[str, Any] = {"callback": _parse_names, "metavar": "A,B"}
_TYPES: dict[str, Any] = {"callback": _parse_types, "multiple": True, "metavar": "NAME=TYPE"}
_TEXTS: dict[str, Any] = {"multiple": True, "metavar": "TEXT"}
_CHARACTER: dict[str, Any] = {"callback": _parse_character, "metavar": "C"}
_AS = "What the function receives: pandas, polars, batches, bytes, path, …"
_ROWS = "CSV: what to do with rows of too many or too few values."

reading_options = gather_given(
    "reading",
    _option("format", "Format of the files (default: by suffix).", **_one_of(*FORMATS)),
    _option("as_", _AS, "--as", metavar="KIND"),
    _option(
        "dtype_backend",
        "Types of the columns in pandas.",
        **_one_of("numpy_nullable", "pyarrow", "numpy"),
    ),
    _option("schema", "Type of a column (repeatable).", **_TYPES),
    _option("columns", "Columns to read (default: all).", **_NAMES),
    _option(
        "missing_columns", "What to do with a column that a file lacks.", **_one_of("error", "null")
    ),
    _option(
        "extra_columns",
        "What to do with a column that only some files have.",
        **_one_of("error", "ignore"),
    ),
    _option("hive", "Read folders NAME=VALUE as columns.", "--hive/--no-hive", default=None),
    _option("delimiter", "CSV: the character between values.", **_CHARACTER),
    _option("quote", "CSV: the character around values; '' for none.", **_CHARACTER),
    _option("escape", "CSV: the character before one that is meant literally.", **_CHARACTER),
    _option(
        "header",
        "CSV: which files begin with the columns' names.",
        type=click.Choice(list(_HEADERS)),
        callback=_parse_header,
    ),
    _option("names", "CSV: the columns' names.", **_NAMES),
    _option("skip_rows", "CSV: lines to skip before the header.", type=int, metavar="N"),
    _option("comment", "CSV: the character that begins a comment line.", **_CHARACTER),
    _option(
        "newlines_in_values", "CSV: allow line ends in quoted values.", is_flag=True, default=None
    ),
    _option("null_values", "CSV: text that means null (repeatable).", "--null-value", **_TEXTS),
    _option("true_values", "CSV: text that means true (repeatable).", "--true-value", **_TEXTS),
    _option("false_values", "CSV: text that means false (repeatable).", "--false-value", **_TEXTS),
    _option(
        "date_formats",
        "CSV: a date format such as %d.%m.%Y (repeatable).",
        "--date-format",
        **_TEXTS,
    ),
    _option("decimal", "CSV: the decimal point.", **_CHARACTER),
    _option("thousands", "CSV: the separator of thousands.", **_CHARACTER),
    _option("on_bad_rows", _ROWS, **_one_of("error", "skip")),
    _option("encoding", "Encoding of text files.", metavar="NAME"),
    _option("errors", "What to do with bytes that are not text.", metavar="NAME"),
    _option(
        "compression",
        "Compression of text files (default: by suffix).",
        **_one_of("gzip", "bz2", "xz", "zstd", "none"),
    ),
)


def make_dataset(words: Sequence[str], reading: Mapping[str, Any]) -> Any:
    """Return the dataset that the words of a command line name, read by `mapred.read_<format>`."""
    keywords = dict(reading)
    if keywords.get("compression") == "none":
        keywords["compression"] = None
    format = keywords.pop("format", None)
    if format == "items":
        _refuse_options(keywords, format, ["as_"])
        if keywords.get("as_", "item") != "item":
            raise DatasetError("--as is not for items: each word is passed as it stands")
        return mapred.items(words)
    if format == "array":
        _refuse_options(keywords, format, [])
        if len(words) != 1 or not words[0].isdigit():
            raise DatasetError("--format array takes one whole number, the size of the array")
        return mapred.array(int(words[0]))
    if format is None:
        if not keywords:
            return dataset.as_dataset(list(words))
        format = dataset.format_of(list(words))
    read = getattr(mapred, f"read_{format}")
    _refuse_options(keywords, format, inspect.signature(read).parameters)
    return read(list(words), **keywords)


def _refuse_options(keywords: Mapping[str, Any], format: str, accepted: Collection[str]) -> None:
    """Refuse options that a format does not take."""
    spelled = {param.name: param.opts[0] for param in click.get_current_context().command.params}
    for name in keywords:
        if name not in accepted:
            raise click.UsageError(f"{spelled[name]} is not for --format {format}")


@dataclass(frozen=True)
class Words:
    """What names a job: a file or a function, what it runs over, and how."""

    target: str
    datasets: Sequence[str]
    job_name: str | None
    reading: Mapping[str, Any]
    settings: Mapping[str, Any]
    params: Sequence[str]


job_options = gather_fields(
    Words,
    click.argument("target", shell_complete=completing.files),
    click.argument("datasets", metavar="[DATASET]...", nargs=-1, shell_complete=completing.files),
    click.option(
        "--job", "job_name", metavar="NAME", help="Which job to take, if the file defines several."
    ),
    reading_options,
    setting_options,
    param_option,
)
