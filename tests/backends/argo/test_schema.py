"""What is submitted is refused where hera's models do not take it, and else left as it is."""

from __future__ import annotations

from typing import Any

import pytest

from mapred.backends.argo.schema import validate_manifest
from mapred.errors import BackendError


def workflow(**spec: Any) -> dict[str, Any]:
    return {"kind": "Workflow", "metadata": {"name": "w"}, "spec": {"entrypoint": "run", **spec}}


def test_fields_that_hera_does_not_know_are_kept() -> None:
    values = workflow(aFieldOfALaterArgo={"a": [1]})
    assert validate_manifest(values) == workflow(aFieldOfALaterArgo={"a": [1]})


def test_a_value_of_a_wrong_type_is_refused() -> None:
    with pytest.raises(
        BackendError, match=r"the Workflow is not one that Argo takes: (.|\n)*parallelism"
    ):
        validate_manifest(workflow(parallelism="many"))
