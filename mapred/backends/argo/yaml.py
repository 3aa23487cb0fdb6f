"""Writes values as YAML that every reader takes for the same values, and reads YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any

from mapred.errors import BackendError, MissingDependency

# Readers of YAML 1.1 take more words for booleans than those of 1.2; what begins like a number
# is always quoted, as Go reads more texts as numbers than Python does.
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
_PLAIN = re.compile(r"(?!.*(: | #|[: ]$))[A-Za-z/_][ -~]*|[0-9]+([KMGT]i|m|s|h)", re.ASCII)
# A reader takes these for line breaks, and writes another one in their place.
_BREAKS = frozenset("\r\x85\u2028\u2029")
_NO_FOLDS = 2**31


def to_yaml(*documents: Mapping[str, Any]) -> str:
    """Return the documents as YAML, keys in their order; texts of several lines as blocks."""
    text: str = _yaml().dump_all(
        documents, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=_NO_FOLDS
    )
    return text


def from_yaml(text: str, what: str = "the text") -> list[Any]:
    """Return the documents of a YAML text, the empty ones left out."""
    yaml = _yaml()
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return [value for value in yaml.load_all(text, Loader=loader) if value is not None]
    except yaml.YAMLError as error:
        raise BackendError(f"{what} is not YAML: {error}") from None


def _yaml() -> ModuleType:
    try:
        import yaml
    except ImportError:
        raise MissingDependency("PyYAML", "argo") from None
    module: ModuleType = yaml
    return module


@lru_cache(maxsize=1)
def _dumper() -> Any:
    class Dumper(_yaml().SafeDumper):  # type: ignore[misc]
        def ignore_aliases(self, data: Any) -> bool:
            return True

    # By kind and not by class: values of users may be of subclasses, such as marked texts.
    for kind, represent in {
        str: _text,
        dict: Dumper.represent_dict,
        list: Dumper.represent_list,
        int: lambda dumper, value: dumper.represent_int(int(value)),
        float: lambda dumper, value: dumper.represent_float(float(value)),
        object: _mapping,
    }.items():
        Dumper.add_multi_representer(kind, represent)
    Dumper.add_representer(str, _text)
    return Dumper


def _mapping(dumper: Any, value: Any) -> Any:
    """Represent a mapping that is not a dict, which PyYAML cannot tell by its bases."""
    if not isinstance(value, Mapping):
        return dumper.represent_undefined(value)
    return dumper.represent_dict(value.items())


def _text(dumper: Any, value: str) -> Any:
    """Return a node that PyYAML quotes where this style cannot hold the text."""
    value = str(value)
    plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
    block = "\n" in value and not _BREAKS.intersection(value)
    style = "|" if block else None if plain else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)
