"""Small runs whose records are kept as golden files."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pyarrow as pa

import mapred

INLINE: dict[str, Any] = {"backend": "inline", "progress": "none"}


def double(value: int) -> int:
    return 2 * value


def odd_fails(value: int) -> int:
    if value % 2:
        raise ValueError(f"{value} is odd")
    return value


def noted(value: int, task: mapred.Task) -> float:
    task.output(f"note-{value}.txt").write_text(f"{value}\n")
    task.count("values", value)
    return value / 2


def same(table: pa.Table) -> pa.Table:
    return table


def table() -> pa.Table:
    return pa.table({"city": ["Bern", "Oslo", "Bern"], "rain": [3.5, 1.0, 0.5]})


def reduced(root: str) -> None:
    """Tasks of an array, a tree of reduces, and every limit of a run."""
    mapred.run(
        double,
        mapred.array(6),
        per_task=2,
        reduce=mapred.reducers.sum,
        fan_in=2,
        attempts=2,
        deadline="1h",
        retry_on=[OSError],
        name="doubles",
        seed=7,
        root=root,
        **INLINE,
    )


def lines(root: str) -> None:
    """Text files, cut in shards."""
    with open(f"{root}/words.txt", "w") as file:
        file.write("one\ntwo\nthree\n" * 3)
    mapred.run(
        list, mapred.read_text(f"{root}/words.txt"), target_bytes=20, root=f"{root}/runs", **INLINE
    )


def items(root: str) -> None:
    """Items whose tasks write files and count, in a run with a name."""
    job = mapred.job(noted, mapred.items([1, 2, 3]), per_task=2)
    job.submit(backend="inline", root=root, run_id="named")


def swept(root: str) -> None:
    points = mapred.sweep(rate=[0.5, 2.0], depth=(1, 3))
    mapred.run(dict, points, reduce=mapred.reducers.concat, root=root, **INLINE)


def keyed(root: str) -> None:
    mapred.run(
        same,
        table(),
        by="city",
        aggregate={"rain": ["sum", "count"]},
        partitions=2,
        root=root,
        **INLINE,
    )


def written(root: str) -> None:
    target = mapred.write_parquet(f"{root}/lake", partition_by="city")
    mapred.run(same, table(), write=target, root=f"{root}/runs", **INLINE)


def given_up(root: str) -> None:
    """Items that failed, within what the run may lose."""
    mapred.run(odd_fails, range(4), per_task=2, max_failed=3, attempts=1, root=root, **INLINE)


def failed(root: str) -> None:
    with suppress(mapred.RunError):
        mapred.run(odd_fails, [0, 1], per_task=2, attempts=1, root=root, **INLINE)


def command(root: str) -> None:
    program = mapred.command(["sh", "-c", "echo $MAPRED_ITEM"])
    mapred.run(program, mapred.items(["bern"]), root=root, **INLINE)


@mapred.pipeline
def asked(day: str) -> Any:
    number = mapred.recorded(int, 17, name="number")
    run = mapred.run(double, [1, 2], **INLINE)
    mapred.approve("go", f"{number} of {day}?", timeout="0.001s", default=True)
    return run.result()


def pipeline(root: str) -> None:
    """A pipeline with a step of each kind."""
    asked.run("2026-11-03", root=root, run_id="nightly", **INLINE)


CASES: dict[str, Callable[[str], None]] = {
    case.__name__: case
    for case in (reduced, lines, items, swept, keyed, written, given_up, failed, command, pipeline)
}
