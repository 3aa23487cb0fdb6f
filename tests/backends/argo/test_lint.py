"""Each rule, broken once in a Workflow that is fine otherwise."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from backends.argo import cases

from mapred.backends.argo.lint import problems
from mapred.backends.argo.yaml import from_yaml

Breaks = Callable[[dict[str, Any]], Any]


def fine() -> dict[str, Any]:
    (document,) = from_yaml(cases.GOLDENS["tree"]())
    return dict(document)


def spec(document: dict[str, Any]) -> dict[str, Any]:
    return document["spec"]


def dag(document: dict[str, Any]) -> list[Any]:
    return spec(document)["templates"][0]["dag"]["tasks"]


def pod(document: dict[str, Any]) -> dict[str, Any]:
    return spec(document)["templates"][1]


def retry(document: dict[str, Any]) -> dict[str, Any]:
    return pod(document)["retryStrategy"]


RULES: dict[str, Breaks] = {
    "is not one of Workflow": lambda d: d.update(kind="Pod"),
    "has 70 letters; the limit is 63": lambda d: d["metadata"].update(name="x" * 70),
    "is not a name that Kubernetes takes": lambda d: d["metadata"].update(name="A_b"),
    "metadata.name: None is not a text": lambda d: d["metadata"].update(name=False),
    "not a value of a label": lambda d: d["metadata"].update(labels={"a": "b c"}),
    "annotations.a: 1 is not a text": lambda d: d["metadata"].update(annotations={"a": 1}),
    "bytes; the limit is 1,048,576": lambda d: d["metadata"].update(annotations={"a": "x" * 2**20}),
    "the key True is not a text": lambda d: spec(d).update({True: 1}),
    "no such field; write schedules": lambda d: spec(d).update(schedule="* * * * *"),
    "no such field; write mutexes": lambda d: spec(d).update(synchronization={"mutex": {}}),
    "no such field; write podPriorityClassName": lambda d: spec(d).update(podPriority=1),
    "templates: 201; the limit is 200": lambda d: spec(d).update(
        templates=[spec(d)["templates"][0]] * 201
    ),
    "spec.templates: there is none": lambda d: spec(d).update(templates=[]),
    "parallelism: -1 must be at least 1": lambda d: spec(d).update(parallelism=-1),
    "501; the limit is 500": lambda d: spec(d).update(
        arguments={"parameters": [{"name": f"p{i}"} for i in range(501)]}
    ),
    "parameter False is a boolean": lambda d: spec(d).update(
        arguments={"parameters": [{"name": False}]}
    ),
    "parameter 'n' is a boolean": lambda d: pod(d)["inputs"]["parameters"].append({"name": "n"}),
    "'a b' is not a name of a parameter": lambda d: dag(d)[0]["arguments"]["parameters"].append(
        {"name": "a b"}
    ),
    "longer than 131,072 bytes": lambda d: spec(d)["arguments"]["parameters"].append(
        {"name": "p", "value": "x" * 140_000}
    ),
    "203 tasks; the limit is 200": lambda d: dag(d).extend([dag(d)[0]] * 200),
    "not a name of a task": lambda d: dag(d)[0].update(name="a_b"),
    "begins with a digit": lambda d: dag(d)[1].update(name="1a"),
    "a loop of 20,000": lambda d: dag(d)[0].update(withSequence={"count": "20000"}),
    "not a name of a template": lambda d: pod(d).update(name="a_b"),
    "limit: 'many' is not a whole number": lambda d: retry(d).update(limit="many"),
    "retryPolicy: 'Sometimes'": lambda d: retry(d).update(retryPolicy="Sometimes"),
    "a backoff without a limit": lambda d: retry(d).pop("limit"),
    "it needs a duration": lambda d: retry(d).update(backoff={"cap": "1m"}),
    "backoff.duration: 'soon'": lambda d: retry(d)["backoff"].update(duration="soon"),
    "there is no lastRetry.code": lambda d: retry(d).update(expression="lastRetry.code == 1"),
    "not closed": lambda d: retry(d).update(expression="asInt(lastRetry.exitCode == 1"),
    "lastRetry.exitCode is text": lambda d: retry(d).update(
        expression="lastRetry.exitCode not in [1, 78]"
    ),
    "/ divides to a fraction": lambda d: dag(d)[0].update(
        withSequence={"count": "{{=asInt(workflow.parameters.x)/2}}"}
    ),
    "is not YAML": lambda d: pod(d).update(podSpecPatch="{a: [}"),
    "it is not a mapping": lambda d: spec(d).update(podSpecPatch="- a"),
    "command: none is given": lambda d: pod(d)["container"].pop("command"),
    "image: none is given": lambda d: pod(d)["container"].pop("image"),
    "there is no volume 'mapred'": lambda d: pod(d).pop("volumes"),
    "env.MODE: True is not a text": lambda d: pod(d)["container"]["env"].append(
        {"name": "MODE", "value": True}
    ),
    "'much' is not a size": lambda d: pod(d)["container"].update(
        resources={"limits": {"memory": "much"}}
    ),
    "nodeSelector.gpu: True is not a text": lambda d: pod(d).update(nodeSelector={"gpu": True}),
}


def test_the_workflow_to_break_is_fine() -> None:
    assert problems(fine()) == []


@pytest.mark.parametrize("says", RULES)
def test_a_broken_rule_is_named_with_its_place(says: str) -> None:
    document = copy.deepcopy(fine())
    RULES[says](document)
    found = problems(document)
    assert any(says in problem for problem in found), found


def test_a_cron_workflow_needs_schedules() -> None:
    document = fine()
    cron = {
        "kind": "CronWorkflow",
        "metadata": {"name": "nightly"},
        "spec": {"workflowSpec": document["spec"]},
    }
    assert problems(cron) == ["spec.schedules: none is given"]
    cron["spec"]["schedules"] = ["0 3 * * *"]
    assert problems(cron) == []


def test_patches_with_variables_are_read_as_they_will_be() -> None:
    (document,) = from_yaml(cases.GOLDENS["limits"]())
    assert "{{=[" in document["spec"]["templates"][1]["podSpecPatch"]
    assert problems(document) == []


@pytest.mark.parametrize("document", [None, [], "text", {"kind": 1}, {}])
def test_what_is_no_object_is_said(document: Any) -> None:
    assert "is not one of" in problems(document)[0]
