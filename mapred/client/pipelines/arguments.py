"""What the function of a pipeline is called with, checked before anything is written."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from mapred.client.pipelines import identity
from mapred.errors import FunctionError
from mapred.model import canonical
from mapred.model.checking import short_repr
from mapred.process import secrecy


def bind(
    fn: Callable[..., Any], name: str, args: tuple[Any, ...], parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments by name; a `FunctionError` where the function does not take them."""
    signature = inspect.signature(fn)
    try:
        bound = signature.bind(*args, **parameters)
    except TypeError as error:
        raise FunctionError(f"{name}{signature}: {error}") from None
    values = dict(bound.arguments)
    for taken, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            values |= values.pop(taken, {})
    for taken, value in values.items():
        secrecy.refuse_parameter(taken, value, FunctionError)
        try:
            identity.digest_of(value)
        except canonical.Unknown as error:
            raise FunctionError(
                f"{taken}={short_repr(value)} of the pipeline {name} has no canonical form, by "
                f"which its steps would be found again: {error}; pass what it is made from"
            ) from None
    return values
