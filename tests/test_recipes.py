"""Each recipe, run as its reader would run it."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.py"))


def run(folder: Path, *command: str) -> str:
    env = {**os.environ, "TMPDIR": str(folder), "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=env, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipe_is_short_and_says_what_it_is(recipe: Path) -> None:
    source = recipe.read_text()
    assert source.startswith('"""')
    assert len(source.splitlines()) <= 70
    assert f"mapred run recipes/{recipe.name}" in source


@pytest.mark.slow
def test_word_count(root: Path, tmp_path: Path) -> None:
    printed = run(tmp_path, str(root / "recipes/word_count.py"))
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
def test_monte_carlo_pi(root: Path, tmp_path: Path) -> None:
    printed = run(tmp_path, str(root / "recipes/monte_carlo_pi.py"))
    means = {
        int(p.replace(",", "")): float(m)
        for p, m in re.findall(r"^ *([\d,]+) points: ([\d.]+)", printed, re.M)
    }
    assert sorted(means) == [10_000, 100_000, 1_000_000]
    assert all(abs(mean - 3.14159) < 0.02 for mean in means.values())


@pytest.mark.slow
def test_parquet_stats(root: Path, tmp_path: Path) -> None:
    printed = run(tmp_path, str(root / "recipes/parquet_stats.py"))
    trips = ds.dataset(tmp_path / "mapred-recipes/trips").to_table(filter=pc.field("fare") > 1)
    expected = [
        f"{city}: {len(fares):,} trips, mean {sum(fares) / len(fares):.2f}"
        for city in ("Lima", "Oslo", "Pune")
        for fares in [trips.filter(pc.field("city") == city)["fare"].to_pylist()]
    ]
    assert printed.splitlines()[-3:] == expected


def test_array_job(root: Path, tmp_path: Path) -> None:
    printed = run(tmp_path, str(root / "recipes/array_job.py"))
    assert printed.splitlines()[-4:] == [
        "red was written 3 times",
        "green was written 5 times",
        "blue was written 7 times",
        "yellow was written 11 times",
    ]


@pytest.mark.slow
def test_log_count(root: Path, tmp_path: Path) -> None:
    printed = run(tmp_path, str(root / "recipes/log_count.py")).splitlines()
    expected: dict[tuple[str, str], list[int]] = {}
    broken = 0
    for file in sorted((tmp_path / "mapred-recipes/logs").iterdir()):
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
    assert printed[-1] == f"{broken} lines not understood"


@pytest.mark.slow
def test_kmer_count(root: Path, tmp_path: Path) -> None:
    printed = run(tmp_path, str(root / "recipes/kmer_count.py")).splitlines()
    expected: Counter[str] = Counter()
    for file in (tmp_path / "mapred-recipes/reads").iterdir():
        for read in gzip.decompress(file.read_bytes()).decode().splitlines()[1::4]:
            words = (read[at : at + 11] for at in range(len(read) - 10))
            expected.update(word for word in words if "N" not in word)
    top = sorted(expected.items(), key=lambda pair: (-pair[1], pair[0]))[:5]
    assert printed[-6:] == [
        f"{len(expected):,} different 11-mers",
        *(f"{word} {count:,}" for word, count in top),
    ]


@pytest.mark.slow
def test_tree_reduce(root: Path, tmp_path: Path) -> None:
    printed = run(tmp_path, str(root / "recipes/tree_reduce.py")).splitlines()
    assert [line.split()[:2] for line in printed[-5:-1]] == [
        ["map", "512"],
        ["reduce-1", "64"],
        ["reduce-2", "8"],
        ["reduce-3", "1"],
    ]
    assert printed[-1].endswith("in 20,480 observations")


@pytest.mark.slow
def test_parquet_etl(root: Path, tmp_path: Path) -> None:
    data = tmp_path / "mapred-recipes"
    for _ in range(2):  # the second run replaces what the first one wrote
        printed = run(tmp_path, str(root / "recipes/parquet_etl.py")).splitlines()
        raw = ds.dataset(data / "orders-raw").to_table()
        valid = raw.filter((pc.field("cents") > 0) & (pc.field("country") != ""))
        refused = len(raw) - len(valid)
        assert printed[-1] == f"{len(valid):,} rows in 9 partitions, {refused:,} refused"
        written = ds.dataset(data / "orders", partitioning="hive").to_table().sort_by("id")
        valid = valid.sort_by("id")
        assert written["id"].to_pylist() == valid["id"].to_pylist()
        cents = [round(price * 100) for price in written["price"].to_pylist()]
        assert cents == valid["cents"].to_pylist()
        assert set(written["country"].to_pylist()) == {"DE", "FR", "PT"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["log_count", "kmer_count", "tree_reduce", "parquet_etl"])
def test_recipe_prints_the_same_on_dask(
    name: str, root: Path, tmp_path: Path, dask_scheduler: str
) -> None:
    (tmp_path / "mapred.toml").write_text(f"[backend.dask]\naddress = '{dask_scheduler}'\n")
    recipe = str(root / f"recipes/{name}.py")
    assert run(tmp_path, recipe) == run(tmp_path, recipe, "--backend", "dask")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_command_line_runs_it(recipe: Path, tmp_path: Path) -> None:
    run(tmp_path, "-m", "mapred", "run", str(recipe))
