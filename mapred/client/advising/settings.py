"""How long an attempt, a run and its tries may take."""

from __future__ import annotations

import math
from collections import Counter

from mapred.client.advising.figures import Figures
from mapred.client.advising.steps import Step
from mapred.display.advice import Recommendation
from mapred.display.format import format_seconds, pluralize
from mapred.display.summary import fraction, pace

_TIMES = 3  # the slowest attempt, as a limit that leaves room
_LOST = 2  # more tries for tasks that lost their workers


def advise_timeout(figures: Figures) -> list[Step]:
    """Return a longer timeout where attempts reached it, or came close."""
    asked, times = figures.job.timeout, figures.status.times
    if not times and asked is None:
        return []
    slowest = max((time.seconds for time in times), default=0.0)
    if asked is None:
        limit = _round_seconds(10 * slowest)
        note = f"timeout: none; the slowest task took {format_seconds(slowest)}, so timeout={limit} would end one that hangs"
        return [Step(notes=(note,))] if slowest >= 1 else []
    reached = len(figures.tries("timeout"))
    if not reached and slowest * 2 <= asked:
        note = f"timeout: {asked:g} s fits, the slowest task took {format_seconds(slowest)}"
        return [Step(notes=(note,))] if times else []
    limit = _round_seconds(max(2 * asked if reached else 0, _TIMES * slowest))
    used = f"{format_seconds(slowest)} by the slowest task that ended"
    reason = f"{_TIMES} × the slowest task"
    if reached:
        reason = f"{pluralize(reached, 'attempt')} reached it; twice that, if they do not hang"
    found = Recommendation("timeout of an attempt", f"{asked:g} s", used, f"{limit} s", reason)
    return [Step(found, {"timeout": limit})]


def advise_deadline(figures: Figures) -> list[Step]:
    """Return a later deadline for a run that was ended by it."""
    asked, status = figures.job.deadline, figures.status
    if asked is None or "deadline=" not in status.message:
        return []
    done, elapsed = fraction(status), pace(status).elapsed or asked
    limit = _round_seconds(max(2 * asked, 1.5 * elapsed / done if done else 0))
    used = f"{format_seconds(elapsed)} for {done:.0%}"
    reason = "by the pace so far, and half as much again"
    found = Recommendation("deadline of the run", f"{asked:g} s", used, f"{limit} s", reason)
    return [Step(found, {"deadline": limit})]


def advise_attempts(figures: Figures) -> list[Step]:
    """Return more attempts where tasks were lost with their workers, or succeeded at the last one."""
    asked = figures.job.attempts
    lost = [each for each in figures.status.failures if each.kind == "lost"]
    tries = Counter((retry.stage, retry.task) for retry in figures.status.retries)
    most = max(tries.values(), default=0) + 1
    if not lost and (most < asked or most == 1):
        if not tries:
            return []
        note = f"attempts: {asked} fits; no task needed more than {most}"
        return [Step(notes=(note,))]
    more = max(asked + _LOST if lost else 0, most + 1)
    if lost:
        used = f"all by {pluralize(len(lost), 'task')} that lost the worker"
        reason = "workers that end do not speak against the task"
    else:
        used = f"{most}, by {pluralize(sum(n + 1 == most for n in tries.values()), 'task')}"
        reason = "the last one succeeded: leave room for one more"
    found = Recommendation("attempts at a task", str(asked), used, str(more), reason)
    return [Step(found, {"attempts": more})]


def _round_seconds(seconds: float) -> int:
    """Return the next round number of seconds: tens, minutes, tens of minutes."""
    step = 10 if seconds <= 120 else 60 if seconds <= 3600 else 600
    return max(1, math.ceil(seconds / step)) * step
