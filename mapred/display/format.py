"""Numbers and foreign text as a person reads them."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from mapred.errors.escaping import visible as visible

_SIZES = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def format_bytes(size: float) -> str:
    """Bytes in decimal units with three digits: `694 MB`, `1.21 GB`, `0 B`."""
    if not math.isfinite(size):
        return "? B"
    value, unit = float(size), 0
    while abs(value) >= 999.5 and unit < len(_SIZES) - 1:
        value, unit = value / 1000, unit + 1
    return f"{_three_digits(value)} {_SIZES[unit]}"


def format_time(seconds: float) -> str:
    """Return a moment, in seconds since the epoch, in the zone of this machine: `2026-01-02 03:04`."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def format_seconds(seconds: float) -> str:
    """Return a duration in at most two units: `420 ms`, `13.2 s`, `2 min 5 s`, `1 h 3 min`, `2 d 4
    h`."""
    if not math.isfinite(seconds):
        return "?"
    seconds = max(0.0, float(seconds))
    if seconds == 0:
        return "0 s"
    if seconds < 0.9995:
        return f"{_three_digits(seconds * 1000)} ms" if seconds >= 0.00005 else "0 ms"
    if seconds < 59.95:
        return f"{_three_digits(seconds)} s"
    whole = round(seconds)
    for size, unit, smaller, name in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size:,} {unit}" + (f" {rest} {name}" if rest else "")
    return f"{whole} s"


def format_count(number: float) -> str:
    """Return a count with thousands separated: `1,234,567`; fractions keep six digits."""
    if not math.isfinite(number):
        return str(number)
    return f"{int(number):,}" if number == int(number) else f"{number:,.6g}"


def format_rate(number: float) -> str:
    """Return a number a second with three digits: `0.25`, `9.8`, `1,230`."""
    return _three_digits(number) if number < 999.5 else f"{round(number):,}"


def pluralize(number: int, one: str, many: str | None = None) -> str:
    """`1 file`, `2 files`."""
    return f"{format_count(number)} {one if number == 1 else many or one + 's'}"


def join_numbers(numbers: Sequence[int], most: int = 10) -> str:
    """`4, 13, 22`; of many the first ones and how many there are: `0, 1, 2 and 997 more`."""
    shown = ", ".join(str(number) for number in numbers[:most])
    more = len(numbers) - most
    return shown if more <= 0 else f"{shown} and {more:,} more"


def format_estimate(number: float) -> str:
    """Return a count that was not counted, to three digits: `≈ 11,300`."""
    size = max(abs(number), 1)
    return f"≈ {format_count(round(number, 2 - math.floor(math.log10(size))))}"


def escape_html(text: str) -> str:
    """Return the visible text for HTML, fit for attributes too."""
    from html import escape

    return escape(visible(text))


def one_line(text: str, width: int = 200) -> str:
    """Return the visible text on one line of at most `width` characters."""
    joined = " ".join(visible(text[: 20 * width]).split())
    return joined if len(joined) <= width else joined[: width - 1] + "…"


def fold(text: str, width: int | None, indent: int = 2) -> str:
    """Break lines longer than `width` between words, `indent` deeper; commands and paths stay whole."""
    if width is None:
        return text
    return "\n".join(
        "\n".join(_fold_line(line, width, indent)) if len(line) > width else line
        for line in text.split("\n")
    )


def _fold_line(line: str, width: int, indent: int) -> list[str]:
    deeper = len(line) - len(line.lstrip()) + indent
    longest = max(map(len, line.split()), default=0)
    code = deeper - indent >= 6 or line.lstrip().startswith("| ")  # of a traceback, or of a log
    if code or line.startswith("mapred ") or longest + deeper > width:
        return [line]  # The terminal breaks it, and what is copied is whole.
    import textwrap

    return textwrap.wrap(
        line,
        width,
        subsequent_indent=" " * deeper,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )


def shorten(text: str, width: int) -> str:
    """Return the visible text on one line, its middle left out where it is longer than `width`."""
    text = visible(text).replace("\n", "\\n").replace("\t", "\\t")
    if len(text) <= width:
        return text
    head = width // 3
    return text[:head] + "…" + text[len(text) - (width - head - 1) :]


def tail(text: str, lines: int, characters: int = 4000) -> str:
    """Return the last lines of a traceback or log, visible, at most `characters` long."""
    end = text[-characters:].rstrip()
    return "\n".join(visible(end).split("\n")[-lines:])


def _three_digits(value: float) -> str:
    size = abs(value)
    digits = 2 if size < 9.995 else 1 if size < 99.95 else 0
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
