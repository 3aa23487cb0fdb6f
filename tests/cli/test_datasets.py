"""How the DATASET of a command line is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli.commands import JOB, call, run


def test_formats_and_what_the_function_receives(tmp_path: Path, runs: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,x\n2,y\n")
    assert json.loads(run("builtins:len", "t.csv", "--json").stdout)["result"] == [2]
    read = json.loads(
        run("builtins:len", "t.csv", "--as", "bytes", "--format", "text", "--json").stdout
    )
    assert read["result"] == [12]
    items = json.loads(run("builtins:len", "red", "blue", "--format", "items", "--json").stdout)
    assert items["result"] == [3, 4]
    files = json.loads(
        run("builtins:len", "*.csv", "--format", "files", "--as", "bytes", "--json").stdout
    )
    assert files["result"] == [12]
    assert "--format array" in run("builtins:len", "x", "--format", "array", code=2).stderr
    assert "as_='path'" in run("builtins:len", "t.csv", "--as", "path", code=2).stderr


def test_plan(job_file: str, tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text("line\n" * 100)
    text = call("plan", "*.txt").stdout
    assert "3 files, 1.5 kB" in text
    document = json.loads(call("plan", "*.txt", "--target-bytes", "500", "--json").stdout)
    assert document["shard_bytes"] == [500, 500, 500]
    assert document["largest_files"][0] == {"path": str(tmp_path / "a.txt"), "bytes": 500}
    planned = call("plan", job_file, "--per-task", "3").stdout
    assert "6 items" in planned
    assert "2 shards" in planned
    assert json.loads(call("plan", job_file, "--job", "failing", "--json").stdout)["items"] == 3
    as_text = json.loads(call("plan", job_file, "--format", "text", "--json").stdout)
    assert as_text["bytes"] == len(JOB)
    assert "DATASET" in call("plan", code=2).stderr
    assert "matches no file" in call("plan", "*.parquet", code=2).stderr


@pytest.fixture
def prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Prices as a spreadsheet in another language exports them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prices.csv").write_text(
        "exported by hand\nitem;price;on\n# a comment\n07;1.234,5;31.12.2024\n08;-;01.01.2025\n"
    )
    (tmp_path / "rows.py").write_text("def rows(table):\n    return table.to_pylist()\n")
    return tmp_path


GERMAN = (
    "--skip-rows 1 --delimiter ; --decimal , --thousands . --comment # --null-value - "
    "--date-format %d.%m.%Y --schema item=string"
).split()


def test_options_say_how_a_dataset_is_read(prices: Path) -> None:
    planned = json.loads(call("plan", "prices.csv", *GERMAN, "--json").stdout)
    assert [(column["name"], column["type"]) for column in planned["columns"]][:2] == [
        ("item", "string"),
        ("price", "double"),
    ]
    done = call("run", "rows.py:rows", "prices.csv", *GERMAN, "--json", "--root", str(prices / "r"))
    assert "07" in done.stdout
    assert "1234.5" in done.stdout


def test_columns_are_chosen_on_the_command_line(prices: Path) -> None:
    words = ["plan", "prices.csv", *GERMAN, "--columns", "price,item", "--json"]
    assert [c["name"] for c in json.loads(call(*words).stdout)["columns"]] == ["price", "item"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["prices.csv", "--schema", "item"], "write NAME=TYPE"),
        (["prices.csv", "--delimiter", ";;"], "delimiter=';;' must be one ASCII character"),
        (
            ["prices.csv", "--format", "text", "--delimiter", ";"],
            "--delimiter is not for --format text",
        ),
        (["rows.py", "--format", "text", "--null-value", "-"], "--null-value is not for"),
        (["10", "--format", "array", "--columns", "a"], "--columns is not for --format array"),
    ],
)
def test_options_that_do_not_fit(prices: Path, words: list[str], said: str) -> None:
    done = call("plan", *words, code=2)
    assert said in done.stderr
