"""Check raw orders, convert them, and write Parquet partitioned by day and country.

Readers of the table see all of a run's files or none. A second run replaces the
partitions that it writes, so a nightly job may be repeated. The place of the lake is a
parameter: the same job works on a laptop and on a bucket.

    python recipes/sample_data.py         # writes lake/raw/
    mapred run recipes/parquet_etl.py --param lake=lake
    mapred run recipes/parquet_etl.py --param lake=s3://team/lake --backend argo
"""

import pyarrow as pa
import pyarrow.compute as pc

import mapred


def clean(orders: pa.Table, task: mapred.Task) -> pa.Table:
    valid = orders.filter((pc.field("cents") > 0) & (pc.field("country") != ""))
    task.count("rows refused", len(orders) - len(valid))
    return pa.table(
        {
            "id": valid["id"],
            "day": valid["at"].cast(pa.date32()),
            "country": pc.utf8_upper(valid["country"]),
            "price": pc.divide(valid["cents"].cast(pa.float64()), 100),
        }
    )


job = mapred.job(
    clean,
    "{lake}/raw/*.parquet",
    write=mapred.write_parquet("{lake}/orders", partition_by=["day", "country"]),
    target_bytes="256Ki",
)

if __name__ == "__main__":
    run = job.bind(lake="lake").run()
    written, refused = run.result(), run.counters["rows refused"]
    print(f"{written.rows:,} rows in {len(written.partitions)} partitions")
    print(f"{refused:,.0f} rows refused")
