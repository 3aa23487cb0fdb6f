"""Commands in this process and as a user starts them, and a file with jobs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

import mapred
from mapred.cli import main

LAUNCH = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv[0] = "mapred"
from mapred.cli import main
main()
"""


JOB = """
from __future__ import annotations

import time
from collections import Counter

import mapred
import scale

print("loading the file")

def count(lines):
    return Counter(word for line in lines for word in line.split())

def times(i: int, task: mapred.Task) -> int:
    print("item", i)
    task.count("items")
    return scale.FACTOR * i

def fails(i):
    if i == 1:
        raise ValueError("one is wrong")
    return i

def fixed(i):
    return -i

def waits(i):
    time.sleep(0.2)
    return i

job = mapred.job(times, mapred.array(6), reduce=mapred.reducers.sum)
alias = job
failing = mapred.job(fails, mapred.array(3), attempts=1)
waiting = mapred.job(waits, mapred.array(100))
"""


def call(*words: str | Path, code: int = 0) -> Result:
    """Run a command in this process, tasks included, and look at its exit code."""
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == code, done.output + repr(done.exception)
    return done


def run(*words: str | Path, code: int = 0) -> Result:
    return call("run", *words, "--backend", "inline", code=code)


def start(*words: str, **options: Any) -> subprocess.Popen[str]:
    """Start a command as a shell does; Ctrl-C reaches it even where the tests ignore it."""
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCH, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(mapred.__file__).parent.parent)},
        **options,
    )
