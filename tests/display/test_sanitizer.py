"""What every display may consist of: what GitHub, nbconvert, JupyterLab and VS Code leave in.

The lists are those of JupyterLab's sanitizer for notebooks that are not trusted, of what mapred
uses, and those of SVG. Where a sanitizer takes the SVG out, the text has to say it all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

import mapred
from mapred.display import Column, failures_html, pipeline_html, plan_html, status_html
from mapred.display.failures import Failures
from mapred.display.html import COLOURS
from mapred.display.summary import Preview, Scene
from mapred.display.svg import FAILED, STAGE_COLOURS
from mapred.display.sweeps import SweepPoints, sweep_html
from mapred.display.tables import table_html
from mapred.model.failure import Retry
from mapred.model.pipelines import PipelineStatus, StepStatus
from mapred.model.records import GivenUp
from mapred.model.status import StageStatus, TaskTime, WorkerStatus

TAGS = set("b code details div pre span summary table tbody td tr".split())
PICTURE = set("circle desc g line path rect svg text title".split())
ATTRIBUTES = {
    "style", "class", "open", "role",
    "aria-label", "aria-valuemin", "aria-valuemax", "aria-valuenow",
}  # fmt: skip
OF_PICTURES = set(
    "cx cy d fill fill-opacity font-family font-size font-weight height opacity preserveaspectratio r stroke "
    "stroke-dasharray stroke-opacity stroke-width text-anchor vector-effect viewbox width x x1 x2 xmlns y y1 y2".split()
)
STYLES = set(
    "background border border-collapse border-radius color cursor display font-family font-size "
    "height line-height margin margin-left margin-right max-width min-width opacity overflow "
    "overflow-wrap overflow-x padding text-align vertical-align white-space width".split()
)


@pytest.fixture
def displays(sample, tmp_path) -> dict[str, str]:
    """Every display by what it shows."""
    began, day = sample.started, 86_400.0
    now = began + day + 20
    times = tuple(
        replace(time, started=time.started + (day if time.task > 4 else 0))
        for time in sample.times(9, 2)
    )
    retry = Retry("map", 1, "function", "ValueError", (7,), began + 2, 1.0, "w-1", "no luck")
    live = Scene(
        workers=(WorkerStatus("w-0", "map", 9, 9, now - 2, 10**7, "hello"),),
        points={9: "beta=0.5"},
        printed=("map 1: hello",),
        drawn=times,
    )
    ended = Scene(
        result=Preview("dict of 3 keys", ({"key": "a", "value": "1"},)),
        printed=("map 1: hello",),
        next_line="run.result()",
    )
    busy = {
        "times": times,
        "retries": (retry,),
        "tries": (retry,),
        "counters": {"words": 9},
        "heavy": {"shop='a'": 10**6},
        "failures": (sample.failure(3),),
        "parameters": {"date": "2026-01-01"},
        "message": "1 item of map failed",
        "pauses": ((began + 3, began + day),),
    }
    stages = (StageStatus("map", 43, 9, 1, 1, 1),)
    runs = {
        state: status_html(
            sample.status(state=state, finished=None, stages=stages, waiting={"map": 20}, **busy),
            now,
            scene=live if state == "running" else ended,
        )
        for state in "queued running succeeded failed cancelled suspended interrupted unknown".split()
    }
    given_up = sample.status(given_up=GivenUp("item", {1: (4,)}, {1: 1}), items=9, records=8)
    crowd = tuple(TaskTime("map", n, began, 5.0, f"w-{n}") for n in range(99))
    plan = sample.plan(
        [9, 5, 3],
        columns=(Column("id", "int64", "inferred"),),
        largest_files=(("a.csv", 9),),
        unsplittable=((1, 9, "gzip text"),),
    )
    failures = [sample.failure(n, signature=str(n)) for n in range(12)]
    run = mapred.run(abs, mapred.items(range(-3, 3)), root=tmp_path, progress="none")
    values = {
        "a run": run,
        "a plan": mapred.plan(mapred.sweep(a=[1, 2])),
        "runs": mapred.runs(root=tmp_path),
        "failures of a run": run.failures,
        "some failures": Failures(failures),
        "an audit": run.audit(),
    }
    return {
        **runs,
        **{name: value._repr_html_() for name, value in values.items()},
        "given up": status_html(given_up, now, scene=ended),
        "cells": status_html(sample.status(times=sample.times(3000, 3))),
        "crowd": status_html(sample.status(times=crowd)),
        "plan": plan_html(plan),
        "many failures": failures_html(failures),
        **{
            f"a sweep as {kind}": status_html(sample.status(), now, scene=Scene(picture=drawn))
            for kind, drawn in drawn_sweeps().items()
        },
        "a pipeline": pipeline_html(sample_pipeline("failed"), now),
        "a pipeline that waits": pipeline_html(sample_pipeline("waiting"), now),
        "a table": table_html([{"run": "x", "tasks": 3}], ["mapred.open('x')"]),
    }


def sample_pipeline(state: str) -> PipelineStatus:
    """A pipeline with steps of all kinds."""
    began = 1_795_536_301.0
    run = StepStatus("run", "parse", "succeeded", "4 items", "/r/a", began, 5.0, began + 5)
    failed = replace(
        run, state="failed", needs=(0,), message="map: ValueError: no", done=1, tasks=4
    )
    gate = StepStatus("gate", "go", "waiting", "Go?", "", began, 9.0, choices=(True, False))
    inner = StepStatus("pipeline", "inner", "waiting", "n=1", "/r/b", began, 9.0, steps=(gate,))
    value = StepStatus("recorded", "seed", "recorded", "17", started=began)
    steps = (run, failed, inner, value, gate)
    return PipelineStatus("nightly", state, steps, "RunError: no", began, None, {"n": "1"}, "/r/p")


def drawn_sweeps() -> dict[str, str]:
    """Pictures of sweeps: a line, cells and dots, with points that failed, are missing, or lack a number."""
    states = ["done", "failed", "missing", "done"] * 4
    results = [float(n) if n % 4 < 3 else None for n in range(16)]
    levels, fine = [2.0**n for n in range(4)], [n * 1.01 for n in range(16)]
    parameters: dict[str, dict[str, list[float]]] = {
        "line": {"rate": fine},
        "cells": {"rate": levels * 4, "depth": [each for each in levels for _ in range(4)]},
        "dots": {"rate": fine, "depth": [each * each for each in fine]},
    }
    return {
        kind: sweep_html(
            SweepPoints(of, {"loss": results, "time": results}, states), how="plot({})"
        )
        for kind, of in parameters.items()
    }


def styles(tags) -> Iterator[tuple[str, str]]:
    for _, attrs in tags:
        for rule in filter(str.strip, (attrs.get("style") or "").split(";")):
            name, _, value = rule.partition(":")
            yield name.strip(), value.strip()


def test_nothing_is_shown_that_a_sanitizer_takes_out(sample, displays) -> None:
    assert len(displays) == 25
    for name, source in displays.items():
        tree = sample.parse(source)
        assert {tag for tag, _ in tree.tags} <= TAGS | PICTURE, name
        for tag, attrs in tree.tags:
            allowed = ATTRIBUTES | (OF_PICTURES if tag in PICTURE else set())
            assert attrs.keys() <= allowed, (name, tag)
        for what, value in styles(tree.tags):
            assert what in STYLES, (name, what)
            assert not re.search(r"url|expression|var\(|javascript|!important", value), (
                name,
                value,
            )
        assert not re.search(r"<style|<script|\bon\w+=|javascript:|<!--", source), name


def test_bleach_changes_nothing(displays) -> None:
    bleach = pytest.importorskip("bleach")
    css = pytest.importorskip("bleach.css_sanitizer").CSSSanitizer(allowed_css_properties=STYLES)
    for name, source in displays.items():
        # Tags and text alone: it writes attributes in an order and with spaces of its own.
        plain = [
            re.sub(r"(<[\w-]+)[^>]*?(/?)>", r"\1>", re.sub(r"</[^>]*>", "", text))
            for text in (
                source,
                bleach.clean(
                    source,
                    tags=TAGS | PICTURE,
                    attributes=list(ATTRIBUTES | OF_PICTURES | {"viewBox", "preserveAspectRatio"}),
                    css_sanitizer=css,
                ),
            )
        ]
        before, after = (
            re.sub(r"&(#x27|#39|quot);", "'", text).replace('"', "'") for text in plain
        )
        assert after == before, name


def test_without_the_pictures_the_text_says_it_all(sample, displays) -> None:
    bleach = pytest.importorskip("bleach")
    for state in ("running", "failed"):
        text = bleach.clean(displays[state], tags=TAGS, strip=True)
        for said in (
            state,
            "9 of 43 tasks",
            "failed attempt",
            "no luck",
            "Paused for",
            "1 failure",
        ):
            assert said in text, said
        # Labels of the picture do not run into each other.
        assert not re.search(r"\d s\d|\dw-\d|w-\d\d s", text)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, as WCAG 2 computes it."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def blend(text: str, page: str, opacity: float) -> str:
    pairs = ((int(text[i : i + 2], 16), int(page[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a * opacity + b * (1 - opacity)):02x}" for a, b in pairs)


# Pages and the text on them: JupyterLab, GitHub, VS Code and nbconvert, light and dark.
PAGES = {
    "#ffffff": "#212121", "#fefefe": "#1f2328", "#f8f8f8": "#3b3b3b",
    "#111111": "#dedede", "#0d1117": "#e6edf3", "#1e1e1e": "#cccccc", "#1f1f1f": "#cccccc",
}  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_colours_stand_out_from_light_and_dark_pages(page: str) -> None:
    for colour in {*STAGE_COLOURS, FAILED, *COLOURS}:
        assert contrast(colour, page) >= 3, (colour, page)  # WCAG 1.4.11: what is not text


@pytest.mark.parametrize("page", PAGES)
def test_muted_text_can_be_read(page: str) -> None:
    assert contrast(blend(PAGES[page], page, 0.75), page) >= 4.5


def test_text_has_the_colour_of_its_page(sample, displays) -> None:
    """Only marks are coloured: no colour can be read as text on white and on black."""
    for name, source in displays.items():
        for content in re.findall(r'style="color:#[0-9a-f]{6}">([^<]*)<', source):
            assert content in ("●", "■", "✗"), (name, content)
        for tag, attrs in sample.parse(source).tags:
            if tag == "text" and name != "a sweep as cells":  # with colours of their own
                assert "fill" not in attrs, name


def test_labels_keep_their_size_and_have_room_in_narrow_pages(sample, displays) -> None:
    """Nothing scales with the page: 11 px are 11 px from 600 to 1,600 px."""
    for name, source in displays.items():
        tree = sample.parse(source)
        for attrs in tree.named("svg"):
            if "max-width:760px" in attrs.get("style", ""):  # a sweep's, which shrinks below it
                assert float(attrs["font-size"]) * 600 / 760 >= 10, name
                assert attrs["width"] == "100%", name
            elif "viewbox" in attrs:  # bars and tasks, without a label
                assert attrs["preserveaspectratio"] == "none", name
            else:
                assert attrs["width"] == "100%", name
                assert float(attrs["font-size"]) >= 9, name
                assert attrs["role"] == "img", name
                assert attrs["aria-label"], name
        inner = re.findall(r"<svg x=.*?</svg>", source)
        assert not any("<text" in part for part in inner), name
        for what, value in styles(tree.tags):
            if what == "font-size" and value.endswith("px"):
                assert float(value[:-2]) >= 11, name
            if what == "min-width":
                assert float(value.removesuffix("px")) <= 200, name


def test_pictures_have_a_title_and_a_description(sample, displays) -> None:
    pictures = re.findall(
        r'<svg role="img".*?</svg>(?=<div|</div)', "".join(displays.values()), re.S
    )
    assert len(pictures) > 10
    for picture in pictures:
        assert re.match(
            r'<svg [^>]*aria-label="[^"]+"[^>]*><title>[^<]+</title> <desc>[^<]+</desc>', picture
        )
