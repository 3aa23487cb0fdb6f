"""Why a run has no result, and the line of Python that continues with it."""

from __future__ import annotations

from mapred import display
from mapred.client import hints
from mapred.client.run_results import RunResults
from mapred.errors import BackendError, RunError, StorageError
from mapred.process.secrecy import mask
from mapred.runfolder.folder import RunFolder


def make_driver_error(run: RunResults, error: Exception) -> RunError:
    """Return the error of a run whose driver, scheduler or pool failed."""
    # A scheduler or pool that gave out cannot be resumed on.
    lost = isinstance(error, BackendError) and not isinstance(error, StorageError)
    gone = lost and run.job.backend.get("name") != "local"
    needed = hints.Remedy(backend="local" if gone else None)
    hint = str(hints.in_python(run.uri, run.job, needed))
    return RunError(f"{error}\n{hint}", run=run, hint=hint)


def make_end_error(run: RunResults, state: str) -> RunError:
    """Return the error of a run that is in this state, which is not `succeeded`."""
    failures = run.failures
    folder = RunFolder(run.store)
    end = folder.end()
    parts = [f"run {run.id} {state}", mask(end.message) if end else ""]
    text = ": ".join(part for part in parts if part)
    if failures:
        text += "\n" + display.failures_text(failures)
    needed = hints.remedy(folder, run.job, failures)
    hint = str(hints.in_python(run.uri, run.job, needed))
    return RunError(f"{text}\n{hint}", run=run, failures=failures, hint=hint)


def make_at_work_error(run: RunResults, names: list[str], *, here: bool) -> RunError:
    """Return the error of a run that is at work, here or elsewhere, and was given changes."""
    options = " and ".join(f"{name}=" for name in names)
    text = f"run {run.id} is running, and takes {options} only when it is not"
    if here:
        text += f"; to stop it:\nimport mapred; mapred.open({run.uri!r}).cancel()"
    elif driver := RunFolder(run.store).driver():  # None where it ended just now.
        host = "" if driver.lives else f" of {driver.process.host}"
        text += f"; to stop it, in a shell{host}:\nkill -INT {driver.process.pid}"
    return RunError(text, run=run)
