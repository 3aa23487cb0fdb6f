"""A worker loads no more than the format in hand needs."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

READ = """
import sys
import pyarrow as pa
from mapred import formats; from mapred.model import spec as model
name, as_, path, plan = sys.argv[1:]
given = model.Format(name, as_)
if name == "csv":
    schema = pa.schema([("a", pa.int64()), ("x", pa.float64()), ("s", pa.string())])
    given = model.Format(name, as_, schema, inferred=tuple(schema.names), seen=(1, 1, 1))
elif as_ == "table":
    places = [formats.Place(path, 1)]
    schema = formats.sniff(given, places, lambda path, known=None: open(path, "rb")).schema
    schema = schema.append(pa.field("year", pa.int32()))
    given = model.Format(name, as_, schema, partitions=("year",))
ranges = pa.ipc.open_stream(plan).read_all()
value = formats.read(given, ranges, lambda path, known=None: open(path, "rb"), formats.Reading())
assert len(list(value) if as_ == "lines" else value) == 2
print(*sorted(set("ABSENT".split()) & set(sys.modules)))
"""


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": [1, 2]}), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("name", "as_", "data", "absent"),
    [
        ("text", "lines", b"a\nb\n", "pyarrow.csv pyarrow.parquet pyarrow.compute"),
        ("text", "strings", b"a\n\xc3\xa9\n", "pyarrow.csv pyarrow.parquet pyarrow.compute"),
        ("json", "table", b'{"a": 1}\n{"a": 2, "s": "\xc3\xa9"}\n', "pyarrow.parquet pyarrow.csv"),
        (
            "csv",
            "table",
            b'a,x,s\n1,0.5,007\n-2,"1.5","\xc3\xa9"\n',
            "pyarrow.parquet pyarrow.compute",
        ),
        ("parquet", "table", parquet(), "pyarrow.csv"),
    ],
)
def test_reading_imports_little(
    lab: Any, root: Path, tmp_path: Path, name: str, as_: str, data: bytes, absent: str
) -> None:
    path = tmp_path / "year=2026" / "file"
    path.parent.mkdir()
    path.write_bytes(data)
    script = READ.replace("ABSENT", f"{absent} pandas polars fsspec pyarrow.dataset scipy")
    # Arrow asks for pandas when it makes an array of a list, so the plan comes from a file.
    ranges = lab.table([(str(path), 0, len(data), len(data))])
    plan = tmp_path / "plan"
    with pa.ipc.new_stream(plan, ranges.schema) as writer:
        writer.write_table(ranges)
    arguments = [name, as_, str(path), str(plan)]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
