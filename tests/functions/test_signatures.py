"""What functions say of their parameters: the input, the task."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import pandas as pd
import pyarrow as pa
import pytest

import mapred
from mapred import Task as T
from mapred.errors import FunctionError
from mapred.functions import signatures
from mapred.model.spec import Format

if TYPE_CHECKING:
    from types import FunctionType as Plain

    import mapred.functions.task as tasks
    from mapred.functions.task import Task as OnlyForCheckers

TEXT, TABLE, FILES = Format("text", "lines"), Format("parquet", "table"), Format("files", "file")


@dataclass
class Task:
    """A class of the user's own."""

    name: str


def _plus(a: int, b: int) -> int:
    return a + b


def _takes_task(lines: Iterator[str], job: mapred.Task, other: int = 0) -> None: ...
def _quoted(lines: Iterator[str], task: mapred.Task) -> None: ...
def _alias(lines: Iterator[str], task: T) -> None: ...
def _union(lines: Iterator[str], task: mapred.Task | None = None) -> None: ...
def _optional(lines: Iterator[str], task: T | None = None) -> None: ...
def _typing_union(lines: Iterator[str], task: T | None = None) -> None: ...
def _annotated(lines: Iterator[str], task: Annotated[T, "the task"]) -> None: ...
def _for_checkers(lines: Iterator[str], task: OnlyForCheckers) -> None: ...
def _module_for_checkers(lines: Iterator[str], task: tasks.Task | None = None) -> None: ...
def _own(lines: Iterator[str], task: Task) -> None: ...
def _own_or_none(lines: Iterator[str], task: Task | None = None) -> None: ...
def _other_for_checkers(lines: Iterator[str], task: Plain) -> None: ...
def _list(lines: Iterator[str], task: list[T] | None = None) -> None: ...
def _unknown(lines: Iterator[str], task: NoSuchThing) -> None: ...  # type: ignore[name-defined]  # noqa: F821


class Called:
    def __call__(self, item: int, task: T | None = None) -> None: ...

    def method(self, item: int, task: T) -> None: ...


def _logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(*inputs: Any, **keywords: Any) -> Any:
        return function(*inputs, **keywords)

    return inner


def _with_a_task(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(lines: Any) -> Any:
        return function(lines, None)

    return inner


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (_plus, ()),
        (_takes_task, ("job",)),
        (functools.partial(_quoted), ("task",)),
        (_quoted, ("task",)),
        (_alias, ("task",)),
        (_union, ("task",)),
        (_optional, ("task",)),
        (_typing_union, ("task",)),
        (_annotated, ("task",)),
        (_for_checkers, ("task",)),
        (_module_for_checkers, ("task",)),
        (Called, ("task",)),
        (Called(), ("task",)),
        (Called().method, ("task",)),
        (_logged(_alias), ("task",)),
        (_with_a_task(_alias), ()),
        (_own, ()),
        (_own_or_none, ()),
        (_other_for_checkers, ()),
        (_list, ()),
        (_unknown, ()),
        (functools.partial(_alias, task=None), ("task",)),
        (functools.lru_cache(_alias), ("task",)),
        (abs, ()),
        (max, ()),
    ],
)
def test_the_task_is_known_by_its_class(function: Any, names: tuple[str, ...]) -> None:
    assert signatures.task_parameters(function) == names


def test_what_types_say_without_quotes_counts_as_well() -> None:
    namespace: dict[str, Any] = {"Task": Task, "mapred": mapred, "Optional": Optional}
    exec(
        "def own(x, t: Task): ...\ndef ours(x, t: mapred.Task | None = None): ...\n"
        "def quoted(x, t: Optional['mapred.Task'] = None): ...\n",
        namespace,
    )
    found = {n: signatures.task_parameters(namespace[n]) for n in ("own", "ours", "quoted")}
    assert found == {"own": (), "ours": ("t",), "quoted": ("t",)}


def test_a_function_that_lost_its_imports_keeps_its_task() -> None:
    """As one of a notebook does, whose pickle has the names that its code uses, and no others."""
    namespace: dict[str, Any] = {}
    exec(
        "from __future__ import annotations\ndef f(x, t: mapred.Task | None = None): ...", namespace
    )
    assert signatures.task_parameters(namespace["f"]) == ("t",)


def _keep(item: Task, t: mapred.Task | None = None, own: Task | None = None) -> tuple[Any, ...]:
    return item.name, t is not None and t.item, own


@pytest.mark.parametrize("backend", ["inline", "local"])
def test_a_worker_is_told_which_parameter_gets_the_task(backend: str, tmp_path: Path) -> None:
    run = mapred.run(
        _keep, mapred.items([Task("a"), Task("b")]), backend=backend, root=tmp_path, progress="none"
    )
    assert run.result() == [("a", 0, None), ("b", 1, None)]
    assert run.job.task_parameters == ("t",)


def _frame(x: pd.DataFrame) -> None: ...
def _table(x: pa.Table) -> None: ...
def _batches(x: Iterator[pa.RecordBatch]) -> None: ...
def _lines(x: Iterator[str]) -> None: ...
def _some_lines(x: Iterable[str]) -> None: ...
def _byte_lines(x: Iterator[bytes]) -> None: ...
def _strings(x: pa.Array) -> None: ...
def _bytes(x: bytes) -> None: ...
def _file(x: mapred.File) -> None: ...
def _path(x: Path) -> None: ...
def _anything(x: Any) -> None: ...
def _bare(x) -> None: ...  # type: ignore[no-untyped-def]


@pytest.mark.parametrize(
    ("function", "format", "kind"),
    [
        (_frame, TABLE, "pandas"),
        (_table, TABLE, "table"),
        (_batches, TABLE, "batches"),
        (_lines, TEXT, "lines"),
        (_some_lines, TEXT, "lines"),
        (_byte_lines, TEXT, "byte_lines"),
        (_strings, TEXT, "strings"),
        (_bytes, TEXT, "bytes"),
        (_file, FILES, "file"),
        (_bytes, FILES, "bytes"),
        (_path, FILES, "path"),
        (_anything, TEXT, None),
        (_bare, TEXT, None),
        (functools.partial(_frame), TABLE, "pandas"),
    ],
)
def test_the_annotation_asks_for_a_kind(function: Any, format: Format, kind: str | None) -> None:
    assert signatures.input_kind(function, format) == kind


def test_a_kind_that_the_format_cannot_give_names_as() -> None:
    with pytest.raises(FunctionError, match=r"pandas\.DataFrame.*as_="):
        signatures.input_kind(_frame, TEXT)


def test_an_annotation_that_cannot_be_resolved_names_as() -> None:
    def unresolved(x: NoSuchType) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(FunctionError, match=r"NoSuchType cannot be resolved.*as_="):
        signatures.input_kind(unresolved, TABLE)
