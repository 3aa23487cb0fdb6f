"""Fares by city from a folder of Parquet: small tables, merged by one reduce.

Only two columns are read, and row groups that the filter rules out are never decoded.

    python recipes/sample_data.py         # writes trips/
    mapred run recipes/parquet_stats.py
"""

import pyarrow as pa

import mapred


def summarize(trips: pa.Table) -> pa.Table:
    fares = [("fare", "sum"), ("fare", "count"), ("fare", "max")]
    return trips.group_by("city").aggregate(fares)


def combine(partials) -> pa.Table:
    fares = [("fare_sum", "sum"), ("fare_count", "sum"), ("fare_max", "max")]
    table = pa.concat_tables(partials).group_by("city").aggregate(fares)
    return table.rename_columns(["city", "fare", "trips", "highest"]).sort_by("city")


trips = mapred.read_parquet(
    "trips/*.parquet", columns=["city", "fare"], filters=[("fare", ">", 1)]
)
job = mapred.job(summarize, trips, reduce=combine)

if __name__ == "__main__":
    for row in job.run().to_arrow().to_pylist():
        mean = row["fare"] / row["trips"]
        print(f"{row['city']}: {row['trips']:,} trips, mean {mean:.2f}")
