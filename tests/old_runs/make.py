"""Make run folders of this mapred, to be opened by later ones: `python tests/old_runs/make.py`.

Run it with Python 3.11: functions that are pickled by value load on the minor version that
pickled them, and tests on others expect to be told so. It writes `made-by-VERSION.json`.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
from archive import packed, write
from parcel import squared

import mapred
from mapred import Task
from mapred.backends.argo.backend import Argo
from mapred.functions import transport
from mapred.model import layout

HERE = Path(__file__).parent
PYTHON = (3, 11)
INLINE: dict[str, Any] = {"backend": "inline", "progress": "none"}
SMALL = mapred.Resources(cpu=1, memory="64Mi")


def double(value: int) -> int:
    return 2 * value


def odd_fails(value: int) -> int:
    if value % 2:
        raise ValueError(f"{value} is odd")
    return value


def pauses(value: int) -> int:
    while value > 3 and "MAPRED_OLD_RUNS_WAIT" in os.environ:
        time.sleep(0.1)
    return 10 * value


def with_outputs(value: int, task: Task) -> float:
    """Names `mapred.Task` itself, which a pickle of this function holds by its module."""
    assert isinstance(task, Task)
    task.output(f"note-{value}.txt").write_text(f"{value}\n")
    task.count("values", value)
    return value / 2


def scored(rate: float, depth: int, seed: int = 0) -> dict[str, float]:
    return {"score": rate * depth}


def same(table: pa.Table) -> pa.Table:
    return table


def dated(lines: Iterator[str], date: datetime, city: str) -> list[str]:
    return [f"{line} {city} {date:%Y-%m-%d}" for line in lines]


def summed(values: Iterable[int]) -> int:
    return sum(values)


class Adder:
    """A class that a worker makes once."""

    def __init__(self, start: int = 100) -> None:
        self.start = start

    def __call__(self, value: int) -> int:
        return self.start + value


def table() -> pa.Table:
    return pa.table({"city": ["Bern", "Oslo", "Bern", "Rome"], "rain": [3.5, 1.0, 0.5, 2.0]})


def finished(root: str) -> None:
    job = mapred.job(double, mapred.array(8), per_task=2, reduce=summed, resources=SMALL)
    job.run(root=root, **INLINE)


def tree(root: str) -> None:
    """A ready reducer in a tree, with a `finalize` of the user after its own."""
    mapred.run(
        abs, [-1, 2, -3, 4], per_task=1, reduce=mapred.reducers.mean, fan_in=2, finalize=round,
        root=root, **INLINE,
    )  # fmt: skip


def killed(root: str) -> None:
    """Half done: the process that drove it was killed, and its workers with it."""
    pid = os.fork()
    if not pid:
        os.environ["MAPRED_OLD_RUNS_WAIT"] = "yes"
        run = mapred.submit(
            pauses, mapred.array(8), per_task=1, reduce=summed, root=root,
            backend=mapred.Local(workers=1),
        )  # fmt: skip
        while run.status().stages[0].done < 4:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


def killed_portable(root: str) -> None:
    """Half done, and its functions are names alone: any Python goes on with it."""
    mapred.run(abs, [-1, 2, -3, 4], per_task=1, reduce=mapred.reducers.sum, root=root, **INLINE)
    (folder,) = Path(root).iterdir()
    for path in (layout.END, layout.commit("map", 2), layout.commit("reduce-1", 0)):
        (folder / path).unlink()


def failed(root: str) -> None:
    with suppress(mapred.RunError):
        mapred.run(odd_fails, range(4), per_task=2, attempts=1, root=root, **INLINE)


def failed_items(root: str) -> None:
    mapred.run(odd_fails, range(6), per_task=3, max_failed=5, attempts=2, root=root, **INLINE)


def keyed_aggregate(root: str) -> None:
    mapred.run(
        same, table(), by="city", aggregate={"rain": ["sum", "count"]}, partitions=2,
        root=root, **INLINE,
    )  # fmt: skip


def keyed_reduce(root: str) -> None:
    mapred.run(same, table(), by="city", reduce=same, partitions=1, root=root, **INLINE)


def sorted_rows(root: str) -> None:
    mapred.run(same, table(), sort_by=[("rain", "descending")], partitions=1, root=root, **INLINE)


def swept(root: str) -> None:
    points = mapred.sweep(rate=[0.5, 2.0], depth=(1, 3))
    mapred.run(scored, points, seed=3, root=root, **INLINE)


def written(root: str) -> None:
    target = mapred.write_parquet(f"{root}/lake", partition_by="city")
    mapred.run(same, table(), write=target, root=f"{root}/runs", **INLINE)


def named(root: str) -> None:
    mapred.job(with_outputs, range(4), per_task=2).submit(
        backend="inline", root=root, run_id="a-name-of-the-users"
    )


def command(root: str) -> None:
    program = mapred.command(["sh", "-c", "echo $MAPRED_ITEM | tr a-z A-Z"])
    mapred.run(program, mapred.items(["bern", "oslo"]), root=root, **INLINE)


def class_function(root: str) -> None:
    mapred.run(Adder, range(3), root=root, **INLINE)


def sent_module(root: str) -> None:
    mapred.run(squared, range(4), root=root, **INLINE)


def on_dask(root: str) -> None:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        backend = mapred.Dask(cluster.scheduler_address)
        mapred.run(abs, [-1, 2], per_task=1, root=root, backend=backend, progress="none")


def scheduled(root: str) -> None:
    """What a schedule stores; the cluster that would keep its clock is not asked."""
    job = mapred.job(
        dated, mapred.read_text(f"{root}/{{city}}.txt"), reduce=mapred.reducers.concat,
        resources=SMALL, retry_on=[OSError], name="daily",
    )  # fmt: skip
    with mock.patch.object(Argo, "schedule"):
        mapred.schedule(job, "0 3 * * *", params={"city": "bern"}, backend=Argo(), root=root)


CASES: dict[str, Callable[[str], None]] = {
    case.__name__: case
    for case in (
        finished, tree, killed, killed_portable, failed, failed_items, keyed_aggregate,
        keyed_reduce, sorted_rows, swept, written, named, command, class_function, sent_module,
        on_dask, scheduled,
    )
}  # fmt: skip


# What the functions of users may hold, and what a reduce is stored as.
VALUES: dict[str, Any] = {
    **{
        name: getattr(mapred.reducers, name)
        for name in ("concat", "sum", "count", "mean", "min", "max", "merge_counts")
    },
    "top_k": mapred.reducers.top_k(2),
    "items": mapred.items(["a", "b"]),
    "array": mapred.array(3),
    "sweep": mapred.sweep(
        {"x": mapred.uniform(0, 1), "y": mapred.loguniform(1, 9)}, mode="random", n=2, seed=1
    ),
    "csv": mapred.read_csv("s3://bucket/*.csv", columns=["a"], compression="gzip"),
    "files": mapred.read_files("s3://bucket/*.png"),
    "parquet": mapred.write_parquet("s3://bucket/lake", partition_by="day"),
    "delta": mapred.write_delta("s3://bucket/lake"),
    "resources": mapred.Resources(2, "4Gi", volumes=(mapred.Volume("/v", claim="c"),)),
    "command": mapred.command(["true"]),
    "local": mapred.Local(workers=2),
    "dask": mapred.Dask("tcp://10.0.0.5:8786"),
    "argo": mapred.Argo(namespace="team"),
    "run_error": mapred.RunError("it failed"),
    "storage_error": mapred.StorageError("it is closed"),
}


def pickled(value: Any) -> str:
    return base64.b64encode(transport.dump(value)).decode()


def public_names() -> dict[str, str]:
    """By what module and name a pickle of this version names each public name."""
    found = {}
    for name in mapred.__all__:
        value = getattr(mapred, name)
        if hasattr(value, "__qualname__"):
            found[name] = f"{value.__module__}:{value.__qualname__}"
    return found


def main() -> None:
    if sys.version_info[:2] != PYTHON:
        raise SystemExit(f"run it with Python {'.'.join(map(str, PYTHON))}")
    base = Path(f"/tmp/mapred-{mapred.__version__}-runs")
    base.mkdir()  # what a run writes to has its path in it
    for name, case in CASES.items():
        (base / name).mkdir()
        case(str(base / name))
    made = {
        "mapred": mapred.__version__,
        "python": ".".join(map(str, PYTHON)),
        "base": str(base),
        "names": public_names(),
        "pickles": {name: pickled(value) for name, value in VALUES.items()},
        "folders": packed({name: base / name for name in CASES}),
    }
    shutil.rmtree(base)
    target = HERE / f"made-by-{mapred.__version__}.json"
    write(target, made)
    print(f"{target}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
