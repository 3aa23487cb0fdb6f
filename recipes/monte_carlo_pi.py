"""Estimate pi by throwing points at a square: a sweep over sample sizes, with repeats.

Each of the 24 calls has a random generator of its own, so the numbers are the same on one
worker and on a cluster.

    mapred run recipes/monte_carlo_pi.py
"""

import mapred


def estimate(points: int, repeat: int, task: mapred.Task) -> float:
    x, y = task.rng.random((2, points))
    return float(4 * (x * x + y * y < 1).mean())


grid = mapred.sweep(points=[10_000, 100_000, 1_000_000], repeats=8, seed=0)
job = mapred.job(estimate, grid)

if __name__ == "__main__":
    table = job.run().to_arrow()
    by_points = table.group_by("points")
    for row in by_points.aggregate(
        [("result", "mean"), ("result", "stddev")]
    ).to_pylist():
        mean, error = row["result_mean"], row["result_stddev"]
        print(f"{row['points']:>9,} points: {mean:.4f} ± {error:.4f}")
