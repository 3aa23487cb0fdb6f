"""A digest of what a callable does, with all that it refers to.

Two functions have one digest if their bytecode, constants, defaults, closures and the globals that
they load are the same, as deep as these are the user's own code. Files, lines and comments do not
count, nor do the annotations of functions; docstrings do, as code can read them. What packages
bring counts by its name and their version. What code finds by a text, as in `globals()["x"]` or
`getattr(helpers, "x")`, is not seen, nor is what it reads from files. One minor version of Python compiles a text to one
bytecode; another one need not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from mapred.functions import object_forms
from mapred.functions.transport import name_of
from mapred.model import canonical
from mapred.model.forms import Content, Form

# Objects that make others as they are read would never end.
_MOST = 100_000


def digest(function: Callable[..., Any]) -> str:
    """Return the SHA-256 of what a callable does, in hexadecimal digits.

    Raises:
        canonical.Unknown: It refers to something that has no canonical form, such as a connection.
    """
    return _Graph(function).digest()


class _Node:
    """An object that code refers to, and its parts: the form of each, or the part where it has
    references itself.
    """

    def __init__(self, value: Any, form: Form, path: str) -> None:
        self.value, self.form, self.path = value, form, path
        self.head = canonical.encode(Content(form._replace(parts=())))
        self.parts: list[bytes | Content] = []


class _Graph:
    """All that a callable leads to, circles and all.

    Which parts are one object does not count, as pickles and notebooks change that. So nodes are
    told apart by their content, then by the content of what they refer to, until nothing more is
    told apart; what then refers to what is the digest.
    """

    def __init__(self, root: Any) -> None:
        start = Form("root", (), (root,), _nowhere)
        self._nodes = [_Node(None, start, name_of(root))]
        self._numbers: dict[int, int] = {}
        self._place, self._met = "", False
        for node in self._nodes:  # more come as these are read
            self._read(node)

    def digest(self) -> str:
        names = [b""] * len(self._nodes)
        count = 0
        while True:
            new = [self._name(node, names) for node in self._nodes]
            if len(set(new)) == count:
                break
            names, count = new, len(set(new))
        pairs = sorted({old + name for old, name in zip(names, new, strict=True)})
        return hashlib.sha256(b"".join((names[0], new[0], *pairs))).hexdigest()

    def _refer(self, value: Any) -> bytes:
        """Note that what is read refers to an object."""
        self._met = True
        if id(value) not in self._numbers:
            if len(self._nodes) == _MOST:
                raise canonical.Unknown(f"leads to more than {_MOST:,} objects that are not data")
            form = canonical.attempt(object_forms.of, value)
            self._numbers[id(value)] = len(self._nodes)
            self._nodes.append(_Node(value, form, self._place))
        return b""

    def _read(self, node: _Node) -> None:
        for index, value in enumerate(node.form.parts):
            part = Content(Form("part", (), (value,), _nowhere))
            self._place, self._met = node.path + node.form.place_of(index), False
            try:
                encoded = canonical.encode(part, self._refer)
            except canonical.Unknown as unknown:
                raise unknown.within(self._place) from unknown.__cause__
            node.parts.append(part if self._met else encoded)

    def _name(self, node: _Node, names: list[bytes]) -> bytes:
        """Return what tells a node from others, by what tells those that it refers to."""

        def other(value: Any) -> bytes:
            if id(value) not in self._numbers:
                raise canonical.Unknown("changes while it is read", node.path)
            return names[self._numbers[id(value)]]

        pieces = (p if isinstance(p, bytes) else canonical.encode(p, other) for p in node.parts)
        return hashlib.sha256(b"".join((node.head, *pieces))).digest()


def _nowhere(index: int) -> str:
    return ""
