"""The DATASET of a command line: the options that say how it is read, and what they make."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from mapred.cli.options import gather_options, param_option, setting_options

FORMATS = ("text", "csv", "json", "parquet", "arrow", "files", "items", "array")
_SPELLED = {"as_": "--as", "date_formats": "--date-format"} | {
    f"{kind}_values": f"--{kind}-value" for kind in ("null", "true", "false")
}
_HEADERS = {"yes": True, "no": False, "first": "first"}


def _parse_names(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    """Names between commas."""
    return None if value is None else tuple(part.strip() for part in value.split(","))


def _parse_types(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> Any:
    """`NAME=TYPE`, the types of columns."""
    pairs = [each.rpartition("=") for each in value]
    for (name, _, type_), each in zip(pairs, value, strict=True):
        if not name or not type_:
            raise click.BadParameter(f"{each!r}: write NAME=TYPE, such as zip=string")
    return tuple((name, type_) for name, _, type_ in pairs)


def _parse_character(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """One character; `tab` and `space` may be written out."""
    return {"tab": "\t", "\\t": "\t", "space": " "}.get(value or "", value)


@dataclass(frozen=True)
class Input:
    """How the DATASET words are read; None or nothing where the command line does not say."""

    format: str | None = None
    as_: str | None = None
    dtype_backend: str | None = None
    schema: tuple[tuple[str, str], ...] = ()
    columns: tuple[str, ...] | None = None
    missing_columns: str | None = None
    extra_columns: str | None = None
    hive: bool | None = None
    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    header: str | None = None
    names: tuple[str, ...] | None = None
    skip_rows: int | None = None
    comment: str | None = None
    newlines_in_values: bool | None = None
    null_values: tuple[str, ...] = ()
    true_values: tuple[str, ...] = ()
    false_values: tuple[str, ...] = ()
    date_formats: tuple[str, ...] = ()
    decimal: str | None = None
    thousands: str | None = None
    on_bad_rows: str | None = None
    encoding: str | None = None
    errors: str | None = None
    compression: str | None = None

    def to_keywords(self) -> dict[str, Any]:
        """Return the keywords of a `mapred.read_…` that the command line says."""
        found = {
            name: value
            for name, value in vars(self).items()
            if name != "format" and value is not None and value != ()
        }
        if self.header is not None:
            found["header"] = _HEADERS[self.header]
        if self.schema:
            found["schema"] = dict(self.schema)
        if self.compression == "none":
            found["compression"] = None
        return found


_TEXTS: dict[str, Any] = {"multiple": True, "metavar": "TEXT"}
_CHARACTER: dict[str, Any] = {"callback": _parse_character, "metavar": "C"}

input_options = gather_options(
    Input,
    click.option("--format", type=click.Choice(FORMATS), help="How to read (default: by suffix)."),
    click.option(
        "--as",
        "as_",
        metavar="KIND",
        help="What the function receives: pandas, polars, batches, bytes, path, …",
    ),
    click.option(
        "--dtype-backend",
        help="How types become pandas'.",
        type=click.Choice(["numpy_nullable", "pyarrow", "numpy"]),
    ),
    click.option(
        "--schema",
        help="The type of a column (repeatable).",
        callback=_parse_types,
        multiple=True,
        metavar="NAME=TYPE",
    ),
    click.option("--columns", help="The columns to read.", callback=_parse_names, metavar="A,B"),
    click.option(
        "--missing-columns", help="Columns that a file lacks.", type=click.Choice(["error", "null"])
    ),
    click.option(
        "--extra-columns",
        help="Columns that only some files have.",
        type=click.Choice(["error", "ignore"]),
    ),
    click.option("--hive/--no-hive", help="Whether folders NAME=VALUE are columns.", default=None),
    click.option("--delimiter", help="CSV: between values.", **_CHARACTER),
    click.option("--quote", help="CSV: around values; '' for none.", **_CHARACTER),
    click.option("--escape", help="CSV: before a character without meaning.", **_CHARACTER),
    click.option(
        "--header", help="CSV: which files begin with names.", type=click.Choice(list(_HEADERS))
    ),
    click.option("--names", help="CSV: the columns' names.", callback=_parse_names, metavar="A,B"),
    click.option(
        "--skip-rows", help="CSV: lines to leave out before the header.", type=int, metavar="N"
    ),
    click.option("--comment", help="CSV: begins lines to leave out.", **_CHARACTER),
    click.option(
        "--newlines-in-values",
        help="CSV: quoted values may hold line ends.",
        is_flag=True,
        default=None,
    ),
    click.option(
        "--null-value", "null_values", help="CSV: a text that means null (repeatable).", **_TEXTS
    ),
    click.option(
        "--true-value", "true_values", help="CSV: a text that means true (repeatable).", **_TEXTS
    ),
    click.option(
        "--false-value", "false_values", help="CSV: a text that means false (repeatable).", **_TEXTS
    ),
    click.option(
        "--date-format", "date_formats", help="CSV: such as %d.%m.%Y (repeatable).", **_TEXTS
    ),
    click.option("--decimal", help="CSV: the decimal point.", **_CHARACTER),
    click.option("--thousands", help="CSV: between groups of three digits.", **_CHARACTER),
    click.option(
        "--on-bad-rows",
        help="CSV: rows of too many or too few values.",
        type=click.Choice(["error", "skip"]),
    ),
    click.option("--encoding", help="Of text.", metavar="NAME"),
    click.option("--errors", help="What becomes of bytes that are not text.", metavar="NAME"),
    click.option(
        "--compression",
        help="Of text (default: by suffix).",
        type=click.Choice(["gzip", "bz2", "xz", "zstd", "none"]),
    ),
)


def dataset_of(words: Sequence[str], input: Input) -> Any:
    """Return the dataset that the words of a command line name, read by `mapred.read_<format>`."""
    import mapred
    from mapred import dataset
    from mapred.errors import DatasetError

    given, format = input.to_keywords(), input.format
    if format == "items":
        _refuse_options(given, format, {"as_"})
        if input.as_ not in (None, "item"):
            raise DatasetError("--as is not for items: each word is passed as it stands")
        return mapred.items(words)
    if format == "array":
        _refuse_options(given, format, set())
        if len(words) != 1 or not words[0].isdigit():
            raise DatasetError("--format array takes one whole number, the size of the array")
        return mapred.array(int(words[0]))
    if format is None:
        if not given:
            return dataset.as_dataset(list(words))
        format = dataset.format_of(list(words))
    read = getattr(mapred, f"read_{format}")
    _refuse_options(given, format, set(inspect.signature(read).parameters))
    return read(list(words), **given)


def _refuse_options(given: dict[str, Any], format: str, known: set[str]) -> None:
    """Refuse options that a format does not take."""
    others = [name for name in given if name not in known]
    if others:
        option = _SPELLED.get(others[0], f"--{others[0].replace('_', '-')}")
        raise click.UsageError(f"{option} is not for --format {format}")


@dataclass(frozen=True)
class Words:
    """What names a job: a file or a function, what it runs over, and how."""

    target: str
    datasets: Sequence[str]
    job_name: str | None
    input: Input
    settings: Mapping[str, Any]
    params: Sequence[str]


job_options = gather_options(
    Words,
    click.argument("target"),
    click.argument("datasets", metavar="[DATASET]...", nargs=-1),
    click.option("--job", "job_name", metavar="NAME", help="Which job of the file."),
    input_options,
    setting_options,
    param_option,
)
