"""No display shows what looks like a secret in texts of the user's code; records keep the texts."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import mapred
from mapred import display
from mapred.display.failures import Failures
from mapred.display.live import Plain, describe_work
from mapred.display.summary import Scene
from mapred.display.terminal import Bar, Page
from mapred.model.failure import Failure, Retry
from mapred.model.status import RunStatus, StageStatus, TaskTime, WorkerStatus

HIDDEN = "Hunter2Hush"
SECRETS = {
    "login": f"https://me:{HIDDEN}@host/x",
    "key": f"AKIA{HIDDEN.upper()}12345",
    "password": f"password={HIDDEN}",
    "signature": f"s3://b/x?X-Amz-Signature={HIDDEN}&page=2",
    "token": f"Authorization: Bearer {HIDDEN}123456",
}
# Behind so much text, a secret is where displays cut: what is left of it may not look like one.
FILLED = [0, 100, 190]


def shown(status: RunStatus, sample: Any) -> Iterator[str]:
    """Every display of a run as text, whatever the medium."""
    now = sample.started + 9
    worker = WorkerStatus("w-0", "map", 9, 9, now - 2, 10**7, "")
    text = status.message
    scene = Scene(workers=(worker,), points={9: text}, printed=(f"map 1: {text}",))
    yield str(describe_work(replace(status, state="queued"), None, None))
    for state in ("running", "failed"):
        seen = replace(status, state=state)
        yield display.status_html(seen, now, scene=scene)
        yield display.status_text(seen, now)
        for kind in (Plain, Bar, Page):
            stream = io.StringIO()
            progress = kind(stream, lambda: now)
            progress(seen)
            progress.close(seen)
            yield stream.getvalue()
    failures = Failures(status.failures)
    yield from (repr(failures), failures._repr_html_())
    yield from map(repr, failures)
    yield from map(str, failures)


def holding(text: str, sample: Any) -> RunStatus:
    """A run whose attempts failed with a text in every place that the user's code can write to."""
    began = sample.started
    failure: Failure = sample.failure(
        3, message=text, traceback=f"  File 'w.py'\nValueError: {text}\n", where=text, log=text,
        items=(4,), values={4: text}, time=began + 3, seconds=1.0,
    )  # fmt: skip
    placed = replace(failure, task=4, items=(), values={}, signature="s2")
    retry = Retry(
        "map", 1, "function", "ValueError", (7,), began + 2, 1.0, "w", text, text, {7: text}
    )
    elsewhere = replace(retry, task=2, items=(), values={})
    return sample.status(
        finished=None, message=text, stages=(StageStatus("map", 9, 3, 1, 1, 1),),
        times=(TaskTime("map", 0, began, 1.0, "w", 10),), heavy={text: 10**6},
        failures=(failure, placed), retries=(retry, elsewhere), tries=(retry, elsewhere),
    )  # fmt: skip


@pytest.mark.parametrize("kind", SECRETS)
def test_no_display_shows_a_secret(kind: str, sample: Any) -> None:
    for fill in FILLED:
        status = holding("x " * (fill // 2) + SECRETS[kind], sample)
        for text in shown(status, sample):
            assert HIDDEN.lower()[:6] not in text.lower(), text


def test_without_a_secret_all_of_it_is_shown(sample: Any) -> None:
    text = "no such file abfs://container@account/x.csv: TokenError: expired"
    status = holding(text, sample)
    page, plain = display.status_html(status), display.status_text(status)
    assert page.count(text) >= 10
    assert plain.count(text) >= 8


def fails(number: int) -> None:
    print("as", SECRETS["key"])
    raise ValueError(f"cannot read {SECRETS['login']}")


def test_a_run_shows_no_secret_and_its_records_hold_the_text() -> None:
    with pytest.raises(mapred.RunError) as caught:
        mapred.run(fails, range(2), attempts=1, backend=mapred.Local(workers=1))
    run = caught.value.run
    bundle = run._repr_mimebundle_()
    for text in (str(caught.value), str(run), *bundle.values(), repr(run.failures[0])):
        assert HIDDEN.lower()[:6] not in text.lower(), text
        assert "cannot read https://host/x" in text
    assert SECRETS["login"] in run.failures[0].message
    assert SECRETS["key"] in run.logs()
