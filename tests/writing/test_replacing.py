"""A run that owns what it names: nothing stale stays, nothing else goes, two at once are one."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from writing.lakes import Killed, Watched, lake_files, newest_manifest, together

import mapred
from mapred import writing
from mapred.client import scheduling
from mapred.errors import DatasetError, MapredError, PlanError, RunError
from mapred.functions import parameters
from mapred.storage import open_store
from mapred.writing import publishing

ONE, TWO, THREE = (datetime.date(2026, 11, day) for day in (1, 2, 3))
BY = ["day", "country"]
Rows = list[tuple[int, Any, Any]]


def table(rows: Rows, day: Any = None) -> pa.Table:
    """Rows of (n, day, country)."""
    numbers, days, countries = zip(*rows, strict=True) if rows else ((), (), ())
    day = day or pa.date32()
    return pa.table(
        {
            "n": pa.array(numbers, pa.int64()),
            "day": pa.array(days, day),
            "country": pa.array(countries, pa.string()),
        }
    )


def write(rows: Rows | list[Rows], target: writing.Target, **options: Any) -> Any:
    """Write rows; a list of lists is that many shards."""
    shards = rows if rows and isinstance(rows[0], list) else [rows]
    return mapred.run(
        table, mapred.items(shards), write=target, backend="inline", progress="none", **options
    ).result()


def to_parquet(lake: str, **options: Any) -> writing.Target:
    return mapred.write_parquet(lake, partition_by=BY, **options)


def to_delta(lake: str, **options: Any) -> writing.Target:
    return mapred.write_delta(lake, partition_by=BY, **options)


def by_manifest(lake: str) -> Counter[tuple[Any, ...]]:
    files, rows = lake_files(lake), Counter[tuple[Any, ...]]()
    for part in newest_manifest(lake)["partitions"]:
        for file in part["files"]:
            with files.open(f"{lake}/{file['path']}", "rb") as opened:
                numbers = pq.ParquetFile(opened).read()["n"].to_pylist()
            day = part["values"]["day"]
            day = None if day is None else datetime.date.fromisoformat(day)
            rows.update((n, day, part["values"]["country"]) for n in numbers)
    return rows


def by_folder(lake: str) -> Counter[tuple[Any, ...]]:
    found = ds.dataset(
        lake, partitioning=ds.partitioning(table([]).drop_columns("n").schema, flavor="hive")
    )
    return Counter((r["n"], r["day"], r["country"]) for r in found.to_table().to_pylist())


def by_delta(lake: str) -> Counter[tuple[Any, ...]]:
    pytest.importorskip("deltalake")
    rows = pl.read_delta(lake).to_dicts()
    return Counter((row["n"], row["day"], row["country"]) for row in rows)


def by_both(lake: str) -> Counter[tuple[Any, ...]]:
    seen = by_manifest(lake)
    assert seen == by_folder(lake)
    return seen


KINDS = pytest.mark.parametrize(
    ("to", "read"), [(to_parquet, by_both), (to_delta, by_delta)], ids=["parquet", "delta"]
)
To = Callable[..., writing.Target]
Read = Callable[[str], Counter[tuple[Any, ...]]]
OLD: Rows = [(1, ONE, "cn"), (2, ONE, "de"), (3, TWO, "cn"), (4, TWO, None), (5, THREE, "fr")]


@KINDS
def test_partitions_without_rows_vanish(tmp_path: Path, to: To, read: Read) -> None:
    lake = str(tmp_path / "lake")
    write(OLD, to(lake, mode="append"))
    written = write([[(6, TWO, "de")], []], to(lake, replace={"day": TWO}))
    assert read(lake) == Counter([*OLD[:2], (6, TWO, "de"), OLD[4]])
    assert written.partitions == ("day=2026-11-02/country=de",)
    # Several columns, several values, and null.
    write([(7, ONE, "de")], to(lake, replace={"day": [ONE, TWO], "country": ["de", None]}))
    assert read(lake) == Counter([OLD[0], (7, ONE, "de"), OLD[4]])
    write([(8, THREE, None)], to(lake, replace={"country": [None, "fr"]}))
    assert read(lake) == Counter([OLD[0], (7, ONE, "de"), (8, THREE, None)])
    # A run without any row, of tables or of nothing.
    write([], to(lake, replace={"day": ONE}))
    assert read(lake) == Counter([(8, THREE, None)])
    none = mapred.run(
        lambda _: None,
        mapred.array(2),
        write=to(lake, replace={"day": THREE}),
        backend="inline",
        progress="none",
    )
    assert none.result().files == 0
    assert read(lake) == Counter()


@pytest.mark.slow
@pytest.mark.parametrize("to", [to_parquet, to_delta], ids=["parquet", "delta"])
def test_an_object_store(s3_root: str, to: To) -> None:
    for number, named in enumerate([{"day": [ONE, TWO]}, {"country": ["de", "cn"]}]):
        lake = f"{s3_root}/{number}"
        write(OLD, to(lake, mode="append"))
        target = to(lake, replace=named)
        made = [wrote(target, f"run-{n}", [(n, ONE, "de"), (n, TWO, "cn")]) for n in range(3)]
        together(*[lambda m=m, t=target: writing.publish(t, m) for m in made])
        if to is to_parquet:
            seen = by_manifest(lake)
        else:
            from mapred.writing import delta

            seen = Counter(
                (r["n"], r["day"], r["country"])
                for r in delta.open_table(target).to_pyarrow_table().to_pylist()
            )
        rest = [
            row for row in OLD if row[1 if "day" in named else 2] not in next(iter(named.values()))
        ]
        wanted = [[*rest, (n, ONE, "de"), (n, TWO, "cn")] for n in range(3)]
        assert seen in [Counter(rows) for rows in wanted]


@KINDS
def test_the_same_run_twice_is_the_same(tmp_path: Path, to: To, read: Read) -> None:
    lake = str(tmp_path / "lake")
    write(OLD, to(lake, mode="append"))
    for _ in range(3):
        write([(9, ONE, "it")], to(lake, replace={"day": ONE}))
        assert read(lake) == Counter([(9, ONE, "it"), *OLD[2:]])


@pytest.mark.parametrize(
    "value",
    [
        ONE,
        "2026-11-01",
        datetime.datetime.combine(ONE, datetime.time()),
        pd.Timestamp("2026-11-01"),
        np.datetime64("2026-11-01"),
        np.datetime64("2026-11-01T00:00:00.000000000"),
        [ONE],
        (ONE, ONE),
        {ONE},
        np.array(["2026-11-01"]),
        pd.Series([pd.Timestamp("2026-11-01")]),
    ],
)
def test_days_in_all_spellings(tmp_path: Path, value: Any) -> None:
    lake = str(tmp_path / "lake")
    write(OLD, to_parquet(lake))
    write([(9, ONE, "de")], to_parquet(lake, replace={"day": value}))
    assert by_both(lake) == Counter([(9, ONE, "de"), *OLD[2:]])


@pytest.mark.parametrize(
    ("type_", "values", "named", "gone"),
    [
        (pa.int64(), [1, 2, None], "01", 1),
        (pa.int64(), [1, 2, None], np.int8(2), 2),
        (pa.uint64(), [2**64 - 1, 2, None], 2**64 - 1, 2**64 - 1),
        (pa.bool_(), [True, False], True, True),
        (pa.bool_(), [True, False], np.bool_(False), False),
        (pa.string(), ["01", "1", "", None], "01", "01"),
        (pa.string(), ["a/b", "50%", "x=y", "zürich 日本"], "zürich 日本", "zürich 日本"),
        (pa.string(), ["a/b", "50%"], "a/b", "a/b"),
        (pa.string(), ["", None], "", ""),
        (pa.date64(), [ONE, TWO], ONE, ONE),
        (pa.dictionary(pa.int8(), pa.string()), ["x", "y"], "x", "x"),
    ],
)
def test_values_of_all_types(
    tmp_path: Path, type_: Any, values: Any, named: Any, gone: Any
) -> None:
    lake = tmp_path / "lake"

    def rows(_: int) -> pa.Table:
        return pa.table({"n": range(len(values)), "k": pa.array(values, type_)})

    def put(fn: Any, **options: Any) -> None:
        target = mapred.write_parquet(lake, partition_by="k", **options)
        mapred.run(fn, mapred.array(1), write=target, backend="inline", progress="none")

    put(rows)
    put(lambda _: None, replace={"k": named})
    left = mapred.run(
        lambda t: t.to_pylist(), mapred.read_parquet(lake), backend="inline", progress="none"
    )
    found = {row["n"] for rows in left.result() for row in rows}
    assert found == {n for n, value in enumerate(values) if value != gone}


@KINDS
@pytest.mark.parametrize(
    ("rows", "replace", "said"),
    [
        (
            [(1, TWO, "de")],
            {"day": ONE},
            "day='2026-11-02', and replace= names '2026-11-01': leave",
        ),
        ([(1, None, "de")], {"day": ONE}, "day=null, and replace="),
        ([(1, ONE, "fr")], {"day": ONE, "country": ["de", None]}, "country='fr', and replace="),
    ],
)
def test_other_rows_are_refused(
    tmp_path: Path, to: To, read: Read, rows: Rows, replace: Any, said: str
) -> None:
    lake = str(tmp_path / "lake")
    write(OLD, to(lake, mode="append"))
    with pytest.raises(RunError, match=f"shard 1 has rows with {said}") as caught:
        write([[(7, ONE, "de")], rows], to(lake, replace=replace))
    assert [f.attempts for f in caught.value.failures] == [1], "another attempt does not help"
    assert read(lake) == Counter(OLD)
    # What the error advises: to leave them out, and to name the value too.
    write([[(7, ONE, "de")], []], to(lake, replace=replace))
    for name, value in zip(BY, rows[0][1:], strict=True):
        if name in replace:
            given = replace[name]
            replace = {**replace, name: [*(given if isinstance(given, list) else [given]), value]}
    write([[(7, ONE, "de")], rows], to(lake, replace=replace))
    assert read(lake)[rows[0]] == read(lake)[7, ONE, "de"] == 1


def test_losses_and_replace_do_not_go_together(tmp_path: Path) -> None:
    target = to_parquet(str(tmp_path / "lake"), replace={"day": ONE})
    with pytest.raises(PlanError, match="max_failed=2 together with replace="):
        write([], target, max_failed=2)
    from mapred.cli.references import replace_options

    job = mapred.job(table, mapred.items([[]]), write=target)
    with pytest.raises(PlanError, match=r"max_failed=0\.5 together with replace="):
        replace_options(job, {"max_failed": 0.5})


def test_a_result_with_losses_replaces_nothing(tmp_path: Path) -> None:
    def rows(item: int) -> pa.Table:
        assert item != 1
        return table([(item, ONE, "de")])

    run = mapred.run(
        rows, mapred.items(range(3)), max_failed=1, attempts=1, backend="inline", progress="none"
    )
    lake = str(tmp_path / "lake")
    with pytest.raises(PlanError, match="together with replace="):
        run.write_parquet(lake, partition_by=BY, replace={"day": ONE})
    whole = mapred.run(rows, mapred.items([0, 2]), backend="inline", progress="none")
    write(OLD, to_parquet(lake))
    whole.write_parquet(lake, partition_by=BY, replace={"day": ONE})
    assert by_both(lake) == Counter([(0, ONE, "de"), (2, ONE, "de"), *OLD[2:]])


@pytest.mark.parametrize(
    ("replace", "said"),
    [
        ({}, "must name columns and values"),
        ([], "must name columns and values"),
        ("day=2026-11-01", "must name columns and values"),
        ({"n": 1}, r"names 'n', which is not in partition_by=\['day', 'country'\]"),
        ({"day": []}, "names no value"),
        ({"day": 1.5}, "names day=1.5, and a partition is"),
        ({"day": datetime.datetime.combine(ONE, datetime.time(12))}, "and a partition is a text"),
        ({"day": b"x"}, "and a partition is a text"),
        ({"day": pd.NaT}, "and a partition is a text"),
        ({"country": "__HIVE_DEFAULT_PARTITION__"}, "which is null: write None"),
        ({"day": {"from": ONE}}, "names day="),
    ],
)
def test_what_is_named_is_checked_at_once(tmp_path: Path, replace: Any, said: str) -> None:
    lake = str(tmp_path / "lake")
    with pytest.raises(DatasetError, match=said):
        write(OLD, to_parquet(lake, replace=replace, schema=table([]).schema))
    assert not Path(lake, "_manifest").exists()


@KINDS
def test_a_value_of_another_type_is_refused_before_the_run(
    tmp_path: Path, to: To, read: Read
) -> None:
    lake = str(tmp_path / "lake")
    write(OLD, to(lake, mode="append"))
    with pytest.raises(
        DatasetError, match=r"day='november', and the column 'day' is date32\[day\]"
    ):
        write([], to(lake, replace={"day": "november"}))
    with pytest.raises(
        DatasetError, match=r"day='november', and the column 'day' is date32\[day\]"
    ):
        write([], to(lake + "2", replace={"day": "november"}, schema=table([]).schema))
    # Nothing tells the type but the rows of the run.
    with pytest.raises(RunError, match=r"day='november', and the column 'day' is date32\[day\]"):
        write(OLD, to(lake + "3", replace={"day": "november"}))


@KINDS
def test_modes_that_do_not_fit(tmp_path: Path, to: To, read: Read) -> None:
    for mode in ("append", "overwrite"):
        with pytest.raises(DatasetError, match=f"leave mode='{mode}' out"):
            to(str(tmp_path), replace={"day": ONE}, mode=mode)
    to(str(tmp_path), replace={"day": ONE}, mode="overwrite_partitions")


def test_a_job_says_once_what_each_night_replaces(tmp_path: Path) -> None:
    lake = str(tmp_path / "lake")

    def orders(_: int, date: datetime.date) -> pa.Table:
        return table([(date.day, datetime.date(date.year, date.month, date.day), "de")])

    target = to_parquet(lake, replace={"day": "{date-1d:%Y-%m-%d}", "country": ["{land}", None]})
    job = mapred.job(
        lambda i, date: orders(i, date - datetime.timedelta(days=1)), mapred.array(1), write=target
    )
    assert job.parameters == {"date", "land"}
    with pytest.raises(PlanError, match=r"a place for 'date' in .*: set it by job.bind\(date="):
        job.run(backend="inline", progress="none")
    with pytest.raises(PlanError, match="place for 'land'"):
        job.bind(date=TWO)
    write(OLD, to_parquet(lake))
    bound = job.bind(date=TWO, land="de")
    bound.run(backend="inline", progress="none")
    assert by_both(lake) == Counter([OLD[0], (1, ONE, "de"), *OLD[2:]])
    # The scheduler gives a time of a zone.
    when = datetime.datetime(2026, 11, 3, 3, tzinfo=datetime.timezone.utc)
    scheduling.bind_date(job, when, {"land": "cn"})
    assert parameters.fill_places("{date}", {"date": when}) == "2026-11-03"


def test_files_of_other_programs_vanish_too(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    ds.write_dataset(
        table(OLD), lake, format="parquet", partitioning=BY, partitioning_flavor="hive"
    )
    write([(9, ONE, "de")], to_parquet(str(lake), replace={"day": ONE}))
    assert by_folder(str(lake)) == Counter([(9, ONE, "de"), *OLD[2:]])
    write([(8, ONE, "cn")], to_parquet(str(lake), replace={"country": "cn"}))
    assert by_folder(str(lake)) == Counter([(8, ONE, "cn"), (9, ONE, "de"), *OLD[3:]])
    pq.write_table(pa.table({"n": [1]}), lake / "day=2026-11-03/x.parquet")
    with pytest.raises(
        RunError, match=r"day=2026-11-03/x.parquet, which is not a file of a dataset"
    ):
        write([], to_parquet(str(lake), replace={"day": THREE}))


# --- two at once, and runs that are cut off


def wrote(target: writing.Target, name: str, rows: Rows) -> list[Any]:
    return [writing.write_values(target, name, 0, "1-abc", [table(rows)])]


@KINDS
def test_days_that_are_replaced_at_once(tmp_path: Path, to: To, read: Read) -> None:
    """Different days all succeed; of runs for one day, one is there, whole and alone."""
    for lake, before in ((str(tmp_path / "a"), OLD), (str(tmp_path / "b"), [])):
        if before:
            write(before, to(lake, mode="append"))
        else:
            write([(1, datetime.date(2020, 1, 1), "x")], to(lake, mode="append"))
        calls, same = [], {}
        for number, day in enumerate([ONE, TWO, THREE, ONE, ONE, TWO]):
            target = to(lake, replace={"day": day})
            # Two runs of one day write to different partitions of it.
            rows = [(10 * number + i, day, f"{number % 2 or ''}{'abc'[i]}") for i in range(3)]
            outputs = wrote(target, f"run-{number}", rows)
            same.setdefault(day, []).append(Counter(rows))
            calls.append(lambda t=target, o=outputs: writing.publish(t, o))
        together(*calls)
        for day, candidates in same.items():
            assert Counter({r: n for r, n in read(lake).items() if r[1] == day}) in candidates


@pytest.mark.slow
@KINDS
def test_modes_that_replace_the_same_at_once(tmp_path: Path, to: To, read: Read) -> None:
    for number in range(4):
        lake = str(tmp_path / str(number))
        write([(0, THREE, "de")], to(lake, mode="append"))
        rows = [[(n, ONE, "de")] for n in range(3)]
        targets = [
            to(lake, replace={"day": ONE}),
            to(lake, mode="overwrite_partitions"),
            to(lake, replace={"country": "de"}),
        ]
        made = [wrote(t, f"run-{n}", r) for n, (t, r) in enumerate(zip(targets, rows, strict=True))]
        together(
            *[lambda t=t, m=m: writing.publish(t, m) for t, m in zip(targets, made, strict=True)]
        )
        assert [r[1] for r in read(lake) if r[1] == ONE] == [ONE], "one run's row, no two"


def published(lake: str, last: int, patch: pytest.MonkeyPatch, look: Any = None) -> tuple[Any, ...]:
    """Replace a day, killed before the store's write number `last`."""
    write(OLD, to_parquet(lake))
    target = to_parquet(lake, replace={"day": [ONE, TWO]})
    outputs = wrote(target, "run-2", [(9, ONE, "de"), (8, TWO, "it")])
    watched = Watched(open_store(lake), look or (lambda: None), last)
    with patch.context() as context:
        context.setattr(publishing, "open_store", lambda _, **__: watched)
        try:
            writing.publish(target, outputs)
        except Killed:
            pass
    return target, outputs, watched.count


