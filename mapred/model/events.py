"""What the policy is told, and what it answers: facts of a stage's tasks, and things to do."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from mapred.model.packs import Pack

if TYPE_CHECKING:
    from mapred.model.failure import Failure

Items: TypeAlias = "Sequence[int] | None"  # of a task that lost something; None: all of it


class Folder(NamedTuple):
    """The facts in the run's folder: commits, failed.json, and the records of failed attempts.

    `failures` are those of other processes that count here as well.
    """

    committed: Collection[int]
    given_up: Mapping[int, Items]
    failures: Iterable[Failure] = ()


class Committed(NamedTuple):
    """The folder holds a commit of each of these tasks, of any attempt."""

    tasks: Iterable[int]


class Failed(NamedTuple):
    """An attempt failed, or its process died under it; `more`: the task has items to call."""

    call: int
    failure: Failure
    more: bool = False


class Ended(NamedTuple):
    """An attempt ended, and told of neither a commit nor a failure.

    If there are `more` items to call it did its part of the task.
    """

    task: int
    call: int
    more: bool = False


class Bystander(NamedTuple):
    """A process died at another task, and took the call to this one along."""

    task: int
    call: int


class Refused(NamedTuple):
    """The store gave no answer to an attempt."""

    task: int
    call: int
    error: Exception | None = None


class Absent(NamedTuple):
    """The folder holds no commit of a task, as the `Confirm` of this number wanted to know."""

    task: int
    number: int


class Stands(NamedTuple):
    """What failed.json says, as `GiveUp` wanted: another one may have put it first."""

    given_up: Mapping[int, Items]


class Overdue(NamedTuple):
    """The run's deadline has passed."""

    message: str


class Stopped(NamedTuple):
    """The run is to stop here: it was interrupted, or the system killed an attempt."""

    message: str = ""


class Closed(NamedTuple):
    """The folder holds an end record."""

    state: str
    message: str = ""


class EngineEnded(NamedTuple):
    """An engine is done with the run, whatever it says of it.

    It is `gone` where the engine knew the run and does no more, and `unknown` where it never did.
    """

    what: Literal["succeeded", "failed", "gone", "unknown"]
    stopped: bool = False  # someone told it to
    overdue: bool = False


Event: TypeAlias = (
    Folder
    | Committed
    | Failed
    | Ended
    | Bystander
    | Refused
    | Absent
    | Stands
    | Overdue
    | Stopped
    | Closed
    | EngineEnded
)


class Run(NamedTuple):
    """Run these tasks, several of them in one process if that saves time."""

    tasks: Sequence[int]
    call: int


class Again(NamedTuple):
    """Call a task again, in a fresh process if an attempt failed.

    After as many failed attempts, or refusals of the store, as it says a pause is due.
    """

    task: int
    call: int
    attempt: int
    pack: Pack | None
    failed: int = 0
    refusals: int = 0


class Confirm(NamedTuple):
    """Look whether the folder holds the commit of a task: tell `Committed` or `Absent`."""

    task: int
    number: int


class GiveUp(NamedTuple):
    """All tasks are done or lost: put failed.json, be it empty, and tell what `Stands`."""

    tasks: Mapping[int, Items]


class Done(NamedTuple):
    """Every task is done, or given up: what comes after may begin."""


class End(NamedTuple):
    """The run ends now, with an end record."""

    state: Literal["failed", "cancelled"]
    why: Literal["lost", "overdue", "unclosed", "gone", "engine"]
    message: str = ""


class Leave(NamedTuple):
    """Stop without an end record: the run can be resumed."""

    why: Literal["store", "stopped", "closed"]
    message: str = ""
    error: Exception | None = None


Action: TypeAlias = Run | Again | Confirm | GiveUp | Done | End | Leave
Actions: TypeAlias = tuple[Action, ...]
NOTHING: Actions = ()
