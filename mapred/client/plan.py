"""Every shard of a dataset, fixed: how to plan them, and the numbers to show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mapred import dataset, display, planner
from mapred.dataset import Dataset
from mapred.errors import DatasetError, PlanError
from mapred.functions import signatures
from mapred.functions.commands import Command
from mapred.model.frozen import dataclass
from mapred.model.spec import Format

_ITEMS = ("items", "array", "outputs")  # formats whose shards are told in items
_FEW = 10  # A type that was inferred from fewer values is shown with their number.


@dataclass(frozen=True)
class ShardPlan:
    """Every shard of a dataset, fixed, and how a task reads its own."""

    dataset: Dataset
    format: Format
    ranges: planner.Plan

    @property
    def shards(self) -> int:
        """How many shards there are, each of which one map task reads."""
        return self.ranges.shards

    def summary(self) -> display.PlanSummary:
        """Return the numbers that the text and the HTML show.

        Returns:
            A value with `files`, `bytes`, `shards`, `items`, the sizes of the `smallest`, `median` and
            `largest` shard in bytes, `limit` (what chose the number of shards), `columns` and more.

        Examples:
            >>> summary = mapred.plan("corpus/*.txt", target_bytes=20).summary()
            >>> summary.files, summary.bytes, summary.limit
            (2, 55, 'target_bytes=20')
        """
        ranges = self.ranges
        skew = ranges.skew if ranges.shards else planner.Skew(0, 0, 0)
        unit = "item" if self.format.name in _ITEMS else "byte"
        whole = ranges.unsplittable_files, ranges.unsplittable_bytes, ranges.unsplittable_reason
        return display.PlanSummary(
            dataset=str(self.dataset),
            format=self.format.name,
            files=ranges.files,
            bytes=ranges.bytes if unit == "byte" else 0,
            shards=ranges.shards,
            tasks=ranges.shards,
            items=ranges.items,
            limit=ranges.limit,
            smallest=skew.smallest,
            median=skew.median,
            largest=skew.largest,
            largest_files=ranges.largest_files(),
            columns=_columns(self.format),
            unit=unit,
            unsplittable=(whole,) if ranges.unsplittable_files else (),
            shard_bytes=ranges.shard_sizes(),
        )

    def __repr__(self) -> str:
        return display.plan_text(self.summary())

    def _repr_html_(self) -> str:
        return display.plan_html(self.summary())

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}


def plan_dataset(
    source: Dataset,
    target_bytes: int | str | None = None,
    max_tasks: int | None = None,
    per_task: int | None = None,
) -> ShardPlan:
    """Return the shards of a dataset within these limits."""
    if source.format == "outputs":
        from mapred.client import run_outputs  # few runs read what others returned

        source, rows = run_outputs.find(source)
        if rows is not None:
            ranges = planner.plan_outputs(
                rows, target_bytes=target_bytes, max_tasks=max_tasks, per_task=per_task
            )
            return ShardPlan(source, dataset.item_format(source), ranges)
    if source.format in ("items", "array"):
        if target_bytes is not None:
            raise PlanError("target_bytes= is for datasets of bytes; items take per_task=")
        offsets = source.offsets if source.format == "items" else None
        ranges = planner.plan_items(
            source.count, per_task=per_task, max_tasks=max_tasks, offsets=offsets
        )
        return ShardPlan(source, dataset.item_format(source), ranges)
    if per_task is not None:
        raise PlanError(
            "per_task= is for items, arrays, sweeps and values of runs; files take target_bytes="
        )
    return _plan_files(source, target_bytes, max_tasks)


def _plan_files(
    source: Dataset, target_bytes: int | str | None, max_tasks: int | None
) -> ShardPlan:
    from mapred import formats  # items need none of them

    files = dataset.listing(source)
    pinned = dataset.pin(source, files, formats.sniff)
    formats.check(pinned)
    ranges = planner.plan(
        files,
        target_bytes=target_bytes,
        max_tasks=max_tasks,
        splittable=formats.is_splittable(pinned, files["path"]),
        once_per_file=pinned.name == "files",
        reason=dataset.why_whole(pinned),
    )
    return ShardPlan(source, pinned, ranges)


def resolve_format(plan: ShardPlan, fn: Callable[..., Any]) -> Format:
    """Return the plan's format with what `fn` receives: `as_=`, its annotation, or the default."""
    pinned = plan.format
    if plan.dataset.as_ is not None:
        return pinned
    if not isinstance(fn, Command):
        kind = signatures.input_kind(fn, pinned)
        return pinned if kind is None else replace(pinned, as_=kind)
    kinds = {"text": "bytes", "files": "path", "items": pinned.as_, "array": pinned.as_}
    kinds["outputs"] = pinned.as_
    if pinned.name not in kinds:
        raise DatasetError(
            f"a command cannot be handed {pinned.name}; pass text, files, items or an array"
        )
    return replace(pinned, as_=kinds[pinned.name])


def _columns(format: Format) -> tuple[display.Column, ...]:
    """Return the columns that the function gets, with a note where a type rests on few values."""
    schema = format.schema
    if schema is None or format.as_ == "dicts":
        return ()
    counts = dict(zip(format.inferred, format.seen, strict=True))

    def note(name: str) -> str:
        if name in format.partitions:
            return "from the folders' names"
        count = counts.get(name, _FEW)
        if not count:
            return "no value in the sample; give its type by schema="
        return f"inferred from {count} value{'s' * (count > 1)}" if count < _FEW else ""

    names = schema.names if format.columns is None else format.columns
    return tuple(display.Column(n, str(schema.field(n).type), note(n)) for n in names)