NEW = Counter([(9, ONE, "de"), (8, TWO, "it"), OLD[4]])


@pytest.mark.slow
def test_every_moment_of_replacing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = str(tmp_path / "whole")
    _, _, count = published(
        whole, -1, monkeypatch, lambda: _either(by_manifest(whole), by_folder(whole))
    )
    assert by_both(whole) == NEW
    assert count > 8
    for last in range(count):
        lake = str(tmp_path / str(last))
        target, outputs, _ = published(lake, last, monkeypatch)
        begun = by_manifest(lake) == NEW
        assert begun or by_manifest(lake) == Counter(OLD)
        if last % 2:
            # Another run of one of the days comes first, and finishes what it finds.
            later = to_parquet(lake, replace={"day": TWO})
            writing.publish(later, wrote(later, "run-3", [(7, TWO, "cn")]))
            rest = [OLD[0], OLD[1]] if not begun else [(9, ONE, "de")]
            assert by_both(lake) == Counter([*rest, (7, TWO, "cn"), OLD[4]])
            if begun:
                writing.publish(target, outputs)
                assert by_both(lake) == Counter([*rest, (7, TWO, "cn"), OLD[4]])
        else:
            writing.publish(target, outputs)
            assert by_both(lake) == NEW
        assert not open_store(lake).list("_staging") or (last % 2 and not begun)


