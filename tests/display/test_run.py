from __future__ import annotations

import time

import pytest

from mapred.display import (
    failures_html,
    failures_text,
    group_failures,
    run_text,
    status_html,
    status_text,
    timeline_text,
)
from mapred.display.summary import Scene, timeline
from mapred.model.failure import Retry
from mapred.model.records import GivenUp
from mapred.model.status import StageStatus, TaskTime, WorkerStatus

GOLDEN = """\
Run 20261124-160501-3f9c2e1b running: 20 of 43 map tasks, 0 of 1 reduce task, \
347 MB of 694 MB in 10 s
  map       ━━━━━━━━━━━─────────────  20/43, 2 running, 1 failed
  reduce-1  ────────────────────────  0/1
  12,100,233 records, 347 MB of 694 MB, 34.7 MB/s, 10 s elapsed, about 10 s left
  words = 93,000,000
  map tasks: median 1 s, slowest 3 s (task 2), peak memory 20 MB
  reduce-1 task: 1 s
  w-1 │████████████████████████████████████████│ 100%
  w-2 │██████████          ▓▓▓▓▓▓▓▓▓▓xxxxxxxxxx│  75%
       0 s                                  4 s
       █ map  ▓ reduce-1  x failed attempt
4,000 failures:
  4,000 × map: ValueError: could not convert string to float: 'n/a' (function; tasks 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, \
27, 28 and 3,980 more)
    at /data/9.csv bytes 0-100
       /data/10.csv bytes 0-100
       /data/11.csv bytes 0-100
       /data/12.csv bytes 0-100
       /data/13.csv bytes 0-100
       /data/14.csv bytes 0-100
       /data/15.csv bytes 0-100
       /data/16.csv bytes 0-100
       /data/17.csv bytes 0-100
       /data/18.csv bytes 0-100
       /data/19.csv bytes 0-100
       /data/20.csv bytes 0-100
       /data/21.csv bytes 0-100
       /data/22.csv bytes 0-100
       /data/23.csv bytes 0-100
       /data/24.csv bytes 0-100
       /data/25.csv bytes 0-100
       /data/26.csv bytes 0-100
       /data/27.csv bytes 0-100
       /data/28.csv bytes 0-100
       and 3,980 more
    Traceback (most recent call last):
      File "w.py", line 3, in f
    ValueError: n/a
    log ends with
    | reading"""


def golden_status(sample):
    started = sample.started
    return sample.half_done(
        counters={"words": 93_000_000},
        times=(
            TaskTime("map", 0, started, 1.0, "w-1"),
            TaskTime("map", 1, started, 1.0, "w-2"),
            TaskTime("map", 2, started + 1, 3.0, "w-1", 5, 20_000_000),
            TaskTime("reduce-1", 0, started + 2, 1.0, "w-2"),
            TaskTime("map", 9, started + 3, 1.0, "w-2"),
        ),
        failures=tuple(sample.failure(task) for task in range(9, 4009)),
    )


def test_golden_text(sample) -> None:
    assert status_text(golden_status(sample), sample.started + 10, width=40) == GOLDEN


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "succeeded: 43 map tasks, 1 reduce, 694 MB in 13.2 s"),
        (
            {"bytes": 0, "bytes_done": 0},
            "succeeded: 43 map tasks, 1 reduce, 12,100,233 records in 13.2 s",
        ),
        (
            {"bytes": 0, "records": 0, "stages": (StageStatus("map", 1, 1),)},
            "succeeded: 1 map task, 100% in 13.2 s",
        ),
        (
            {
                "stages": (
                    StageStatus("map", 9, 9),
                    StageStatus("reduce-1", 3, 3),
                    StageStatus("reduce-2", 1, 1),
                )
            },
            "succeeded: 9 map tasks, 4 reduce tasks, 694 MB in 13.2 s",
        ),
        ({"state": "interrupted", "finished": None}, "interrupted: 43 map tasks, 1 reduce, 694 MB"),
    ],
)
def test_one_line(sample, changes, text) -> None:
    assert run_text(sample.status(**changes)) == f"Run 20261124-160501-3f9c2e1b {text}"


