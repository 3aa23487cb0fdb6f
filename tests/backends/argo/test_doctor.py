"""What `mapred doctor` says of a pod that was looked at; test_doctor_on_cluster.py starts one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import mapred
from mapred.backends.argo import submitters
from mapred.backends.argo.doctor import BAD, OK, _check_programs
from mapred.backends.argo.pod_scripts import checkup
from mapred.functions import versions


@pytest.fixture
def pod(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What a pod with the Python and the mapred of this process prints."""
    checkup.main(str(tmp_path))
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    return said


def states(pod: dict[str, Any]) -> list[str]:
    return [finding.state for finding in _check_programs(pod)]


def test_a_pod_of_the_same_code_is_as_here(pod: dict[str, Any]) -> None:
    python, own = _check_programs(pod)
    assert (python.state, python.what) == (OK, f"pod: python {submitters.python()}, as here")
    assert (own.state, own.what) == (OK, f"pod: mapred {mapred.__version__}, as here")


def test_a_pod_of_another_commit_fits_and_is_told_of(pod: dict[str, Any]) -> None:
    build = f"{versions.base(mapred.__version__)}.post1.dev9+g1234567"
    _, own = _check_programs({**pod, "mapred": build})
    assert own.what.endswith(", as here"), "the same code in another commit"
    _, own = _check_programs({**pod, "mapred": build, "code": "0" * 64})
    assert own.state == OK
    assert build in own.what
    assert own.what.endswith("with other code")
    assert states({key: pod[key] for key in ("python", "mapred")}) == [OK, OK], "an earlier mapred"


def test_a_pod_of_another_release_or_python_is_bad(pod: dict[str, Any]) -> None:
    assert states({**pod, "mapred": "99.1.0"}) == [OK, BAD]
    assert states({**pod, "python": "2.7"}) == [BAD, OK]
