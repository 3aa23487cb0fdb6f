"""What is tried again, what is given up, and how a run ends: one rule for all that run tasks.

`decide(state, event)` notes an event and returns what is to be done. It reads no clock, no store
and no random number: what runs tasks (a driver over a pool, a block of tasks in a pod, a reduce
that misses an input, the handle of a cluster's run) tells it what happened and does what it says.

A task of a stage is
- *open*: an attempt at it runs, or waits. Twins may run elsewhere; only commits tell of them.
- *in trouble* (`Trouble`): attempts at it failed. Those that count are at most `Rules.attempts`;
  a store that gives no answer has a budget of its own (`REFUSALS`), and a process that died at
  another task, or that the system killed, counts for nothing.
- *lost*: it failed for good, or some of its items did. As many as `Rules.allowed` may be.
- *given up*: failed.json names it, and stands. A task of which it names items runs again,
  without these.
- *done*: the run's folder holds its commit. Nothing else makes a task done: what an engine says
  about success is an attempt that ended (`Ended`), and before a task is lost the folder is asked
  whether someone else committed it (`Confirm`).

Every call to a task has a number, so that an event that comes twice, or late, is known as such and
changes nothing. Where events are lost, `Folder` has the same facts again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass as mutable
from dataclasses import field, replace
from typing import Any, Literal

from mapred.model import losses
from mapred.model.events import (
    NOTHING,
    Absent,
    Actions,
    Again,
    Bystander,
    Closed,
    Committed,
    Confirm,
    Done,
    End,
    Ended,
    EngineEnded,
    Event,
    Failed,
    Folder,
    GiveUp,
    Items,
    Leave,
    Overdue,
    Refused,
    Run,
    Stands,
    Stopped,
)
from mapred.model.frozen import dataclass
from mapred.model.losses import Rules
from mapred.model.packs import Pack

REFUSALS = 5  # by the store, of calls to one task


@dataclass(frozen=True)
class Trouble:
    """What is known of a task that had failed attempts.

    `call` is the number of the call to it that counts; `tries` counts the attempts that failed
    as a whole, `pack` tells of those whose items failed, and `refusals` of the store. A task
    that `ended` has nothing left to try: it is lost, as a `whole` or some of its items.
    """

    call: int = 0
    tries: int = 0
    pack: Pack = field(default_factory=Pack)
    refusals: int = 0
    whole: bool = False
    ended: bool = False

    @property
    def attempt(self) -> int:
        """The number of the next attempt, from 1."""
        return self.tries + 1

    @property
    def known_items(self) -> Pack | None:
        """What is known of the items of the task, if any of them failed."""
        return self.pack if self.pack.tries else None

    @property
    def lost(self) -> Items:
        """What of the task failed for good so far."""
        return None if self.whole else tuple(sorted(self.pack.lost))

    def to_json(self) -> dict[str, Any]:
        return {"tries": self.tries, "pack": self.pack.to_json(), "whole": self.whole, "ended": self.ended}  # fmt: skip

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Trouble:
        return cls(**{**values, "pack": Pack.from_json(values["pack"])})


@dataclass(frozen=True)
class Doubt:
    """A task that seems lost, while the folder is asked for its commit.

    If there is none, that is what the task has lost, and the call that `goes_on` with the rest.
    """

    lost: Items = None
    goes_on: Again | None = None
    number: int = 0  # of the question


@mutable
class State:
    """The tasks of one stage, as one decider knows them.

    It runs what is missing of the `wanted` tasks. What may be given up is decided once, for all
    `tasks` of the stage, so that it runs what is missing of these until failed.json stands.
    """

    rules: Rules
    tasks: Collection[int] = ()
    wanted: Collection[int] = ()
    troubles: dict[int, Trouble] = field(default_factory=dict)
    given_up: Mapping[int, Items] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)
    lost: dict[int, Items] = field(default_factory=dict)
    doubts: dict[int, Doubt] = field(default_factory=dict)
    call: int = 0  # to tasks that are in no trouble
    questions: int = 0  # to the folder
    gives_up: bool = False  # failed.json is being put
    settled: bool = False  # it stands
    closed: bool = False  # the run has its end record
    verdict: Done | End | Leave | None = None

    def trouble(self, task: int) -> Trouble:
        """Return what is known of the attempts at a task."""
        return self.troubles.get(task) or Trouble(self.call)


def decide(state: State, event: Event) -> Actions:
    """Note an event, and say what follows; nothing does once there is a verdict."""
    if state.verdict is not None:
        return NOTHING
    return _RULES[type(event)](state, event)


def _lose(state: State, task: int, items: Items) -> Actions:
    """Note a loss; it ends the run where it is one too many, or comes after the decision."""
    state.lost[task] = losses.add_loss(state.lost, task, items)
    if state.settled or losses.count_lost(state.rules, state.lost.values()) > state.rules.allowed:
        return _conclude(state, End("failed", "lost"))
    return NOTHING


def _conclude(state: State, verdict: Done | End | Leave) -> Actions:
    state.verdict = verdict
    return (verdict,)


def _on_folder(state: State, event: Folder) -> Actions:
    given_up = event.given_up
    state.given_up, state.settled, state.gives_up = given_up, bool(given_up), False
    scope = state.tasks if state.rules.allowed and not given_up else state.wanted
    missing = [
        i for i in scope if i not in event.committed and given_up.get(i, NOTHING) is not None
    ]
    state.lost, state.doubts = {}, {}
    lost = _collect_losses(state, event) | {
        i: t.lost for i, t in state.troubles.items() if t.lost != ()
    }
    for task in lost.keys() & set(missing) if lost else ():
        if over := _lose(state, task, lost[task]):
            return over
    ended = {task for task in state.lost if state.troubles.get(task, _ENDED).ended}
    todo = [task for task in missing if task not in ended] if ended else missing
    state.open = set(todo)
    return (Run(todo, state.call),) if todo else _next(state)


def _collect_losses(state: State, event: Folder) -> dict[int, Items]:
    """Return what other processes lost for good, by the records of their attempts.

    Those at a task that is in trouble here, or that was given up for them, decide nothing.
    """
    lost: dict[int, Items] = {}
    for failure in event.failures:
        task, attempts = failure.task, state.rules.attempts
        if task in state.troubles or task in event.given_up:
            continue
        items = losses.lost_items(attempts, failure)
        if items or losses.is_final(attempts, failure):
            lost[task] = losses.add_loss(lost, task, items)
    return lost


def _on_committed(state: State, event: Committed) -> Actions:
    for task in event.tasks:
        state.open.discard(task)
        if state.troubles or state.lost:
            state.troubles.pop(task, None)
            state.lost.pop(task, None)
            state.doubts.pop(task, None)
    return NOTHING if state.open else _next(state)


def _on_failed(state: State, event: Failed) -> Actions:
    failure, attempts = event.failure, state.rules.attempts
    task, before = failure.task, state.trouble(failure.task)
    if _is_stale(state, task, event.call):
        return NOTHING
    lost = losses.lost_items(attempts, failure)
    if failure.items:
        pack, ends = before.pack.after(failure, lost), bool(lost) and not event.more
        trouble = replace(before, call=before.call + 1, pack=pack)
    else:
        tries = max(before.attempt, failure.attempts)
        ends = failure.final or tries >= attempts
        trouble = replace(before, call=before.call + 1, tries=tries, whole=ends)
    state.troubles[task] = trouble
    goes_on = None if ends else _again(task, trouble, failed=failure.attempts)
    if lost or goes_on is None:
        return _doubt(state, task, Doubt(trouble.lost, goes_on))
    return (goes_on,)


def _on_ended(state: State, event: Ended) -> Actions:
    task, before = event.task, state.trouble(event.task)
    if _is_stale(state, task, event.call):
        return NOTHING
    trouble = replace(before, call=before.call + 1)
    if event.more:
        state.troubles[task] = trouble
        return (_again(task, trouble),)
    if before.pack.lost:
        state.troubles[task] = replace(trouble, ended=True)
        return _settle(state, task)
    # An engine that says so may lie: without a commit it is an attempt that failed.
    whole = before.attempt >= state.rules.attempts
    trouble = replace(trouble, tries=before.attempt, whole=whole)
    state.troubles[task] = trouble
    goes_on = None if whole else _again(task, trouble, failed=trouble.tries)
    return _doubt(state, task, Doubt(trouble.lost, goes_on))


def _on_bystander(state: State, event: Bystander) -> Actions:
    if _is_stale(state, event.task, event.call):
        return NOTHING
    before = state.trouble(event.task)
    state.troubles[event.task] = trouble = replace(before, call=before.call + 1)
    return (_again(event.task, trouble),)


def _on_refused(state: State, event: Refused) -> Actions:
    if _is_stale(state, event.task, event.call):
        return NOTHING
    before = state.trouble(event.task)
    trouble = replace(before, call=before.call + 1, refusals=before.refusals + 1)
    state.troubles[event.task] = trouble
    if trouble.refusals >= REFUSALS:
        return _conclude(state, Leave("store", error=event.error))
    return (_again(event.task, trouble, refusals=trouble.refusals),)


def _on_absent(state: State, event: Absent) -> Actions:
    task, doubt = event.task, state.doubts.get(event.task)
    if doubt is None or doubt.number != event.number:
        return NOTHING
    del state.doubts[task]
    if doubt.lost != () and (over := _lose(state, task, doubt.lost)):
        return over
    if doubt.goes_on is not None:
        return (doubt.goes_on,)
    state.troubles[task] = replace(state.trouble(task), ended=True)
    return _settle(state, task)


def _on_stands(state: State, event: Stands) -> Actions:
    """Run again, as if nothing had failed, the tasks of which items alone were given up."""
    if not state.gives_up:
        return NOTHING
    given_up = state.given_up = event.given_up
    state.settled, state.gives_up = True, False
    lost, state.lost = state.lost, {}
    partly = [i for i in lost if given_up.get(i) is not None and i in state.wanted]
    state.call = 1 + max((t.call for t in state.troubles.values()), default=state.call)
    for task in partly:
        state.troubles.pop(task, None)
    # Another decider was faster: what it did not give up is there, or the run has failed.
    unlisted = [task for task in lost if task not in given_up]
    state.doubts = {}
    questions = [_ask(state, task, Doubt(lost[task])) for task in unlisted]
    state.open = {*partly, *unlisted}
    if not state.open:
        return _next(state)
    again = (Run(partly, state.call),) if partly else ()
    return (*questions, *again)


def _on_overdue(state: State, event: Overdue) -> Actions:
    return _conclude(state, End("failed", "overdue", event.message))


def _on_stopped(state: State, event: Stopped) -> Actions:
    return _conclude(state, Leave("stopped", event.message))


def _on_closed(state: State, event: Closed) -> Actions:
    """Who comes late to a run that succeeded finds the commits; no other one needs its work."""
    state.closed = True
    return (
        NOTHING if event.state == "succeeded" else _conclude(state, Leave("closed", event.message))
    )


def _on_engine_ended(state: State, event: EngineEnded) -> Actions:
    """Write the end record of a run that has none: success is what the folder says alone."""
    if state.closed or event.what == "unknown":
        return NOTHING
    why: Literal["overdue", "unclosed", "gone", "engine"] = "engine"
    if event.what == "gone":
        why = "gone"
    elif event.what == "succeeded":
        why = "unclosed"
    elif event.overdue:
        why = "overdue"
    return _conclude(state, End("cancelled" if event.stopped else "failed", why))


def _is_stale(state: State, task: int, call: int) -> bool:
    """Whether an event tells of another call to a task than the one that counts."""
    return task not in state.open or call != state.trouble(task).call


def _again(task: int, trouble: Trouble, failed: int = 0, refusals: int = 0) -> Again:
    return Again(task, trouble.call, trouble.attempt, trouble.known_items, failed, refusals)


def _doubt(state: State, task: int, doubt: Doubt) -> Actions:
    return (_ask(state, task, doubt),)


def _ask(state: State, task: int, doubt: Doubt) -> Confirm:
    """Ask the folder; the number tells its answer from late ones to earlier questions."""
    state.questions += 1
    state.doubts[task] = replace(doubt, number=state.questions)
    return Confirm(task, state.questions)


def _settle(state: State, task: int) -> Actions:
    state.open.discard(task)
    return NOTHING if state.open else _next(state)


def _next(state: State) -> Actions:
    """Nothing is open: the stage is done, once it stands what is given up of it."""
    if state.gives_up:
        return NOTHING
    if state.rules.allowed and not state.settled:
        state.gives_up = True
        return (GiveUp(dict(state.lost)),)
    return _conclude(state, Done())


_ENDED = Trouble(ended=True)
_RULES: Mapping[type, Callable[[State, Any], Actions]] = {
    Folder: _on_folder,
    Committed: _on_committed,
    Failed: _on_failed,
    Ended: _on_ended,
    Bystander: _on_bystander,
    Refused: _on_refused,
    Absent: _on_absent,
    Stands: _on_stands,
    Overdue: _on_overdue,
    Stopped: _on_stopped,
    Closed: _on_closed,
    EngineEnded: _on_engine_ended,
}