def test_html_says_what_the_text_says(sample) -> None:
    tree = sample.parse(status_html(golden_status(sample), sample.started + 10))
    for said in (
        "running",
        "347 MB of 694 MB",
        "about 10 s left",
        "93,000,000",
        "4,000 × map",
        "/data/9.csv",
    ):
        assert said in tree.text
    bars = [attrs for attrs in tree.named("div") if attrs.get("role") == "progressbar"]
    assert [(bar["aria-valuenow"], bar["aria-valuemax"]) for bar in bars] == [
        ("20", "43"),
        ("0", "1"),
    ]
    (picture,) = [attrs for attrs in tree.named("svg") if "role" in attrs]
    assert "5 tasks on 2 lanes" in str(picture["aria-label"])
    assert "map 9, 1 s, failed attempt" in tree.text


def test_equal_failures_are_one_line(sample) -> None:
    failures = [sample.failure(task) for task in range(4000)] + [
        sample.failure(7, signature="", kind="lost", error="WorkerLost", message="signal 9")
    ]
    assert [(group.count, len(group.tasks)) for group in group_failures(failures)] == [
        (4000, 4000),
        (1, 1),
    ]
    text = failures_text(failures, details=False)
    assert text.split("\n")[0] == "4,001 failures:"
    assert len(text.split("\n")) == 3
    tree = sample.parse(failures_html(failures))
    assert len(tree.named("details")) == 2
    assert tree.text.count("could not convert") == 1
    assert tree.text.count("/data/0.csv") == 1


def test_the_same_error_at_another_stage_or_unsigned_is_told_apart(sample) -> None:
    failures = [
        sample.failure(0),
        sample.failure(0, stage="reduce-1"),
        sample.failure(1, signature="", message="a"),
        sample.failure(2, signature="", message="b"),
        sample.failure(3, signature="", message="b"),
    ]
    assert [group.count for group in group_failures(failures)] == [2, 1, 1, 1]


def test_many_kinds_of_failure_stay_short(sample) -> None:
    failures = [sample.failure(i, signature=str(i), traceback="x" * 100_000) for i in range(4000)]
    assert len(failures_text(failures)) < 100_000
    assert failures_text(failures).endswith("and 3,990 more of 3,990 kinds")
    assert len(failures_html(failures)) < 100_000
    assert failures_text([]) == failures_html([]) == ""


def test_what_a_run_says_is_escaped(sample) -> None:
    evil = sample.evil
    status = sample.status(
        run_id=evil,
        uri=evil,
        name=evil,
        state=evil,
        message=evil,
        stages=(StageStatus(evil, 2, 1),),
        counters={evil: 1},
        times=(TaskTime(evil, 0, sample.started, 1.0, evil),),
        failures=(
            sample.failure(
                stage=evil,
                kind=evil,
                error=evil,
                message=evil,
                traceback=evil,
                where=evil,
                log=evil,
            ),
        ),
    )
    source = status_html(status)
    tree = sample.parse(source)
    assert not tree.named("script")
    assert "<script>" in tree.text
    for text in (source, status_text(status)):
        assert not {"\x1b", "\u202e", "\udcff", "\r"} & set(text)


@pytest.mark.parametrize(
    ("tasks", "workers", "said"),
    [
        (1, 1, "1 task on 1 lane"),
        (2000, 32, "2,000 tasks on 32 lanes"),
        pytest.param(100_000, 8, "100,000 tasks on 8 lanes", marks=pytest.mark.slow),
        pytest.param(100_000, 2000, "at most 2,000; 100,000 tasks", marks=pytest.mark.slow),
    ],
)
def test_timelines_stay_quick_and_small(sample, tasks, workers, said) -> None:
    status = sample.status(times=sample.times(tasks, workers))
    began = time.perf_counter()
    source, text = status_html(status), status_text(status)
    assert time.perf_counter() - began < 20
    assert len(source) < 300_000
    assert len(text) < 4_000
    assert said in str(sample.parse(source).named("svg")[0]["aria-label"])


def test_workers_one_after_the_other_share_a_lane(sample) -> None:
    times = tuple(TaskTime("map", i, sample.started + i, 1.0, f"pod-{i}") for i in range(100))
    lines = timeline_text(sample.status(times=times)).split("\n")
    assert lines[0] == f"slot 1 │{'█' * 60}│ 100%"


def test_a_task_of_no_time_is_seen(sample) -> None:
    status = sample.status(times=(TaskTime("map", 0, sample.started, 0.0, "w"),))
    assert "█" in timeline_text(status)
    assert sample.parse(status_html(status)).named("rect")
    assert timeline_text(sample.status()) == ""


