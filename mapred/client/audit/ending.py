"""How a run ended: the record of its end, its list of results, and what it gave up."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from mapred.client.audit.problems import Problem
from mapred.errors import MapredError, RecordError
from mapred.model import layout
from mapred.model.spec import Job
from mapred.process.secrecy import mask
from mapred.runfolder.folder import RunFolder
from mapred.runfolder.manifests import ManifestEntry

Entries = Mapping[int, ManifestEntry]


def check_end(folder: RunFolder) -> Iterator[Problem]:
    """Yield a problem unless the folder says that the run succeeded."""
    end = folder.end()
    if end is None:
        text = "the run has no end record that can be read: it is running, or was interrupted"
        yield Problem("unfinished", layout.END, text)
    elif end.state != "succeeded":
        text = ": ".join(part for part in (f"the run {end.state}", mask(end.message)) if part)
        yield Problem("unfinished", layout.END, text)


def listed_outputs(
    folder: RunFolder, job: Job, lost: Collection[int]
) -> tuple[Entries, list[Problem]]:
    """Return the outputs that the manifest lists of a run that succeeded; none of another run.

    `lost` are the map tasks that were given up as a whole.
    """
    end = folder.end()
    if end is None or end.state != "succeeded":
        return {}, []
    ending = folder.read_ending()
    if ending.listed is None:
        text = "the list of results is gone, or cannot be read; run.resume() makes it again"
        return {}, [Problem("missing", layout.MANIFEST, text)]
    texts = []
    if not ending.same_manifest:
        texts.append(
            f"it is not the list that the run ended with: {layout.END} names another SHA-256"
        )
    numbers, last = [index for index, _, _ in ending.listed], job.stages[-1]
    if numbers != list(range(last.tasks)):
        texts.append(f"it lists other tasks than 0 to {last.tasks - 1}, each once and in order")
    without = {index for index, output, _ in ending.listed if output is None}
    if without != set(lost if last.kind == "map" else ()):
        texts.append(
            f"it lists tasks without an output that {layout.FAILED} does not name, or the reverse"
        )
    problems = [Problem("changed", layout.MANIFEST, text) for text in texts]
    return {entry[0]: entry for entry in ending.listed}, problems


def check_same_job(folder: RunFolder) -> Problem | None:
    if folder.has_its_job():
        return None
    text = f"it is not the job that the run ended with: {layout.END} names another SHA-256"
    return Problem("changed", layout.JOB, text)


def check_given_up(
    folder: RunFolder, job: Job
) -> tuple[Mapping[int, list[int] | None], list[Problem]]:
    """Return the tasks that failed.json names, as far as the job allows, and what is wrong."""
    try:
        tasks = folder.given_up_tasks()
    except MapredError as error:
        if isinstance(error, RecordError) and error.newer:
            raise
        return {}, [Problem("changed", layout.FAILED, str(error))]
    text = ""
    if tasks and not job.max_failed:
        text, tasks = "it names tasks that were given up, and the run allows none", {}
    elif any(not 0 <= task < job.shards for task in tasks):
        text, tasks = f"it names tasks beside the {job.shards} map tasks", {}
    elif len(tasks) > job.failures_allowed:
        text = f"it names {len(tasks)} tasks, and max_failed allows {job.failures_allowed}"
    return tasks, [Problem("changed", layout.FAILED, text)] if text else []
