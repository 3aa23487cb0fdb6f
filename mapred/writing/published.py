"""The files that one run published, and no others of the dataset that it wrote to."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mapred.errors import DatasetError
from mapred.functions import earlier
from mapred.model.spec import Job
from mapred.process.lazy import pa
from mapred.runfolder import outputs
from mapred.runfolder.folder import RunFolder
from mapred.storage import open_store
from mapred.writing import manifest
from mapred.writing.target import Target
from mapred.writing.whole import gather_files

if TYPE_CHECKING:
    import pyarrow

    from mapred.writing.parquet_files import Wrote


_HANDED_OVER = {
    ("mapred.writing.parquet_files", "Wrote"),
    ("mapred.writing.parquet_files", "WrittenFile"),
    ("mapred.writing.whole", "Written"),
}


@dataclass(frozen=True)
class Published:
    """Paths of the files, and the types of the columns that their folders hold."""

    paths: tuple[str, ...]
    types: Mapping[str, pyarrow.DataType]


def published(folder: RunFolder, job: Job) -> Published:
    """Return the files that a run with `write=` published.

    A later run may have replaced files of a Parquet folder: then it is a `DatasetError`. Those of a
    Delta table stay until it is vacuumed.
    """
    target = Target.from_json(job.write or {})
    write_id, written, schema = gather_files(_iter_wrote(folder, job), target)
    if write_id is None or schema is None:
        return Published((), {})
    paths = {file.final: file.final for file in written}
    if target.kind == "parquet":
        now = manifest.latest(open_store(target.uri, dataset=True))
        live = {entry.name: entry.path for entry in now.entries if entry.run == write_id}
        gone = [name for name in paths if name not in live]
        if gone:
            raise DatasetError(
                f"{len(gone):,} of the {len(paths):,} files that run {job.run_id} wrote to "
                f"{target.uri} were replaced by a later run, {gone[0]} among them; run it again, or "
                f"read what is there now: mapred.read_parquet({target.uri!r})"
            )
        paths = live
    types = {name: schema.field(name).type for name in target.partition_by}
    known = {name: type_ for name, type_ in types.items() if not pa.types.is_null(type_)}
    return Published(tuple(f"{target.uri}/{path}" for path in sorted(paths.values())), known)


def _iter_wrote(folder: RunFolder, job: Job) -> Iterator[Wrote]:
    """Yield what each map task wrote, in order."""
    stage, store = job.stages[0], folder.store
    lost = folder.given_up(job).tasks
    tasks = [task for task in range(stage.tasks) if task not in lost]
    for task, commit in zip(tasks, folder.commits(stage.name, tasks), strict=True):
        if commit is None:
            raise DatasetError(f"{folder.uri}: the commit of map task {task} is gone; run it again")
        output = commit.output
        if output.kind == "inline":
            yield from load_handed_over(outputs.inline_value(store, output), output.count)
        elif output.kind != "none":
            data = outputs.check(store, output, outputs.read_whole(store, output))
            yield from load_handed_over(data, output.count)


def load_handed_over(data: bytes, count: int) -> list[Any]:
    """Load what a task handed to the last one: values of this package's own types, and no others."""
    unpickler = _Unpickler(io.BytesIO(data))
    return [unpickler.load() for _ in range(count)]


class _Unpickler(pickle.Unpickler):
    """Loads nothing but what this package hands over: no code of the user runs."""

    def find_class(self, module: str, name: str) -> Any:
        # By exact names: what a module imports can be named through it, such as `os.system`.
        module = earlier.module_now(module, name)
        if (module, name) in _HANDED_OVER:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not what write= hands over")
