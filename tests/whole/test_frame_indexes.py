"""The index of returned pandas frames: what a filter leaves behind adds no column; names do."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import mapred
from mapred.errors import RunError

RUN: dict[str, Any] = {"progress": "none", "backend": "inline", "attempts": 1}
SHARDS = 4
NAMES = ["n", "k", "v"]


def pieces(seed: int) -> list[pd.DataFrame]:
    """The rows of a frame, some lost, as frames whose indexes come from filters and the like."""
    rng = np.random.default_rng(seed)
    whole = pd.DataFrame({"n": range(40), "k": rng.choice(list("abc"), 40), "v": rng.random(40)})
    cuts = [0, *sorted(rng.integers(0, 41, SHARDS - 1)), 40]
    ways: list[Callable[[pd.DataFrame], pd.DataFrame]] = [
        lambda frame: frame,
        lambda frame: frame.reset_index(drop=True),
        lambda frame: frame[rng.random(len(frame)) < 0.6],
        lambda frame: frame.reset_index(drop=True)[rng.random(len(frame)) < 0.6],
        lambda frame: pd.concat([frame.iloc[:3].reset_index(drop=True), frame.iloc[3:]]),
        lambda frame: frame.sort_values("v"),
        lambda frame: frame.iloc[:0],
        lambda frame: frame.set_index(frame.index.astype("uint8")),
        lambda frame: pd.concat([frame], keys=[7]),
    ]
    parts = [whole.iloc[start:end] for start, end in itertools.pairwise(cuts)]
    return [ways[rng.integers(len(ways))](part) for part in parts]


def rows(frame: Any) -> list[dict[str, Any]]:
    assert list(frame.columns) == NAMES
    return frame.to_dict("records")


def run(frames: list[Any], root: Path, **options: Any) -> mapred.Run:
    dataset = mapred.array(len(frames))
    return mapred.run(lambda i: frames[i], dataset, root=root / "runs", **RUN, **options)


def by_shard(frames: list[pd.DataFrame], folder: Path) -> mapred.Run:
    """A run with a shard for each of the frames, which it returns."""
    for number in range(len(frames)):
        (folder / f"{number}.txt").write_text(f"{number}\n")
    return mapred.run(
        lambda lines: frames[int(next(iter(lines)))],
        str(folder / "*.txt"),
        root=folder / "runs",
        target_bytes=2,
        **RUN,
    )


@pytest.mark.parametrize("per_task", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_rows_are_those_of_the_frames(seed: int, per_task: int, tmp_path: Path) -> None:
    frames = pieces(seed)
    expected = [row for frame in frames for row in frame.to_dict("records")]
    made = run(frames, tmp_path, per_task=per_task)
    assert rows(made.to_arrow(details=False).to_pandas()[NAMES]) == expected
    assert made.to_arrow().column_names == ["item", *NAMES]
    assert made.to_pandas().columns.tolist() == ["item", *NAMES]
    assert rows(made.result().to_table().to_pandas()) == expected
    assert rows(run(frames, tmp_path, sort_by="n").to_arrow().to_pandas()) == sorted(
        expected, key=lambda row: row["n"]
    )
    for (_, found), frame in zip(made.outputs(), frames, strict=True):
        pd.testing.assert_frame_equal(found, frame)


@pytest.mark.parametrize("seed", range(4))
def test_rows_of_shards_are_those_of_the_frames(seed: int, tmp_path: Path) -> None:
    frames = pieces(seed)
    expected = [row for frame in frames for row in frame.to_dict("records")]
    made = by_shard(frames, tmp_path)
    assert rows(made.to_arrow().to_pandas()) == expected
    assert rows(made.result().to_table().to_pandas()) == expected
    assert rows(made.to_pandas().astype({"n": int, "k": object, "v": float})) == expected


@pytest.mark.parametrize("seed", range(3))
def test_keyed_runs_and_datasets_have_the_same_rows(seed: int, tmp_path: Path) -> None:
    frames = pieces(seed)
    expected = sorted(row["n"] for frame in frames for row in frame.to_dict("records"))
    reduced = run(frames, tmp_path, by="k", reduce=lambda table: table.to_pandas()[::-2])
    assert reduced.to_arrow().column_names == NAMES
    assert len(set(reduced.to_arrow()["n"].to_pylist()) - set(expected)) == 0
    counted = run(frames, tmp_path, by="k", aggregate={"n": "count"}).to_arrow()
    assert sum(counted["n_count"].to_pylist()) == len(expected)
    lake = str(tmp_path / "lake")
    run(frames, tmp_path, write=mapred.write_parquet(lake))
    stored = mapred.run(lambda t: t, mapred.read_parquet(lake), root=tmp_path / "runs", **RUN)
    assert sorted(stored.to_arrow()["n"].to_pylist()) == expected
    assert stored.to_arrow().column_names == NAMES


NAMED = pd.DataFrame({"v": [1, 2]}, index=pd.Index(["a", "b"], name="k"))
TWO = pd.DataFrame({"v": [1, 2]}, index=pd.MultiIndex.from_tuples([("a", 0), ("b", 3)]))
GROUPED = TWO.rename_axis(["k", None])
RANGE = pd.DataFrame({"v": [1, 2]}).rename_axis("k")
KEPT = {"named": (NAMED, ["a", "b"]), "grouped": (GROUPED, ["a", "b"]), "range": (RANGE, [0, 1])}


@pytest.mark.parametrize("kind", KEPT)
def test_a_named_index_is_a_column(kind: str, tmp_path: Path) -> None:
    frame, keys = KEPT[kind]
    expected = {"v": [1, 2] * 2, "k": keys * 2}
    frames = [frame, frame]
    table = run(frames, tmp_path, sort_by="v").to_arrow()
    assert table.sort_by("k").to_pydict() == pa.table(expected).sort_by("k").to_pydict()
    lake = str(tmp_path / "lake")
    run(frames, tmp_path, write=mapred.write_parquet(lake))
    stored = mapred.run(lambda t: t, mapred.read_parquet(lake), root=tmp_path / "runs", **RUN)
    assert stored.to_arrow().to_pydict() == expected
    assert run(frames, tmp_path).to_arrow().select(["v", "k"]).to_pydict() == expected
    assert run(frames, tmp_path).result().to_table().to_pydict() == expected
    assert run(frames, tmp_path).to_pandas()["k"].tolist() == keys * 2


DAYS = pd.Index([dt.date(2026, 1, 1), dt.date(2026, 1, 2)])
CLASH = pd.DataFrame({"k": [1, 2]}, index=pd.Index(["a", "b"], name="k"))
REFUSED = {
    "text": (NAMED.rename_axis(None), r"its index \(of .*string\) has no name.* reset_index\(\)"),
    "dates": (NAMED.set_index(DAYS), r"its index \(of date32.* has no name.* reset_index\(\)"),
    "floats": (NAMED.set_index(pd.Index([0.5, 1])), r"has no name.* reset_index\(\)"),
    "level": (TWO, r"its index \(of .*string\) has no name.* reset_index\(\)"),
    "clash": (CLASH, r"'k'.* is also .*column.* rename_axis.* reset_index\(drop=True\)"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_other_indexes_without_a_name_are_refused(kind: str, tmp_path: Path) -> None:
    frame, message = REFUSED[kind]
    column = frame.columns[0]
    for options in ({"sort_by": column}, {"write": mapred.write_parquet(str(tmp_path / "lake"))}):
        with pytest.raises(RunError) as caught:
            run([frame], tmp_path, **options)
        assert re.search(message, str(caught.value))
    run([frame.iloc[:0], pd.DataFrame({column: [1]})], tmp_path, sort_by=column)
    (_, found), *_ = run([frame], tmp_path).outputs()
    pd.testing.assert_frame_equal(found, frame)


def test_an_index_of_numbers_comes_back_where_all_frames_have_one(tmp_path: Path) -> None:
    frames = [pd.DataFrame({"v": [n, n]}, index=[9 - n, 30 - n]) for n in range(3)]
    made = by_shard(frames, tmp_path)
    assert made.to_pandas().index.tolist() == [9, 30, 8, 29, 7, 28]
    assert made.to_arrow().column_names == ["v"]
    frames[1] = frames[1].reset_index(drop=True)
    assert by_shard(frames, tmp_path).to_pandas().index.tolist() == [0, 1, 2, 3, 4, 5]


def test_text_beside_numbers_in_indexes_without_names(tmp_path: Path) -> None:
    numbers = pd.DataFrame({"v": [1, 2]}, index=[3, 5])
    frames = [numbers, NAMED.rename_axis(None), numbers]
    expected = {"v": [1, 2] * 3, "__index_level_0__": [None, None, "a", "b", None, None]}
    made = run(frames, tmp_path)
    assert made.result().to_table().to_pydict() == expected
    assert made.to_arrow(details=False).select([*expected]).to_pydict() == expected


def test_a_reduced_frame_is_itself_and_its_rows_are_columns(tmp_path: Path) -> None:
    frame = pd.DataFrame({"v": [1, 2]}, index=[3, 7])
    made = run([1], tmp_path, reduce=lambda _: frame)
    pd.testing.assert_frame_equal(made.result(), frame)
    pd.testing.assert_frame_equal(made.to_pandas(), frame)
    assert made.to_arrow().to_pydict() == {"v": [1, 2]}
    mixed = run([{"x": 1}, frame], tmp_path)
    assert mixed.to_arrow(details=False).column_names == ["item", "x", "v"]
