"""Each recipe, run as its reader would run it, and on Dask and S3."""

from __future__ import annotations

import gzip
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest
from moved_recipes import (
    FOLDER,
    PIPELINES,
    RECIPES,
    SAMPLE_DATA,
    answer,
    job_over,
    pipeline_over,
    run,
)

import mapred

PARAMETERS = {"parquet_etl": ["--param", "lake=lake"]}


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a reader tries the recipes."""
    folder = tmp_path_factory.mktemp("recipes")
    run(folder, str(SAMPLE_DATA))
    return folder


def printed_by(name: str, folder: Path) -> str:
    return run(folder, str(FOLDER / f"{name}.py"))


@pytest.mark.parametrize("recipe", [*RECIPES, *PIPELINES], ids=lambda path: path.stem)
def test_recipe_is_short_and_says_what_it_is(recipe: Path) -> None:
    source = recipe.read_text()
    assert source.startswith('"""')
    assert 15 <= len(source.splitlines()) <= 50
    command = "python" if recipe in PIPELINES else "mapred run"
    assert f"{command} recipes/{recipe.name}" in source
    scaffolding = re.findall("environ|argparse|fsspec|tempfile", source)
    assert not scaffolding, "a recipe is what its reader would write"


@pytest.mark.slow
def test_word_count(data: Path) -> None:
    printed = printed_by("word_count", data)
    counts = re.findall(r"^ *([\d,]+) (\w+)$", printed, re.M)
    assert len(counts) == 20
    library = Path(os.__file__).parent
    expected: Counter[str] = Counter()
    for path in library.rglob("*.py"):
        if "site-packages" not in path.parts:
            text = path.read_bytes().decode(errors="replace")
            expected.update(re.findall(r"\w+", text))
    assert [(word, int(count.replace(",", ""))) for count, word in counts] == (
        expected.most_common(20)
    )


@pytest.mark.slow
def test_monte_carlo_pi(data: Path) -> None:
    printed = printed_by("monte_carlo_pi", data)
    means = {
        int(p.replace(",", "")): float(m)
        for p, m in re.findall(r"^ *([\d,]+) points: ([\d.]+)", printed, re.M)
    }
    assert sorted(means) == [10_000, 100_000, 1_000_000]
    assert all(abs(mean - 3.14159) < 0.02 for mean in means.values())


@pytest.mark.slow
def test_parquet_stats(data: Path) -> None:
    printed = printed_by("parquet_stats", data)
    trips = ds.dataset(data / "trips").to_table(filter=pc.field("fare") > 1)
    expected = [
        f"{city}: {len(fares):,} trips, mean {sum(fares) / len(fares):.2f}"
        for city in ("Lima", "Oslo", "Pune")
        for fares in [trips.filter(pc.field("city") == city)["fare"].to_pylist()]
    ]
    assert printed.splitlines()[-3:] == expected


def test_array_job(data: Path) -> None:
    printed = printed_by("array_job", data)
    assert printed.splitlines()[-4:] == [
        "task 0 ordered red paint",
        "task 1 ordered green paint",
        "task 2 ordered blue paint",
        "task 3 ordered yellow paint",
    ]


@pytest.mark.slow
def test_log_count(data: Path) -> None:
    printed = printed_by("log_count", data).splitlines()
    expected: dict[tuple[str, str], list[int]] = {}
    broken = 0
    for file in sorted((data / "logs").iterdir()):
        for line in file.read_text().splitlines():
            parts = line.split('"')
            if len(parts) < 4:
                broken += 1
                continue
            status, size = parts[2].split()
            found = expected.setdefault((status, parts[1].split()[1].split("?")[0]), [0, 0])
            found[0] += 1
            found[1] += int(size)
    rows = [line.split() for line in printed[-1 - len(expected) : -1]]
    assert {
        (row[0], row[1]): [int(number.replace(",", "")) for number in row[2:]] for row in rows
    } == expected
    assert printed[-1] == f"lines not understood: {broken}"


@pytest.mark.slow
def test_kmer_count(data: Path) -> None:
    printed = printed_by("kmer_count", data).splitlines()
    expected: Counter[str] = Counter()
    for file in (data / "reads").iterdir():
        for read in gzip.decompress(file.read_bytes()).decode().splitlines()[1::4]:
            words = (read[at : at + 11] for at in range(len(read) - 10))
            expected.update(word for word in words if "N" not in word)
    top = sorted(expected.items(), key=lambda pair: (-pair[1], pair[0]))[:5]
    assert printed[-6:] == [
        f"{len(expected):,} different 11-mers",
        *(f"{word} {count:,}" for word, count in top),
    ]


@pytest.mark.slow
def test_tree_reduce(data: Path) -> None:
    printed = printed_by("tree_reduce", data).splitlines()
    assert printed[-5:-1] == ["map: 512", "reduce-1: 64", "reduce-2: 8", "reduce-3: 1"]
    assert printed[-1].endswith("in 20,480 observations")