def test_a_given_time_is_the_only_clock(sample) -> None:
    status = sample.half_done()
    assert "elapsed" not in status_text(status)
    assert "about 10 s left" in status_text(status, sample.started + 10)
    assert status_html(status, 5.0) == status_html(status, 5.0)
    assert "elapsed" in status_text(sample.half_done(times=sample.times(3, 1)))


def test_what_was_given_up_is_said_at_every_place(sample) -> None:
    lost = {task: (2 * task,) for task in range(2, 30)}
    status = sample.status(
        stages=(StageStatus("map", 43, 15, given_up=28, given_up_items=28),),
        given_up=GivenUp("item", lost, dict.fromkeys(lost, 0)),
        skipped=2,
        failures=tuple(sample.failure(task, items=items) for task, items in lost.items()),
    )
    text, tree = status_text(status), sample.parse(status_html(status))
    assert run_text(status).startswith(
        "Run 20261124-160501-3f9c2e1b succeeded, 28 items given up: 15 of 43 map tasks"
    )
    for said in (
        "succeeded, 28 items given up",
        "28 items given up: 4, 6, 8, 10, 12, 14, 16, 18, 20, 22 and 18 more",
        "28 × map: ValueError: could not convert string to float: 'n/a' "
        f"(function; items {', '.join(str(item) for item in range(4, 43, 2))} and 8 more)",
        "2 bad rows skipped",
    ):
        assert said in text
        assert said in tree.text
    assert "15/43, 28 items given up" in text
    assert "15 of 43 tasks, 28 items given up" in tree.text
    badge, whole = (
        next(attrs for attrs in page.named("span") if "color" in str(attrs.get("style")))
        for page in (tree, sample.parse(status_html(sample.status())))
    )
    assert badge["style"] != whole["style"]


def test_shards_are_given_up_by_their_own_word(sample) -> None:
    given_up = GivenUp("shard", {3: (3,)}, {3: 0})
    for state in ("running", "failed", "succeeded"):
        status = sample.status(
            state=state, stages=(StageStatus("map", 5, 4, given_up=1),), given_up=given_up
        )
        assert f"{state}, 1 shard given up: 4 of 5 map tasks" in run_text(status)
        assert "4/5, 1 shard given up\n  1 shard given up: 3\n" in status_text(status)


@pytest.mark.parametrize(
    ("rows", "said"),
    [(4, "≈ 4"), (999, "≈ 999"), (11_284, "≈ 11,300"), (1_999_999, "≈ 2,000,000"), (0, "≈ 0")],
)
def test_estimates_are_marked_and_rounded(sample, rows, said) -> None:
    status = sample.status(heavy={"hour='06/Nov/2026:02'": rows})
    line = f"{said} rows of hour='06/Nov/2026:02'"
    assert f"\n  {line}" in status_text(status)
    assert line in sample.parse(status_html(status)).text


def test_nothing_runs_in_a_run_that_is_over(sample) -> None:
    status = sample.status(state="failed", stages=(StageStatus("map", 4, done=1, running=2),))
    for text in (status_text(status), sample.parse(status_html(status)).text):
        assert "2 running" not in text
        assert "of 4" in text


def test_tasks_that_nobody_has_begun_are_told_apart(sample) -> None:
    stages = (StageStatus("map", 9, done=2, running=2, failed=1), StageStatus("reduce-1", 1))
    waiting = {"map": 3, "reduce-1": 1}
    for state, said in (
        ("running", "2/9, 2 running, 1 failed, 3 not started"),
        ("failed", "2/9, 1 failed, 3 not started, 3 cut off"),
    ):
        text = status_text(sample.status(state=state, stages=stages, waiting=waiting))
        assert said in text
        assert "0/1, 1 not started" in text
    # Of a run that was driven elsewhere it is not known which of them had begun.
    text = status_text(sample.status(state="failed", stages=stages))
    assert "2/9, 1 failed, 6 not done" in text
    assert "not started" not in text
    text = status_text(sample.status(state="running", stages=stages))
    assert "2/9, 2 running, 1 failed\n" in text


def test_items_are_counted_where_there_are_items(sample) -> None:
    stages = (StageStatus("map", 6, 3), StageStatus("reduce-1", 1))
    run = sample.status(
        state="running", finished=None, stages=stages, items=60, records=30, bytes=0, bytes_done=0
    )
    text = status_text(run, sample.started + 10)
    assert "  30 of 60 items, 3 items/s, 10 s elapsed" in text
    assert " B" not in text
    both = sample.status(items=60, records=60)  # files: bytes as well
    assert "60 items, 694 MB, 4.55 items/s, 52.6 MB/s" in status_text(both)


