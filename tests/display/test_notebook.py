from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from testbed.kernel import kernel

from mapred.display import Follows, progress
from mapred.display.notebook import Notebook, cell
from mapred.display.summary import Preview, Scene
from mapred.model.status import Look, RunStatus

__all__ = ["kernel"]


@dataclass
class Script:
    """Views that play back statuses, the last one over and over."""

    looks: list[Look]
    last: tuple[RunStatus, Scene]
    asked: list[int] = field(default_factory=list)
    seconds: float = 0.01
    printed: Callable[[int], tuple[str, ...]] = lambda number: (f"map {number}: hello",)

    def look(self, seen: int) -> Look:
        self.asked.append(seen)
        return self.looks[min(len(self.asked), len(self.looks)) - 1]

    def scene(self, look: Look) -> Scene:
        return Scene(printed=self.printed(len(self.asked)))

    def end(self) -> tuple[RunStatus, Scene]:
        return self.last


def wait(until: Callable[[], bool]) -> None:
    limit = time.monotonic() + 20
    while not until():
        assert time.monotonic() < limit
        time.sleep(0.005)


def displays() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "mapred-display"]


def test_a_display_updates_itself_until_the_run_is_over(sample, clock, kernel) -> None:
    times = sample.times(4, 2)
    looks = [Look(sample.at(2), times[:2], 2), Look(sample.at(4), times[2:], 4)]
    over = sample.status(times=times)
    script = Script([*looks, Look(over, (), 4)], (over, Scene(result=Preview("int", text="7"))))
    shown = Notebook(clock)
    assert isinstance(shown, Follows)
    shown.follow(script)
    assert [how for how, _ in kernel.shown] == ["display"]  # at once, by this thread
    wait(lambda: not displays())
    assert [how for how, _ in kernel.shown] == ["display", "update", "update"]
    assert script.asked == [0, 2, 4]
    first, middle, last = (bundle["text/html"] for _, bundle in kernel.shown)
    assert "2 tasks on 2 lanes" in first
    assert "4 tasks on 2 lanes" in middle
    assert "map 1: hello" in middle
    assert "succeeded" in last
    assert "map 2: hello" in last  # what was printed stays
    assert "<b>result</b> int" in last
    assert set(kernel.shown[0][1]) == {"text/html", "text/plain"}


def test_the_one_who_waits_draws_the_end(sample, clock, kernel) -> None:
    over = sample.status()
    script = Script([Look(sample.at(2))], (over, Scene(next_line="run.result()")))
    shown = progress("jupyter", clock=clock)
    assert isinstance(shown, Follows)
    shown.follow(script)
    shown.close(over)
    assert not displays()
    how, bundle = kernel.shown[-1]
    assert how == "update"
    assert "run.result()" in bundle["text/html"]
    assert [how for how, _ in kernel.shown].count("display") == 1


def test_the_end_is_drawn_once(sample, clock, kernel) -> None:
    over = sample.status()
    script = Script([Look(sample.at(2)), Look(over)], (over, Scene()))
    shown = Notebook(clock)
    shown.follow(script)
    wait(lambda: not displays())
    drawn = len(kernel.shown)
    shown.close(over)
    assert len(kernel.shown) == drawn


def test_lines_that_stay_are_listed_once(sample, clock, kernel) -> None:
    """What is at the end of the logs of many workers is there at each look."""
    logs = tuple(f"map {task}: waiting" for task in range(40))
    over = sample.status()
    script = Script(
        [Look(sample.at(2))] * 3 + [Look(over)], (over, Scene()), printed=lambda n: logs
    )
    shown = Notebook(clock)
    shown.follow(script)
    wait(lambda: not displays())
    said = [bundle["text/html"].count(": waiting") for _, bundle in kernel.shown]
    assert said == [12] * len(said)
    assert "map 39: waiting" in kernel.shown[-1][1]["text/html"]
    assert list(shown._printed) == list(logs[-12:])


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_kernel_that_breaks_ends_nothing_but_the_showing(sample, clock, kernel) -> None:
    script = Script([Look(sample.at(2))], (sample.status(), Scene()))
    shown = Notebook(clock)
    shown.follow(script)
    kernel.broken = True
    asked = len(script.asked)
    wait(lambda: len(script.asked) > asked + 1)  # it tries again, ever more rarely
    kernel.broken = False
    shown.close(sample.status())
    assert not displays()
    assert "succeeded" in kernel.shown[-1][1]["text/html"]


def test_drawing_takes_a_small_share_of_the_time(sample, clock, kernel) -> None:
    """However long a drawing takes, the next one waits a hundred times as long."""
    busy = 0.05

    def printed(number: int) -> tuple[str, ...]:
        end = time.thread_time() + busy
        while time.thread_time() < end:
            pass
        return ()

    script = Script([Look(sample.at(2))], (sample.status(), Scene()), printed=printed)
    shown = Notebook(clock)
    shown.follow(script)
    wait(lambda: len(script.asked) == 2)
    time.sleep(0.5)
    assert len(script.asked) == 2
    shown.close(None)


def test_a_picture_of_a_run_at_work_does_not_grow_with_its_tasks(sample, clock, kernel) -> None:
    shown = Notebook(clock)
    times = sample.times(100_000, 8)
    looks = [Look(sample.at(2), times, len(times))]
    script = Script(looks, (sample.status(), Scene()), seconds=60)
    shown.follow(script)
    began = time.perf_counter()
    shown._draw(script)
    assert time.perf_counter() - began < 1.0
    assert len(kernel.shown[-1][1]["text/html"]) < 150_000
    shown.close(None)


def test_a_cell_is_told_from_others(kernel, monkeypatch) -> None:
    assert cell() == "cell 1"
    kernel.parent = "cell 2"
    assert cell() == "cell 2"
    monkeypatch.delitem(sys.modules, "IPython")
    assert cell() is None
