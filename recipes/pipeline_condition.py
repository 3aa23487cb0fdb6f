"""Look before you write: orders are converted only if few of them are broken.

The condition is an `if` over what the first job returned. When the pipeline is resumed, that
result comes from its folder, so the same branch is taken.

    python recipes/sample_data.py         # writes lake/raw/
    python recipes/pipeline_condition.py
"""

import pyarrow as pa
import pyarrow.compute as pc

import mapred


def valid(orders: pa.Table) -> pa.Table:
    return orders.filter((pc.field("cents") > 0) & (pc.field("country") != ""))


def count(orders: pa.Table) -> tuple[int, int]:
    return len(orders), len(orders) - len(valid(orders))


def add(counts) -> list[int]:
    return [sum(each) for each in zip(*counts, strict=True)]


def convert(orders: pa.Table) -> pa.Table:
    price = pc.divide(orders["cents"].cast(pa.float64()), 100)
    return valid(orders.append_column("price", price))


@mapred.pipeline
def nightly(lake: str, most: float) -> str:
    rows, broken = mapred.run(count, f"{lake}/raw/*.parquet", reduce=add).result()
    if broken > most * rows:
        return f"{broken:,} of {rows:,} orders are broken: nothing is written"
    target = mapred.write_parquet(f"{lake}/checked", mode="overwrite")
    written = mapred.run(convert, f"{lake}/raw/*.parquet", write=target).result()
    return f"{written.rows:,} of {rows:,} orders are written"


if __name__ == "__main__":
    for most in (0.01, 0.5):
        print(nightly.run("lake", most).result())
