"""What the tasks of a run leave in its folder: commits, failed attempts, logs, kept values."""

from __future__ import annotations

import itertools
import os
import uuid
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from mapred.errors import NotAFile, RecordError, StorageError
from mapred.model import layout
from mapred.model.failure import Failure
from mapred.model.records import Commit
from mapred.runfolder.files import Files
from mapred.runfolder.records import read
from mapred.storage import map_ahead


class TaskRecords(Files):
    def commit(self, stage: str, index: int) -> Commit | None:
        """Return the commit of a task; None if there is none, or none that can be read."""
        return self._commit_if_sound(layout.commit(stage, index))

    def sound_commit(self, stage: str, index: int) -> Commit | None:
        """Return the commit of a task or None; raise a `RecordError` if it is damaged."""
        try:
            return self._read_commit(layout.commit(stage, index))
        except FileNotFoundError:
            return None

    def _commit_if_sound(self, path: str) -> Commit | None:
        try:
            return self._read_commit(path)
        except (FileNotFoundError, NotAFile):
            return None
        except RecordError as error:
            if error.newer:
                raise
            return None

    def _read_commit(self, path: str, place: str = "") -> Commit:
        """Return the commit in a file, which has to be that of the task of its path, or `place`."""
        commit = read(self.store, path, Commit)
        if layout.commit(commit.stage, commit.task) != (place or path):
            raise RecordError(
                f"{self.uri}/{path} is the commit of {commit.stage} task {commit.task}"
            )
        return commit

    def stored_commit(self, stage: str, index: int) -> Commit:
        """Return what lies in the place of a task's commit, even that of another task."""
        return read(self.store, layout.commit(stage, index), Commit)

    def commits(self, stage: str, indices: Iterable[int]) -> Iterator[Commit | None]:
        """Yield the commits of many tasks, in the order of `indices`; None for one without."""
        return map_ahead(self.store, lambda index: self.commit(stage, index), indices)

    def list_committed(self, stage: str) -> list[int]:
        """Return the committed tasks of a stage, by one listing."""
        return [index for index, size in self._listed_commits(stage) if size]

    def committed_prefix(self, stage: str, wanted: list[int]) -> list[int]:
        """Return the wanted tasks up to the first one that is not committed."""
        root = self.store.local_path("")
        if root is not None:
            paths = (f"{root}{layout.commit(stage, i)}" for i in wanted)
            return wanted[: sum(1 for _ in itertools.takewhile(os.path.exists, paths))]
        committed = set(self.list_committed(stage))
        return list(itertools.takewhile(committed.__contains__, wanted))

    def _listed_commits(self, stage: str) -> Iterator[tuple[int, int]]:
        """Yield index and size of every file that has the name of a commit."""
        for path, size in self.store.list(layout.commits(stage)):
            index = layout.index_of(path)
            if index is not None and path == layout.commit(stage, index):
                yield index, size

    def sound_commits(self, stage: str) -> Iterator[tuple[int, Commit]]:
        """Yield every committed task and its commit, for a driver that continues with the rest.

        Commits that cannot be read, such as empty files after a power cut, are moved aside, so that
        their tasks can commit again.
        """
        indices = [index for index, _ in self._listed_commits(stage)]
        for index, commit in zip(indices, self.commits(stage, indices), strict=True):
            if commit is None:
                self.move_aside(layout.commit(stage, index))
            else:
                yield index, commit

    def put_commit(self, commit: Commit) -> Commit:
        """Commit a task unless another attempt did; return the commit that stands."""
        path = layout.commit(commit.stage, commit.task)
        for _ in range(2):
            if self.store.put_if_absent(path, commit.to_bytes()):
                return commit
            # Another attempt won, or this put did, and its answer got lost: the record tells.
            winner = self._commit_if_sound(path)
            if winner is not None:
                return winner
            self.move_aside(path)
        raise StorageError(f"{self.uri}/{path} was refused as existing, but is not there")

    def move_aside(self, path: str) -> None:
        """Rename a commit that cannot be read to `….broken`, unless that was done."""
        aside = f"{path}.{uuid.uuid4().hex[:8]}.broken"
        root = self.store.local_path("")
        with suppress(FileNotFoundError):
            if root is None:
                self.store.copy(path, aside)
                if self._commit_if_sound(path) is None:
                    self.store.delete(path)
                return
            try:
                # Not by the store, which refuses what may lie there: a link.
                os.rename(f"{root}{path}", f"{root}{aside}")
            except FileNotFoundError:
                return
            except OSError as error:
                raise StorageError(f"cannot move {self.uri}/{path}: {error.strerror}") from error
            with suppress(RecordError, NotAFile):
                # Another driver was faster, and the task has committed meanwhile: that stands.
                sound = self._read_commit(aside, path)
                self.store.put_if_absent(path, sound.to_bytes())

    # Failed attempts, and what they left.

    def failed_attempts(
        self, stage: str, only: Container[int] | None = None, but: Container[int] = frozenset()
    ) -> Iterator[Failure]:
        """Return the records of the failed attempts at a stage's tasks, or at some of them.

        For a record that cannot be read there is a failure that says so.
        """
        chosen = []
        for path, _ in self.store.list(layout.errors(stage)):
            task = layout.index_of(path)
            if task is not None and task not in but and (only is None or task in only):
                chosen.append((path, task))
        return map_ahead(self.store, lambda pair: self._failure(stage, *pair), chosen)

    def _failure(self, stage: str, path: str, task: int) -> Failure:
        try:
            failure = read(self.store, path, Failure)
            if (failure.stage, failure.task) == (stage, task):
                return failure
            text = f"{self.uri}/{path} is the failure of {failure.stage} task {failure.task}"
        except FileNotFoundError:
            text = f"{self.uri}/{path} is gone"
        except (RecordError, NotAFile) as error:
            if isinstance(error, RecordError) and error.newer:
                raise
            text = str(error)
        name = layout.attempt_of(path)
        failure = Failure(stage, task, name, "lost", RecordError.__name__, text, signature=name)
        return replace(failure, attempts=0)  # so that it decides nothing

    def put_failure(self, failure: Failure, log: str) -> None:
        """Write the record of a failed attempt, and what it printed."""
        stem = layout.stem(failure.task, failure.attempt)
        self.store.write(layout.error(failure.stage, stem), failure.to_bytes())
        self.put_log(failure.stage, stem, log)

    def put_log(self, stage: str, stem: str, text: str) -> None:
        """Write what an attempt printed, if it printed anything."""
        if text:
            self.store.write(layout.log(stage, stem), text.encode(errors="replace"))

    def logs(
        self, stage: str, task: int | None = None, known: Container[tuple[int, str]] = ()
    ) -> Iterator[tuple[int, str, str]]:
        """Yield task, attempt and text of what the attempts at a stage's tasks, or one, printed.

        Logs of the tasks and attempts in `known` are not read.
        """
        logs = ((layout.index_of(path), path) for path, _ in self.store.list(layout.logs(stage)))
        chosen = [
            (index, path)
            for index, path in logs
            if index is not None
            and task in (None, index)
            and (index, layout.attempt_of(path)) not in known
        ]
        texts = map_ahead(self.store, self.store.read, (path for _, path in chosen))
        for (index, path), text in zip(chosen, texts, strict=True):
            yield index, layout.attempt_of(path), text.decode(errors="replace")

    def log_of(self, stage: str, task: int, attempt: str) -> str:
        """Return what an attempt printed; nothing if there is no such log."""
        with suppress(FileNotFoundError):
            path = layout.log(stage, layout.stem(task, attempt))
            return self.store.read(path).decode(errors="replace")
        return ""

    def log_tails(
        self, stage: str, wanted: Sequence[int], most: int, length: int
    ) -> tuple[list[tuple[int, str, str, int]], int]:
        """Return task, attempt, the end and the size of at most `most` logs, and how many there are.

        Those of the `wanted` tasks come first, in their order, then the last ones.
        """
        logs = [
            (index, path, size)
            for path, size in self.store.list(layout.logs(stage))
            if (index := layout.index_of(path)) is not None and size
        ]
        place = {task: number for number, task in enumerate(wanted)}
        chosen = sorted(logs, key=lambda log: (place.get(log[0], len(place)), -log[0]))[:most]

        def read_end(log: tuple[int, str, int]) -> tuple[int, str, str, int]:
            index, path, size = log
            data = self.store.read(path, max(0, size - length), length)
            return index, layout.attempt_of(path), data.decode(errors="replace"), size

        return list(map_ahead(self.store, read_end, chosen)), len(logs)

    def list_outputs(self, stage: str) -> list[tuple[str, int]]:
        """Return path and size of all that attempts at a stage wrote by `task.output`."""
        return list(self.store.list(layout.all_outputs(stage)))

    def kept_tasks(self) -> set[int]:
        """Return the map tasks whose failed attempts kept the values of some items."""
        indices = {layout.kept_index(path) for path, _ in self.store.list(layout.KEPT)}
        return {index for index in indices if index is not None}

    def load_kept(self, index: int, load: Callable[[bytes], None]) -> tuple[list[str], int]:
        """Load the values that failed attempts at a map task kept, one file after the other.

        Returns the paths of all that they kept, and the next free number.
        """
        paths = [path for path, _ in self.store.list(layout.kept_of(index))]
        for path in (path for path in paths if path.startswith(layout.kept_values(index))):
            with suppress(FileNotFoundError):
                load(self.store.read(path))
        # A listing may not show yet what the attempt before has put.
        for number in itertools.count():
            path = layout.kept_value(index, number)
            if path not in paths:
                try:
                    data = self.store.read(path)
                except FileNotFoundError:
                    return paths, number
                load(data)
                paths.append(path)
        raise AssertionError

    def put_kept(self, index: int, number: int, data: bytes) -> int:
        """Keep values of a map task under the first free number from `number` on."""
        while not self.store.put_if_absent(layout.kept_value(index, number), data):
            number += 1
        return number
