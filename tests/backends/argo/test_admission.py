"""No `{{…}}` of the user's stands in a manifest, by whatever argument it is given."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from backends.argo import cases

import mapred
from mapred.backends.argo import cron as crons
from mapred.backends.argo import deployments, doctor, render
from mapred.backends.argo.backend import Argo
from mapred.backends.argo.placement import PROVIDERS
from mapred.backends.deployments import Record
from mapred.backends.schedules import Schedule
from mapred.errors import BackendError, MapredError
from mapred.functions.declared import Parameter
from mapred.model.resources import Resources, Volume

OURS = re.compile(
    r"\{\{(?:workflow\.parameters\.(?:run|digest|packages|root|schedule|params|city|mapred-version)|item"
    r"|inputs\.parameters\.(?:stage|block|size)"
    r"|workflow\.(?:name|namespace|status|failures|scheduledTime|uid|creationTimestamp)|=\[[\d, ]+\]\[asInt[^{}]*\])\}\}"
)
BRACES = "{{pod.name}}"
# Forms in which one argument or another takes a text.
VALUES: list[Any] = [
    form.replace("X", braces)
    for braces in (BRACES, "{{=1}}")
    for form in ("X", "aX", "/X", "/a/X", "http://X", "s:/X", "X=v:NoSchedule", "s3://b/X", "2026X")
]
VALUES += [
    *((value,) for value in VALUES[:9]),
    *((value, value) for value in VALUES[:9]),
    *({value: "v"} for value in VALUES[:9]),
    *({"K": value} for value in VALUES[:9]),
    {"K": {"L": [{"M": BRACES}]}},
    {"K": {BRACES: 1}},
]
# What some fields need beside them.
BESIDE: dict[str, dict[str, Any]] = {
    "gpu_type": {"gpu": 1},
    "max_memory": {"memory": "1Gi"},
    "storage_class": {"disk": "1Gi"},
    "claim": {},
    "nfs": {},
    "memory": {},
    "disk": {},
}


NOTHING = Resources()


def texts(value: Any) -> Iterator[str]:
    """Every text of a manifest, names of fields too."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from texts(inner)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value


def clean(manifest: Any) -> bool:
    return not any("{{" in OURS.sub("", text) for text in texts(manifest))


def workflow(argo: Argo, asked: Resources = NOTHING, **more: Any) -> Any:
    place = {"uri": "s3://team/runs/1", "digest": "d1" * 32, "packages": None, "name": None}
    made = cases.job(3, mapred.reducers.sum, resources=asked)
    return render.manifest(made, argo, **{**place, **more})


def cron(argo: Argo, asked: Resources = NOTHING, **more: Any) -> Any:
    values: dict[str, Any] = {
        "name": "nightly",
        "job": "count",
        "cron": ("0 3 * * *",),
        "timezone": "UTC",
        "root": "s3://team/runs",
        "digest": "d1" * 32,
        "on_failure": "hooks/url",
        **more,
    }
    return crons.manifest(argo, Schedule(**values), asked, None)


def deployed(argo: Argo, asked: Resources = NOTHING, **more: Any) -> Any:
    values: dict[str, Any] = {
        "name": "tell",
        "job": "count",
        "root": "s3://team/runs",
        "digest": "d1" * 32,
        "parameters": (Parameter("city", choices=("Bern",)),),
        **more,
    }
    return deployments.manifest(argo, Record(**values), asked, None)


ARGO = Argo(**cases.S3)
WORKFLOWS: list[Callable[..., Any]] = [workflow, cron, deployed]


def refused_or_clean(make: Callable[..., Any], *given: Any, **more: Any) -> bool:
    """Whether the manifest was refused for the braces; where it was made, it has none of them."""
    try:
        made = make(*given, **more)
    except MapredError as error:
        return "Argo would replace" in str(error)
    assert clean(made)
    return False


def fields(cls: type) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


def test_the_texts_of_this_module_are_told_from_others() -> None:
    assert clean(workflow(ARGO, Resources(memory="1Gi", max_memory="4Gi")))
    assert clean(cron(ARGO))
    assert clean(deployed(ARGO))
    assert not clean({"a": [{"b": f"x{BRACES}"}]})
    assert not clean({BRACES: 1})


