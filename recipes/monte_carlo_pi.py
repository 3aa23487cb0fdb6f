"""Estimate pi by throwing points at a square: a sweep over sample sizes, with repeats.

Each of the 24 calls draws from a generator of its own, so the answer does not
depend on how many processes share the work.

    mapred run recipes/monte_carlo_pi.py
    python recipes/monte_carlo_pi.py --backend dask     # or a name from mapred.toml
"""

from __future__ import annotations

import argparse

import mapred


def estimate(points: int, repeat: int, task: mapred.Task) -> float:
    x, y = task.rng.random((2, points))
    return float(4 * (x * x + y * y < 1).mean())


job = mapred.job(
    estimate,
    mapred.sweep(points=[10_000, 100_000, 1_000_000], repeats=8, seed=0),
)

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", default="local")
    table = job.run(backend=parser.parse_args().backend).to_arrow()
    summary = table.group_by("points").aggregate([("result", "mean"), ("result", "stddev")])
    for row in summary.to_pylist():
        print(f"{row['points']:>9,} points: {row['result_mean']:.4f} ± {row['result_stddev']:.4f}")
