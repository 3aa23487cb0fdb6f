"""Values as YAML that every reader takes for the same values, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mapred.errors import BackendError, MissingDependency

# Readers of YAML 1.1 take more words for booleans than those of 1.2; what begins like a number
# is always quoted, as Go reads more texts as numbers than Python does.
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
_PLAIN = re.compile(r"[A-Za-z/_]([\w./@+=<>()|&,;:$%'\"*?!\[\]{}\\ ^-]*[\w./@)\]}'\"])?", re.ASCII)
_AMOUNT = re.compile(r"[0-9]+([KMGT]i|m|s|h)", re.ASCII)
_BLOCK = re.compile(r"[!-~][\t -~]*(\n[\t -~]*)*[!-~]\n?")


def to_yaml(*documents: Mapping[str, Any]) -> str:
    """The documents as YAML, keys in their order; texts of several lines as blocks."""
    return "---\n".join("\n".join(_lines(document, "")) + "\n" for document in documents)


def _lines(value: Any, indent: str) -> Iterator[str]:
    """The lines of a mapping or list that is not empty."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _entry(f"{indent}{_inline(key)}:", item, indent)
        return
    for item in value:
        if isinstance(item, Mapping | list) and item:
            first, *others = _lines(item, indent + "  ")
            yield f"{indent}- {first.lstrip()}"
            yield from others
        else:
            yield from _entry(f"{indent}-", item, indent)


def _entry(start: str, item: Any, indent: str) -> Iterator[str]:
    if isinstance(item, Mapping | list) and item:
        yield start
        yield from _lines(item, indent if isinstance(item, list) else indent + "  ")
    else:
        yield f"{start} {_scalar(item, indent + '  ')}"


def _scalar(value: Any, indent: str) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    if "\n" in value and _BLOCK.fullmatch(value):
        lines = value.removesuffix("\n").split("\n")
        head = "|" if value.endswith("\n") else "|-"
        return "\n".join([head, *(f"{indent}{line}" if line else "" for line in lines)])
    return _inline(value)


def _inline(value: str) -> str:
    if _AMOUNT.fullmatch(value):
        return value
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS and ": " not in value:
        return value
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(letter: str) -> str:
    if letter in '"\\':
        return f"\\{letter}"
    if letter.isprintable():
        return letter
    return f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}"


def from_yaml(text: str, what: str = "the text") -> list[Any]:
    """The documents of a YAML text, the empty ones left out."""
    try:
        import yaml
    except ImportError:
        raise MissingDependency("PyYAML", "argo") from None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return [found for found in yaml.load_all(text, Loader=loader) if found is not None]
    except yaml.YAMLError as error:
        raise BackendError(f"{what} is no YAML: {error}") from None
