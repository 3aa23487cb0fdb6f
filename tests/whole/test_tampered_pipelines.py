"""Whatever is done to the folder of a pipeline: its answer is the same, or the audit and `result()` say no."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from testbed import pipelines
from testbed.faults.tampering import contents, put, tamperings

import mapred
from mapred.errors import MapredError


def verdict(uri: str, before: str) -> str:
    """What is wrong with what a tampered pipeline says of itself; nothing if it is as it should be."""
    answer = None
    try:
        answer = repr(mapred.open(uri).result())
    except MapredError:
        pass
    except Exception as error:
        return f"result: {type(error).__name__}: {error}"
    if answer not in (None, before):
        return f"another answer: {answer}"
    try:
        run: Any = mapred.open(uri)
        whole = run.audit().ok
    except MapredError as error:
        return (
            "" if answer is None else f"the audit is refused, and the answer is the same: {error}"
        )
    except Exception as error:
        return f"audit: {type(error).__name__}: {error}"
    try:
        str(run), run._repr_html_(), repr(mapred.runs(Path(uri).parent))
    except MapredError:
        pass
    except Exception as error:
        return f"display: {type(error).__name__}: {error}"
    return "whole, and no answer" if answer is None and whole else ""


def faults(run: mapred.PipelineRun, folder: Path, number: int, seed: int) -> dict[str, str]:
    """What is wrong after each of some tamperings, all of which are undone again."""
    files = contents(folder)
    every = list(tamperings(files))
    if os.environ.get("MAPRED_TAMPERINGS") != "all":
        every = random.Random(seed).sample(every, number)
    before, found = repr(run.result()), {}
    for tampering in every:
        after = {**files, tampering.path: tampering.data or b""}
        if tampering.data is None:
            del after[tampering.path]
        put(folder, after)
        if said := verdict(run.uri, before):
            found[str(tampering)] = said
        put(folder, files)
    return found


def test_no_tampering_of_a_pipeline_goes_unnoticed(tmp_path: Path) -> None:
    run = pipelines.succeeded(tmp_path)
    assert run.audit().ok, run.audit()
    assert faults(run, Path(run.uri), 12, 1) == {}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 5))
def test_no_tampering_of_a_pipeline_or_its_runs_goes_unnoticed(tmp_path: Path, seed: int) -> None:
    run = pipelines.succeeded(tmp_path)
    assert faults(run, tmp_path, 40, seed) == {}


@pytest.mark.parametrize(
    "record", ["pipeline.json", "claims", "order", "gates", "answers", "end.json"]
)
def test_records_of_a_newer_version_are_refused_by_name(tmp_path: Path, record: str) -> None:
    run = pipelines.succeeded(tmp_path)
    path = Path(run.uri, record)
    path = path if path.is_file() else sorted(path.iterdir())[0]
    path.write_text(
        path.read_text()
        .replace('"version":"1.0"', '"version":"9.0"')
        .replace('"version": "1.0"', '"version": "9.0"')
    )
    for call in (
        lambda: mapred.open(run.uri).audit(),
        lambda: str(mapred.open(run.uri)),
        lambda: mapred.rm(run.uri),
    ):
        with pytest.raises(MapredError, match="upgrade mapred"):
            call()
    assert Path(run.uri).exists()
