"""Count the words in the standard library's own sources.

mapred run recipes/word_count.py
python recipes/word_count.py          # prints the plan and a timeline as well
python recipes/word_count.py --backend dask     # or a name from mapred.toml
"""

from __future__ import annotations

import argparse
import os
import re
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import fsspec

import mapred

LIBRARY = Path(sysconfig.get_path("stdlib"))
SOURCES = [str(path) for path in LIBRARY.rglob("*.py") if "site-packages" not in path.parts]

# Pods read from a bucket: RECIPES=s3://bucket/recipes mapred run … --backend argo
BUCKET = os.environ.get("RECIPES")
if BUCKET:
    names = [str(Path(path).relative_to(LIBRARY)) for path in SOURCES]
    copies = [f"{BUCKET}/library/{name}" for name in names]
    store, _ = fsspec.url_to_fs(BUCKET)
    if len(store.find(f"{BUCKET}/library")) < len(copies):
        store.put(SOURCES, copies)
    SOURCES = [f"{BUCKET}/library/**/*.py"]


def count_words(lines: Iterator[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update(re.findall(r"\w+", line))
    return counts


job = mapred.job(
    count_words,
    # Some of the library's tests are written in other encodings than UTF-8, on purpose.
    mapred.read_text(SOURCES, errors="replace"),
    reduce=mapred.reducers.merge_counts,
    target_bytes="2Mi",
)

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", default="local")
    print(job.plan())
    run = job.run(backend=parser.parse_args().backend)
    for word, count in run.result().most_common(20):
        print(f"{count:>9,} {word}")
    print(run)
