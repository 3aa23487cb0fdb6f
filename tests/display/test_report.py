"""The page of a report: escaped, harmless, and small."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mapred.display.report import report_page
from mapred.display.report.histograms import histogram
from mapred.display.report.values import LogTail, PlanFacts, Recipe, Report, SlowTask, Source
from mapred.model.failure import Retry

EVIL = "<script>alert(1)</script>\x1b[31m\u202e&'\""


def assert_harmless(page: str, sample: Any) -> None:
    """One file that runs nothing and loads nothing."""
    tree = sample.parse(page.replace("<!DOCTYPE html>", "").replace("<meta", "<br"))
    tags = {tag for tag, _ in tree.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    for _, attributes in tree.tags:
        assert not any(name.startswith("on") or name in ("src", "srcset") for name in attributes)
        assert str(attributes.get("href", "#")).startswith("#")
    assert "url(" not in page
    assert "@import" not in page
    assert "http-equiv" in page


def full(sample: Any, **changes: Any) -> Report:
    """A report with everything in it, all of it hostile."""
    times = sample.times(40, 4)
    retry = Retry("map", 1, EVIL, EVIL, (), sample.started + 1, 1.0, EVIL)
    status = sample.status(
        name=EVIL, uri=EVIL, message=EVIL, state="failed", times=times, retries=(retry,),
        counters={EVIL: 1.5}, heavy={EVIL: 3}, parameters={"a": EVIL},
        failures=(sample.failure(2, message=EVIL, traceback=EVIL, where=EVIL, log=EVIL, signature=EVIL),),
    )  # fmt: skip
    known: dict[str, Any] = {
        "facts": ((EVIL, EVIL),), "sources": (Source(EVIL, EVIL, EVIL), Source("a", "b", "", EVIL)),
        "plan": PlanFacts(((EVIL, EVIL),), np.arange(1, 40)), "slow": (SlowTask(times[0], 2.0, EVIL),),
        "asked": (("map", 10**9),), "logs": (LogTail(EVIL, 1, EVIL, EVIL, 3),), "logs_in_all": 9,
        "audit": EVIL, "whole": False, "written": ((EVIL, EVIL),), "recipes": (Recipe(EVIL, EVIL),),
        "unread": (EVIL,),
    }  # fmt: skip
    known |= {"status": status, "made": sample.started, "version": "1"}
    return Report(**{**known, **changes})


def test_everything_in_a_report_is_escaped(sample: Any) -> None:
    page = report_page(full(sample))
    assert_harmless(page, sample)
    assert "<script" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_report_of_a_hundred_thousand_tasks_is_small(sample: Any) -> None:
    status = replace(
        full(sample).status,
        times=sample.times(100_000, 900),
        failures=tuple(
            sample.failure(i, signature=f"s{i}", traceback="x" * 9000) for i in range(2000)
        ),
        retries=tuple(Retry("map", i, "lost", "E", (), 0.0, 1.0, "w-1") for i in range(5000)),
    )
    page = report_page(full(sample, status=status, plan=PlanFacts((), np.arange(100_000))))
    assert 50_000 < len(page) < 1_000_000


def test_a_histogram_counts_every_value(sample: Any) -> None:
    values = np.random.default_rng(1).lognormal(size=500).tolist()
    drawn = sample.parse(
        histogram("seconds", values, "{:.3f}".format, [("median", 1.0, "red")], "blue")
    )
    counts = [
        int(text.split(": ")[1].split(" ")[0])
        for text in drawn.text.split("task")
        if " to " in text
    ]
    assert "median 1.000" in drawn.text
    assert len(counts) == len(drawn.named("rect"))
    assert histogram("seconds", [1.0], str, [], "blue") == ""
    assert sample.parse(histogram("seconds", [0.0, 0.0], str, [], "blue")).named("rect")
