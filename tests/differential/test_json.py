"""JSON lines as people have them: what reaches the function is what Python's json reads."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mapred
from differential.agreement import same
from differential.folders import folder
from differential.reading import EVERY_AS, as_given, read

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.sampled_from(
    ["2024-01-01", "2024-01-01T00:00:00", "007", "1e3", "null", "\u2028", '"']
)
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "small": st.integers(-1000, 1000),
    "id": st.integers(2**53 - 3, 2**63 - 1) | st.integers(-(2**63), 0),
    "unsigned": st.integers(2**63 - 2, 2**64 - 1),
    "long": st.integers(2**64, 10**30),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "mixed": st.floats(-1e6, 1e6) | st.integers(-1000, 1000),
    "bool": st.booleans(),
    "text": TEXT,
    "nothing": st.none(),
    "numbers": st.lists(st.integers(-(2**63), 2**63 - 1) | st.none(), max_size=3),
    "unsigneds": st.lists(st.integers(2**63, 2**64 - 1), max_size=3),
    "texts": st.lists(TEXT, max_size=3),
    "point": st.fixed_dictionaries({"x": st.integers(2**53, 2**60), "y": st.none() | TEXT}),
    "items": st.lists(
        st.fixed_dictionaries({"sku": TEXT}, optional={"qty": st.integers(0, 2**64 - 1)}),
        max_size=3,
    ),
    "deep": st.fixed_dictionaries({"a": st.lists(st.lists(st.integers(0, 2**62), max_size=2))}),
}


@dataclass(frozen=True)
class Case:
    """Files of objects, and how they are written and read."""

    files: list[list[dict[str, Any]]]
    blank: bool
    bom: bool
    target_bytes: int
    as_: str
    columns: list[str] | None


@st.composite
def cases(draw: Any) -> Case:
    names = draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4, unique=True))
    kinds = {name: draw(st.sampled_from(sorted(KINDS))) for name in names}
    values = {name: KINDS[kind] | st.none() for name, kind in kinds.items()}
    required = {name: value for name, value in values.items() if draw(st.booleans())}
    optional = {name: value for name, value in values.items() if name not in required}
    row = st.fixed_dictionaries(required, optional=optional)
    return Case(
        files=draw(st.lists(st.lists(row, max_size=6), min_size=1, max_size=4)),
        blank=draw(st.booleans()),
        bom=draw(st.booleans()),
        target_bytes=draw(st.sampled_from([1, 7, 40, 1 << 20])),
        as_=draw(st.sampled_from(("dicts", *EVERY_AS))),
        columns=draw(st.none() | st.permutations(names).map(lambda p: p[: max(1, len(p) // 2)])),
    )


def written(case: Case, rows: list[dict[str, Any]]) -> bytes:
    lines = [json.dumps(row, ensure_ascii=len(row) % 2 == 0) + "\n" for row in rows]
    text = ("\n" * case.blank).join(lines)
    return (b"\xef\xbb\xbf" * case.bom if text else b"") + text.encode()


def agrees(said: Any, value: Any) -> bool:
    """Whether a value says what a document says; fields that it lacks are null in a struct."""
    if said is None or value is None:
        return said is value or (value is None and said == {}) or _empty(said, value)
    if isinstance(said, dict):
        names = said.keys() | value.keys()
        return all(agrees(said.get(name), value.get(name)) for name in names)
    if isinstance(said, list):
        return len(said) == len(value) and all(map(agrees, said, value))
    if isinstance(said, int) and not isinstance(said, bool) and isinstance(value, float):
        return Decimal(said) == Decimal(value)
    if isinstance(said, float) and isinstance(value, Decimal):
        return float(value) == said
    return same(said, value)


def _empty(said: Any, value: Any) -> bool:
    """A struct of nulls stands for a struct that is null only where a frame cannot tell them."""
    return said is None and isinstance(value, dict) and all(v is None for v in value.values())


def holds(case: Case) -> None:
    everything = [row for rows in case.files for row in rows]
    if not everything:
        return
    there = {name for row in everything for name in row}
    columns = [name for name in case.columns or () if name in there]
    with folder() as here:
        for number, rows in enumerate(case.files):
            (here / f"{number}.jsonl").write_bytes(written(case, rows))
        dataset = mapred.read_json(str(here / "*.jsonl"), columns=columns or None)
        if not there and case.as_ != "dicts":
            return
        found = read(as_given(dataset, case.as_), case.target_bytes)
        again = read(as_given(dataset, "table"), 1 << 20) if there else []
    assert len(found) == len(everything)
    for rows in (found, again) if there else (found,):
        for said, row in zip(everything, rows, strict=True):
            for name in columns or there:
                assert agrees(said.get(name), row.get(name)), (name, said.get(name), row.get(name))
            assert set(row) <= set(columns or there)


@given(cases())
@settings(max_examples=50, deadline=None)
@pytest.mark.slow
def test_what_is_read_is_what_stands_there(case: Case) -> None:
    holds(case)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@given(cases())
@settings(max_examples=350, deadline=None)
def test_what_is_read_is_what_stands_there_at_length(case: Case) -> None:
    holds(case)


ODD: list[Any] = [2**53 + 1, 2**63, 2**64, 10**40, 1.5, "x", True, [1], {"x": 1}, {"y": 2**60}]


@given(
    rows=st.lists(st.sampled_from([*ODD, None]), min_size=1, max_size=5),
    depth=st.sampled_from(["", "struct", "list"]),
    target_bytes=st.sampled_from([1, 1 << 20]),
)
@settings(max_examples=60, deadline=None)
@pytest.mark.slow
def test_fields_of_several_types_are_exact_or_named(
    rows: list[Any], depth: str, target_bytes: int
) -> None:
    wrap = {"": lambda v: v, "struct": lambda v: {"in": v}, "list": lambda v: [v]}[depth]
    said = [{"id": number, "f": wrap(value)} for number, value in enumerate(rows)]
    with folder() as here:
        (here / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in said))
        dataset = mapred.read_json(str(here / "a.jsonl"))
        try:
            found = read(dataset, target_bytes)
        except mapred.DatasetError as error:
            assert "f" in str(error)
            assert "dicts" in str(error)
        else:
            assert all(agrees(one, other) for one, other in zip(said, found, strict=True))
        exact = read(as_given(dataset, "dicts"), target_bytes)
    assert exact == said
    assert not any(isinstance(row["f"], float) and math.isinf(row["f"]) for row in exact)
