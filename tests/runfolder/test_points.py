"""Failures name the point: the item and its value, a sweep's parameters, a text's line."""

from __future__ import annotations

import gzip
import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import mapred
from mapred.formats import Reading, read
from mapred.model.spec import Format
from mapred.runfolder import points
from mapred.testing import Script

RUN: dict[str, Any] = {"progress": "none", "attempts": 1}
SCHEMA = pa.schema({"a": pa.int64(), "b": pa.int64()})
ITEMS, POINTS = Format("items", "item"), Format("items", "keywords")


class Bad:
    def __repr__(self) -> str:
        raise KeyboardInterrupt


class Lines:
    def __repr__(self) -> str:
        return "first\n    second"


@pytest.mark.parametrize(
    ("format", "value", "text"),
    [
        (ITEMS, "n/a", "'n/a'"),
        (ITEMS, {"b": 1, "a": [2, None]}, "{'b': 1, 'a': [2, None]}"),
        (ITEMS, Lines(), "first second"),
        (ITEMS, Bad(), "<Bad: its repr() raises KeyboardInterrupt>"),
        (ITEMS, np.float64(0.5), "0.5"),
        (POINTS, {"beta": 0.5, "gamma": np.float32(0.25), "repeat": 3}, "beta=0.5, gamma=0.25, repeat=3"),
        (POINTS, {"kind": "a b", "bad": Bad()}, "kind='a b', bad=<Bad: its repr() raises KeyboardInterrupt>"),
        (POINTS, {"when": np.datetime64("2026-01-02", "D")}, "when=np.datetime64('2026-01-02')"),
    ],
)  # fmt: skip
def test_values_are_told_on_one_line(format: Format, value: Any, text: str) -> None:
    assert points.value_text(format, value) == text


@pytest.mark.parametrize(
    "value", ["x" * 10**6, list(range(10**6)), dict.fromkeys(range(10 ** 5), "y" * 99), np.arange(10**6)]
)  # fmt: skip
def test_long_values_are_cut(value: Any) -> None:
    text = points.value_text(ITEMS, value)
    assert len(text) <= 200
    assert text[:3] == repr(value[:9] if isinstance(value, str) else value)[:3]


def failures_of(run: Callable[[], mapred.Run]) -> Any:
    with pytest.raises(mapred.RunError) as caught:
        run()
    return caught.value.failures


def fail(x: Any) -> None:
    raise ValueError("bad")


def refuse(beta: float, gamma: float) -> float:
    if gamma > 0.1:
        raise ValueError("bad")
    return beta


def refuse_repeat(beta: float, repeat: int) -> float:
    if repeat == 3:
        raise ValueError("bad")
    return beta


@pytest.mark.parametrize("backend", ["inline", "local"])
def test_an_item_is_told_as_it_was_before_the_function_changed_it(
    tmp_path: Path, backend: str
) -> None:
    def empty(item: dict[str, int]) -> None:
        item.clear()
        raise ValueError("bad")

    options = {**RUN, "root": tmp_path, "backend": backend}
    (failure,) = failures_of(lambda: mapred.run(empty, mapred.items([{"a": 1}]), **options))
    assert failure.where == "item 0: {'a': 1}"
    assert failure.values == {0: "{'a': 1}"}


def test_a_sweep_tells_parameters_and_the_repeat_that_the_function_does_not_take(
    tmp_path: Path,
) -> None:
    options = {**RUN, "root": tmp_path, "backend": "inline", "max_failed": 20}
    run = mapred.run(refuse, mapred.sweep(beta=[0.5], gamma=[0.1, 0.2], repeats=2), **options)
    told = [value for failure in run.failures for value in failure.values.values()]
    assert told == ["beta=0.5, gamma=0.2, repeat=0", "beta=0.5, gamma=0.2, repeat=1"]
    run = mapred.run(refuse_repeat, mapred.sweep(beta=[0.5, 1], repeats=4), **options)
    text = repr(run.failures)
    assert "items 3, 7" in text
    assert "at item 3: beta=0.5, repeat=3" in text
    assert "   item 7: beta=1, repeat=3" in text
    assert "item 7: beta=1, repeat=3" in run.failures._repr_mimebundle_()["text/html"]
    assert "item 7: beta=1, repeat=3" in str(run)


