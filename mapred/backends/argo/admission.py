"""Refuses texts of the user's that Argo would replace in a manifest."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from mapred.backends.argo.settings import ArgoSettings
from mapred.errors import BackendError
from mapred.model.resources import Resources

# How this machine reaches the cluster, which is in no manifest.
_HERE = ("kubeconfig", "context", "server", "token_env")


def admit(argo: ArgoSettings, resources: tuple[Resources, ...] = (), **texts: Any) -> None:
    """Raise `BackendError` for a text, or a name in a mapping, with the `{{` of Argo's variables.

    Argo replaces these two braces in every field of a Workflow, and has no way to escape them. So
    every part of a manifest is checked here: the backend's arguments, the resources of the stages,
    and further `texts` by their names.
    """
    settings = {name: value for name, value in vars(argo).items() if name not in _HERE}
    for values in (settings, texts, *map(vars, resources)):
        for what, value in values.items():
            _check(what, value)


def _check(what: str, value: Any) -> None:
    for place, text in _texts(value):
        if "{{" in text:
            culprit = f"the value of {place!r}" if place and "{{" not in place else "a text of it"
            raise BackendError(
                f"{what}: {culprit} has '{{{{', which Argo would replace and which cannot be escaped: "
                "pass it in a file, or build it in the function"
            )


def _texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text in nested values, keys of mappings too, with the name that leads to it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = vars(value)
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield place, str(key)
            yield from _texts(inner, str(key))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item, place)
    elif isinstance(value, str):
        yield place, value
