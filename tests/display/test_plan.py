from __future__ import annotations

import time

import numpy as np
import pytest

from mapred.display import Column, plan_html, plan_text, sparkline

GOLDEN = """\
Plan of s3://logs/2026/*.txt (text)
  1,234 files, 123 MB in 4 shards, 4 tasks
  limit    target_bytes = 16 MB
  shards   smallest 3 MB, median 40 MB, largest 40 MB
           ███▁
  largest files
       40 MB  s3://logs/2026/a.txt
      900 kB  s3://logs/2026/b c#%?.txt
  cannot be split
    12 files, 40 MB: gzip text
    1 file, 9 B: newlines_in_values=True"""


def test_golden_text(sample) -> None:
    summary = sample.plan(
        [40_000_000, 40_000_000, 40_000_000, 3_000_000],
        largest_files=(
            ("s3://logs/2026/a.txt", 40_000_000),
            ("s3://logs/2026/b c#%?.txt", 900_000),
        ),
        unsplittable=((12, 40_000_000, "gzip text"), (1, 9, "newlines_in_values=True")),
    )
    assert plan_text(summary) == GOLDEN


def test_html_says_what_the_text_says(sample) -> None:
    summary = sample.plan([40_000_000, 16_000_000, 3_000_000], unsplittable=((2, 9, "gzip text"),))
    tree = sample.parse(plan_html(summary))
    for said in ("s3://logs/2026/*.txt", "1,234 files", "3 shards", "target_bytes", "gzip text"):
        assert said in tree.text
    assert "shard 0: 40 MB" in tree.text
    (picture,) = [attrs for attrs in tree.named("svg") if "role" in attrs]
    assert picture["role"] == "img"
    assert "3 shards" in str(picture["aria-label"])
    assert "2.5 × the median" in tree.text


def test_columns_and_types_are_shown(sample) -> None:
    columns = (
        Column("id", "uint64"),
        Column("note <b>", "string", "no value in the sample; give its type by schema="),
        Column("day", "int64", "from the folders' names"),
    )
    summary = sample.plan([5], columns=columns)
    assert plan_text(summary).splitlines()[3:] == [
        "  columns",
        "    id        uint64",
        "    note <b>  string  (no value in the sample; give its type by schema=)",
        "    day       int64  (from the folders' names)",
    ]
    said = sample.parse(plan_html(summary)).text
    for word in ("3 columns, 2 with a note", "id", "uint64", "note <b>", "from the folders' names"):
        assert word in said


def test_of_very_many_columns_the_first_are_shown(sample) -> None:
    columns = tuple(Column(f"c{number}", "int64") for number in range(1000))
    lines = plan_text(sample.plan([5], columns=columns)).splitlines()
    assert len(lines) == 45
    assert lines[-1] == "    and 960 more columns"
    assert "c40" not in plan_html(sample.plan([5], columns=columns))


def test_no_shards_and_no_bytes(sample) -> None:
    for summary in (
        sample.plan([], files=0),
        sample.plan([0] * 10, files=0, items=10, dataset="array(10)", format="array"),
    ):
        tree = sample.parse(plan_html(summary))
        assert not tree.named("svg")
    assert "10 items in 10 shards, 10 tasks" in plan_text(summary)
    assert "0 B in 0 shards" in plan_text(sample.plan([], files=0))


def test_one_shard_needs_no_comparison(sample) -> None:
    assert not sample.parse(plan_html(sample.plan([5]))).named("svg")
    assert "smallest" not in plan_text(sample.plan([5]))


def test_equal_shards_are_told_once(sample) -> None:
    assert "  shards   5 B each\n" in plan_text(sample.plan([5, 5, 5]))
    assert not sample.parse(plan_html(sample.plan([5, 5, 5]))).named("svg")


def test_shards_of_items_are_counted_in_items(sample) -> None:
    summary = sample.plan([1, 1, 3], unit="item", bytes=0, items=5)
    assert "smallest 1 item, median 1 item, largest 3 items" in plan_text(summary)
    said = sample.parse(plan_html(summary)).text
    assert "shard 2: 3 items" in said
    assert " B" not in said


def test_few_shards_stand_side_by_side(sample) -> None:
    first, second = sample.parse(plan_html(sample.plan([5, 4]))).named("rect")
    gap = float(str(second["x"])) - float(str(first["x"])) - float(str(first["width"]))
    assert 0 < gap < 300  # of 10,000


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ("target_bytes=262144", "target_bytes=262144 (262 kB)"),
        ("target_bytes=1048576 (default)", "target_bytes=1048576 (1.05 MB, default)"),
        ("target_bytes=200", "target_bytes=200"),
        ("max_tasks=10000 (default)", "max_tasks=10000 (default)"),
    ],
)
def test_a_long_count_of_bytes_is_told_in_a_unit(sample, limit: str, told: str) -> None:
    summary = sample.plan([5], limit=limit)
    assert f"  limit    {told}\n" in plan_text(summary) + "\n"
    assert f"limit: {told}" in sample.parse(plan_html(summary)).text


def test_what_a_path_says_is_escaped(sample) -> None:
    summary = sample.plan(
        [1],
        dataset=sample.evil,
        format="<i>",
        limit=sample.evil,
        largest_files=((sample.evil, 1),),
        unsplittable=((1, 1, sample.evil),),
    )
    source = plan_html(summary)
    tree = sample.parse(source)
    assert not tree.named("script")
    assert not tree.named("i")
    assert tree.text.count("<script>") == 4
    for text in (source, plan_text(summary)):
        assert not {"\x1b", "\u202e", "\udcff", "\r"} & set(text)


def test_a_hundred_thousand_shards_are_quick_and_small(sample) -> None:
    sizes = np.random.default_rng(0).integers(1, 20_000_000, 100_000)
    sizes[70_123] = 500_000_000
    summary = sample.plan(sizes)
    began = time.perf_counter()
    source, text = plan_html(summary), plan_text(summary)
    assert time.perf_counter() - began < 5
    assert len(source) < 100_000
    tree = sample.parse(source)
    assert "largest 500 MB" in tree.text
    assert text.split("\n")[-1].count("█") == 1  # the one large shard stands out


def test_plan_order_is_kept(sample) -> None:
    text = plan_text(sample.plan(np.arange(1, 9)))
    assert text.endswith("▁▂▃▄▅▆▇█")


def test_sparkline() -> None:
    assert sparkline([]) == ""
    assert sparkline([0, 0]) == "··"
    assert sparkline([0, 1, 8]) == "·▁█"
