"""Each recipe, run as its reader would run it, and on Dask and S3."""

from __future__ import annotations

import gzip
import os
import re
from collections import Counter
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest
from moved_recipes import FOLDER, RECIPES, SAMPLE_DATA, answer, job_over, run

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


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipe_is_short_and_says_what_it_is(recipe: Path) -> None:
    source = recipe.read_text()
    assert source.startswith('"""')
    assert 15 <= len(source.splitlines()) <= 50
    assert f"mapred run recipes/{recipe.name}" in source
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
