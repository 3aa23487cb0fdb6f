"""An array job that is not Python: a shell script, run once for each line of a file.

The file travels with the job; the script takes the line at its own index, prints an answer
and leaves a file that is stored with the run.

    mapred run recipes/array_job.py
    python recipes/array_job.py --backend dask      # or a name from mapred.toml
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import mapred

LINES = ["red 3", "green 5", "blue 7", "yellow 11"]
SCRIPT = r"""
set -eu
line=$(sed -n "$((MAPRED_INDEX + 1))p" lines.txt)
set -- $line
i=0
while [ "$i" -lt "$2" ]; do echo "$1"; i=$((i + 1)); done > "$MAPRED_OUTPUT/words.txt"
echo "$1 was written $2 times"
"""

with tempfile.TemporaryDirectory() as folder:
    lines = Path(folder) / "lines.txt"
    lines.write_text("\n".join(LINES) + "\n")
    command = mapred.command(["sh", "-c", SCRIPT], files=[lines])

job = mapred.job(command, mapred.array(len(LINES)))

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", default="local")
    print("".join(job.run(backend=parser.parse_args().backend).result()), end="")
