"""What is believed of a run's folder, and what is said by this side alone."""

from __future__ import annotations

import json
import os
from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner

import mapred
from mapred.cli import main
from mapred.client.run_handle import Run
from mapred.errors import FunctionError, MapredError, RunError
from mapred.model import layout

INLINE: dict[str, Any] = {"backend": "inline", "progress": "none"}
ESCAPES = "\x1b]0;owned\x07\x9b31m"


class Own:
    """A value that is not a plain one."""


def plain(item: int) -> Any:
    values = (1, "a", None, 2.5, b"x", [1, {"a": (2, {3})}], date(2026, 1, 2), Decimal("1.5"))
    return (*values, Counter("aab"))[item]


def own(item: int) -> Any:
    return Own() if item else 0


def table_of(item: int) -> pa.Table:
    return pa.table({"n": [item]})


def own_of_table(item: int) -> Any:
    return Own() if item else table_of(item)


def test_the_page_says_of_each_call_what_it_trusts(root: Path) -> None:
    page = (root / "docs/explanation/trust.md").read_text()
    calls = [name for name in vars(Run) if name[0] != "_" and callable(getattr(Run, name))]
    verbs = ("open", "runs", "run", "submit", "job", "plan", "rm", "gc")
    for name in (*calls, *verbs, "schedule", "schedules", "unschedule"):
        assert f"`{name}`" in page or f"`mapred.{name}`" in page, name
    for name in main.commands:
        assert f"`mapred {name}`" in page, name


# Pickles


def test_without_pickles_tables_and_plain_values_are_given() -> None:
    run = mapred.run(plain, range(9), **INLINE)
    careful = mapred.open(run.uri, allow_pickle=False)
    assert careful.result() == run.result()
    assert list(careful.outputs()) == list(run.outputs())
    run = mapred.run(table_of, range(3), **INLINE)
    careful = mapred.open(run.uri, allow_pickle=False)
    assert careful.to_arrow() == run.to_arrow()
    assert careful.result().to_table() == run.result().to_table()
    assert careful.audit().ok


def test_without_pickles_other_values_are_one_clear_error(tmp_path: Path) -> None:
    run = mapred.run(own, range(2), **INLINE)
    assert isinstance(mapred.open(run.uri).result()[1], Own)
    careful = mapred.open(run.uri, allow_pickle=False)
    calls = (
        careful.result,
        careful.to_arrow,
        careful.to_pandas,
        lambda: list(careful.outputs(errors="skip")),
    )
    for call in calls:
        with pytest.raises(FunctionError, match=r"Own.*allow_pickle=False.*allow_pickle=True"):
            call()
    assert next(careful.outputs()) == (0, 0)
    run = mapred.run(own_of_table, range(2), **INLINE)
    with pytest.raises(FunctionError, match=r"Own.*allow_pickle=False"):
        mapred.open(run.uri, allow_pickle=False).write_parquet(tmp_path / "out")
    assert isinstance(mapred.open(run.uri, allow_pickle=True).result()[1], Own)


def test_without_pickles_no_function_of_the_folder_runs() -> None:
    run = mapred.run(plain, range(2), **INLINE)
    careful = mapred.open(run.uri, allow_pickle=False)
    for call in (careful.resume, lambda: careful.debug(0)):
        with pytest.raises(RunError, match="allow_pickle=False"):
            call()


# Outputs, ids, terminals


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_stored_is_a_regular_file(tmp_path: Path, kind: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")

    def leave(item: int, task: mapred.Task) -> None:
        path = task.output("x")
        if kind == "link":
            path.symlink_to(secret)
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.mkdir()

    with pytest.raises(RunError, match=r"task.output\('000000-x'\) is .*must be a regular file"):
        mapred.run(leave, range(1), attempts=1, root=tmp_path / "runs", **INLINE)
    assert secret.read_text() == "secret"


def test_nothing_names_no_run() -> None:
    mapred.run(plain, range(1), **INLINE)
    for words in (["rm", "", "--yes"], ["show", ""], ["audit", ""], ["resume", ""]):
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 2
        assert "does not name a run" in done.output
    for call in (mapred.open, mapred.rm):
        with pytest.raises(RunError, match="not empty"):
            call("")
    assert len(mapred.runs()) == 1


def test_an_id_that_is_none_is_not_taken_from_a_record() -> None:
    run = mapred.run(plain, range(1), **INLINE)
    job = json.loads(run.store.read(layout.JOB)) | {"run_id": "x; rm -rf ~"}
    run.store.write(layout.JOB, json.dumps(job).encode())
    with pytest.raises(RunError, match="is not the id of a run"):
        mapred.open(run.uri)
    assert [entry.state for entry in mapred.runs()] == ["unreadable"]
    assert "rm -rf" not in CliRunner().invoke(main, ["ls"]).output


def test_no_code_of_a_record_is_advised_to_be_pasted(tmp_path: Path) -> None:
    def fails(item: int) -> None:
        raise ValueError(item)

    with pytest.raises(RunError) as caught:
        mapred.run(fails, range(1), attempts=1, **INLINE)
    run = caught.value.run
    (tmp_path / "code.py").write_text("")
    evil = "f; __import__('os').system('id')"
    told = {"name": "f", "module": "code", "qualname": evil, "file": str(tmp_path / "code.py")}
    job = json.loads(run.store.read(layout.JOB)) | {"code": {run.job.function: told}}
    run.store.write(layout.JOB, json.dumps(job).encode())
    with pytest.raises(RunError) as caught:
        mapred.open(run.uri).check()
    assert "system" not in str(caught.value)
    assert "system" not in CliRunner().invoke(main, ["show", run.uri]).output


@pytest.mark.parametrize(
    "words",
    [
        ["plan", f"x{ESCAPES}*"],
        ["show", ESCAPES],
        ["show", f"./{ESCAPES}"],
        ["plan", f"--{ESCAPES}"],
        ["run", f"{ESCAPES}.py"],
        ["run", f"a:{ESCAPES}", "x"],
        [ESCAPES],
        ["ls", "--limit", ESCAPES],
        ["ls", "--root", ESCAPES],
        ["ls", "--root", ESCAPES, "--json"],
        ["gc", "--older-than", ESCAPES],
    ],
)
def test_no_word_commands_a_terminal(words: list[str]) -> None:
    output = CliRunner().invoke(main, words).output
    assert not [each for each in output if not each.isprintable() and each not in "\n\t"]


def test_json_means_the_same_without_commands_for_a_terminal(tmp_path: Path) -> None:
    run = mapred.run(plain, range(1), name=ESCAPES, root=tmp_path, **INLINE)
    for words in (["show", run.uri, "--json"], ["ls", "--root", str(tmp_path), "--json"]):
        output = CliRunner().invoke(main, words).output
        assert not [each for each in output if not each.isprintable() and each != "\n"]
        found = json.loads(output)
        assert (found[0] if isinstance(found, list) else found)["name"] == ESCAPES


def test_an_error_is_safe_to_show() -> None:
    for error in (MapredError(ESCAPES), RunError(ESCAPES), mapred.MissingDependency(ESCAPES, "x")):
        assert "\x1b" not in str(error)
        assert "\x9b" not in str(error)
        assert "\\x1b]0;owned\\x07\\x9b31m" in str(error)
