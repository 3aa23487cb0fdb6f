"""Count the words in the sources of Python's standard library.

Run as a script, it prints the plan and the timeline as well.

    mapred run recipes/word_count.py
    python recipes/word_count.py
"""

import re
import sysconfig
from collections import Counter
from pathlib import Path

import mapred

LIBRARY = Path(sysconfig.get_path("stdlib"))
SOURCES = [path for path in LIBRARY.rglob("*.py") if "site-packages" not in path.parts]


def count_words(lines):
    return Counter(word for line in lines for word in re.findall(r"\w+", line))


job = mapred.job(
    count_words,
    # Some tests of the library are in other encodings than UTF-8, on purpose.
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
