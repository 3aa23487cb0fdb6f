"""Failures as plain text, grouped by what they have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mapred import errors
from mapred.display.format import format_count, join_numbers, one_line, pluralize, shorten, tail
from mapred.display.summary import FailureGroup, group_failures
from mapred.model.failure import Failure, Retry
from mapred.process.secrecy import mask

# A group of failures shows so many items.
PLACES = 20
_LINE_END = "\n"
_LOOKED_AT = 20_000  # characters of a text, of which far fewer are shown, that are masked first


def failures_text(failures: Sequence[Failure], most: int = 10, details: bool = True) -> str:
    """Failures grouped by signature, at most `most` groups, the most frequent first.

    `details` adds the first failure's place and the ends of its traceback and log.
    """
    groups = group_failures(failures)
    lines = [f"{pluralize(len(failures), 'failure')}:"] if failures else []
    for group in groups[:most]:
        lines.append("  " + group_line(group))
        if details:
            lines += _details(group)
    if len(groups) > most:
        rest = sum(group.count for group in groups[most:])
        lines.append(f"  and {format_count(rest)} more of {pluralize(len(groups) - most, 'kind')}")
    return "\n".join(lines)


def group_line(group: FailureGroup) -> str:
    """`3 × map: ValueError: bad price (function; items 4, 13, 22)`."""
    first = group.first
    error = error_text(first)
    times = f"{format_count(group.count)} × " if group.count > 1 else ""
    what, numbers = ("item", group.items) if group.items else ("task", group.tasks)
    which = f"{what}{'s' * (len(numbers) > 1)} {join_numbers(numbers, PLACES)}"
    return f"{times}{one_line(first.stage, 40)}: {error} ({one_line(first.kind)}; {which})"


def error_text(failure: Failure) -> str:
    """Return the exception on one line: of an error of mapred's own its first line, which has the
    advice."""
    message = mask(failure.message[:_LOOKED_AT])
    if failure.error in errors.__all__:
        return one_line(f"{failure.error}: {message.partition(_LINE_END)[0]}", 600)
    return one_line(f"{failure.error}: {message}" if message else failure.error)


def point_text(retry: Retry, most: int = 3) -> str:
    """`ValueError: bad price (item 4: beta=0.5)`: a failed attempt, and the items it failed at."""
    what = retry.error if retry.kind in ("function", "dataset") else retry.kind
    message = mask(retry.message[:_LOOKED_AT])
    text = one_line(f"{what}: {message}" if message else what, 120)
    points = [
        f"item {item}: {mask(retry.values[item])}" if item in retry.values else f"item {item}"
        for item in retry.items[:most]
    ]
    if len(retry.items) > most:
        points.append(f"{len(retry.items) - most:,} more")
    place = "; ".join(points) or mask(retry.where)
    return f"{text} ({shorten(place, 160)})" if place else text


def masked_tail(text: str, lines: int) -> str:
    """Return the last lines of a traceback or log, without what looks like a secret."""
    return tail(mask(text[-_LOOKED_AT:]), lines)


def places_text(group: FailureGroup) -> list[str]:
    """Return the items of a group with their values, else its places; of many the first ones."""
    shown = [shorten(mask(place), 400) for place in group.places[:PLACES]]
    more = len(group.places) - PLACES
    return [*shown, f"and {format_count(more)} more"] if more > 0 else shown


def _details(group: FailureGroup) -> Iterator[str]:
    failure = group.first
    for number, place in enumerate(places_text(group)):
        yield f"    {'   ' if number else 'at '}{place}"
    if failure.traceback:
        yield from (f"    {line}" for line in masked_tail(failure.traceback, 12).split("\n"))
    if failure.log:
        yield "    log ends with"
        yield from (f"    | {line}" for line in masked_tail(failure.log, 10).split("\n"))
