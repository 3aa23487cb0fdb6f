"""What a task may ask for: checked where it is written, the same after JSON, one line anywhere."""

from __future__ import annotations

import dataclasses
import json
import os
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mapred
from mapred.errors import PlanError
from mapred.model.coding import read
from mapred.model.resources import Resources, Volume, parse_toleration

EVERYTHING = Resources(
    cpu=2,
    memory="4Gi",
    max_memory="16Gi",
    gpu=1,
    gpu_type="nvidia-l4",
    disk="50Gi",
    instance_types=("g6.xlarge", "g5.xlarge"),
    spot=True,
    spot_price=0.5,
    spot_fallback=True,
    node_selector={"pool": "batch"},
    tolerations=("dedicated=ml:NoSchedule",),
    priority_class="batch",
    env={"OMP_NUM_THREADS": "2"},
    secrets={"PGPASSWORD": "database/password"},
    volumes=(Volume("/data", claim="corpus", read_only=True), Volume("/scratch", memory="1Gi")),
    labels={"team": "search"},
    annotations={"note": "n"},
    pod_spec_patch={"hostNetwork": True},
)


def test_everything_survives_json() -> None:
    again = read(Resources, json.loads(json.dumps(dataclasses.asdict(EVERYTHING))), "resources")
    assert again == EVERYTHING


def test_the_same_line_runs_on_the_laptop() -> None:
    with pytest.warns(UserWarning, match=r"does not keep Resources\(cpu=2, memory='4Gi', gpu=1"):
        run = mapred.run(
            abs, mapred.array(3), backend="inline", resources=EVERYTHING, progress="none"
        )
    assert run.result() == [0, 1, 2]
    assert run.job.stages[0].resources == EVERYTHING
    assert mapred.open(run.uri).job.stages == run.job.stages


def test_variables_hold_for_worker_processes_and_not_for_this_one() -> None:
    asked = Resources(env={"MAPRED_TEST_MODE": "batch"})
    run = mapred.run(_mode, mapred.array(2), resources=asked, progress="none")
    assert run.result() == ["batch", "batch"]
    assert "MAPRED_TEST_MODE" not in os.environ


def _mode(i: int) -> str | None:
    return os.environ.get("MAPRED_TEST_MODE")


def test_a_reduce_runs_on_demand_unless_it_is_told_otherwise() -> None:
    def stages(**options: Any) -> Any:
        values = {"reduce": sum, "resources": EVERYTHING, **options}
        with pytest.warns(UserWarning, match="backend='local' does"):
            run = mapred.run(abs, mapred.array(2), backend="inline", progress="none", **values)
        return run.job

    map_, reduce = stages().stages
    assert map_.resources.spot
    assert reduce.resources == EVERYTHING.on_demand()
    assert not reduce.resources.spot
    chosen = Resources(spot=True)
    assert stages(reduce_resources=chosen).stages[1].resources == chosen


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"cpu": 0}, "cpu=0 must be a number above zero"),
        ({"memory": "much"}, "memory='much' must be bytes"),
        ({"max_memory": "4Gi"}, "needs memory="),
        ({"memory": "4Gi", "max_memory": "2Gi"}, "less than memory='4Gi'"),
        ({"gpu": -1}, "gpu=-1"),
        ({"gpu": True}, "gpu=True"),
        ({"gpu_type": "A10"}, "needs gpu="),
        ({"disk": "0"}, "above zero"),
        ({"instance_types": "c6.large"}, "must be a list"),
        ({"spot_price": 0.5}, "go with spot=True"),
        ({"spot": True, "spot_price": 0}, "above zero"),
        ({"tolerations": ["a b"]}, "toleration 'a b'"),
        ({"node_selector": {"pool": 1}}, "from a text to a text; at 'pool'"),
        ({"env": {"1A": "x"}}, "cannot be the name of an environment variable"),
        ({"secrets": {"A": "only-a-name"}}, "A must be a reference"),
        ({"env": {"A": "x"}, "secrets": {"A": "s/k"}}, "in env and in secrets"),
        ({"volumes": [Volume("/a", claim="x"), Volume("/a", claim="y")]}, "one path: /a, /a"),
    ],
)
def test_what_makes_no_sense_is_refused(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(PlanError, match=says):
        Resources(**asked)


@pytest.mark.parametrize(
    ("volume", "says"),
    [
        ({"path": "data", "claim": "x"}, "absolute path"),
        ({"path": "/data"}, "it has none"),
        ({"path": "/data", "claim": "x", "nfs": "s:/e"}, "claim and nfs"),
        ({"path": "/data", "claim": "No"}, "cannot be the name of a claim"),
        ({"path": "/data", "nfs": "server"}, "server:/export"),
        ({"path": "/data", "memory": "x"}, "must be bytes"),
        ({"path": "/data", "claim": "x", "storage_class": "fast"}, "goes with disk="),
    ],
)
def test_a_volume_has_one_source(volume: dict[str, Any], says: str) -> None:
    with pytest.raises(PlanError, match=says):
        Volume(**volume)


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "db_password"])
def test_a_secret_in_the_open_is_refused_unseen(name: str) -> None:
    with pytest.raises(PlanError, match="store it in a Secret") as caught:
        Resources(env={name: "hunter2"})
    assert "hunter2" not in str(caught.value)
    with pytest.raises(PlanError) as caught:
        Resources(secrets={name: "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_names_that_only_sound_like_secrets_pass() -> None:
    assert Resources(env={"TOKENIZERS_PARALLELISM": "false", "AWS_WEB_IDENTITY_TOKEN_FILE": "/t"})


def test_tolerations_read_as_kubectl_writes_them() -> None:
    assert parse_toleration("*") == {"operator": "Exists"}
    assert parse_toleration("a/b") == {"key": "a/b", "operator": "Exists"}
    assert parse_toleration("a:NoExecute") == {
        "key": "a",
        "operator": "Exists",
        "effect": "NoExecute",
    }
    assert parse_toleration("a=b:NoSchedule") == {
        "key": "a",
        "operator": "Equal",
        "value": "b",
        "effect": "NoSchedule",
    }


@settings(deadline=None, max_examples=30)
@given(st.text(max_size=20))
def test_any_text_is_a_toleration_or_one_clear_error(text: str) -> None:
    with suppress(PlanError):
        assert parse_toleration(text)["operator"] in ("Exists", "Equal")
