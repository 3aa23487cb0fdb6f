"""A run as a worker sees it: its job, its code, its plan, loaded once per process."""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from mapred.errors import FunctionError, RecordError
from mapred.functions import instances, signatures, transport
from mapred.functions.modules.importing import install, is_known, offer
from mapred.model import layout
from mapred.model.coding import EMPTY
from mapred.model.spec import Job, Stage
from mapred.planner import PlanFile
from mapred.reducers import Reducer
from mapred.runfolder import agreement, pieces
from mapred.runfolder.folder import RunFolder
from mapred.storage import Store, open_store, source_opener

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Context:
    """A run as its workers see it, loaded once per process and checked by digests.

    `others` are the folders of the runs whose outputs it reads, by URI.
    """

    store: Store
    job: Job
    plans: dict[int, PlanFile] = field(default_factory=dict)
    inputs: dict[str, bytes | pieces.Pieces] = field(default_factory=dict)
    agreed: dict[str, agreement.Agreed | None] = field(default_factory=dict)
    others: dict[str, RunFolder] = field(default_factory=dict)

    @functools.cached_property
    def folder(self) -> RunFolder:
        return RunFolder(self.store)

    def load(self, path: str) -> bytes:
        """Return a file of the run; refuse it if its digest is not the one the job names."""
        try:
            return pieces.read(self.store, self.job.digests, path)
        except FileNotFoundError:
            what = f"{self.store.uri}/{path} is gone"
        except RecordError:
            what = f"{self.store.uri}/{path} {EMPTY}"
        if path in (self.job.function, self.job.reduce, self.job.modules):
            option = "reduce=" if path == self.job.reduce else "fn="
            raise FunctionError(f"{what}; resume, and pass the function again by {option}")
        raise RecordError(f"{what}; restore it from a copy, or start a new run")

    def check_python(self, stage: Stage) -> None:
        """Refuse a stage whose function holds code of another Python than this one."""
        path = self.job.function_of(stage)
        made, here = self.job.python_of(path), ".".join(map(str, sys.version_info[:2]))
        if made != here and not transport.is_portable(self.load(path)):
            option = "fn=" if path == self.job.function else "reduce="
            raise FunctionError(
                f"the run was made by Python {made} and this worker has {here}: pickled functions "
                f"need the same minor version; resume, and pass the function again by {option}"
            )

    @functools.cached_property
    def _function(self) -> Callable[[], Callable[..., Any]]:
        code: Any = transport.unpickle(self.load(self.job.function))
        if transport.makes_callables(code):
            return instances.ThreadInstances(self.store.uri, code).here
        return lambda: code

    @property
    def function(self) -> Callable[..., Any]:
        """The user's function; of a class, this thread's instance."""
        return self._function()

    @functools.cached_property
    def task_parameters(self) -> tuple[str, ...]:
        names = self.job.task_parameters
        return signatures.task_parameters(self.function) if names is None else names

    @functools.cached_property
    def takes_repeat(self) -> bool:
        """Whether a sweep's function wants to know which repeat it is."""
        return signatures.takes(self.function, "repeat")

    @functools.cached_property
    def reducer(self) -> Reducer:
        reducer = transport.load(self.load(self.job.reduce or ""))
        if not isinstance(reducer, Reducer):
            raise FunctionError(f"{self.job.reduce} holds no reducer")
        return reducer

    def ranges(self, shard: int) -> pa.Table:
        number = shard // layout.PLAN_SHARDS
        if number not in self.plans:
            if len(self.plans) >= 8:
                self.plans.pop(next(iter(self.plans)))
            self.plans[number] = PlanFile(self.load(layout.plan_file(number)))
        return self.plans[number].shard(shard)

    @functools.cached_property
    def occurrences(self) -> Sequence[int] | None:
        """How many equal items come before each item; None if all differ."""
        if layout.OCCURRENCES not in self.job.digests:
            return None
        return memoryview(self.load(layout.OCCURRENCES)).cast("q")

    def given_up(self) -> Mapping[int, list[int] | None]:
        """Return the map tasks given up under max_failed, with their items, None for all."""
        return self.folder.given_up_tasks() if self.job.max_failed else {}

    @functools.cached_property
    def open_dataset_file(self) -> Callable[[str, tuple[int, str] | None], BinaryIO]:
        if self.job.format.storage is not None:
            from mapred.storage import fsspec_options  # loads fsspec, which most runs do without

            fsspec_options.admit(self.job.format.storage)
        return source_opener(self.job.format.storage)

    def open(self, path: str, known: tuple[int, str] | None = None) -> Any:
        """Open a file of the dataset, or one of the run's own input files.

        A small input file is loaded once per process.
        """
        if not path.startswith("input/"):
            return self.open_dataset_file(path, known)
        if path not in self.inputs:
            self.inputs[path] = pieces.fetch_input(self.store, self.job.digests, path)
        return pieces.as_reader(self.inputs[path])


@functools.lru_cache(maxsize=4)
def context(run_uri: str, digest: str) -> Context:
    """Load the run at `run_uri`, whose job.json must have the SHA-256 `digest`."""
    folder = RunFolder(open_store(run_uri))
    data = folder.job_data()
    actual = hashlib.sha256(data).hexdigest()
    if actual != digest:
        raise FunctionError(
            f"{run_uri}/{layout.JOB} has SHA-256 {actual}, not {digest} as the run was started "
            "with: it was resumed with another function, or someone changed it"
        )
    run = Context(folder.store, folder.parse_job(data, Job))
    if run.job.modules is not None:
        install(run.load(run.job.modules))
    return run


def offer_modules(run: Context) -> None:
    """Make the classes of a run's values importable, where this process has no such modules."""
    if run.job.modules is not None and not is_known(run.job.digests[run.job.modules]):
        offer(run.load(run.job.modules))
