"""What pods run. The source of this module travels with them, so it imports what their image has."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from enum import Enum
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc


def square(i: int) -> int:
    return i * i


def shout(i: int) -> int:
    print(f"shouting {i}")
    return i * i


def halves(number: int) -> int:
    return number // 2


def divides(i: int) -> int:
    print(f"dividing by {i - 2}")
    return 10 // (i - 2)


def divides_carefully(i: int) -> int:
    return 10 // (i - 2) if i != 2 else 0


def draws(i: int) -> bytes:
    time.sleep(2)
    return os.urandom(8)


def dawdles(i: int) -> int:
    time.sleep(4)
    return i


def sleeps(i: int) -> int:
    time.sleep(600)
    return i


def refuses(i: int) -> int:
    raise ValueError(f"never {i}")


def refuses_the_last(i: int) -> int:
    if i == 3:
        raise ValueError("not the last")
    return i


def holds_200_mib(i: int) -> int:
    return _held(200)


def holds_400_mib(i: int) -> int:
    return _held(400)


def _held(size: int) -> int:
    held = bytearray(size * 2**20)
    held[::4096] = b"x" * len(held[::4096])
    return len(held) // 2**20


def numbers(lines: Iterable[str]) -> list[int]:
    return [int(line) for line in lines if line]


def year(lines: Iterable[str], word: str, date: Any) -> str:
    return f"{word} {date:%Z} {len(list(lines))}"


class Side(Enum):
    LEFT = "left"
    RIGHT = "right"


def told(
    i: int, city: Literal["Bern", "Oslo"], days: int = 7, side: Side = Side.LEFT, pause: float = 0
) -> str:
    """Tell.

    Args:
        city: Which one.
    """
    time.sleep(pause)
    return f"{i} {city} {days!r} {side}"


def told_otherwise(i: int, city: str) -> str:
    return f"otherwise {i} {city}"


def add(values: Iterable[int]) -> int:
    return sum(values)


def collect(values: Iterable[int | None]) -> list[int]:
    return [value for value in values if value is not None]


def dearest(rows: pa.Table) -> pa.Table:
    """The three highest prices of each shop, those of one price in the order of their files."""
    parts = []
    for shop in pc.unique(rows["shop"]):
        equal = pc.is_null(rows["shop"]) if shop.as_py() is None else pc.equal(rows["shop"], shop)
        parts.append(rows.filter(equal).sort_by([("price", "descending")])[:3])
    return pa.concat_tables(parts)


def as_it_is(rows: pa.Table) -> pa.Table:
    return rows


def checks_the_password(i: int) -> int:
    """Fail for one item, in a pod that has the planted password."""
    assert os.environ["PGPASSWORD"].startswith("planted-")
    print("asked for", sorted(name for name in os.environ if "PASSWORD" in name))
    if i == 1:
        raise ValueError(f"no table {i}")
    return i
