"""How each engine is started on two cores, with its own defaults for all else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CORES = 2


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

    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
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
    """Needs a Java 17 or newer on the path: the ones on PyPI lack a module that Spark wants."""
    from pyspark.sql import SparkSession

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


@contextmanager
def lithops() -> Iterator[Any]:
    import lithops

    config = {
        "lithops": {"backend": "localhost", "storage": "localhost", "log_level": "ERROR"},
        "localhost": {"worker_processes": CORES},
    }
    with lithops.FunctionExecutor(config=config) as executor:
        yield executor


def duckdb() -> Any:
    import duckdb

    return duckdb.connect(config={"preserve_insertion_order": "false", "threads": CORES})
