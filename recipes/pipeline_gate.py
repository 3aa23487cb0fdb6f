"""Ask a person before something is published, and only if it is needed.

The pipeline waits at the gate, also when it is killed and resumed. This script asks the person
who started it; anyone else answers by `mapred approve last broken-orders --value yes`.

    python recipes/sample_data.py         # writes lake/raw/
    python recipes/pipeline_gate.py
"""

import pyarrow as pa
import pyarrow.compute as pc

import mapred


def valid(orders: pa.Table, task: mapred.Task) -> pa.Table:
    kept = orders.filter((pc.field("cents") > 0) & (pc.field("country") != ""))
    task.count("broken", len(orders) - len(kept))
    return kept


def keep(orders: pa.Table) -> pa.Table:
    return orders


@mapred.pipeline
def publish(lake: str) -> str:
    checked = mapred.run(valid, f"{lake}/raw/*.parquet")
    broken = checked.counters["broken"]
    question = f"{broken:,.0f} orders are broken: publish the others?"
    if broken > 100 and not mapred.approve(
        "broken-orders", question, timeout="12h", default=False
    ):
        return "nothing is published"
    target = mapred.write_parquet(f"{lake}/published", mode="overwrite")
    return f"{mapred.run(keep, checked, write=target).result().rows:,} orders are published"


if __name__ == "__main__":
    run = publish.submit("lake")
    while run.wait(timeout="1s").state in ("running", "waiting"):
        for name, gate in run.gates.items():
            run.approve(name, input(f"{gate.question} [y/n] ") == "y")
    print(run.result())
