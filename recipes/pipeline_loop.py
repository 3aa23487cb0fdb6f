"""A loop until it has converged: fares in three groups, by k-means.

How many jobs there will be is not known before. A pipeline that is killed continues with the
step that it had reached, as each step has the centres of the one before it in its function.

    python recipes/sample_data.py         # writes trips/
    python recipes/pipeline_loop.py
"""

import numpy as np
import pyarrow as pa

import mapred


def sums_around(centres: list[float]):
    def sums(trips: pa.Table) -> np.ndarray:
        fares = trips["fare"].to_numpy()
        nearest = np.abs(fares[:, None] - centres).argmin(axis=1)
        size = len(centres)
        return np.array(
            [np.bincount(nearest, fares, size), np.bincount(nearest, minlength=size)]
        )

    return sums


@mapred.pipeline
def groups(folder: str, centres: list[float], tolerance: float) -> list[float]:
    moved = np.inf
    while moved > tolerance:
        step = mapred.run(sums_around(centres), f"{folder}/*.parquet", reduce=sum)
        fares, count = step.result()
        moved = np.abs(fares / count - centres).max()
        centres = (fares / count).tolist()
    return centres


if __name__ == "__main__":
    run = groups.run("trips", [5.0, 15.0, 40.0], tolerance=0.05)
    print("centres:", *(f"{centre:.1f}" for centre in run.result()))
    print(f"steps: {len(run.runs)}")