def test_files_are_told_by_their_paths(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.bin").write_bytes(b"x")
    options = {**RUN, "root": tmp_path / "runs", "backend": "inline", "max_failed": 2}
    run = mapred.run(fail, mapred.read_files(str(tmp_path / "*.bin")), **options)
    told = {item: text for each in run.failures for item, text in each.values.items()}
    assert told == {i: str(tmp_path / name) for i, name in enumerate(("a.bin", "b.bin"))}
    assert run.failures[0].where == f"item 0: {tmp_path / 'a.bin'}"


def hang_or_die(x: str) -> str:
    if x == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if x == "hang":
        signal.pause()
    return x


@pytest.mark.slow
def test_lost_items_are_told_with_their_values(tmp_path: Path) -> None:
    options = {**RUN, "root": tmp_path, "backend": "local", "max_failed": 2, "timeout": 1.0}
    run = mapred.run(hang_or_die, mapred.items(["a", "die", "b", "hang"]), **options)
    assert run.result() == ["a", None, "b", None]
    places = {(each.kind, each.where) for each in run.failures}
    assert {kind for kind, _ in places} <= {"lost", "timeout"}
    frame = run.failures.to_pandas()
    assert sorted(frame["value"]) == ["'die'", "'hang'"]
    assert sorted(frame["where"]) == ["item 1: 'die'", "item 3: 'hang'"]
    assert [each.values for each in mapred.open(run.uri).failures] == [
        each.values for each in run.failures
    ]


def parse(lines: Iterable[str]) -> int:
    return sum(map(int, lines))


@pytest.mark.parametrize("suffix", ["txt", "txt.gz"])
def test_a_text_tells_the_line(tmp_path: Path, suffix: str) -> None:
    text = b"".join(b"%d\n" % i for i in range(30_000)).replace(b"\n12345\n", b"\n12x\n")
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(gzip.compress(text) if suffix.endswith("gz") else text)
    options = {**RUN, "root": tmp_path / "runs", "backend": "inline", "target_bytes": 20_000}
    (failure,) = failures_of(lambda: mapred.run(parse, mapred.read_text(str(path)), **options))
    assert failure.where.startswith(f"line 12,346 of {path} (")
    assert "bytes " in failure.where
    assert failure.where.endswith("): '12x'")


@pytest.mark.parametrize("block", [5, 1 << 16])
@pytest.mark.parametrize("as_", ["lines", "byte_lines"])
def test_the_reader_knows_the_line_in_hand(
    monkeypatch: pytest.MonkeyPatch, as_: str, block: int
) -> None:
    import io

    data = {"a": b"x\ny\nz\n", "b": b"p\nq"}
    rows = [
        {"path": name, "offset": 0, "length": len(text), "size": len(text), "etag": "", "first": 0, "count": 0}
        for name, text in data.items()
    ]  # fmt: skip
    monkeypatch.setattr("mapred.formats.text.LINES_BLOCK", block)
    reading = Reading()
    lines = read(
        Format("text", as_), pa.Table.from_pylist(rows), lambda path, known=None: io.BytesIO(data[path]), reading
    )  # fmt: skip
    told = []
    assert reading.line is None
    for line in lines:
        assert reading.line is not None
        number, held, range_, _ = reading.line
        assert held == line
        told.append((number, range_.path))
    assert told == [(1, "a"), (2, "a"), (3, "a"), (1, "b"), (2, "b")]
    assert reading.line is None
    assert reading.records == 5


def test_a_reader_error_keeps_its_advice_on_the_line(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"{number}.csv").write_text("a,b\n1,2\n" if number else "a,c\n1,2\n")
    read = mapred.read_csv(str(tmp_path / "*.csv"), schema=SCHEMA)
    options = {**RUN, "root": tmp_path / "runs", "backend": "inline"}
    with pytest.raises(mapred.RunError) as caught:
        mapred.run(len, read, **options)
    (failure,) = caught.value.failures
    first = failure.message.split("\n")[0]
    assert len(first) > 150
    assert f"DatasetError: {first}" in str(caught.value)


def test_retries_that_succeeded_leave_a_trace(tmp_path: Path) -> None:
    (tmp_path / "calls").mkdir()
    script = Script(tmp_path / "calls", {1: ["raise"], 2: ["kill"]})
    options = {"progress": "none", "backend": "local", "root": tmp_path / "runs"}
    run = mapred.run(script, mapred.items(range(4)), **options)
    live, reopened = run.status(), mapred.open(run.uri).status()
    assert live.failures == ()
    assert sorted(each.kind for each in live.retries) == ["function", "lost"]
    assert set(live.retries) == set(reopened.retries)
    for status in (live, reopened):
        text = mapred.display.status_text(status)
        assert "2 retries (" in text
        assert "lost" in text
        assert "x failed attempt" in text
        assert "failed attempt" in mapred.display.status_html(status)


def test_what_was_given_up_is_no_retry(tmp_path: Path) -> None:
    (tmp_path / "calls").mkdir()
    script = Script(tmp_path / "calls", {1: ["raise"] * 9})
    options = {"progress": "none", "backend": "inline", "root": tmp_path / "runs"}
    run = mapred.run(script, mapred.items(range(4)), attempts=2, max_failed=1, **options)
    assert run.status().retries == mapred.open(run.uri).status().retries == ()


def test_failures_are_a_frame(tmp_path: Path) -> None:
    options = {**RUN, "root": tmp_path, "backend": "inline", "max_failed": 30}
    run = mapred.run(fail, mapred.items([f"v{i}" for i in range(25)]), **options)
    frame = run.failures.to_pandas()
    assert list(frame.columns)[:9] == [
        "stage", "task", "item", "value", "attempt", "kind", "type", "message", "where",
    ]  # fmt: skip
    assert list(frame["value"]) == [f"'v{i}'" for i in range(25)]
    assert set(frame["type"]) == {"ValueError"}
    assert frame["worker"].str.contains(":").all()
    assert run.failures[:1].to_pandas().shape[0] >= 1
    text = repr(run.failures)
    assert text.count("item ") >= 20
    assert "and 5 more" in text
    assert mapred.display.Failures().to_pandas().empty


def test_reprs_are_one_line_and_read_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**RUN, "root": tmp_path, "backend": "inline", "max_failed": 1}
    run = mapred.open(mapred.run(fail, mapred.items(["a"]), **options).uri)
    status, failure = run.status(), run.failures[0]
    report = str(run)
    assert "Traceback" in report
    assert "ValueError: bad" in str(failure)
    assert "Traceback" in str(failure)
    for name in ("read", "list", "open"):
        monkeypatch.setattr(type(run.store), name, None)
    for value in (run, status, failure, [run, status]):
        assert "\n" not in repr(value)
    assert run.id in repr(run)
    assert status.state in repr(status)
    assert repr(failure) == "<Failure of map item 0: ValueError: bad>"


def test_items_that_are_their_numbers_are_listed_once(tmp_path: Path) -> None:
    options = {**RUN, "root": tmp_path, "backend": "inline", "max_failed": 30, "per_task": 1}
    run = mapred.run(fail, mapred.array(25), **options)
    text = repr(run.failures)
    assert f"items {', '.join(map(str, range(20)))} and 5 more" in text
    assert text.count("item ") == 1
