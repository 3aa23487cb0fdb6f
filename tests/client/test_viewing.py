"""What a notebook shows of runs of all kinds."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import mapred
from mapred.client import viewing
from mapred.client.viewing import RunViews
from mapred.display.summary import Preview, Scene
from mapred.runfolder.folder import RunFolder


def ended(run: mapred.Run) -> Scene:
    return RunViews(run, run._handle).end()[1]


def shown(run: mapred.Run) -> Preview:
    found = ended(run).result
    assert found is not None
    return found


def test_the_beginning_of_a_result_is_shown() -> None:
    numbers = mapred.items(range(30))
    assert shown(mapred.run(str, numbers)).head == "list of 30 items"
    assert shown(mapred.run(str, numbers)).text == "'0'\n'1'\n'2'\n'3'\n'4'\n…"
    assert shown(mapred.run(abs, numbers, reduce=sum)) == Preview("int", text="435")


def loss(beta: float, gamma: float) -> dict[str, float]:
    return {"loss": beta * gamma}


def test_of_a_sweep_points_and_results_are_shown() -> None:
    run = mapred.run(loss, mapred.sweep(beta=[0.5, 2.0], gamma=[1.0, 4.0, 8.0]))
    found = shown(run)
    assert found.head == "6 points, the first 5"
    assert found.rows[1] == {"point": "beta=0.5, gamma=4.0", "loss": "2"}
    assert ended(run).next_line.endswith("run.to_pandas()")


def test_of_a_sweep_the_picture_of_run_plot_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    run = mapred.run(loss, mapred.sweep(beta=[0.5, 2.0], gamma=[1.0, 4.0, 8.0]))
    picture = ended(run).picture
    assert run.plot().svg in picture
    assert picture in run._repr_html_()
    for name, limit in (("_MOST_POINTS", 5), ("_LARGEST", 60)):
        with monkeypatch.context() as few:
            few.setattr(viewing, name, limit)
            assert ended(run).picture == ""


def test_what_is_not_a_sweep_or_not_driven_from_here_has_no_picture() -> None:
    grid = mapred.sweep(beta=[0.5, 2.0], gamma=[1.0])
    runs = (
        mapred.run(loss, grid, reduce=list),
        mapred.run(abs, mapred.items(range(3))),
        mapred.run(lambda beta, gamma: "x", grid),
        mapred.open(mapred.run(loss, grid).uri),
    )
    assert [ended(run).picture for run in runs] == [""] * 4


def test_of_a_sweep_that_failed_the_picture_marks_where() -> None:
    with pytest.raises(mapred.RunError) as caught:
        mapred.run(lambda rate: 1 / (rate - 2), mapred.sweep(rate=[0, 1, 2, 3]), attempts=1)
    assert "1 point failed" in ended(caught.value.run).picture


def test_a_picture_that_cannot_be_drawn_does_not_break_the_display(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = mapred.run(loss, mapred.sweep(beta=[0.5, 2.0], gamma=[1.0]))
    monkeypatch.setattr(viewing.display, "sweep_html", lambda *_, **__: 1 / 0, raising=False)
    assert ended(run).picture == ""
    assert "2 points" in run._repr_html_()


def test_of_tables_the_first_rows_are_shown() -> None:
    table = pa.table({"shop": ["a", "b"] * 50, "v": range(100)})
    run = mapred.run(lambda t: t, table, by="shop", aggregate={"v": "sum"})
    found = shown(run)
    assert found.head.endswith("of 2 rows, 2 columns")
    assert {tuple(row.values()) for row in found.rows} == {("a", "2450"), ("b", "2500")}


def test_a_large_result_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    run = mapred.run(lambda x: "x" * 50_000, mapred.items(range(3)), reduce=list)
    monkeypatch.setattr(viewing, "_LARGEST", 100_000)
    assert shown(run).head == "a value of 150 kB; run.result() loads it"


def test_a_run_that_was_opened_loads_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder may be somebody else's: to load values is for the user to decide."""
    run = mapred.run(abs, mapred.items(range(3)), reduce=list)
    opened = mapred.open(run.uri)
    monkeypatch.setattr(viewing, "result_preview", lambda run: pytest.fail("it was loaded"))
    assert ended(opened).result is None
    assert "succeeded" in opened._repr_html_()


