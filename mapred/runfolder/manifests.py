"""The end of a run: its last word, and the list of outputs that its result is read from.

The last word of a run that succeeded names the SHA-256 of its job and of the list, so that what
is read later is what stood there then. The list follows from the commits: one that is lost is
made again from them.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from mapred.errors import RecordError, RunError, StorageError
from mapred.model import layout
from mapred.model.coding import StageName, Tasks, decode, encode
from mapred.model.frozen import dataclass
from mapred.model.records import Commit, Output, StoredFile
from mapred.model.spec import Job
from mapred.runfolder import records
from mapred.runfolder.records import read_commits, read_end, read_given_up
from mapred.storage import Store

_INLINE_TOTAL = 8 * 2**20
_TRIES = 3


class Listed(NamedTuple):
    """What a task of the last stage gave; no output where it was given up."""

    task: Tasks
    output: Output | None
    files: tuple[StoredFile, ...]


@dataclass(frozen=True)
class Manifest:
    """The outputs of the last stage, in order."""

    stage: StageName
    tasks: tuple[Listed, ...]


def finish(
    store: Store,
    job: Job,
    state: str,
    message: str,
    commits: Mapping[int, Commit | None] | None = None,
    when: float | None = None,
) -> str:
    """Write the manifest of a run that succeeded and the last word; the word that stands.

    `commits` are those of the last stage that are known already. A run whose last stage
    lacks a commit does not succeed, whatever an engine says. `when` it ended is now if not given.
    """
    ended = time.time() if when is None else when
    word = records.End(state, message, ended)  # type: ignore[arg-type]
    if state == "succeeded":
        manifest = write(store, job, commits or {})
        word = replace(word, job=_sha256(_job_data(store)), manifest=_sha256(manifest))
    data = encode(word)
    if store.put_if_absent(layout.END, data):
        return state
    standing = read_end(store)
    if standing is not None:
        return str(standing["state"])
    store.write(layout.END, data)  # one that cannot be read was in the way
    return state


def write(store: Store, job: Job, known: Mapping[int, Commit | None]) -> bytes:
    """Put the manifest, and see that it stands: what another driver put says the same.

    Anything else that lies there is damaged, or of another life of the run: it is replaced.
    """
    data = made(store, job, known)
    for _ in range(_TRIES):
        if store.put_if_absent(layout.MANIFEST, data):
            return data
        with suppress(FileNotFoundError):
            if store.read(layout.MANIFEST, 0, len(data) + 1) == data:
                return data
            store.write(layout.MANIFEST, data)
    raise StorageError(
        f"{store.uri}/{layout.MANIFEST} was refused as existing {_TRIES} times, and is not what "
        "the commits say; resume the run"
    )


def made(store: Store, job: Job, known: Mapping[int, Commit | None]) -> bytes:
    """The outputs of every task of the last stage, in order, from the commits."""
    stage = job.stages[-1]
    given_up = read_given_up(store) if stage.kind == "map" and job.max_failed else {}
    lost = {index for index, items in given_up.items() if items is None}
    unknown = [i for i in range(stage.tasks) if i not in lost and known.get(i) is None]
    read = read_commits(store, stage.name, unknown)
    entries: list[Listed] = []
    room = _INLINE_TOTAL
    for index in range(stage.tasks):
        if index in lost:
            entries.append(Listed(index, None, ()))
            continue
        commit = known.get(index) or next(read)
        if commit is None:
            raise RunError(f"{store.uri}: task {index} of {stage.name} was never committed")
        output = commit.output
        room -= len(output.inline or "")
        if room < 0 and output.inline:
            output = replace(output, inline="")
        entries.append(Listed(index, output, commit.files))
    return encode(Manifest(stage.name, tuple(entries)))


@dataclass(frozen=True)
class Ending:
    """What lies there of the end of a run that succeeded, and what its last word names.

    `listed` is None where the manifest is gone or cannot be read. The digests that the last word
    names are "" where an earlier version wrote it.
    """

    job: str
    word_job: str
    manifest: str
    word_manifest: str
    listed: Sequence[Listed] | None

    @property
    def same_job(self) -> bool:
        return self.word_job in ("", self.job)

    @property
    def same_manifest(self) -> bool:
        return self.word_manifest in ("", self.manifest)


def ending(store: Store) -> Ending:
    """Look at the end of a run."""
    word = read_end(store) or {}
    data, listed = b"", None
    if word.get("state") == "succeeded":  # no other run has a manifest
        with suppress(FileNotFoundError):
            data = records.read_data(store, layout.MANIFEST)
            listed = _parsed(store, data)
    told = str(word.get("job") or ""), str(word.get("manifest") or "")
    return Ending(_sha256(_job_data(store)), told[0], _sha256(data), told[1], listed)


def has_its_job(store: Store) -> bool:
    """Whether job.json is the one that a run ended with; nothing but the two is read."""
    word = read_end(store) or {}
    return word.get("job") in (None, "", _sha256(_job_data(store)))


def read(store: Store, job: Job) -> list[Listed]:
    """What every task of the last stage of a run that succeeded gave, and its files.

    A `RunError` where the job or the manifest is not the one that the run ended with. A
    manifest that is lost or emptied, as after a power cut, is made again from the commits.
    """
    found = _of_the_same_job(store)
    listed = found.listed
    if listed is None:
        listed = _made_again(store, job, found)
    elif not found.same_manifest:
        raise RunError(
            f"{store.uri}/{layout.MANIFEST} is not what it was when the run ended: someone changed "
            f"it; to make it again from the commits:\n"
            f"import mapred; mapred.open({store.uri!r}).resume()"
        )
    return list(_completed(store, job, listed))


def whole(store: Store, job: Job) -> bool:
    """Whether a run that succeeded has its manifest and the commits that it lists."""
    found = _of_the_same_job(store)
    if found.listed is None or not found.same_manifest:
        return False
    there = set(records.committed(store, job.stages[-1].name))
    return all(output is None or index in there for index, output, _ in found.listed)


def _of_the_same_job(store: Store) -> Ending:
    found = ending(store)
    if not found.same_job:
        raise RunError(
            f"{store.uri}/{layout.JOB} is not what it was when the run ended (SHA-256 {found.job}, "
            f"and {layout.END} names {found.word_job}): someone changed it; start a new run"
        )
    return found


def _made_again(store: Store, job: Job, found: Ending) -> Sequence[Listed]:
    data = made(store, job, {})
    if found.word_manifest not in ("", _sha256(data)):
        raise RunError(
            f"{store.uri}/{layout.MANIFEST} is gone, and the commits do not say what it said: a task "
            f"ran again, or someone changed its commit; to end the run anew:\n"
            f"import mapred; mapred.open({store.uri!r}).resume()"
        )
    with suppress(StorageError):  # where the root is read-only, the result can still be read
        store.write(layout.MANIFEST, data)
    return decode(Manifest, data, layout.MANIFEST).tasks


def _parsed(store: Store, data: bytes) -> Sequence[Listed] | None:
    """The entries of a manifest; None where it is none that can be read."""
    try:
        return records.decoded(store, layout.MANIFEST, Manifest, data).tasks
    except RecordError as error:
        if error.newer:
            raise
        return None


def _completed(store: Store, job: Job, listed: Sequence[Listed]) -> list[Listed]:
    """The entries, with the values from their commits that were too much for the manifest."""
    short = [index for index, output, _ in listed if _left_out(output)]
    commits = read_commits(store, job.stages[-1].name, short)
    found: list[Listed] = []
    for index, output, files in listed:
        if output is not None and _left_out(output):
            commit = next(commits)
            if commit is None:
                raise RunError(f"{store.uri}: the commit of task {index} is gone")
            kept = commit.output
            if (kept.size, kept.crc32, kept.count) != (output.size, output.crc32, output.count):
                raise RunError(
                    f"{store.uri}: the commit of task {index} is not the one that the run ended with"
                )
            output = kept
        found.append(Listed(index, output, files))
    return found


def _left_out(output: Output | None) -> bool:
    """Whether a value that its commit holds was too much for the manifest."""
    return output is not None and output.kind == "inline" and not output.inline


def _job_data(store: Store) -> bytes:
    try:
        return records.read_data(store, layout.JOB)
    except FileNotFoundError:
        raise StorageError(f"{store.uri}/{layout.JOB} is gone: there is no such run") from None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