# What takes no text at all, or one of a few, or what stays on this machine.
_ARGO_TAKES_NONE = {
    *("namespace", "root_secret", "provider", "parallelism", "max_pods", "retries", "token_env"),
    *("service_account", "executor_service_account", "submitter_service_account", "kubeconfig"),
    *("context", "server", "image_pull_policy", "image_pull_secrets", "image_cache", "priority"),
    *("ttl", "run_as_user", "pending", "packages"),
}
_RESOURCES_TAKE_NONE = {
    *("cpu", "memory", "max_memory", "gpu", "disk", "spot", "spot_price", "spot_fallback"),
    *("tolerations", "secrets"),
}
_VOLUMES_TAKE_NONE = {"claim", "memory", "disk", "read_only"}


@pytest.mark.parametrize("field", fields(Argo))
def test_arguments_of_the_backend(field: str) -> None:
    met = False
    for value in VALUES:
        try:
            argo = dataclasses.replace(ARGO, **{field: value})
        except MapredError:
            continue
        for make in WORKFLOWS:
            met |= refused_or_clean(make, argo)
        met |= refused_or_clean(doctor._workflow, argo, "look", "s3://team/runs", None)
    assert met or field in _ARGO_TAKES_NONE | {"volumes"}


@pytest.mark.parametrize("field", fields(Resources))
def test_what_a_stage_asks_for(field: str) -> None:
    met = False
    for value in VALUES:
        try:
            asked = Resources(**{**BESIDE.get(field, {}), field: value})
        except MapredError:
            continue
        for make in WORKFLOWS:
            met |= refused_or_clean(make, ARGO, asked)
        for provider in PROVIDERS:
            refused_or_clean(workflow, dataclasses.replace(ARGO, provider=provider), asked)
    assert met or field in _RESOURCES_TAKE_NONE | {"volumes"}


@pytest.mark.parametrize("field", fields(Volume))
def test_volumes(field: str) -> None:
    met = False
    for value in VALUES:
        source = {} if field in ("claim", "nfs", "memory", "disk") else {"claim": "c"}
        source = BESIDE.get(field, source)
        try:
            volume = Volume(**{"path": "/v", **source, field: value})
        except MapredError:
            continue
        for make in WORKFLOWS:
            met |= refused_or_clean(make, dataclasses.replace(ARGO, volumes=(volume,)))
            met |= refused_or_clean(make, ARGO, Resources(volumes=(volume,)))
    assert met or field in _VOLUMES_TAKE_NONE


@pytest.mark.parametrize("field", fields(Schedule))
def test_schedules(field: str) -> None:
    met = False
    for value in VALUES if field != "name" else filter(str.isprintable, VALUES[:18]):
        met |= refused_or_clean(cron, ARGO, **{field: value})
    assert met or field in ("suspended", "last", "active", "name")


@pytest.mark.parametrize("field", fields(Record))
def test_deployments(field: str) -> None:
    met = False
    for value in VALUES if field != "parameters" else []:
        met |= refused_or_clean(deployed, ARGO, **{field: value})
    for own in fields(Parameter) if field == "parameters" else []:
        value = (BRACES,) if own == "choices" else BRACES
        odd = Parameter(**{"name": "city", own: value})
        assert refused_or_clean(deployed, ARGO, parameters=(odd,)), own
        met = True
    assert met


@pytest.mark.parametrize("what", ["uri", "name", "digest", "packages"])
def test_the_place_of_a_run(what: str) -> None:
    for value in (f"s3://team/{BRACES}/1", BRACES):
        with pytest.raises(BackendError, match="Argo would replace"):
            workflow(ARGO, **{what: value})


@pytest.mark.slow
def test_names_parameters_and_commands_stay_in_the_folder() -> None:
    for job in (
        mapred.job(abs, mapred.items([BRACES]), name=f"a{BRACES}"),
        mapred.job(_takes, mapred.items([1])).bind(place=BRACES),
        mapred.job(mapred.command(["echo", BRACES], env={"A": BRACES}), mapred.items([1])),
    ):
        assert BRACES not in job.render(backend=ARGO, root="s3://team/runs")
    with pytest.raises(BackendError, match="Argo would replace"):
        mapred.job(abs, mapred.items([1])).render(backend=ARGO, root=f"s3://team/{BRACES}")


def _takes(x: int, place: str) -> str:
    return place


def test_what_is_said_to_be_public_stands_in_a_manifest() -> None:
    asked = Resources(env={"API_KEY": mapred.public("demo")}, labels={"token": mapred.public("a")})
    text = cases.text(cases.job(resources=asked), ARGO)
    assert re.search(r"- name: API_KEY\n +value: demo\n", text)
    assert "token: a\n" in text
