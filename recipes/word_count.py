"""Count the words in the standard library's own sources.

mapred run recipes/word_count.py
python recipes/word_count.py          # prints the plan and a timeline as well
"""

from __future__ import annotations

import re
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import mapred

LIBRARY = Path(sysconfig.get_path("stdlib"))
SOURCES = [str(path) for path in LIBRARY.rglob("*.py") if "site-packages" not in path.parts]


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
    print(job.plan())
    run = job.run()
    for word, count in run.result().most_common(20):
        print(f"{count:>9,} {word}")
    print(run)
