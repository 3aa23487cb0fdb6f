"""The end of a run: end.json, and the manifest of outputs that its result is read from.

The end.json of a run that succeeded names the SHA-256 of its job and of its manifest, so that a
later change of either is noticed. The manifest follows from the commits: one that is lost is made
again from them.
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
from mapred.model.coding import decode, encode
from mapred.model.fields import StageName, Tasks
from mapred.model.frozen import dataclass
from mapred.model.records import Commit, Output, StoredFile
from mapred.model.spec import Job
from mapred.runfolder.records import End, decode_record, read_data
from mapred.runfolder.run_records import RunRecords

_INLINE_TOTAL = 8 * 2**20
_TRIES = 3


class ManifestEntry(NamedTuple):
    """What a task of the last stage gave; no output if it was given up."""

    task: Tasks
    output: Output | None
    files: tuple[StoredFile, ...]


@dataclass(frozen=True)
class Manifest:
    """The outputs of the last stage, in order."""

    stage: StageName
    tasks: tuple[ManifestEntry, ...]


@dataclass(frozen=True)
class Ending:
    """The digests of job and manifest as they are, and as end.json names them (`named_…`).

    `listed` is None if the manifest is gone or cannot be read. Digests in an end.json of an
    earlier version are "".
    """

    job: str
    named_job: str
    manifest: str
    named_manifest: str
    listed: Sequence[ManifestEntry] | None

    @property
    def same_job(self) -> bool:
        return self.named_job in ("", self.job)

    @property
    def same_manifest(self) -> bool:
        return self.named_manifest in ("", self.manifest)


def _is_left_out(output: Output | None) -> bool:
    """Whether a value was left in its commit, as too large for the manifest."""
    return output is not None and output.kind == "inline" and not output.inline


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class EndRecords(RunRecords):
    """The records of a run's end."""

    def finish(
        self,
        job: Job,
        state: str,
        message: str,
        commits: Mapping[int, Commit | None] | None = None,
        when: float | None = None,
    ) -> str:
        """Write end.json, after the manifest if the run succeeded; return the state that stands.

        `commits` are those of the last stage that are known already. A run whose last stage
        lacks a commit does not succeed, whatever an engine says. `when` it ended defaults to now.
        """
        ended = time.time() if when is None else when
        word = End(state, message, ended)  # type: ignore[arg-type]
        if state == "succeeded":
            manifest = self._put(job, commits or {})
            word = replace(word, job=self._job_digest(), manifest=_sha256(manifest))
        return self.put_end(word).state

    def _put(self, job: Job, commits: Mapping[int, Commit | None]) -> bytes:
        """Put the manifest and return it; that of another driver is the same.

        Any other that lies there is damaged, or from before a resume: it is replaced.
        """
        data, store = self._build_manifest(job, commits), self.store
        for _ in range(_TRIES):
            if store.put_if_absent(layout.MANIFEST, data):
                return data
            with suppress(FileNotFoundError):
                if store.read(layout.MANIFEST, 0, len(data) + 1) == data:
                    return data
                store.write(layout.MANIFEST, data)
        raise StorageError(
            f"{store.uri}/{layout.MANIFEST} could not be put in {_TRIES} attempts, "
            "since one exists that does not match the commits; resume the run"
        )

    def _build_manifest(self, job: Job, commits: Mapping[int, Commit | None]) -> bytes:
        stage = job.stages[-1]
        given_up = self.given_up_tasks() if stage.kind == "map" and job.max_failed else {}
        lost = {index for index, items in given_up.items() if items is None}
        missing = [i for i in range(stage.tasks) if i not in lost and commits.get(i) is None]
        read = self.commits(stage.name, missing)
        entries: list[ManifestEntry] = []
        room = _INLINE_TOTAL
        for index in range(stage.tasks):
            if index in lost:
                entries.append(ManifestEntry(index, None, ()))
                continue
            commit = commits.get(index) or next(read)
            if commit is None:
                raise RunError(f"{self.uri}: task {index} of {stage.name} was never committed")
            output = commit.output
            room -= len(output.inline or "")
            if room < 0 and output.inline:
                output = replace(output, inline="")
            entries.append(ManifestEntry(index, output, commit.files))
        return encode(Manifest(stage.name, tuple(entries)))

    def read_ending(self) -> Ending:
        word = self.end()
        data, listed = b"", None
        if word is not None and word.state == "succeeded":  # no other run has a manifest
            with suppress(FileNotFoundError):
                data = self.manifest_data()
                listed = self._parse_manifest(data)
        named = ("", "") if word is None else (word.job, word.manifest)
        return Ending(self._job_digest(), named[0], _sha256(data), named[1], listed)

    def manifest_data(self) -> bytes:
        return read_data(self.store, layout.MANIFEST)

    def has_its_job(self) -> bool:
        """Whether job.json is the one that end.json names; reads these two alone."""
        word = self.end()
        return word is None or word.job in ("", self._job_digest())

    def outputs(self, job: Job) -> list[ManifestEntry]:
        """Return what every task of the last stage of a run that succeeded gave, and its files.

        Raises a `RunError` if the job or the manifest is not the one that the run ended with. A
        manifest that is lost or emptied, as by a power cut, is made again from the commits.
        """
        ending = self._read_checked_ending()
        listed = ending.listed
        if listed is None:
            listed = self._rebuild_manifest(job, ending)
        elif not ending.same_manifest:
            raise RunError(
                f"{self.uri}/{layout.MANIFEST} is not what it was when the run ended: someone "
                f"changed it; to make it again from the commits:\n"
                f"import mapred; mapred.open({self.uri!r}).resume()"
            )
        return self._fill_in_values(job, listed)

    def is_whole(self, job: Job) -> bool:
        """Whether a run that succeeded has its manifest and the commits that it lists."""
        ending = self._read_checked_ending()
        if ending.listed is None or not ending.same_manifest:
            return False
        committed = set(self.list_committed(job.stages[-1].name))
        return all(output is None or index in committed for index, output, _ in ending.listed)

    def _read_checked_ending(self) -> Ending:
        ending = self.read_ending()
        if not ending.same_job:
            raise RunError(
                f"{self.uri}/{layout.JOB} is not what it was when the run ended (SHA-256 "
                f"{ending.job}, and {layout.END} names {ending.named_job}): someone changed it; start "
                "a new run"
            )
        return ending

    def _rebuild_manifest(self, job: Job, ending: Ending) -> Sequence[ManifestEntry]:
        data = self._build_manifest(job, {})
        if ending.named_manifest not in ("", _sha256(data)):
            raise RunError(
                f"{self.uri}/{layout.MANIFEST} is gone, and the commits no longer match it: a task ran "
                f"again, or someone changed its commit; to finish the run again:\n"
                f"import mapred; mapred.open({self.uri!r}).resume()"
            )
        with suppress(StorageError):  # the result of a read-only root can be read as well
            self.store.write(layout.MANIFEST, data)
        return decode(Manifest, data, layout.MANIFEST).tasks

    def _parse_manifest(self, data: bytes) -> Sequence[ManifestEntry] | None:
        try:
            return decode_record(self.store, layout.MANIFEST, Manifest, data).tasks
        except RecordError as error:
            if error.newer:
                raise
            return None

    def _fill_in_values(self, job: Job, listed: Sequence[ManifestEntry]) -> list[ManifestEntry]:
        """Complete the entries by the values that were left in their commits."""
        short = [index for index, output, _ in listed if _is_left_out(output)]
        commits = self.commits(job.stages[-1].name, short)
        entries: list[ManifestEntry] = []
        for index, output, files in listed:
            if output is not None and _is_left_out(output):
                commit = next(commits)
                if commit is None:
                    raise RunError(f"{self.uri}: the commit of task {index} is gone")
                whole = commit.output
                before = output.size, output.crc32, output.count
                if (whole.size, whole.crc32, whole.count) != before:
                    raise RunError(
                        f"{self.uri}: the commit of task {index} is not the one that the run ended with"
                    )
                output = whole
            entries.append(ManifestEntry(index, output, files))
        return entries

    def _job_digest(self) -> str:
        try:
            return self.job_digest()
        except FileNotFoundError:
            raise StorageError(f"{self.uri}/{layout.JOB} is gone: there is no such run") from None