def retry(sample, task: int, **changes) -> Retry:
    known = {"time": sample.started + 2, "seconds": 1.0, "worker": "vm:1", "message": "no luck"}
    return Retry("map", task, "function", "ValueError", **{**known, **changes})


def test_failed_attempts_are_drawn_and_listed_with_their_points(sample) -> None:
    status = sample.status(
        state="failed",
        times=sample.times(4, 2),
        retries=(retry(sample, 1, items=(17,), values={17: "beta=0.5, gamma=0.1"}),),
        tries=(retry(sample, 9), retry(sample, 9, time=sample.started + 4)),
        failures=(sample.failure(9, time=sample.started + 4),),
    )
    tree = sample.parse(status_html(status))
    (picture,) = [attrs for attrs in tree.named("svg") if "role" in attrs]
    assert "4 tasks and 3 failed attempts" in str(picture["aria-label"])
    assert (
        "map 1, 1 s, failed attempt: ValueError: no luck (item 17: beta=0.5, gamma=0.1)"
        in tree.text
    )
    assert tree.text.count("✗ ") >= 4
    for text in (tree.text, status_text(status)):
        assert "map 1: ValueError: no luck (item 17: beta=0.5, gamma=0.1)" in text


def test_a_pause_is_cut_out_and_marked(sample) -> None:
    day = 86_400.0
    times = (
        TaskTime("map", 0, sample.started, 2.0, "w-1"),
        TaskTime("map", 1, sample.started + day, 2.0, "w-1"),
    )
    status = sample.status(times=times, pauses=((sample.started + 3, sample.started + day),))
    line = timeline(status, 9)
    assert line.seconds == pytest.approx(5.0)
    ((at, long),) = line.pauses
    assert at == pytest.approx(3.0)
    assert long == pytest.approx(day - 3)
    tree = sample.parse(status_html(status))
    assert "paused 23 h 59 min" in tree.text
    # The mark stands where the second task begins: at three fifths of what is drawn.
    (mark,) = [a for a in tree.named("line") if a.get("stroke-dasharray") == "3 3"]
    left = float(next(a["x"] for a in tree.named("svg") if "preserveaspectratio" in a).rstrip("%"))
    assert float(mark["x1"].rstrip("%")) == pytest.approx(left + (100 - left) * 3 / 5, abs=0.1)


def test_what_workers_are_at_is_drawn_to_now(sample) -> None:
    now = sample.started + 10
    workers = (
        WorkerStatus("vm:1", "map", 4, 17, now - 4, 50_000_000),
        WorkerStatus("vm:2", "map", None, None, now - 1),
    )
    status = sample.half_done(times=sample.times(2, 2))
    scene = Scene(workers=workers, points={17: "beta=0.5"}, printed=("map 4: step 1",))
    tree = sample.parse(status_html(status, now, scene=scene))
    for said in (
        "map task 4, item 17: beta=0.5",
        "a task of map",
        "50 MB in 2 workers",
        "map 4, 4 s so far",
        "map 4: step 1",
        "2 tasks at work",
    ):
        assert said in tree.text, said
    opened = [rect for rect in tree.named("rect") if "stroke" in rect]
    ends = [float(rect["x"]) + float(rect["width"]) for rect in opened]
    assert ends == [pytest.approx(10_000, abs=20)] * 2
    over = sample.parse(status_html(sample.status(times=sample.times(2, 2)), now, scene=scene))
    assert "at work" not in over.text


def test_of_many_workers_the_longest_at_work_are_listed(sample) -> None:
    now = sample.started + 100
    workers = tuple(WorkerStatus(f"vm:{n}", "map", n, None, now - n) for n in range(100))
    tree = sample.parse(status_html(sample.half_done(), now, False, Scene(workers=workers)))
    assert "map task 99" in tree.text
    assert "map task 84" in tree.text
    assert "map task 83" not in tree.text
    assert "and 84 more" in tree.text


def test_the_latest_of_very_many_tasks_are_drawn(sample) -> None:
    status = sample.half_done(stages=(StageStatus("map", 100_000, 50_000),))
    scene = Scene(drawn=sample.times(600, 2))
    text = sample.parse(status_html(status, sample.started + 600, scene=scene)).text
    assert "drawn are the last 600 of 50,000 tasks" in text
    assert "median" not in text
