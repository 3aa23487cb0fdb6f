"""Compare what tasks returned, in files and commits, with the list that `result()` reads."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from mapred.client.audit.ending import Entries
from mapred.client.audit.files import Stored, crc32_text
from mapred.client.audit.problems import Problem
from mapred.model import layout
from mapred.model.records import Commit, Output, StoredFile


def iter_files(commit: Commit) -> Iterator[Stored]:
    """Yield the files that hold what a task returned."""
    where, output = f"{commit.stage} task {commit.task}", commit.output
    for file in commit.files:
        yield Stored(file.path, where, "its output", file.size, crc32_text(file.crc32), file.etag)
    if output.path is not None:
        yield Stored(
            output.path, where, "its output", output.size, crc32_text(output.crc32), output.etag
        )


def check_inline(commit: Commit) -> Iterator[Problem]:
    """Yield what is wrong with values that lie in the commit itself; nothing is unpickled."""
    output, where = commit.output, f"{commit.stage} task {commit.task}"
    try:
        data = base64.b64decode(output.inline or "", validate=True)
    except (binascii.Error, ValueError):
        yield Problem("changed", where, "the value in its commit is not base64")
        return
    # A commit without a checksum is one of an earlier version.
    if len(data) != output.size or output.crc32 not in (0, zlib.crc32(data)):
        yield Problem("changed", where, "the value in its commit is not what was committed")


def check_listed(
    entries: Entries, commit: Commit, check: Callable[[Stored], Problem | None]
) -> Iterator[Problem]:
    """Yield where the manifest differs from the commit of a task of the last stage.

    It may list the files of another attempt, if they hold the same; `check` looks at those.
    """
    _, output, files = entries.get(commit.task, (commit.task, None, ()))
    if not entries or (output, files) == (commit.output, commit.files):
        return
    if output is None or _values(output, files) != _values(commit.output, commit.files):
        where = f"{commit.stage} task {commit.task}"
        yield Problem("changed", where, f"{layout.MANIFEST} lists another output than its commit")
        return
    for file in iter_files(replace(commit, output=output, files=files)):
        problem = check(file)
        if problem is not None:
            yield problem


def _values(output: Output, files: Sequence[StoredFile]) -> tuple[Any, ...]:
    """Return what an output holds, but not where it lies."""
    kept = [(file.name, file.size, file.crc32) for file in files]
    return replace(output, path=None, etag=""), kept
