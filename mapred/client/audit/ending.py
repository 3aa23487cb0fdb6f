"""How a run ended: its last word, its list of results, and what it gave up."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from mapred.client.audit.problems import Problem
from mapred.errors import MapredError, RecordError
from mapred.model import layout
from mapred.model.spec import Job
from mapred.runfolder.folder import RunFolder
from mapred.runfolder.manifests import ManifestEntry

Entries = Mapping[int, ManifestEntry]


def check_end(folder: RunFolder) -> Iterator[Problem]:
    """Yield a run that did not succeed, as far as its folder says, is not whole."""
    end = folder.end()
    if end is None:
        text = "there is no last word that can be read: the run is at work or was interrupted"
        yield Problem("unfinished", layout.END, text)
    elif end.state != "succeeded":
        text = ": ".join(part for part in (f"the run {end.state}", end.message) if part)
        yield Problem("unfinished", layout.END, text)


def listed_outputs(
    folder: RunFolder, job: Job, lost: Collection[int]
) -> tuple[Entries, list[Problem]]:
    """Return the outputs of a run that succeeded as its manifest lists them; nothing for another
    run.

    `lost` are the map tasks that were given up as a whole.
    """
    end = folder.end()
    if end is None or end.state != "succeeded":
        return {}, []
    found = folder.read_ending()
    if found.listed is None:
        text = "the list of results is gone, or cannot be read; run.resume() makes it again"
        return {}, [Problem("missing", layout.MANIFEST, text)]
    problems = []
    if not found.same_manifest:
        text = f"it is not the list that the run ended with: {layout.END} names another SHA-256"
        problems.append(Problem("changed", layout.MANIFEST, text))
    numbers, last = [index for index, _, _ in found.listed], job.stages[-1]
    if numbers != list(range(last.tasks)):
        text = f"it lists other tasks than 0 to {last.tasks - 1}, each once and in order"
        problems.append(Problem("changed", layout.MANIFEST, text))
    without = {index for index, output, _ in found.listed if output is None}
    if without != set(lost if last.kind == "map" else ()):
        text = (
            f"it lists tasks without an output that {layout.FAILED} does not name, or the reverse"
        )
        problems.append(Problem("changed", layout.MANIFEST, text))
    return {entry[0]: entry for entry in found.listed}, problems


def check_same_job(folder: RunFolder) -> Problem | None:
    """Return what is wrong with job.json itself."""
    if folder.has_its_job():
        return None
    text = f"it is not the job that the run ended with: {layout.END} names another SHA-256"
    return Problem("changed", layout.JOB, text)


def check_given_up(
    folder: RunFolder, job: Job
) -> tuple[Mapping[int, list[int] | None], list[Problem]]:
    """Return what was given up of the map tasks, by what failed.json says and the job allows."""
    try:
        found = folder.given_up_tasks()
    except MapredError as error:
        if isinstance(error, RecordError) and error.newer:
            raise
        return {}, [Problem("changed", layout.FAILED, str(error))]
    if found and not job.max_failed:
        text = "it names tasks that were given up, and the run allows none"
        return {}, [Problem("changed", layout.FAILED, text)]
    if any(not 0 <= task < job.shards for task in found):
        text = f"it names tasks beside the {job.shards} map tasks"
        return {}, [Problem("changed", layout.FAILED, text)]
    if len(found) > job.failures_allowed:
        text = f"it names {len(found)} tasks, and max_failed allows {job.failures_allowed}"
        return found, [Problem("changed", layout.FAILED, text)]
    return found, []
