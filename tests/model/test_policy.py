"""The policy against engines that lie: events lost, doubled and late, success without a commit."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mapred.model import losses, policy
from mapred.model.events import (
    Absent,
    Action,
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
from mapred.model.failure import Failure
from mapred.model.losses import Rules
from mapred.model.packs import Pack
from mapred.model.policy import State, Trouble, decide

STEPS = 2000  # no run of these tests needs as many


@dataclass
class World:
    """A run's folder, and an engine whose attempts go as it is written down for each task.

    `attempts` says how the first calls to a task go, and those after commit it: `raise`, `final`,
    `die`, `refuse`, `beside` (the process dies at another task), `silent` (over, and nothing is
    there), `mute` (it commits, and does not say so), `twin` (it fails, and a twin commits). Where
    there are items, `items` says how often each raises, or dies.
    """

    rules: Rules
    attempts: Mapping[int, Sequence[str]]
    items: Mapping[int, tuple[str, int]] = field(default_factory=dict)
    stood: Mapping[int, Items] | None = None  # what another driver puts into failed.json first
    committed: set[int] = field(default_factory=set)
    given_up: Mapping[int, Items] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    failed: dict[int, int] = field(default_factory=dict)  # attempts at a task that count
    refused: int = 0
    kept: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.steps = {task: iter(steps) for task, steps in self.attempts.items()}
        self.tried: dict[int, int] = {}
        self.names = itertools.count()

    def folder(self, failures: Sequence[Failure] = ()) -> Folder:
        return Folder(frozenset(self.committed), self.given_up, failures)

    def call(self, task: int, call: int, attempt: int, pack: Pack) -> Event | None:
        """One call, and what the engine says of it."""
        step = "" if task in self.committed else next(self.steps[task], "")
        if step in ("refuse", "beside"):
            self.refused += step == "refuse"
            return Refused(task, call) if step == "refuse" else Bystander(task, call)
        if step in ("silent", "mute"):
            if step == "mute":
                self.committed.add(task)
            else:
                self.failed[task] = self.failed.get(task, 0) + 1
            return Ended(task, call)
        if step in ("raise", "final", "die", "twin"):
            if step == "twin":
                self.committed.add(task)
            return self._fails(task, call, attempt, (), final=step == "final")
        if self.rules.per_task and task not in self.committed:
            return self._call_items(task, call, attempt, pack)
        self.committed.add(task)
        return Committed([task])

    def _fails(
        self, task: int, call: int, attempt: int, items: tuple[int, ...], *, final: bool = False,
        kind: str = "function", more: bool = False,
    ) -> Failed:  # fmt: skip
        failure = Failure(
            "map", task, f"{next(self.names)}", kind, "E", "m", items=items, attempts=attempt,
            final=final,
        )  # fmt: skip
        self.failures.append(failure)
        if not items:
            self.failed[task] = self.failed.get(task, 0) + 1
        for item in items:
            self.tried[item] = self.tried.get(item, 0) + 1
        return Failed(call, failure, more)

    def planned(self, task: int) -> list[int]:
        size = self.rules.per_task
        gone = self.given_up.get(task) or ()
        return [i for i in range(task * size, (task + 1) * size) if i not in gone]

    def _call_items(self, task: int, call: int, attempt: int, pack: Pack) -> Event:
        left = [i for i in self.planned(task) if i not in self.kept | pack.lost]
        turn = pack.turn(left) if left else []
        number = max([attempt, *map(pack.attempt, turn[:1])])
        raising = []
        for item in turn:
            how, times = self.items.get(item, ("", 0))
            if self.tried.get(item, 0) >= times:
                continue
            if how == "die":
                number = max(attempt, pack.attempt(item))
                return self._fails(task, call, number, (item,), kind="lost", more=True)
            raising.append(item)
        self.kept |= set(turn) - set(raising)
        if raising:
            again = number < self.rules.attempts
            more = bool(set(left) - set(turn)) or again
            return self._fails(task, call, number, tuple(raising), more=more)
        missing = set(self.planned(task)) - self.kept
        if missing:
            return Ended(task, call, bool(missing - pack.lost))
        self.committed.add(task)
        return Committed([task])


@dataclass
class Shell:
    """Does what the policy says, and tells it what came of it, in an order of its own."""

    world: World
    chance: random.Random
    doubles: bool = False
    loses: bool = False
    packs: dict[int, Pack] = field(default_factory=dict)
    steps: int = 0

    def play(self) -> tuple[State, list[Action]]:
        world = self.world
        tasks = range(len(world.attempts))
        self.state = State(world.rules, tasks, tasks)
        self.heard: list[Event] = [world.folder()]
        self.todo: list[Action] = []
        done: list[Action] = []
        while self.state.verdict is None:
            self.steps += 1
            assert self.steps < STEPS, "it never ends"
            if self.heard and (not self.todo or self.chance.random() < 0.5):
                self.hear()
            elif self.todo:
                action = self.todo.pop(self.chance.randrange(len(self.todo)))
                done.append(action)
                self.do(action)
            else:
                # Answers got lost: the folder says what became of the tasks.
                self.loses = self.loses and self.chance.random() < 0.7
                self.heard.append(world.folder(world.failures))
        return self.state, [*done, *self.todo]

    def hear(self) -> None:
        event = self.heard.pop(self.chance.randrange(len(self.heard)))
        if self.loses and not isinstance(event, Folder) and self.chance.random() < 0.3:
            return
        self.todo += decide(self.state, event)
        if self.doubles and not isinstance(event, Folder) and self.chance.random() < 0.5:
            if self.chance.random() < 0.5:
                self.heard.append(event)
            else:
                assert not decide(self.state, event), f"{event} again changes something"

    def do(self, action: Action) -> None:
        world = self.world
        if isinstance(action, Run):
            for task in action.tasks:
                trouble = self.state.trouble(task)
                self.say(world.call(task, trouble.call, trouble.attempt, trouble.pack))
        elif isinstance(action, Again):
            pack = action.pack or Pack()
            self.say(world.call(action.task, action.call, action.attempt, pack))
        elif isinstance(action, Confirm):
            there = action.task in world.committed
            self.say(Committed([action.task]) if there else Absent(action.task, action.number))
        elif isinstance(action, GiveUp):
            assert not world.committed.intersection(action.tasks)
            if world.stood is not None:
                world.given_up = world.stood
            elif not world.given_up:
                world.given_up = action.tasks
            self.say(Stands(world.given_up))

    def say(self, event: Event | None) -> None:
        if event is not None:
            self.heard.append(event)


CHANCES = st.integers(0, 2**32).map(
    random.Random
)  # of which not every number is drawn by hypothesis
WHOLE = ["raise", "final", "die", "refuse", "beside", "silent", "mute", "twin"]


@st.composite
def worlds(draw: st.DrawFn, steps: Sequence[str] = WHOLE, items: bool | None = None) -> World:
    tasks = draw(st.integers(1, 5))
    per_task = (
        draw(st.integers(1, 4)) if draw(st.booleans() if items is None else st.just(items)) else 0
    )
    allowed = draw(st.integers(0, tasks * max(1, per_task)))
    rules = Rules(draw(st.integers(1, 4)), allowed, per_task)
    script = st.lists(st.sampled_from(steps), max_size=5) if steps else st.just([])
    bad = st.dictionaries(
        st.integers(0, tasks * per_task - 1),
        st.tuples(st.sampled_from(["raise", "die"]), st.integers(1, 5)),
    )
    return World(
        rules, {task: draw(script) for task in range(tasks)}, draw(bad) if per_task else {}
    )


def _check_end(world: World, state: State) -> None:
    """A stage is done by commits, and by what failed.json names within the limit."""
    if not isinstance(state.verdict, Done):
        return
    for task in world.attempts:
        if task not in world.committed:
            assert world.given_up.get(task, ()) is None, f"task {task} is nowhere"
    if world.stood is None:
        assert losses.count_lost(world.rules, world.given_up.values()) <= world.rules.allowed


@given(world=worlds(), chance=CHANCES, loses=st.booleans())
def check_a_stage_is_done_by_commits_alone(
    world: World, chance: random.Random, loses: bool
) -> None:
    state, actions = Shell(world, chance, doubles=True, loses=loses).play()
    _check_end(world, state)
    assert isinstance(state.verdict, Done | End | Leave)
    if isinstance(state.verdict, End) and not loses:
        # Where answers get lost, a commit may not be known yet: the run fails, and is resumed.
        lost = [items for task, items in state.lost.items() if task not in world.committed]
        assert losses.count_lost(world.rules, lost) > world.rules.allowed or state.settled
    if isinstance(state.verdict, Leave):
        assert world.refused >= policy.REFUSALS
    for action in actions:
        if isinstance(action, GiveUp):
            assert losses.count_lost(world.rules, action.tasks.values()) <= world.rules.allowed


@given(world=worlds(), chance=CHANCES)
def check_no_task_fails_more_often_than_it_may(world: World, chance: random.Random) -> None:
    """What a refusing store, or a process that died at another task, cost is not counted."""
    _, actions = Shell(world, chance, doubles=True).play()
    rounds = 1 + any(isinstance(action, GiveUp) for action in actions)
    for number in [*world.failed.values(), *world.tried.values()]:
        assert number <= rounds * world.rules.attempts


@given(data=st.data(), items=st.booleans(), orders=st.tuples(CHANCES, CHANCES))
def check_any_order_of_the_same_facts_comes_to_the_same_verdict(
    data: st.DataObject, items: bool, orders: tuple[random.Random, random.Random]
) -> None:
    steps = [step for step in WHOLE if step != "refuse"]
    drawn = data.draw(worlds(steps, items))
    ends = []
    for chance, doubles in zip(orders, (False, True), strict=True):
        world = World(drawn.rules, drawn.attempts, drawn.items)
        state, _ = Shell(world, chance, doubles=doubles).play()
        verdict = state.verdict
        given_up = world.given_up if isinstance(verdict, Done) else None
        ends.append((verdict, given_up))
    assert ends[0] == ends[1]


@given(world=worlds(steps=["refuse", "beside"], items=False), chance=CHANCES)
def check_a_store_has_a_budget_of_its_own(world: World, chance: random.Random) -> None:
    state, _ = Shell(world, chance).play()
    most = max(steps.count("refuse") for steps in world.attempts.values())
    assert isinstance(state.verdict, Done) == (most < policy.REFUSALS)
    assert not world.given_up


@given(rules=st.builds(Rules, st.integers(1, 4), st.integers(0, 3)), tasks=st.integers(1, 5), chance=CHANCES)  # fmt: skip
def check_success_that_an_engine_only_speaks_of_is_a_failed_attempt(
    rules: Rules, tasks: int, chance: random.Random
) -> None:
    world = World(rules, {task: ["silent"] * 99 for task in range(tasks)})
    state, _ = Shell(world, chance).play()
    assert isinstance(state.verdict, Done) == (tasks <= rules.allowed)
    assert all(number <= rules.attempts for number in world.failed.values())
    assert (len(world.given_up) == tasks) == isinstance(state.verdict, Done)


@given(
    world=worlds(steps=["raise", "final", "twin"], items=False),
    stood=st.dictionaries(st.integers(0, 4), st.none()),
    chance=CHANCES,
)
def check_what_another_driver_gave_up_stands(
    world: World, stood: dict[int, Items], chance: random.Random
) -> None:
    assume(all(task in world.attempts for task in stood))
    world.stood = stood
    state, actions = Shell(world, chance).play()
    asked = [action for action in actions if isinstance(action, GiveUp)]
    if asked and world.given_up is stood:
        lost = set(asked[0].tasks)
        assert isinstance(state.verdict, Done) == (lost <= {*stood, *world.committed})


@given(world=worlds(), chance=CHANCES)
def check_a_decider_that_starts_anew_knows_what_the_folder_tells(
    world: World, chance: random.Random
) -> None:
    """Another process goes on where one was ended, with no more than the facts."""
    first = Shell(world, chance, loses=True)
    state, _ = first.play()
    again = State(world.rules, range(len(world.attempts)), range(len(world.attempts)))
    follows = decide(again, world.folder(world.failures))
    if isinstance(state.verdict, Done):
        assert [type(action) for action in follows] in ([Done], [GiveUp])
    if world.given_up:
        assert again.settled


PROPERTIES = [check for name, check in sorted(globals().items()) if name.startswith("check_")]


@pytest.mark.parametrize("examples", [30, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("check", PROPERTIES, ids=lambda check: str(check.__name__))
def test_property(check: Callable[[], None], examples: int) -> None:
    settings(max_examples=examples, deadline=None)(check)()


def asks(actions: Sequence[Action], task: int) -> bool:
    """Whether all that is to be done is to look for the commit of a task."""
    return [action.task for action in actions if isinstance(action, Confirm)] == [task]


def absent(state: State, task: int) -> Absent:
    """The answer to the last question after a task, or to one that nobody asked."""
    doubt = state.doubts.get(task)
    return Absent(task, 0 if doubt is None else doubt.number)


def test_a_late_answer_to_an_earlier_question_is_ignored() -> None:
    state = State(Rules(attempts=2), range(1), range(1))
    decide(state, Folder(frozenset(), {}, ()))
    (first,) = decide(state, Ended(0, 0))
    assert isinstance(first, Confirm)
    assert [type(action) for action in decide(state, Absent(0, first.number))] == [Again]
    (second,) = decide(state, Ended(0, 1))
    assert isinstance(second, Confirm)
    assert decide(state, Absent(0, first.number)) == ()
    assert decide(state, Absent(0, second.number)) == (End("failed", "lost"),)


def failure(task: int, number: int = 1, **more: object) -> Failure:
    known = {"items": (), **more}
    return Failure("map", task, f"{task}-{number}", "function", "E", "m", attempts=number, **known)  # type: ignore[arg-type]


def begun(rules: Rules, tasks: int = 3) -> State:
    state = State(rules, range(tasks), range(tasks))
    assert decide(state, Folder((), {})) == (Run(list(range(tasks)), 0),)
    return state


def test_an_attempt_that_failed_is_made_again_after_a_pause() -> None:
    state = begun(Rules(attempts=3))
    assert decide(state, Failed(0, failure(1))) == (Again(1, 1, 2, None, failed=1),)
    assert decide(state, Failed(0, failure(1))) == ()  # told twice
    assert decide(state, Failed(1, failure(1, 2))) == (Again(1, 2, 3, None, failed=2),)
    assert asks(decide(state, Failed(2, failure(1, 3))), 1)
    assert decide(state, absent(state, 1)) == (End("failed", "lost"),)
    assert decide(state, Committed([0, 1, 2])) == ()


def test_a_twin_saves_a_task_that_is_about_to_be_lost() -> None:
    state = begun(Rules(), tasks=1)
    assert asks(decide(state, Failed(0, failure(0))), 0)
    assert decide(state, Committed([0])) == (Done(),)


def test_a_commit_makes_a_lost_task_good() -> None:
    state = begun(Rules(allowed=1))
    for task in (0, 1):
        assert asks(decide(state, Failed(0, failure(task))), task)
        assert decide(state, absent(state, task)) == decide(state, absent(state, task)) == ()
        decide(state, Committed([task]))
    assert decide(state, Committed([2])) == (GiveUp({}),)
    assert decide(state, Committed([2])) == ()
    assert decide(state, Stands({})) == (Done(),)


def test_what_nobody_can_be_blamed_for_costs_no_attempt() -> None:
    state = begun(Rules(attempts=2))
    for number in range(1, policy.REFUSALS):
        again = Again(0, number, 1, None, refusals=number)
        assert decide(state, Refused(0, number - 1)) == (again,)
        assert decide(state, Refused(0, number - 1)) == ()
    for number in range(10):
        assert decide(state, Bystander(1, number)) == (Again(1, number + 1, 1, None),)
    assert decide(state, Refused(0, policy.REFUSALS - 1)) == (Leave("store"),)


def test_items_are_counted_where_the_function_runs_once_per_item() -> None:
    state = begun(Rules(attempts=1, allowed=5, per_task=3))
    for task, items in ((0, (0, 2)), (1, ())):
        decide(state, Failed(0, failure(task, items=items)))
        assert decide(state, absent(state, task)) == ()
    assert state.lost == {0: (0, 2), 1: None}
    decide(state, Failed(0, failure(2, items=(7,))))
    assert decide(state, absent(state, 2)) == (End("failed", "lost"),)


def test_what_was_lost_elsewhere_is_not_run_here() -> None:
    rules = Rules(attempts=2, allowed=2)
    state = State(rules, range(4), [0])
    told = [failure(1, 2), failure(2, 1, final=True), failure(3, 1)]
    assert decide(state, Folder({0}, {}, told)) == (Run([3], 0),)
    assert decide(state, Committed([3])) == (GiveUp({1: None, 2: None}),)
    assert decide(state, Stands({1: None, 2: None})) == (Done(),)
    state = State(Rules(attempts=2, allowed=1), range(4), [0])
    assert decide(state, Folder({0}, {}, told)) == (End("failed", "lost"),)


def test_only_what_is_wanted_is_run_once_failed_json_stands() -> None:
    state = State(Rules(allowed=2), range(4), [0, 1])
    assert decide(state, Folder({0, 1}, {3: None})) == (Done(),)
    # The records of what was given up say nothing of what is tried since.
    state = State(Rules(allowed=2, per_task=2), range(4), [1, 3])
    assert decide(state, Folder({0, 1}, {3: [5]}, [failure(3, items=(5,))])) == (Run([3], 0),)


def test_a_task_that_loses_items_runs_once_more_without_them() -> None:
    state = begun(Rules(allowed=3, per_task=3), tasks=2)
    lost = failure(1, items=(4,))
    assert asks(decide(state, Failed(0, lost, more=False)), 1)
    assert decide(state, absent(state, 1)) == ()
    assert decide(state, Committed([0])) == (GiveUp({1: (4,)}),)
    assert decide(state, Stands({1: [4]})) == (Run([1], 2),)
    assert decide(state, Stands({1: [4]})) == ()
    # Whatever fails now comes after the decision.
    assert asks(decide(state, Failed(2, failure(1, items=(5,)))), 1)
    assert decide(state, absent(state, 1)) == (End("failed", "lost"),)


def test_items_that_are_lost_keep_no_other_from_their_turn() -> None:
    state = begun(Rules(attempts=2, allowed=3, per_task=3), tasks=1)
    decide(state, Failed(0, failure(0, items=(1,), final=True), more=True))
    (again,) = decide(state, absent(state, 0))
    assert isinstance(again, Again)
    assert (again.attempt, again.pack and again.pack.lost) == (1, {1})
    assert decide(state, Ended(0, 1, more=True)) == (again._replace(call=2, failed=0),)
    assert decide(state, Ended(0, 2)) == (GiveUp({0: (1,)}),)


@pytest.mark.parametrize("closed", ["", "failed", "succeeded"])
@pytest.mark.parametrize("what", ["succeeded", "failed", "gone", "unknown"])
@pytest.mark.parametrize("stopped", [True, False])
def test_an_engine_has_no_run_succeed(closed: str, what: str, stopped: bool) -> None:
    state = State(Rules())
    if closed:
        decide(state, Closed(closed))
    actions = decide(state, EngineEnded(what, stopped))  # type: ignore[arg-type]
    if closed or what == "unknown":
        assert not actions
    else:
        (end,) = actions
        assert isinstance(end, End)
        assert end.state == ("cancelled" if stopped else "failed")


@pytest.mark.parametrize(
    ("event", "verdict"),
    [
        (Overdue("late"), End("failed", "overdue", "late")),
        (Stopped("Ctrl-C"), Leave("stopped", "Ctrl-C")),
        (Closed("failed", "why"), Leave("closed", "why")),
    ],
)
def test_what_ends_a_run_at_once(event: Event, verdict: Action) -> None:
    state = begun(Rules(attempts=3, allowed=1))
    assert decide(state, event) == (verdict,)
    assert decide(state, event) == ()
    assert decide(state, Failed(0, failure(0))) == ()


def test_what_is_known_of_a_task_goes_from_process_to_process() -> None:
    pack = Pack({1: 2}, frozenset({1}), frozenset({4}), 3)
    trouble = Trouble(tries=2, pack=pack, whole=True, ended=True)
    assert Trouble.from_json(trouble.to_json()) == trouble


def test_a_task_without_trouble_is_at_its_first_call_and_attempt() -> None:
    trouble = Trouble()
    assert (trouble.call, trouble.attempt, trouble.lost) == (0, 1, ())
    assert not trouble.ended


def test_each_record_of_another_process_counts_for_its_own_task() -> None:
    """One that decides nothing, as its task was given up already, hides no other."""
    state = State(Rules(attempts=2, allowed=2), range(4), [0, 1, 2, 3])
    records = [failure(3, 2), failure(1, 2)]
    decide(state, Folder({0}, {3: None}, records))
    assert state.lost == {1: None}


def test_a_commit_ends_the_doubt_about_its_task() -> None:
    state = begun(Rules(attempts=2), tasks=2)
    assert asks(decide(state, Ended(0, 0)), 0)
    assert asks(decide(state, Failed(0, failure(1, 2))), 1)
    assert decide(state, Committed([0])) == ()
    assert state.doubts.keys() == {1}
