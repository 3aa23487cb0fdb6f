"""What is said of a JSON value that does not fit its pinned type, and of what helps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from mapred.arrow.types import type_expression, type_name
from mapred.formats.json.fields import DICTS
from mapred.process.lazy import pa

if TYPE_CHECKING:
    from mapred.model.spec import Format

Steps: TypeAlias = "tuple[str | int, ...]"
_LONGEST = 400


@dataclass(frozen=True)
class Misfit:
    """A value, the `steps` that lead to it, `what` is wrong, and the type that it needs.

    `extra`: the pinned schema has no such field. `final`: no type and no `as_=` takes it.
    """

    steps: Steps
    what: str
    needed: pa.DataType | None = None
    extra: bool = False
    final: bool = False

    @property
    def name(self) -> str:
        return str(self.steps[0])


def describe_type(type_: pa.DataType) -> str:
    """Return the name of a type, cut where it is long."""
    text = type_name(type_)
    return text if len(text) <= 60 else f"{text[:57]}..."


def path_text(steps: Sequence[str | int]) -> str:
    """Return the way to a value as people write it: `order.items[0].price`."""
    first, *rest = steps
    return str(first) + "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in rest)


def explain_misfit(misfit: Misfit, format: Format) -> str:
    """Return a misfit with what to do about it."""
    if misfit.final:
        return misfit.what
    schema = format.schema
    assert schema is not None
    what = f"field {path_text(misfit.steps)} {misfit.what}"
    advice = _schema_advice(misfit, schema)
    if misfit.name in format.partitions:
        advice.append("hive=False, for the column of that name comes from a folder")
    elif misfit.name in format.undecided:
        what += "; it had no value where the plan looked, so it was read as text"
    elif not misfit.extra:
        advice.append(f"{DICTS}, which takes values of any type")
    elif len(misfit.steps) == 1:
        advice.append('extra_columns="ignore" to leave it out')
    advice = advice or [DICTS]
    return f"{what}; pass {', or '.join(advice)}"


def _schema_advice(misfit: Misfit, schema: pa.Schema) -> list[str]:
    if misfit.needed is None:
        return []
    is_pinned = misfit.name in schema.names
    type_ = schema.field(misfit.name).type if is_pinned else misfit.needed
    type_ = _replace_type(type_, misfit.steps[1:], misfit.needed)
    text = (
        f'"{describe_type(type_)}"'
        if len(misfit.steps) == 1 and not type_.num_fields
        else type_expression(type_)
    )
    if len(text) > _LONGEST:
        return [f"its type in schema= ({describe_type(misfit.needed)})"]
    return [f"schema={{{json.dumps(misfit.name, ensure_ascii=False)}: {text}}}"]


def _replace_type(type_: pa.DataType, steps: Steps, by: pa.DataType) -> pa.DataType:
    """Return a type with another one at the end of `steps`."""
    if not steps:
        return by
    if isinstance(steps[0], int):
        return pa.list_(_replace_type(type_.value_type, steps[1:], by))
    types = {field.name: field.type for field in type_}
    types[steps[0]] = _replace_type(types.get(steps[0], by), steps[1:], by)
    return pa.struct(list(types.items()))
