"""What may stand in a manifest: no text of the user's that Argo would replace."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from mapred.backends.argo.settings import ArgoSettings
from mapred.errors import BackendError
from mapred.model.resources import Resources

# How this machine reaches the cluster, which no manifest has.
_HERE = ("kubeconfig", "context", "server", "token_env")


def admit(argo: ArgoSettings, asked: tuple[Resources, ...] = (), **texts: Any) -> None:
    """Raise `BackendError` for a text, or a name in a mapping, with the `{{` of Argo's variables.

    Argo knows no way to write these two braces, and replaces them in every field of a
    Workflow. All that a manifest is made of comes by here: the backend's arguments, what the
    stages ask for, and further `texts` by their names.
    """
    given = {name: value for name, value in _fields(argo).items() if name not in _HERE}
    for what, value in [*given.items(), *texts.items()]:
        _check(what, value)
    for each in asked:
        for what, value in _fields(each).items():
            _check(what, value)


def _check(what: str, value: Any) -> None:
    for place, text in _texts(value):
        if "{{" in text:
            named = f"the value of {place!r}" if place and "{{" not in place else "a text of it"
            raise BackendError(
                f"{what}: {named} has '{{{{', which Argo would replace; it knows no way to write "
                "that: pass it in a file, or have the function put it together"
            )


def _texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Every text in nested values, keys of mappings too, with the name that it stands under."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = _fields(value)
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield place, str(key)
            yield from _texts(inner, str(key))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each, place)
    elif isinstance(value, str):
        yield place, value


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
