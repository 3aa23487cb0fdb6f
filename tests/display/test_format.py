from __future__ import annotations

import pytest

from mapred.display import format_bytes, format_count, format_seconds
from mapred.display.format import fold, one_line, pluralize, shorten, tail, visible


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1234, "1.23 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (694_000_000, "694 MB"),
        (12_345_678, "12.3 MB"),
        (2**63, "9.22 EB"),
        (10**22, "10000 EB"),
        (float("nan"), "? B"),
    ],
)
def test_bytes_have_three_digits(size: float, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (-3, "0 s"),
        (1e-9, "0 ms"),
        (0.0004, "0.4 ms"),
        (0.42, "420 ms"),
        (0.9996, "1 s"),
        (13.2, "13.2 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min"),
        (125, "2 min 5 s"),
        (3_599.7, "1 h"),
        (3_780, "1 h 3 min"),
        (86_400 * 2 + 3600 * 4, "2 d 4 h"),
        (float("inf"), "?"),
    ],
)
def test_seconds_have_two_units_at_most(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_counts() -> None:
    assert format_count(1_234_567) == "1,234,567"
    assert format_count(2.0) == "2"
    assert format_count(1234.5) == "1,234.5"
    assert format_count(float("nan")) == "nan"
    assert pluralize(1, "file") == "1 file"
    assert pluralize(2, "entry", "entries") == "2 entries"


def test_text_from_elsewhere_cannot_steer_the_terminal() -> None:
    assert visible("a\x1b[2Jb\r\nc\td\u202e\udcff") == "a\\x1b[2Jb\nc\td\\u202e\\udcff"
    assert visible("数据/été 🎉.csv") == "数据/été 🎉.csv"
    assert one_line("a\n b\tc") == "a b c"
    assert len(one_line("x" * 10**7)) == 200
    assert shorten("a" * 50 + "b" * 50, 20) == "aaaaaa…" + "b" * 13
    assert shorten("a\nb", 20) == "a\\nb"
    assert tail("1\n2\n3\n", 2) == "2\n3"


def test_long_lines_break_between_words() -> None:
    text = "  one two three\n    four five six seven\nmapred resume a-long-name\n  /a/path of one"
    assert fold(text, 12).split("\n") == [
        "  one two",
        "    three",
        "    four",
        "      five",
        "      six",
        "      seven",
        "mapred resume a-long-name",
        "  /a/path of",
        "    one",
    ], "commands stay whole"
    assert fold("  5 B  /a/long/path", 12) == "  5 B  /a/long/path"
    code = "      return one_two + three_four"
    assert fold(code, 20) == code, "what stands in a traceback stays as it is"
    assert fold("ok  a text", 9, 4) == "ok  a\n    text"
    assert fold(text, None) == fold(text, 99) == text
    assert fold("x" * 50, 20) == "x" * 50
