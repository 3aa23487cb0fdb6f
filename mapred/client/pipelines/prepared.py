"""A pipeline with its arguments, about to start: what its folder holds at first."""

from __future__ import annotations

import functools
import hashlib
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mapred import backends
from mapred._version import __version__
from mapred.client import submission
from mapred.client.pipelines import driver, identity
from mapred.client.pipelines.handle import (
    PipelineRun,
    can_be_driven,
    clear_failure,
    drive,
    open_pipeline,
)
from mapred.client.pipelines.identity import Identity
from mapred.engine.base import Backend
from mapred.functions import pickling
from mapred.model import layout
from mapred.model.checking import short_repr
from mapred.model.coding import encode
from mapred.process import secrecy
from mapred.runfolder.pipelines import Claim, PipelineFolder, PipelineRecord
from mapred.storage import Store, open_store


@dataclass(frozen=True)
class Prepared:
    """A pipeline with its arguments, about to start."""

    fn: Callable[..., Any]
    name: str
    retries: int
    values: Mapping[str, Any]
    backend: Backend | None
    mode: int | None
    in_thread: bool

    def identity(self) -> Identity:
        values = {"function": self.fn, **self.values}
        return identity.of_values("pipeline", self.name, values)

    @functools.cached_property
    def files(self) -> dict[str, bytes]:
        modules: set[str] = set()
        data = pickling.dumps(dict(self.values), modules)
        code = submission.code_of(self.fn, None, frozenset(modules))
        return {**code, layout.PARAMETERS: data}

    @functools.cached_property
    def digests(self) -> dict[str, str]:
        return {path: hashlib.sha256(data).hexdigest() for path, data in self.files.items()}

    def record(self, store: Store, parent: str = "") -> PipelineRecord:
        return PipelineRecord(
            run_id=store.uri.rpartition("/")[2],
            name=self.name,
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            submitted=time.time(),
            digests=self.digests,
            parameters={name: secrecy.mask(short_repr(v)) for name, v in self.values.items()},
            retries=self.retries,
            backend={} if self.backend is None else backends.to_record(self.backend),
            code=identity.code_of(self.fn),
            arguments=identity.digest_of(dict(sorted(self.values.items()))),
            parent=parent,
            mode=self.mode,
            python=".".join(map(str, sys.version_info[:2])),
            mapred=__version__,
        )

    def open(self, store: Store) -> PipelineRun:
        """Make the pipeline's folder, or open the one that is there."""
        folder = PipelineFolder(store)
        if not folder.has_record():
            self._put_files(store)
            folder.put_record(self.record(store))
        return PipelineRun(store, folder.record(), driver.driven(store.uri))

    def make(self, parent: str) -> tuple[str, str]:
        """Make a folder beside that of `parent`, without its record; return both."""
        root, _, parent_id = parent.rpartition("/")
        store = open_store(f"{root}/{submission.new_id()}", mode=self.mode)
        self._put_files(store)
        return store.uri, encode(self.record(store, parent_id), indent=1).decode()

    def take(self, claim: Claim, failed: float | None, backend: Backend | None) -> PipelineRun:
        """Return the run of a claim, and have it driven unless it has ended; `failed` starts again.

        Its runs go to `backend` where neither they nor it say otherwise.
        """
        store = open_store(claim.uri, mode=self.mode)
        PipelineFolder(store).put_record_data(claim.record.encode())
        run = open_pipeline(claim.uri)
        if failed is not None:
            clear_failure(run, failed)
        self.begin(run, backend)
        return run

    def begin(self, run: PipelineRun, backend: Backend | None = None) -> None:
        """Have a pipeline's run driven, unless it has ended or is at work."""
        __tracebackhide__ = True
        if can_be_driven(run):
            drive(run, self.fn, self.backend or backend, in_thread=self.in_thread)

    def _put_files(self, store: Store) -> None:
        for path, data in self.files.items():
            store.put_if_absent(path, data)

    def is_same(self, run: PipelineRun) -> bool:
        """Whether a run under the same name is one of this function with these arguments."""
        mine = self.record(run.store)
        known = (run.record.name, run.record.code, run.record.arguments)
        return bool(mine.code) and known == (mine.name, mine.code, mine.arguments)
