"""Hits and bytes by status and path, from the logs of a web server.

The lines of a shard arrive as one Arrow array and are parsed without a loop. `by=` and
`aggregate=` add up within each shard first, then across shards. Lines that the pattern
does not match are counted, not lost.

    python recipes/sample_data.py         # writes logs/
    mapred run recipes/log_count.py
"""

import pyarrow as pa
import pyarrow.compute as pc

import mapred

PATTERN = r'"[A-Z]+ (?P<path>[^ ?"]+)[^"]*" (?P<status>\d{3}) (?P<bytes>\d+)'


def parse(lines: pa.Array, task: mapred.Task) -> pa.Table:
    fields = pc.extract_regex(lines, PATTERN)
    task.count("lines not understood", fields.null_count)
    fields = fields.drop_null()
    return pa.table(
        {
            "status": pc.struct_field(fields, "status"),
            "path": pc.struct_field(fields, "path"),
            "bytes": pc.struct_field(fields, "bytes").cast(pa.int64()),
            "hits": pa.repeat(1, len(fields)),
        }
    )


job = mapred.job(
    parse,
    "logs/*.log",
    by=["status", "path"],
    aggregate={"hits": "sum", "bytes": "sum"},
    target_bytes="1Mi",
)

if __name__ == "__main__":
    run = job.run()
    table = run.to_arrow().sort_by([("hits_sum", "descending"), ("path", "ascending")])
    for row in table.to_pylist():
        hits, size = row["hits_sum"], row["bytes_sum"]
        print(f"{row['status']} {row['path']:<14} {hits:>7,} {size:>13,}")
    print(f"lines not understood: {run.counters['lines not understood']:.0f}")
