"""Values that fill the places of URIs and reach functions by name."""

from __future__ import annotations

from datetime import date, datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

import mapred
from mapred.errors import PlanError
from mapred.functions import parameters

DAY = datetime(2026, 3, 1, 3, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("s3://logs/{date:%Y/%m/%d}/*.gz", "s3://logs/2026/03/01/*.gz"),
        ("s3://logs/{date}/*.gz", "s3://logs/2026-03-01/*.gz"),
        ("logs/{date-1d:%Y-%m-%d}.txt", "logs/2026-02-28.txt"),
        ("logs/{date+90m:%H%M}.txt", "logs/0430.txt"),
        ("logs/{city}/{n:03d}.txt", "logs/Bern/007.txt"),
        ("logs/[0-9]*/{a,b}.txt", "logs/[0-9]*/{a,b}.txt"),
    ],
)
def test_places_are_filled(text: str, filled: str) -> None:
    assert parameters.fill_places(text, {"date": DAY, "city": "Bern", "n": 7}) == filled


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{day}.txt", "a place for 'day'; the parameters are: date, city"),
        ("{city:%Y}.txt", "cannot be filled by 'Bern'"),
        ("{city-1d}.txt", "cannot be filled by 'Bern'"),
    ],
)
def test_places_that_cannot_be_filled(text: str, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        parameters.fill_places(text, {"date": DAY, "city": "Bern"})


def dated(lines: Any, city: str, date: date | None = None) -> list[str]:
    return [f"{city} {date:%d} {line}" for line in lines]


class Model:
    made = 0

    def __init__(self) -> None:
        type(self).made += 1

    def __call__(self, i: int, factor: int, task: mapred.Task) -> int:
        return i * factor + task.shard * 0


@pytest.fixture
def logs(tmp_path: Path) -> str:
    for day in ("2026-03-01", "2026-03-02"):
        (tmp_path / f"{day}.txt").write_text(f"{day}\n")
    return f"{tmp_path}/{{date:%Y-%m-%d}}.txt"


def test_a_job_is_bound_to_a_day(logs: str) -> None:
    job = mapred.job(dated, logs).bind(date=DAY, city="Bern")
    assert job.run(backend="inline", progress="none").result() == [["Bern 01 2026-03-01"]]
    assert job.name == "dated"


def test_a_class_is_called_with_values() -> None:
    job = mapred.job(Model, mapred.array(3)).bind(factor=5)
    assert job.run(backend="inline", progress="none").result() == [0, 5, 10]


def test_a_program_finds_values_in_its_environment(logs: str) -> None:
    said = 'echo "$MAPRED_PARAM_CITY $MAPRED_PARAM_DATE"; cat "$MAPRED_INPUT"'
    job = mapred.job(mapred.command(["sh", "-c", said]), logs).bind(date=DAY, city="Bern")
    (printed,) = job.run(backend="inline", progress="none").result()
    assert printed == "Bern 2026-03-01T03:00:00+00:00\n2026-03-01\n"


def test_what_is_written_has_places_too(logs: str, tmp_path: Path) -> None:
    import pyarrow as pa

    target = mapred.write_parquet(f"{tmp_path}/out/{{date:%m}}")
    job = mapred.job(lambda lines: pa.table({"line": list(lines)}), logs, write=target)
    job.bind(date=DAY).run(backend="inline", progress="none")
    assert list((tmp_path / "out/03").rglob("*.parquet"))


def test_a_value_that_nothing_takes_is_named(logs: str) -> None:
    with pytest.raises(PlanError, match="nothing takes the parameter 'lines'"):
        mapred.job(dated, logs).bind(date=DAY, lines="x")
    with pytest.raises(PlanError, match="nothing takes the parameter 'town'"):
        mapred.job(dated, logs).bind(date=DAY, town="Bern")


def test_what_is_no_value_is_named(logs: str) -> None:
    values: dict[str, Any] = {"city": ["Bern"]}
    with pytest.raises(PlanError, match="must be a text, a number, true or false, or a date"):
        mapred.job(dated, logs).bind(**values)


class Side(Enum):
    LEFT = "left"
    BOTH = ("left", "right")


class Colour(str, Enum):
    RED = "red"


def told(item: int, side: Side, colour: Colour = Colour.RED) -> str:
    return f"{item} {side} {colour!r}"


def test_members_of_enums_reach_the_function_and_are_recorded_as_their_values(
    tmp_path: Path,
) -> None:
    job = mapred.job(told, mapred.items([1])).bind(side=Side.BOTH, colour=Colour.RED)
    run = job.run(backend="inline", root=tmp_path, progress="none")
    assert run.result() == [f"1 {Side.BOTH} {Colour.RED!r}"]
    assert run.job.parameters == {"side": "BOTH", "colour": "red"}
    assert parameters.fill_places("{colour}/{side}", job.bound) == "red/BOTH"
    assert parameters.text_of(job.bound) == "side=BOTH colour=red"
