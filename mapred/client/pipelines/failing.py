"""Why a pipeline has no result, and the lines of Python that continue with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mapred.client.pipelines.steps import failed_runs
from mapred.errors import RunError
from mapred.model.checking import safe_text
from mapred.runfolder.pipelines import PipelineFolder

# Errors that are gone once their cause is, whatever the function says.
_OF_PLACES = ("StorageError", "AccessError", "FullError", "BackendError", "KeyboardInterrupt")


def text_of(error: Exception) -> str:
    """Return an error on the lines that the end of a pipeline keeps, without how a run continues."""
    text = safe_text(str, error)
    if isinstance(error, RunError) and error.hint:
        text = text.removesuffix(error.hint).rstrip()
    return f"{type(error).__name__}: {text}"


def make_error(run: Any, state: str, message: str, failures: Sequence[Any]) -> RunError:
    """Return the error of a pipeline in this state, which is not `succeeded`."""
    live = state in ("running", "waiting")
    hint = "" if live else how_to_continue(PipelineFolder(run.store), state, message)
    text = f"pipeline {run.id} {state}{': ' * bool(message)}{message}"
    return RunError(f"{text}\n{hint}".rstrip(), run=run, failures=failures, hint=hint)


def how_to_continue(folder: PipelineFolder, state: str, message: str) -> str:
    """Return how to resume a pipeline: as it is, or edited where its own lines failed."""
    call = f"mapred.open({folder.uri!r}).resume"
    kind = message.partition(":")[0]
    if state == "failed" and kind not in ("RunError", *_OF_PLACES):
        return f"to resume it with an edited function: import mapred; {call}(fn=…)"
    line = f"to resume it: import mapred; {call}()"
    failed = list(failed_runs(folder)) if state == "failed" and kind == "RunError" else []
    if failed:
        step = f"mapred.open({failed[-1]!r}).resume(fn=…)"
        line += f"\nwith a fixed function for the run that failed, first: {step}"
    return line
