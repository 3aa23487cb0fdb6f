"""Parameters that are given as texts: which there are, what each text means, what is refused."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mapred
from mapred.errors import PlanError
from mapred.functions import declared, transport
from mapred.functions.declared import Declared, Parameter
from mapred.functions.parameters import Value, free_parameters

WHEN = dt.datetime(2026, 3, 1, 3, 30, tzinfo=dt.timezone.utc)


class Side(Enum):
    LEFT = "left"
    RIGHT = "right"


class Level(Enum):
    LOW = 1
    HIGH = 2


class Box(Enum):
    SMALL = (1, 2)
    LARGE = (3, 4)


def everything(
    lines: Any,
    task: mapred.Task,
    city: str,
    days: int,
    rate: float,
    fast: bool,
    day: dt.date,
    since: dt.datetime,
    size: Literal["s", "m", 3, True],
    side: Side,
    level: Level | None,
    box: Box,
    either: int | str,
    whatever,  # type: ignore[no-untyped-def]
    count: int = 7,
    limit: int | None = None,
    where: Annotated[str, "a place"] = "here",
    wide: Side = Side.RIGHT,
    odd: int = "many",  # type: ignore[assignment]
    stops: frozenset[str] = frozenset(),
    *,
    flag=False,  # type: ignore[no-untyped-def]
) -> None:
    """Do all.

    Args:
        city: Which one,
            of those there are.
        days: How many.
    """


def of(
    fn: Callable[..., Any], *texts: str, names: set[str] | None = None, **given: Any
) -> Declared:
    return declared.declare(fn, names or free_parameters(fn), texts, given)


def test_annotations_and_defaults_say_how_parameters_are_given() -> None:
    found = {each.name: each for each in of(everything).parameters}
    assert list(found) == [
        *("city", "days", "rate", "fast", "day", "since", "size", "side", "level", "box"),
        *("either", "whatever", "count", "limit", "where", "wide", "odd", "flag"),
    ]
    required = {
        "city": "text",
        "days": "int",
        "rate": "float",
        "fast": "bool",
        "day": "date",
        "since": "datetime",
        "either": "any",
        "whatever": "any",
    }
    assert {name: found[name].kind for name in required} == required
    assert {name for name, each in found.items() if each.default is None} == {
        *required,
        *("size", "side", "level", "box"),
    }
    assert found["size"].choices == ("s", "m", "3", "true")
    assert found["side"].choices == ("left", "right")
    assert found["level"].choices == ("1", "2")
    assert found["box"].choices == ("SMALL", "LARGE")
    optional = {"count": "7", "limit": "", "where": "here", "wide": "right", "odd": ""}
    assert {name: found[name].default for name in optional} == optional
    assert found["flag"] == Parameter("flag", "bool", default="false")
    assert found["city"].description == "Which one, of those there are."
    assert found["days"].description == "How many."


GIVEN = {
    "city": "Bern",
    "days": "3",
    "rate": "0.5",
    "fast": "true",
    "day": "2026-03-01",
    "since": "2026-03-01",
    "size": "3",
    "side": "left",
    "level": "2",
    "box": "LARGE",
    "either": "01",
    "whatever": "1.5",
}


def test_texts_become_what_the_annotations_say() -> None:
    values = of(everything).read(GIVEN, WHEN)
    assert values == {
        "city": "Bern",
        "days": 3,
        "rate": 0.5,
        "fast": True,
        "day": dt.date(2026, 3, 1),
        "since": dt.datetime(2026, 3, 1, tzinfo=dt.timezone.utc),
        "size": 3,
        "side": Side.LEFT,
        "level": Level.HIGH,
        "box": Box.LARGE,
        "either": "01",
        "whatever": 1.5,
        "count": 7,
        "where": "here",
        "wide": Side.RIGHT,
        "flag": False,
    }
    assert type(values["size"]) is int
    more = of(everything).read({**GIVEN, "limit": "5", "odd": "6", "flag": "True"}, WHEN)
    assert (more["limit"], more["odd"], more["flag"]) == (5, 6, True)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("days", "many", "days='many' must be a whole number"),
        ("days", "1.5", "days='1.5' must be a whole number"),
        ("days", "", "days='' must be a whole number"),
        ("rate", "fast", "rate='fast' must be a number"),
        ("fast", "yes", "fast='yes' must be true or false"),
        ("day", "2026-03-01T02:00", "must be a day such as 2026-03-01"),
        ("since", "today", "must be a day or a time, such as 2026-03-01 or"),
        ("size", "xl", "size='xl' must be one of s, m, 3, true"),
        ("side", "LEFT", "side='LEFT' must be one of left, right"),
        ("town", "x", "nothing takes the parameter 'town'; there are: city: text, days: int"),
        ("city", "AKIA" + "A" * 16, "parameter city looks like a secret"),
    ],
)
def test_what_does_not_fit_is_one_clear_error(name: str, text: str, said: str) -> None:
    for read in (
        lambda texts: of(everything).read(texts, WHEN),
        lambda texts: declared.complete(of(everything).parameters, texts),
    ):
        with pytest.raises(PlanError) as refused:
            read({**GIVEN, name: text})
        assert said in str(refused.value)


def test_a_parameter_without_a_default_has_to_be_given() -> None:
    texts = {name: text for name, text in GIVEN.items() if name != "side"}
    with pytest.raises(PlanError, match="parameter side needs a value: one of left, right"):
        of(everything).read(texts, WHEN)


def needs_a_set(lines: Any, stops: set[str]) -> None: ...


def test_what_no_text_can_be_needs_a_default() -> None:
    with pytest.raises(PlanError, match=r"parameter stops: set\[str\] cannot be given as a text"):
        of(needs_a_set)
    assert of(functools.partial(needs_a_set, stops=set())).parameters == ()
    assert of(needs_a_set, stops="a").read({}, WHEN) == {"stops": "a"}


def needs_a_password(lines: Any, password: str) -> None: ...


def test_a_secret_is_no_parameter() -> None:
    with pytest.raises(PlanError, match="parameter password looks like a secret"):
        of(needs_a_password)


def plain(lines: Any) -> None: ...


def dated(lines: Any, date: dt.date) -> None: ...


def late(lines: Any, date=None) -> None: ...  # type: ignore[no-untyped-def]


def test_places_are_parameters_as_well() -> None:
    text = "s3://b/{day:%Y}/{day-1d:%m}/{city}/{n:03d}/{share:.2f}/{back-2d}.csv"
    names = {"day", "city", "n", "share", "back"}
    kinds = {each.name: each.kind for each in of(plain, text, names=names).parameters}
    assert kinds == {
        "day": "datetime",
        "city": "text",
        "n": "int",
        "share": "float",
        "back": "datetime",
    }


def test_the_date_is_that_of_the_start_unless_it_is_given() -> None:
    assert of(plain, "{date:%Y}", names={"date"}).read({}, WHEN) == {"date": WHEN}
    assert of(mapred.command(["true"])).read({}, WHEN) == {"date": WHEN}
    assert of(late).read({}, WHEN) == {"date": WHEN}
    assert of(dated).read({}, WHEN) == {"date": WHEN.date()}
    assert of(dated).read({"date": "2026-01-02"}, WHEN) == {"date": dt.date(2026, 1, 2)}
    fixed = dt.date(2026, 5, 1)
    assert of(dated, date=fixed).read({}, WHEN) == {"date": fixed}


def test_values_that_are_given_are_the_defaults() -> None:
    made = of(everything, city="Bern", side=Side.LEFT, count=9)
    found = {each.name: each.default for each in made.parameters}
    assert (found["city"], found["side"], found["count"]) == ("Bern", "left", "9")
    texts = {k: v for k, v in GIVEN.items() if k not in ("city", "side")}
    values = made.read(texts, WHEN)
    assert (values["city"], values["side"], values["count"]) == ("Bern", Side.LEFT, 9)
    with pytest.raises(PlanError, match="days='x' must be a whole number"):
        of(everything, days="x")
    with pytest.raises(PlanError, match="nothing takes the parameter 'town'"):
        of(everything, town="x")
    assert of(mapred.command(["true"]), city="Bern").read({"city": "Rom"}, WHEN) == {
        "date": WHEN,
        "city": "Rom",
    }


def test_enums_of_a_module_that_a_pod_lacks_travel_with_the_job() -> None:
    made = of(everything)
    loaded = transport.load(transport.dump(made))
    assert loaded == made
    assert loaded.read(GIVEN, WHEN) == made.read(GIVEN, WHEN)


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": st.text(max_size=9),
    "int": st.integers(),
    "float": st.floats(allow_nan=False),
    "bool": st.booleans(),
    "date": st.dates(),
    "datetime": st.datetimes(timezones=st.just(dt.timezone.utc)),
}


@given(st.data(), st.sampled_from(sorted(VALUES)))
def test_a_value_is_the_same_after_its_text(data: st.DataObject, kind: str) -> None:
    value: Value = data.draw(VALUES[kind])
    parameter = Parameter("x", kind)
    assert declared.read_text(parameter, declared.write_value(parameter, value)) == value


def test_what_is_not_plain_has_no_text() -> None:
    with pytest.raises(PlanError, match=r"parameter x=\[1\] must be a text, a number"):
        declared.write_value(Parameter("x"), [1])
    assert declared.write_value(Parameter("x", default=""), None) == ""
    for default in (None, "7"):
        with pytest.raises(PlanError, match="parameter x=None must be a text"):
            declared.write_value(Parameter("x", default=default), None)
