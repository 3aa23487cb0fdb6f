"""Folders to make datasets of, and what is listed and pinned of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from mapred.arrow.samples import Sample
from mapred.dataset import Dataset, as_dataset, globs, listing, pin
from mapred.model.spec import Format

AB = pa.schema({"a": pa.int64(), "b": pa.string()})


def sniff(format: Format, places: Any, open_: Any) -> Sample:
    """Stands in for `formats.sniff`: every file has the columns a and b."""
    return Sample(AB)


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def found(source: Any, root: Path | None = None) -> list[str]:
    """The listed paths, relative to the working folder."""
    table = listing(as_dataset(source))
    assert table.schema.names == ["path", "size", "etag"]
    assert table.schema.types == [pa.large_string(), pa.int64(), pa.string()]
    here = f"{root or Path.cwd()}/"
    return [path.removeprefix(here) for path in table["path"].to_pylist()]


def pinned(made: Dataset) -> Format:
    return pin(made, listing(made), sniff)


def walked(glob: globs.Glob, path: str) -> tuple[bool, bool]:
    """Whether a path matches and stands aside, name by name."""
    states, aside, whole = glob.start(), False, False
    for name in path.split("/"):
        step = glob.step(states, name)
        states, whole, aside = step.states, step.whole, aside or step.aside
    return whole, aside
