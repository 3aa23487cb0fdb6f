"""Text from elsewhere, made safe to show."""

from __future__ import annotations

import re

_UNSAFE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: str) -> str:
    """Text from elsewhere made safe to show: control, direction and half characters escaped.

    Line feeds and tabs stay. A file name or a log may otherwise move the cursor, or hold
    characters that no stream can encode.
    """
    return _UNSAFE.sub(_escape, text.replace("\r\n", "\n"))


def visible_json(text: str) -> str:
    """JSON that means the same, and is safe to show."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
