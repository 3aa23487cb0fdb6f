"""Values as YAML that every reader takes for the same values, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mapred.errors import BackendError, MissingDependency

# YAML 1.1 has more booleans than PyYAML quotes, and Go reads more texts as numbers than Python.
_BOOLEANS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "~"}
_NUMBER_LIKE = re.compile(r"[-+.]?[0-9]")


def to_yaml(*documents: Mapping[str, Any]) -> str:
    """The documents as YAML, keys in their order; texts of several lines as blocks."""
    yaml = _yaml()

    class Dumper(yaml.SafeDumper):  # type: ignore[misc, name-defined]
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: Any, data: str) -> Any:
        style = None
        if "\n" in data:
            style = "|"
        elif data.lower() in _BOOLEANS or _NUMBER_LIKE.match(data):
            style = '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    Dumper.add_representer(str, text)
    return "---\n".join(
        yaml.dump(
            dict(document),
            Dumper=Dumper,
            sort_keys=False,
            allow_unicode=True,
            width=1_000_000,
            default_flow_style=False,
        )
        for document in documents
    )


def from_yaml(text: str, what: str = "the text") -> list[Any]:
    """The documents of a YAML text, the empty ones left out."""
    yaml = _yaml()
    try:
        return [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        raise BackendError(f"{what} is no YAML: {error}") from None


def _yaml() -> Any:
    try:
        import yaml
    except ImportError:
        raise MissingDependency("PyYAML", "argo") from None
    return yaml