@pytest.mark.slow
def test_parquet_etl(data: Path) -> None:
    for _ in range(2):  # the second run replaces what the first one wrote
        printed = printed_by("parquet_etl", data).splitlines()
        raw = ds.dataset(data / "lake/raw").to_table()
        valid = raw.filter((pc.field("cents") > 0) & (pc.field("country") != ""))
        refused = len(raw) - len(valid)
        assert printed[-2:] == [
            f"{len(valid):,} rows in 9 partitions",
            f"{refused:,} rows refused",
        ]
        written = ds.dataset(data / "lake/orders", partitioning="hive").to_table().sort_by("id")
        valid = valid.sort_by("id")
        assert written["id"].to_pylist() == valid["id"].to_pylist()
        cents = [round(price * 100) for price in written["price"].to_pylist()]
        assert cents == valid["cents"].to_pylist()
        assert set(written["country"].to_pylist()) == {"DE", "FR", "PT"}


@pytest.mark.slow
def test_pipeline_diamond(data: Path) -> None:
    trips = ds.dataset(data / "trips").to_table(filter=pc.field("fare") > 1)
    expected = []
    for by in ("city", "driver"):
        sums = trips.group_by(by).aggregate([("fare", "sum")]).sort_by([("fare_sum", "descending")])
        best = sums[:1].to_pylist()[0]
        expected.append(f"{by} {best[by]} took {best['fare_sum']:,.0f}")
    assert printed_by("pipeline_diamond", data).splitlines()[-2:] == expected


def valid_orders(folder: Path) -> tuple[int, int]:
    """How many orders there are, and how many of these are not broken."""
    raw = ds.dataset(folder / "lake/raw").to_table()
    return len(raw), len(raw.filter((pc.field("cents") > 0) & (pc.field("country") != "")))


@pytest.mark.slow
def test_pipeline_condition(data: Path) -> None:
    rows, valid = valid_orders(data)
    assert printed_by("pipeline_condition", data).splitlines()[-2:] == [
        f"{rows - valid:,} of {rows:,} orders are broken: nothing is written",
        f"{valid:,} of {rows:,} orders are written",
    ]
    assert len(ds.dataset(data / "lake/checked").to_table()) == valid


@pytest.mark.slow
def test_pipeline_loop(data: Path) -> None:
    fares = ds.dataset(data / "trips").to_table()["fare"].to_numpy()
    centres, steps, moved = np.array([5.0, 15.0, 40.0]), 0, np.inf
    while moved > 0.05:
        nearest = np.abs(fares[:, None] - centres).argmin(axis=1)
        means = np.array([fares[nearest == group].mean() for group in range(3)])
        centres, steps, moved = means, steps + 1, np.abs(means - centres).max()
    assert printed_by("pipeline_loop", data).splitlines()[-2:] == [
        "centres: " + " ".join(f"{centre:.1f}" for centre in centres),
        f"steps: {steps}",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("word", ["y", "n"])
def test_pipeline_gate(data: Path, word: str) -> None:
    rows, valid = valid_orders(data)
    printed = run(data, str(FOLDER / "pipeline_gate.py"), typed=f"{word}\n")
    assert f"{rows - valid:,} orders are broken: publish the others? [y/n]" in printed
    end = f"{valid:,} orders are published" if word == "y" else "nothing is published"
    assert printed.rstrip().endswith(end)
    if word == "y":
        assert len(ds.dataset(data / "lake/published").to_table()) == valid


@pytest.mark.slow
@pytest.mark.parametrize("recipe", PIPELINES, ids=lambda path: path.stem)
def test_a_pipeline_gives_the_same_from_a_bucket_and_when_it_is_resumed(
    recipe: Path, data: Path, tmp_path: Path, s3_root: str
) -> None:
    here = pipeline_over(recipe, data, str(tmp_path))
    there = pipeline_over(recipe, data, s3_root, root=f"{s3_root}/runs")
    assert there.result() == here.result()
    runs = [each.uri for each in there.runs]
    there.store.delete("end.json")  # as if its driver had died before it wrote the end
    again = mapred.open(there.uri).resume()
    assert again.result() == here.result()
    assert [each.uri for each in again.runs] == runs


@pytest.mark.slow
@pytest.mark.parametrize("name", ["log_count", "kmer_count", "tree_reduce", "parquet_etl"])
def test_recipe_gives_the_same_on_dask(
    name: str, data: Path, tmp_path: Path, dask_scheduler: str
) -> None:
    job = job_over(FOLDER / f"{name}.py", data, str(tmp_path))
    here = answer(job.run(progress="none"))
    assert answer(job.run(progress="none", backend=mapred.Dask(dask_scheduler))) == here


@pytest.mark.slow
@pytest.mark.parametrize("name", ["log_count", "parquet_etl", "word_count"])
def test_recipe_gives_the_same_from_a_bucket(
    name: str, data: Path, tmp_path: Path, s3_root: str
) -> None:
    recipe = FOLDER / f"{name}.py"
    here = answer(job_over(recipe, data, str(tmp_path)).run(progress="none"))
    there = job_over(recipe, data, s3_root).run(progress="none", root=f"{s3_root}/runs")
    assert answer(there) == here
    assert there.audit().ok


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_command_line_runs_it(recipe: Path, data: Path) -> None:
    run(data, "-m", "mapred", "run", str(recipe), *PARAMETERS.get(recipe.stem, []))
