"""Reads tables with Spark, in a Python that has it: `python by_spark.py FOLDER_OF_JARS`.

A line of standard input is a table in JSON: `format`, `path` and `options` of the reader, and
`where`, a condition or null. A line of the answer holds its rows.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pyspark.sql import SparkSession

SETTINGS = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.databricks.delta.snapshotPartitions": "1",
    # Many small folders: listed here, not by a job; and no compiler that pays off in an hour.
    "spark.sql.sources.parallelPartitionDiscovery.threshold": "1000",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
}


def main(jars: str) -> None:
    builder = SparkSession.builder.master("local[1]").config(map=SETTINGS)
    builder = builder.config("spark.jars", ",".join(map(str, sorted(Path(jars).glob("*.jar")))))
    spark = builder.getOrCreate()
    for line in sys.stdin:
        table = json.loads(line)
        frame = spark.read.format(table["format"]).options(**table["options"]).load(table["path"])
        if table["where"]:
            frame = frame.where(table["where"])
        print(json.dumps([row.asDict() for row in frame.collect()], default=str))
    spark.stop()


main(sys.argv[1])
