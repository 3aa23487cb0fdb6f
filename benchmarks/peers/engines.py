"""How each engine is started on two cores, with its own defaults for all else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CORES = 2
JAVA = 17


def output() -> str:
    """A new folder beside mapred's runs, for what an engine writes; deleted behind it."""
    return tempfile.mkdtemp(dir=os.environ["MAPRED_ROOT"])


def parts(folder: str, pattern: str = "*.parquet") -> list[str]:
    """The files of an output in the order of their numbers: `part.2` before `part.10`."""
    found = map(str, Path(folder).glob(pattern))
    return sorted(found, key=lambda name: (len(name), name))


@contextmanager
def dask() -> Iterator[Any]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=CORES, threads_per_worker=1, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def ray() -> Iterator[Any]:
    import ray

    ray.init(
        num_cpus=CORES, include_dashboard=False, log_to_driver=False, logging_level="error",
        _node_ip_address="127.0.0.1",
    )  # fmt: skip
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def spark() -> Iterator[Any]:
    """Needs a Java in $JAVA_HOME or on the path: the ones on PyPI lack a module that it wants."""
    from pyspark.sql import SparkSession

    check_java()
    session = (
        SparkSession.builder.master(f"local[{CORES}]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.memory", "4g")
        .config("spark.driver.maxResultSize", "0")
        .config("spark.sql.shuffle.partitions", str(4 * CORES))
        .config("spark.sql.execution.arrow.pyspark.enabled", "true")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    try:
        yield session
    finally:
        session.stop()


def check_java() -> None:
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if java is None:
        raise RuntimeError(f"Spark needs Java {JAVA} or newer: none on the path, no JAVA_HOME")
    printed = subprocess.run([java, "-version"], check=False, capture_output=True, text=True).stderr
    version = re.search(r'version "(\d+)', printed)
    if version is None or int(version[1]) < JAVA:
        first = printed.splitlines()[0] if printed else "of no version"
        raise RuntimeError(f"Spark needs Java {JAVA} or newer; the one found is {first}")


@contextmanager
def lithops() -> Iterator[Any]:
    import lithops

    config = {
        "lithops": {
            "backend": "localhost",
            "storage": "localhost",
            "log_level": "ERROR",
            "data_limit": 0,  # none: 100,000 paths are more than its 4 MiB
        },
        "localhost": {"worker_processes": CORES},
    }
    with lithops.FunctionExecutor(config=config) as executor:
        yield executor


def pool(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """The base line: what the standard library does."""
    import multiprocessing

    with multiprocessing.Pool(CORES) as processes:
        return processes.map(function, items, chunksize=1)


def mrjob(job: Any, inputs: Iterable[str], *options: str) -> list[tuple[Any, Any]]:
    """The pairs that a job answers; none where `--output-dir` is among the options."""
    given = ["-r", "local", "--num-cores", str(CORES), "--no-conf", "--job", job.__name__]
    made = job([*given, *options, *inputs])
    with made.make_runner() as runner:
        runner.run()
        if "--output-dir" in options:
            return []
        return list(made.parse_output(runner.cat_output()))


def duckdb() -> Any:
    import duckdb

    return duckdb.connect(config={"preserve_insertion_order": "false", "threads": CORES})
