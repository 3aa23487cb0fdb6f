"""How large a shard should be: tasks that are worth their start, and enough for all workers."""

from __future__ import annotations

import math

import numpy as np

from mapred.client.advising.figures import Figures
from mapred.client.advising.steps import Step
from mapred.display.advice import Recommendation
from mapred.display.format import format_bytes, format_count, format_seconds, pluralize

_MI = 2**20
_SHORT, _MANY = 0.2, 200  # seconds of a task, and tasks, from which on they are too small
_GOOD = 2.0  # seconds of a task that is worth its start
_LARGEST = 128 * _MI
_WORTHWHILE = 30.0  # seconds of the whole map that a better cut can shorten


def advise_shards(figures: Figures) -> list[Step]:
    """Return another size of shards where tasks are very short, or one outlasts the others."""
    times, job = figures.map_times, figures.job
    if not times or not (job.format.once_per_item or job.bytes):
        return []
    seconds = np.array([time.seconds for time in times])
    median, slowest, at_once = float(np.median(seconds)), float(seconds.max()), figures.at_once
    used = f"{format_seconds(median)} by the median task, {format_seconds(slowest)} by the slowest"
    if len(times) >= _MANY and median < _SHORT and len(times) > 16 * at_once:
        tasks = max(8 * at_once, math.ceil(float(seconds.sum()) / _GOOD))
        reason = f"tasks so short spend much of their time on their start; about {format_count(tasks)} are enough"
        return _resized(figures, tasks, used, reason, grows=True)
    tail = at_once > 1 and slowest > 2 * median and slowest > figures.span / 2
    if figures.span >= _WORTHWHILE and (tail or len(times) < 2 * at_once):
        reason = f"{pluralize(len(times), 'task')} on {format_count(at_once)} workers: the last ones work alone"
        return _resized(figures, 4 * at_once, used, reason, grows=False)
    return []


def _resized(figures: Figures, tasks: int, used: str, reason: str, *, grows: bool) -> list[Step]:
    job, made = figures.job, len(figures.map_times)
    if job.format.once_per_item:
        now, size = math.ceil(job.items / job.shards), math.ceil(job.items / tasks)
        if job.format.name == "files" or (size < 2 * now if grows else size >= now):
            return []
        asked, ask = f"{format_count(now)} items in a task", f"{format_count(size)} items in a task"
        found = Recommendation("size of a shard", asked, used, ask, reason)
        return [Step(found, {"per_task": size}, grows=grows)]
    now, size = job.bytes // job.shards, max(1, round(job.bytes / tasks / _MI)) * _MI
    size = min(size, _LARGEST)
    if (size < 2 * now) if grows else (size >= now or not figures.splittable):
        return []
    asked = f"{format_bytes(now)} on average in {pluralize(made, 'shard')}"
    quantity = f"{size // _MI}Mi"
    found = Recommendation("size of a shard", asked, used, quantity, reason)
    return [Step(found, {"target_bytes": quantity}, grows=grows)]
