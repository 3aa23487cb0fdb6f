"""Each recipe, run as its reader would run it."""

from __future__ import annotations

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
    assert len(source.splitlines()) < 60
    assert f"mapred run recipes/{recipe.name}" in source


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


def test_monte_carlo_pi(root: Path, tmp_path: Path) -> None:
    printed = run(tmp_path, str(root / "recipes/monte_carlo_pi.py"))
    means = {
        int(p.replace(",", "")): float(m)
        for p, m in re.findall(r"^ *([\d,]+) points: ([\d.]+)", printed, re.M)
    }
    assert sorted(means) == [10_000, 100_000, 1_000_000]
    assert all(abs(mean - 3.14159) < 0.02 for mean in means.values())


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
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_command_line_runs_it(recipe: Path, tmp_path: Path) -> None:
    run(tmp_path, "-m", "mapred", "run", str(recipe))
