"""What a figure depends on: the machine, and the versions of what is installed."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

PACKAGES = (
    "mapred numpy pyarrow boto3 daft dask distributed duckdb lithops mrjob obstore pandas polars "
    "pyspark ray s3fs tpchgen-cli"
).split()


def describe() -> str:
    """Cores, processor and versions; no name of a host or a folder."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":")[1].strip() if names else model
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return (
        f"{cores} cores of {model}, {platform.system()}, "
        f"Python {platform.python_version()}, {', '.join(versions)}."
    )
