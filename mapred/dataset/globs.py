"""Patterns of paths: `*`, `?`, `[…]` within a name, `**` for zero or more folders.

A pattern is walked as a set of states, so that each folder is read once however many `**`
there are. Wildcards leave out hidden names (a leading dot) unless the pattern writes the dot.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from typing import NamedTuple

from mapred.errors import DatasetError

_MAGIC = re.compile(r"[*?\[]")


class Part(NamedTuple):
    """One name of a pattern; `match` is None for `**`."""

    text: str
    match: re.Pattern[str] | None


class Step(NamedTuple):
    """What is known of a name below a folder.

    `states` are where the pattern continues inside it, `whole` whether the pattern ends with
    it, `aside` whether a wildcard matched a name that begins with an underscore.
    """

    states: frozenset[int]
    whole: bool
    aside: bool


_END = Step(frozenset(), True, False)
_NOWHERE = Step(frozenset(), False, False)


@dataclass(frozen=True)
class Glob:
    """A pattern below the folder `root`, which holds no wildcard."""

    root: str
    parts: tuple[Part, ...]

    @property
    def depth(self) -> int | None:
        """How many names deep it reaches; None for any depth."""
        return None if any(part.match is None for part in self.parts) else len(self.parts)

    def start(self) -> frozenset[int]:
        return self._epsilon_closure({0})

    def step(self, states: frozenset[int], name: str) -> Step:
        """Follow one name, a file's or a folder's."""
        if len(states) == 1 and not name.startswith("_"):
            (state,) = states
            match = self.parts[state].match
            if match is not None and state + 1 == len(self.parts):  # as for most names
                return _END if match.match(name) else _NOWHERE
        onward, aside, whole = set(), True, False
        for state in states:
            text, match = self.parts[state]
            if match is None:
                if not name.startswith("."):
                    onward.add(state)
            elif match.match(name):
                onward.add(state + 1)
                whole = whole or state + 1 == len(self.parts)
                aside = aside and not text.startswith("_")
        aside = aside and name.startswith("_") and "=" not in name
        return Step(self._epsilon_closure(onward - {len(self.parts)}), whole, aside)

    def _epsilon_closure(self, states: set[int]) -> frozenset[int]:
        """`**` may stand for no folder at all."""
        for state, part in enumerate(self.parts):
            if state in states and part.match is None:
                states.add(state + 1)
        return frozenset(states)


def is_glob(path: str) -> bool:
    """Whether a path holds a wildcard."""
    return _MAGIC.search(path) is not None


def parse(path: str, base: str = "") -> Glob:
    """Return the pattern of a path with `/`, which begins in the folder `base` where that is given.

    A path without wildcards stands for every file below it.
    """
    names = path.split("/")
    literal = next((i for i, name in enumerate(names) if is_glob(name)), len(names))
    root = "/".join(names[:literal])
    if base:
        root = f"{base.rstrip('/')}/{root}".rstrip("/") or "/"
    parts = [_part(name, path) for name in names[literal:] if name]
    if not parts:
        parts = [Part("**", None)]
    if parts[-1].match is None:
        parts.append(_part("*", path))
    return Glob(root or ("/" if path.startswith("/") else ""), tuple(parts))


def folder(path: str) -> Glob:
    """Every file below a folder, whose name may hold characters that are wildcards elsewhere."""
    return Glob(path, (Part("**", None), _part("*", path)))


def _part(name: str, path: str) -> Part:
    if name == "**":
        return Part(name, None)
    if "**" in name:
        raise DatasetError(
            f"{path}: '**' must be the whole name of a folder; write {name.replace('**', '**/*', 1)}"
        )
    visible = "" if name.startswith(".") else r"(?!\.)"
    return Part(name, re.compile(visible + fnmatch.translate(name)))
