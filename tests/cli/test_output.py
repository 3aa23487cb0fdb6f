"""Results as text for a terminal and as JSON for scripts."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cli.commands import call, run

import mapred
from mapred.cli import output as shown
from mapred.display import table_text


def test_a_result_that_cannot_be_shown_is_told_in_a_line(job_file: str, runs: Path) -> None:
    folder = run(job_file, "--quiet").stdout.strip()
    store = mapred.open(folder).store
    output = json.loads(store.read("result/manifest.json"))
    broken = base64.b64encode(b"not a pickle").decode()
    without = {"size": 0, "crc32": 0}  # as an earlier version wrote it
    output["tasks"][0][1] |= {"kind": "inline", "inline": broken, "count": 1, **without}
    store.write("result/manifest.json", json.dumps(output).encode())
    store.write("end.json", json.dumps({"state": "succeeded", "message": "", "time": 1}).encode())
    shown = call("resume", folder)
    assert "The run succeeded, but its result cannot be shown: " in shown.stderr
    assert "Traceback" not in shown.stderr
    assert "Traceback" not in call("resume", folder, "--quiet").stderr


def test_what_json_can_hold() -> None:
    import numpy as np
    import pyarrow as pa

    table = pa.table({"a": [1, 2], "b": ["x", None]})
    value = {1: (2.5, float("nan")), "t": table, "n": np.arange(2), "f": np.float64(0.5)}
    assert shown.jsonable(value) == {
        "1": [2.5, None],
        "t": [{"a": 1, "b": "x"}, {"a": 2, "b": None}],
        "n": [0, 1],
        "f": 0.5,
    }
    for other in (object(), {(1, 2): 3}, b"bytes", pa.table({"a": range(10_001)})):
        with pytest.raises(TypeError):
            shown.jsonable(other)


def test_a_result_without_a_place_in_json(runs: Path) -> None:
    document = json.loads(run("os:fsencode", "red", "--format", "items", "--json").stdout)
    assert document["result"] is None
    assert "bytes cannot be written as JSON" in document["result_omitted"]


def test_results_as_text() -> None:
    import pandas as pd
    import pyarrow as pa

    many = shown.result_text(list(range(25)))
    assert many.startswith("list of 25 items, the first 10\n  0\n")
    assert many.count("\n") == 10
    table = shown.result_text(pa.table({"city": ["Lima", "Oslo"], "fare": [1.5, 20.25]}))
    assert table.split("\n") == ["2 rows", "city   fare", "Lima    1.5", "Oslo  20.25"]
    assert shown.result_text(pd.DataFrame({"a": range(12)})).startswith(
        "12 rows, the first 10\na\n0"
    )
    assert shown.result_text({"k": "\x1b[31m"}) == "dict of 1 key\n  k  \\x1b[31m"
    assert len(shown.result_text("x" * 9999)) == 2001
    wide = table_text([{f"column {i}": "x" * 30 for i in range(9)}], 70)
    assert max(map(len, wide.split("\n"))) <= 70
    assert "not shown: column 2, column 3" in wide