def breaks(x: int) -> float:
    print("dividing by", x - 3)
    return 1 / (x - 3)


def test_the_end_is_told_by_the_folder_where_a_handle_lags() -> None:
    run = mapred.run(abs, mapred.items(range(3)))

    class Lagging:
        """A handle of a cluster that has not heard of the end yet."""

    late = mapred.open(run.uri)
    late.status = lambda: replace(run.status(), state="running")  # type: ignore[method-assign]
    status, scene = RunViews(late, Lagging()).end()  # type: ignore[arg-type]
    assert (status.state, status.stages[0].done) == ("succeeded", run.status().stages[0].done)
    assert scene.result is not None


def test_the_next_line_works_when_pasted() -> None:
    good = mapred.run(abs, mapred.items(range(3)), reduce=sum)
    names: dict[str, Any] = {}
    line = ended(good).next_line
    exec(line.replace("run.result()", "answer = run.result()"), names)
    assert names["answer"] == 3
    with pytest.raises(mapred.RunError) as caught:
        mapred.run(breaks, mapred.items(range(5)), attempts=1)
    run = caught.value.run
    scene = ended(run)
    assert run.uri in scene.next_line
    assert "resume(" in scene.next_line
    assert scene.result is None
    page = run._repr_html_()
    assert "item 3" in page
    assert scene.next_line.split("'")[1] in page


def test_what_tasks_printed_is_shown() -> None:
    run = mapred.run(breaks, mapred.items(range(3)), backend="local")
    assert sorted(ended(run).printed) == [f"map {n}: dividing by {n - 3}" for n in range(3)]
    assert "map 2: dividing by -1" in run._repr_html_()


def wait_for(gate: str) -> str:
    limit = time.monotonic() + 60
    while not Path(gate).exists():
        assert time.monotonic() < limit
        time.sleep(0.01)
    return gate


def test_points_at_work_are_named(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = mapred.submit(wait_for, mapred.sweep(gate=[str(gate)]), backend=mapred.Local(workers=1))
    views = RunViews(run, run._handle)
    limit = time.monotonic() + 30
    while not (scene := views.scene(views.look(0))).points:
        assert time.monotonic() < limit
        time.sleep(0.02)
    assert scene.points == {0: f"gate='{gate}'"}
    assert [worker.item for worker in scene.workers or ()] == [0]
    gate.touch()
    run.wait(timeout=60)


def test_a_run_at_work_shows_the_same_by_whichever_handle(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = mapred.submit(wait_for, mapred.items([str(gate)]), backend=mapred.Local(workers=1))
    _, handle = mapred.open(run.uri)._for_display()
    assert handle is run._handle
    gate.touch()
    run.wait(timeout=60)


def test_of_a_run_that_is_driven_elsewhere_no_commit_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = mapred.run(abs, mapred.items(range(30)))
    opened = mapred.open(run.uri)
    views = RunViews(opened, None)
    monkeypatch.setattr(viewing.drivers, "alive", lambda folder, start: True)
    monkeypatch.setattr(RunFolder, "end", lambda folder: None)
    monkeypatch.setattr(RunFolder, "commits", lambda *_: pytest.fail("commits were read"))
    look = views.look(0)
    assert look.status.stages[0].done == 30
    assert look.workers is None
    assert views.scene(look) == Scene()


def test_values_have_what_other_notebooks_ask_for() -> None:
    """Streamlit, Spyder and marimo, which takes a `_display_` or `_mime_` first, call this."""
    run = mapred.run(abs, mapred.items(range(3)))
    for value in (run, run.failures, run.audit(), mapred.plan(range(9)), mapred.runs()):
        assert not hasattr(value, "_display_")
        assert not hasattr(value, "_mime_")
        page = value._repr_html_()
        assert re.match(r'<div class="mapred"', page)
        bundle = getattr(value, "_repr_mimebundle_", None)
        assert bundle is None or bundle()["text/html"].startswith('<div class="mapred"')
