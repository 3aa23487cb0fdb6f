"""A canonical form of values, and its SHA-256: what tells whether two values are the same.

The form of a value is the same in every process and every Python: it does not depend on hash
seeds, addresses, the order of sets, or which parts are one object. Values of different types
differ. Pickles have none of this.

Examples:
    >>> from mapred.model import canonical
    >>> canonical.digest({"rate": 0.1}) == canonical.digest({"rate": 0.1})
    True
    >>> canonical.digest(1) == canonical.digest(True)
    False
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from mapred.model import columns, forms
from mapred.model.checking import safe_text
from mapred.model.forms import ClassOf, Content, Form

# What is longer stands in the form of a larger value as its digest.
_LONG = 64
_DIGEST = b"\xff"
F = TypeVar("F")
Other = Callable[[Any], bytes]


class Unknown(Exception):
    """A value has a part without a canonical form.

    Attributes:
        path: Where the part is, such as `['model'].weights`; empty for the value itself.
        problem: What is wrong with it.
    """

    def __init__(self, problem: str, path: str = "") -> None:
        super().__init__(problem, path)
        self.problem, self.path = problem, path

    def __str__(self) -> str:
        return f"{self.path or 'the value'} {self.problem}"

    def within(self, place: str) -> Unknown:
        """Return the same of a larger value that has this one at a place."""
        return Unknown(self.problem, place + self.path)


def digest(value: object, other: Other | None = None) -> str:
    """Return the SHA-256 of a value's canonical form, in hexadecimal digits.

    Args:
        value: Plain data: values of Python and its library, dataclasses, arrays, tables, frames.
        other: What returns the form of functions, classes and other objects, or raises `Unknown`.

    Raises:
        Unknown: A part of the value has no canonical form.
    """
    return hashlib.sha256(encode(value, other)).hexdigest()


def encode(value: object, other: Other | None = None) -> bytes:
    """Return the canonical form of a value, in which long parts are digests; see `digest`."""
    return _Encoder(other).encode(value)


def is_data(value: object) -> bool:
    """Whether a value has a canonical form."""
    try:
        encode(value)
    except Unknown:
        return False
    return True


def describe(value: object) -> Unknown:
    """Return the error for a value that has no canonical form."""
    kind = type(value)
    where = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return Unknown(f"is a {where}{kind.__qualname__}, which has no canonical form")


def attempt(former: Callable[[Any], F], value: Any) -> F:
    """Take a value apart; where its own methods fail, it is `Unknown` as well."""
    try:
        return former(value)
    except (Unknown, MemoryError):
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {safe_text(str, error)}"
        raise Unknown(f"is a {type(value).__qualname__} that cannot be read: {why}") from error


def _close(tag: str, payload: tuple[Any, ...], parts: list[bytes]) -> bytes:
    """Return a form: its tag, its payload, and its parts, which are as `_shorten` leaves them."""
    if len(payload) == 1 and len(payload[0]) <= _LONG and type(payload[0]) is bytes:
        return b"%b\0%c%b%b" % (tag.encode(), len(payload[0]), payload[0], b"".join(parts))
    whole = hashlib.sha256()
    for piece in payload:
        whole.update(piece)
    size = sum(memoryview(piece).nbytes for piece in payload)
    short = b"".join(bytes(piece) for piece in payload) if size <= _LONG else b""
    held = bytes([size]) + short if size <= _LONG else _DIGEST + whole.digest()
    return b"%b\0%b%b" % (tag.encode(), held, b"".join(parts))


def _shorten(form: bytes) -> bytes:
    if len(form) <= _LONG:
        return b"%c%b" % (len(form), form)
    return _DIGEST + hashlib.sha256(form).digest()


class _Open:
    """A value of which some parts are written."""

    __slots__ = ("done", "form", "key", "parts")

    def __init__(self, key: int, form: Form) -> None:
        self.key, self.form = key, form
        self.parts: Iterator[Any] = iter(form.parts)
        self.done: list[bytes] = []

    def close(self) -> bytes:
        parts = self.done if self.form.ordered else sorted(self.done)
        return _close(self.form.tag, self.form.payload, parts)

    @property
    def place(self) -> str:
        """The place of the part that is next."""
        return self.form.place_of(len(self.done))


class _Encoder:
    """Writes one value; its stack is a list, so a value may nest as deep as memory allows."""

    def __init__(self, other: Other | None) -> None:
        self._other = other
        self._formers: dict[type, Callable[[Any], Form | None] | None] = {}
        # Each object is written once, however often it is held; it is kept, as its id counts.
        self._written: dict[int, tuple[Any, bytes]] = {}
        self._within: dict[int, Any] = {}
        self._stack: list[_Open] = []

    def encode(self, value: Any) -> bytes:
        self._stack.append(_Open(0, Form("value", (), (value,), lambda _: "")))
        self._within[0] = None
        try:
            while True:
                opened = self._stack[-1]
                if self._is_whole(opened):
                    whole = opened.close()
                    self._stack.pop()
                    if not self._stack:
                        return whole
                    short = _shorten(whole)
                    self._written[opened.key] = self._within.pop(opened.key), short
                    self._stack[-1].done.append(short)
        except Unknown as unknown:
            path = "".join(opened.place for opened in self._stack)
            raise unknown.within(path) from unknown.__cause__

    def _is_whole(self, opened: _Open) -> bool:
        """Write the next parts of a value; one that has parts itself is put upon the stack."""
        for part in opened.parts:
            leaf = forms.LEAVES.get(type(part))
            if leaf is not None:
                opened.done.append(_shorten(_close(leaf[0], (leaf[1](part),), [])))
                continue
            written = self._begin(part)
            if written is None:
                return False
            opened.done.append(written)
        return True

    def _begin(self, value: Any) -> bytes | None:
        key, kind = id(value), type(value)
        if key in self._written:
            return self._written[key][1]
        if key in self._within:
            raise Unknown(f"is a {kind.__name__} that holds itself, which has no canonical form")
        form: Form | None
        if kind is Content:
            form = value.form
        elif kind is ClassOf:
            if self._other is None:
                return _shorten(_close("class", (forms.text(forms.class_name(value.kind)),), []))
            return _shorten(_close("other", (self._other(value.kind),), []))
        else:
            form = self._take_apart(kind, value)
        if form is None:
            if self._other is None:
                raise describe(value)
            return _shorten(_close("other", (self._other(value),), []))
        self._within[key] = value
        self._stack.append(_Open(key, form))
        return None

    def _take_apart(self, kind: type, value: Any) -> Form | None:
        if kind not in self._formers:
            self._formers[kind] = columns.former_of(kind) or forms.former_of(kind)
        former = self._formers[kind]
        return attempt(former, value) if former is not None else None
