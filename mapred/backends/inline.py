"""Everything in the calling process, for a debugger: an exception stops where it is raised."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

from mapred.engine.base import Handle
from mapred.engine.driver import Driver
from mapred.engine.thread import Finished
from mapred.errors import BackendError
from mapred.functions import instances, transport
from mapred.model.checking import check_fields
from mapred.model.limits import Limits, warn
from mapred.model.rules import Text
from mapred.model.spec import Job, Stage
from mapred.process import interrupts
from mapred.runfolder import liveness
from mapred.runfolder.folder import RunFolder
from mapred.storage import Store
from mapred.worker.tasks import run_block


class InlineExecutor(Executor):
    """Calls run when they are submitted."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@dataclass(frozen=True)
class Inline:
    """One task after the other in this process and thread."""

    name: Text = "inline"

    def __post_init__(self) -> None:
        check_fields(self, BackendError)

    @property
    def arguments(self) -> Mapping[str, Any]:
        return {}

    def check(self, limits: Limits) -> None:
        """Warn of limits: a debugger may stop for as long as it likes."""
        if text := limits.describe():
            warn(
                f"backend='inline' runs tasks in this process and does not keep {text}; "
                "backend='local' does"
            )

    def prepare(self) -> None:
        return

    def prove(
        self, stage: Stage, timeout: float | None, keyed: bool, code: tuple[bytes, ...]
    ) -> Inline:
        """Load the code here, where it will run."""
        transport.prove(*code)
        return self

    def submit(self, store: Store, job: Job, digest: str) -> Handle:
        driver = Driver(store, job, digest, lambda stage: InlineExecutor(), run_block, window=1)
        ref = liveness.own_ref(self.name)
        # The run is over before its caller has it: in the meantime others see that it is at work.
        folder = RunFolder(store)
        folder.note_start(ref, folder.start().pauses)
        with interrupts.note_interrupts(), folder.send_heartbeats(ref):
            try:
                driver.run()
            except BaseException:
                folder.note_interruption(ref)
                raise
            finally:
                instances.close(store.uri)
        return Finished(driver, ref)