def _either(listed: Counter[Any], seen: Counter[Any]) -> None:
    assert listed in (Counter(OLD), NEW)
    assert listed == NEW or seen == Counter(OLD)
    assert all(count == 1 for count in seen.values())
    for day in (ONE, TWO):
        here = {row for row in seen if row[1] == day}
        assert here <= set(OLD) or here <= NEW.keys(), "old rows and new ones of one day"


@pytest.mark.parametrize("seed", range(6))
def test_two_runs_of_a_day_that_are_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Whatever is cut off, and whichever run continues: one of the two is there, whole."""
    lake, random = str(tmp_path / "lake"), Random(seed)
    write(OLD, to_parquet(lake))
    target = to_parquet(lake, replace={"day": ONE})
    rows = [
        [(10 * run + n, ONE, c) for n, c in enumerate(cs)] for run, cs in enumerate(["ad", "db"])
    ]
    outputs = [wrote(target, f"run-{number}", each) for number, each in enumerate(rows)]

    def attempts(mine: list[Any]) -> None:
        for _ in range(4):
            with suppress(Killed):
                writing.publish(target, mine)

    with monkeypatch.context() as patch:
        patch.setattr(
            publishing,
            "open_store",
            lambda uri, **_: Watched(open_store(uri), lambda: None, random.randrange(16)),
        )
        together(*[lambda mine=mine: attempts(mine) for mine in outputs])
    listed = by_manifest(lake)
    assert Counter({r: n for r, n in listed.items() if r[1] == ONE}) in [
        Counter(each) for each in (OLD[:2], *rows)
    ]
    together(*[lambda mine=mine: writing.publish(target, mine) for mine in outputs])
    assert by_both(lake) in [Counter([*each, *OLD[2:]]) for each in rows]
    assert not open_store(lake).list("_staging")


CELLS = st.sampled_from(
    [(day, country) for day in (ONE, TWO, None) for country in ("de", "cn", None)]
)
VALUES = {"day": [ONE, TWO, THREE, None], "country": ["de", "cn", "fr", None]}
SCOPES = st.dictionaries(st.sampled_from(BY), st.integers(0, 3), min_size=1)


@settings(max_examples=3)
@given(before=st.lists(CELLS), after=st.lists(CELLS), scope=SCOPES)
def test_what_is_left_is_what_was_not_named(
    tmp_path_factory: pytest.TempPathFactory,
    before: list[Any],
    after: list[Any],
    scope: dict[str, int],
) -> None:
    check_scope(tmp_path_factory, to_parquet, by_both, before, after, scope)


@pytest.mark.slow
@KINDS
def test_what_is_left_is_what_was_not_named_often(
    tmp_path_factory: pytest.TempPathFactory, to: To, read: Read
) -> None:
    @settings(max_examples=80)
    @given(before=st.lists(CELLS, min_size=1), after=st.lists(CELLS), scope=SCOPES)
    def check(before: list[Any], after: list[Any], scope: dict[str, int]) -> None:
        check_scope(tmp_path_factory, to, read, before, after, scope)

    check()


def check_scope(
    folders: pytest.TempPathFactory,
    to: To,
    read: Read,
    before: Iterable[Any],
    after: Iterable[Any],
    scope: dict[str, int],
) -> None:
    lake = str(folders.mktemp("lake"))
    replace = {name: VALUES[name][number] for name, number in scope.items()}

    def named(row: tuple[int, Any, Any]) -> bool:
        values = dict(zip(BY, row[1:], strict=True))
        return all(values[name] == value for name, value in replace.items())

    old: Rows = [(n, *cell) for n, cell in enumerate(before)]
    new: Rows = [(n, *cell) for n, cell in enumerate(after, 100)]
    write(old, to(lake, mode="append"))
    if any(not named(row) for row in new):
        with pytest.raises(RunError, match="and replace= names"):
            write(new, to(lake, replace=replace))
        new = [row for row in new if named(row)]
    write(new, to(lake, replace=replace))
    assert read(lake) == Counter([row for row in old if not named(row)] + new)


def test_processes_that_replace_one_day(tmp_path: Path) -> None:
    """Whole runs, from many threads, on local workers."""
    lake = str(tmp_path / "lake")
    write(OLD, to_parquet(lake))

    def night(number: int) -> Any:
        shards = [[(100 * number + i, ONE, f"{number}")] for i in range(3)]
        try:
            return write(shards, to_parquet(lake, replace={"day": ONE}))
        except MapredError as error:  # pragma: no cover
            return error

    with ThreadPoolExecutor(4) as pool:
        assert {type(each) for each in pool.map(night, range(4))} == {writing.Written}
    seen = Counter({row: n for row, n in by_both(lake).items() if row[1] == ONE})
    assert seen in [Counter((100 * n + i, ONE, f"{n}") for i in range(3)) for n in range(4)]
