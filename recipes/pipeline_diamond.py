"""Four jobs, two of them side by side: clean the trips, add up cities and drivers, report both.

What depends on what is told by the code alone. The jobs begun by `submit` work at the same time.

    python recipes/sample_data.py         # writes trips/
    python recipes/pipeline_diamond.py
"""

import pyarrow as pa
import pyarrow.compute as pc

import mapred


def clean(trips: pa.Table) -> pa.Table:
    return trips.filter(pc.field("fare") > 1)


def fares(trips: pa.Table) -> pa.Table:
    return trips


def highest(sums: pa.Table) -> str:
    by = sums.column_names[0]
    best = sums.sort_by([("fare_sum", "descending")])[:1].to_pylist()[0]
    return f"{by} {best[by]} took {best['fare_sum']:,.0f}"


@mapred.pipeline
def report(folder: str) -> list[str]:
    cleaned = mapred.run(clean, f"{folder}/*.parquet")
    total = {"fare": "sum"}
    cities = mapred.submit(fares, cleaned, by="city", aggregate=total, partitions=1)
    drivers = mapred.submit(fares, cleaned, by="driver", aggregate=total, partitions=1)
    return mapred.run(highest, mapred.outputs(cities, drivers)).result()


if __name__ == "__main__":
    for line in report.run("trips").result():
        print(line)
