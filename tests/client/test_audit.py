"""What an audit proves beside the plan: results, published files, and how they were looked at."""

from __future__ import annotations

import base64
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import mapred
from mapred import writing
from mapred.cli import main
from mapred.client import audit as audits
from mapred.model import layout
from mapred.model.records import Block
from mapred.runfolder.folder import RunFolder
from mapred.storage import open_store
from mapred.storage.local import LocalStore
from mapred.testing import tamper
from mapred.worker import tasks

RUN: dict[str, Any] = {"backend": "inline", "progress": "none"}


def problems(run: mapred.Run, *, content: bool = True) -> list[str]:
    return [str(problem) for problem in run.audit(content=content).problems]


def days(item: int) -> pa.Table:
    return pa.table({"n": [item] * 50, "day": [f"d{item % 3}"] * 50, "c": [item % 2] * 50})


def flip(path: Path) -> None:
    """Change one byte in the middle of a file, and its time as little as may be."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def target_of(kind: str, lake: Path, **options: Any) -> writing.Target:
    if kind == "delta":
        pytest.importorskip("deltalake")
        return mapred.write_delta(lake, **options)
    return mapred.write_parquet(lake, **options)


def write(kind: str, tmp_path: Path, items: Any = range(6), **options: Any) -> mapred.Run:
    given = {"partition_by": "day", "mode": "overwrite_partitions", **options}
    target = target_of(kind, tmp_path / "lake", **given)
    return mapred.run(
        days, mapred.items(items), write=target, per_task=1, root=tmp_path / "runs", **RUN
    )


def published(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "lake").rglob("*.parquet"))


KINDS = pytest.mark.parametrize("kind", ["parquet", "delta"])
CONTENT = pytest.mark.parametrize("content", [True, False])


@KINDS
@CONTENT
def test_published_files_are_looked_at(tmp_path: Path, kind: str, content: bool) -> None:
    run = write(kind, tmp_path)
    report = run.audit(content=content)
    assert report.ok, report
    assert (report.published, report.replaced) == (6, 0)
    assert report.contents + report.sizes >= 6
    assert (report.sizes == 0) is content
    assert (report.contents == 0) is not content
    assert "6 published files checked" in str(report)


@KINDS
@CONTENT
@pytest.mark.parametrize(
    ("spoil", "kind_of_problem"),
    [
        (Path.unlink, "missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "changed"),
        (lambda path: path.write_bytes(b""), "changed"),
    ],
    ids=["gone", "cut", "empty"],
)
def test_a_published_file_that_is_gone_or_cut_is_named(
    tmp_path: Path, kind: str, content: bool, spoil: Callable[[Path], Any], kind_of_problem: str
) -> None:
    run = write(kind, tmp_path)
    victim = published(tmp_path)[3]
    spoil(victim)
    (problem,) = run.audit(content=content).problems
    assert problem.kind == kind_of_problem
    assert str(victim.relative_to(tmp_path / "lake")) in problem.text


@KINDS
def test_a_changed_byte_shows_by_content_alone(tmp_path: Path, kind: str) -> None:
    run = write(kind, tmp_path)
    flip(published(tmp_path)[0])
    assert len(problems(run)) == 1
    assert problems(run, content=False) == []


@KINDS
def test_files_of_all_layouts(tmp_path: Path, kind: str) -> None:
    for number, options in enumerate(
        [
            {"partition_by": ()},
            {"partition_by": (), "mode": "append"},
            {"partition_by": ("day", "c"), "mode": "overwrite"},
        ]
    ):
        run = write(kind, tmp_path / str(number), **options)
        assert run.audit().published == len(published(tmp_path / str(number))) == 6
        os.unlink(published(tmp_path / str(number))[0])
        assert not run.audit().ok


@KINDS
@CONTENT
def test_what_a_later_run_replaced_is_told_and_no_problem(
    tmp_path: Path, kind: str, content: bool
) -> None:
    first = write(kind, tmp_path)
    second = write(kind, tmp_path, [0, 3])  # replaces d0 alone
    report = first.audit(content=content)
    assert report.ok, report
    assert (report.published, report.replaced) == (4, 2)
    assert "2 published files replaced by a later version" in str(report)
    assert second.audit(content=content).published == 2
    write(kind, tmp_path, [7], mode="overwrite")
    assert first.audit(content=content).ok
    assert (first.audit().published, first.audit().replaced) == (0, 6)


@KINDS
def test_a_dataset_that_is_gone_or_forgot_the_run_is_a_problem(tmp_path: Path, kind: str) -> None:
    run = write(kind, tmp_path)
    for path in sorted((tmp_path / "lake").rglob("*"), reverse=True):
        if {"_manifest", "_delta_log"} & set(path.parts) and path.is_file():
            path.unlink()
    (problem,) = run.audit().problems
    assert (problem.kind, problem.where) == ("missing", str(tmp_path / "lake"))
    assert "which wrote 6 files" in problem.text


def test_a_manifest_that_lists_a_file_no_more_is_a_problem(tmp_path: Path) -> None:
    run = write("parquet", tmp_path)
    newest = sorted((tmp_path / "lake/_manifest").iterdir())[-1]
    value = json.loads(newest.read_text())
    value["partitions"][0]["files"].pop()
    newest.write_text(json.dumps(value))
    (problem,) = run.audit().problems
    assert "no later run replaced it" in problem.text


def test_nothing_published_is_nothing_to_check(tmp_path: Path) -> None:
    target = mapred.write_parquet(tmp_path / "lake", partition_by="day")
    options = {"write": target, "root": tmp_path / "runs", **RUN}
    run = mapred.run(lambda item: None, mapred.items(range(3)), **options)
    assert run.audit().ok
    assert run.audit().published == 0


def test_a_write_without_given_up_items_is_whole_but_for_them(tmp_path: Path) -> None:
    def some(item: int) -> pa.Table:
        if item == 1:
            raise ValueError("one")
        return days(item)

    target = mapred.write_parquet(tmp_path / "lake", partition_by="day")
    options = {"write": target, "max_failed": 1, "attempts": 1, "root": tmp_path / "runs", **RUN}
    run = mapred.run(some, mapred.items(range(4)), **options)
    assert run.audit().published == 3
    assert str(run.audit()).endswith("whole but for 1 item given up: 1")


# --- results in commits and files


def test_inline_results_are_compared_without_unpickling(tmp_path: Path) -> None:
    run = mapred.run(Untouchable, mapred.items(range(4)), root=tmp_path / "runs", **RUN)
    report = run.audit()
    assert report.ok, report
    assert (report.inline, report.outputs) == (4, 0)
    assert "4 inline results" in str(report)


class Untouchable:
    """A class whose instances are not to be loaded again."""

    def __init__(self) -> None: ...

    def __call__(self, item: int) -> Any:
        return Untouchable()

    def __setstate__(self, state: Any) -> None:
        raise AssertionError("an audit loaded it")

    def __getstate__(self) -> Any:
        return {"a": 1}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda inline: base64.b64encode(pickle.dumps("other")).decode(),
        lambda inline: "",
        lambda inline: inline[:-4],
        lambda inline: "!" + inline[1:],
        lambda inline: base64.b64encode(base64.b64decode(inline).swapcase()).decode(),
    ],
    ids=["other", "empty", "cut", "no base64", "other bytes"],
)
@CONTENT
def test_a_changed_inline_result_is_named(tmp_path: Path, spoil: Any, content: bool) -> None:
    run = mapred.run(lambda i: f"item {i}", mapred.array(4), root=tmp_path / "runs", **RUN)

    def change(commit: dict[str, Any]) -> dict[str, Any]:
        output = commit["output"]
        return {**commit, "output": {**output, "inline": spoil(output["inline"])}}

    tamper(run, layout.commit("map", 2), change)
    found = problems(run, content=content)
    assert [text for text in found if "changed: map task 2: the value in its commit" in text]


def test_the_list_that_results_are_read_from_is_compared(tmp_path: Path) -> None:
    run = mapred.run(lambda i: f"item {i}", mapred.array(4), root=tmp_path / "runs", **RUN)

    def change(manifest: dict[str, Any]) -> dict[str, Any]:
        tasks = manifest["tasks"]
        tasks[1][1]["inline"] = tasks[2][1]["inline"]
        return manifest

    tamper(run, layout.MANIFEST, change)
    with pytest.raises(mapred.RunError, match="is not what it was when the run ended"):
        run.result()
    changed, another = problems(run)
    assert changed.startswith("changed: result/manifest.json: it is not the list")
    assert another.startswith("changed: map task 1: result/manifest.json lists another output")
    run.store.delete(layout.MANIFEST)
    (text,) = problems(run)
    assert text.startswith("missing: result/manifest.json")


@CONTENT
def test_the_list_may_name_what_a_twin_wrote(tmp_path: Path, content: bool) -> None:
    run = mapred.run(lambda i: "x" * 50_000, mapred.array(3), root=tmp_path / "runs", **RUN)
    run.store.delete(layout.commit("map", 1))
    assert tasks.run_block(Block(run.uri, run.digest, "map", [1]))[0].commit is not None
    assert run.audit(content=content).ok
    listed = RunFolder(run.store).outputs(run.job)[1][1]
    assert listed is not None
    run.store.delete(listed.path or "")
    (text,) = problems(run, content=content)
    assert text.startswith("missing: map task 1: its output map/data/000001-1")


def test_outputs_are_looked_at_by_size_where_asked(tmp_path: Path) -> None:
    run = mapred.run(lambda i: "x" * 50_000, mapred.items(range(3)), root=tmp_path / "runs", **RUN)
    whole, sizes = run.audit(), run.audit(content=False)
    assert whole.ok
    assert sizes.ok
    assert (whole.contents, whole.sizes) == (3 + len(run.job.digests), 0)
    assert (sizes.contents, sizes.sizes) == (0, 3 + 1)
    assert "3 outputs checked (6 by content, 0 by size alone)" in str(whole)
    assert "3 outputs checked (0 by content, 4 by size alone, 2 by name)" in str(sizes)
    paths = sorted(Path(run.uri).glob("map/data/*"))
    flip(paths[0])
    paths[1].write_bytes(b"short")
    paths[2].unlink()
    assert len(problems(run)) == 3
    assert [text.split(":")[0] for text in problems(run, content=False)] == ["changed", "missing"]
    os.unlink(Path(run.uri) / layout.FUNCTION)
    with Path(run.uri, layout.ITEMS).open("ab") as file:
        file.write(b"more")
    found = problems(run, content=False)
    assert [text.split(" is ")[0] for text in found[:2]] == [
        "missing: function.pkl: the file function.pkl",
        "changed: input/items.pkl: the file input/items.pkl",
    ]


def test_a_bucket_tells_by_etag_what_has_changed(s3_root: str) -> None:
    def both(item: int, task: mapred.Task) -> str:
        task.output("file.txt").write_text("text" * 1000)
        return "x" * 50_000

    run = mapred.run(both, mapred.items(range(3)), root=s3_root, **RUN)
    assert run.audit().ok
    sizes = run.audit(content=False)
    assert sizes.ok, sizes
    assert (sizes.contents, sizes.sizes, sizes.etags) == (0, 1, 6)
    assert "6 outputs checked (0 by content, 1 by size alone, 6 by size and etag, 2 by name)" in (
        str(sizes)
    )
    victim = run.store.list(layout.all_data("map"))[1]
    run.store.write(victim[0], b"y" * victim[1])
    (text,) = problems(run, content=False)
    assert "another etag" in text
    assert len(problems(run)) == 1
    run.store.delete(victim[0])
    assert problems(run, content=False)[0].startswith("missing: map task 1")


def test_files_published_to_a_bucket_are_looked_at(s3_root: str) -> None:
    target = mapred.write_parquet(f"{s3_root}/lake", partition_by="day")
    run = mapred.run(days, mapred.items(range(3)), write=target, root=f"{s3_root}/runs", **RUN)
    for content in (True, False):
        assert run.audit(content=content).published == 3
        assert run.audit(content=content).ok
    store = open_store(f"{s3_root}/lake")
    store.delete(next(path for path, _ in store.list("") if path.endswith(".parquet")))
    for content in (True, False):
        assert problems(run, content=content)[0].startswith("missing: ")


class Unread(LocalStore):
    """A local store that reads no output."""

    def open(self, path: str, known: tuple[int, str] | None = None) -> Any:
        raise AssertionError(f"{path} was opened")

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        records = path.endswith(".json") or path.startswith("plan/") or length == 0
        assert records, f"{path} was read"
        return super().read(path, offset, length)


def test_no_content_is_read_where_none_is_asked_for(tmp_path: Path) -> None:
    def both(item: Any, task: mapred.Task) -> str:
        task.output("file.txt").write_text("text" * 1000)
        return "x" * 50_000

    for index, dataset in enumerate([mapred.items(range(3)), pa.table({"a": range(100)})]):
        run = mapred.run(both, dataset, root=tmp_path / f"{index}", **RUN)
        assert audits.audit(RunFolder(Unread(run.uri)), run.job, content=False).ok


@CONTENT
def test_audits_of_every_format_are_whole(tmp_path: Path, content: bool) -> None:
    table = pa.table({"a": range(1000), "b": ["x"] * 1000})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=100)
    (tmp_path / "a.csv").write_text("a,b\n" + "".join(f"{i},x\n" for i in range(1000)))
    (tmp_path / "a.jsonl").write_text("".join(f'{{"a": {i}}}\n' for i in range(1000)))
    (tmp_path / "a.txt").write_text("line\n" * 1000)
    with (
        pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as w,
    ):
        w.write_table(table, 100)
    sources = [
        str(tmp_path / f"a.{suffix}") for suffix in ("parquet", "csv", "jsonl", "txt", "arrow")
    ]
    for source in [*sources, table, mapred.items(range(10)), mapred.array(10)]:
        run = mapred.run(_drain, source, root=tmp_path / "runs", max_tasks=4, **RUN)
        report = run.audit(content=content)
        assert report.ok, report
        assert (report.bytes, report.ranges) == (report.planned_bytes, report.planned_ranges)
        assert " of " not in str(report).split(";")[0]
        assert str(report).endswith(": whole")


def _drain(values: Any) -> int:
    return sum(1 for _ in values) if hasattr(values, "__next__") else 1


def test_skipped_rows_are_told_and_no_problem(tmp_path: Path) -> None:
    run = mapred.run(lambda item: item, mapred.items(range(3)), root=tmp_path / "runs", **RUN)
    for task, skipped in enumerate((2, 0, 1)):
        tamper(run, layout.commit("map", task), lambda c, n=skipped: {**c, "skipped": n})
    report = run.audit()
    assert report.ok
    assert str(report).endswith(": whole but for 3 bad rows skipped")
    opened = mapred.open(run.uri)
    assert opened.status().skipped == 3
    assert "3 items, 3 bad rows skipped" in str(opened)
    assert "3 bad rows skipped" in opened._repr_mimebundle_()["text/html"]
    assert list(opened.shards["skipped"]) == [2, 0, 1]
    assert '"skipped": 3' in CliRunner().invoke(main, ["show", run.uri, "--json"]).stdout


def test_the_command_line_says_the_same(tmp_path: Path) -> None:
    run = write("parquet", tmp_path)
    whole = CliRunner().invoke(main, ["audit", run.uri])
    assert whole.stdout == f"{run.audit()}\n"
    sizes = CliRunner().invoke(main, ["audit", run.uri, "--no-content"])
    assert sizes.stdout == f"{run.audit(content=False)}\n"
    document = json.loads(CliRunner().invoke(main, ["audit", run.uri, "--json"]).stdout)
    assert (document["published"], document["given_up"]["indices"]) == (6, [])
    published(tmp_path)[0].unlink()
    assert CliRunner().invoke(main, ["audit", run.uri, "--no-content"]).exit_code == 1


def test_one_of_each_is_said_in_the_singular(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    run = mapred.run(list, str(tmp_path / "a.txt"), root=tmp_path / "r", **RUN)
    assert "1 commit, 1 shard, 1 range, 4 bytes, 1 record; " in str(run.audit())
    assert ", 1 inline result: whole" in str(run.audit())
