"""Deployed jobs over an Argo server and the Kubernetes API: kept, replaced, guarded, started."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from backends.argo import cases
from testbed.servers.argo_templates import CREATED, Server, serving

from mapred.backends.argo import deployments, templates
from mapred.backends.argo.backend import Argo
from mapred.backends.argo.lint import problems
from mapred.backends.argo.templates import Conflict
from mapred.backends.deployments import Outcome, Record
from mapred.errors import BackendError
from mapred.functions.declared import Parameter
from mapred.model.resources import Resources

# hera 7 calls pydantic by an old name.
pytestmark = pytest.mark.filterwarnings("ignore:The `json` method:DeprecationWarning")

pytest.importorskip("hera.workflows")

WANTED = Record(
    "told",
    "told",
    "s3://team/runs",
    cases.DIGEST,
    owner="ann",
    deployed="2026-03-01T02:00:00Z",
    description="Tells of a day.",
    parameters=(
        Parameter("city", choices=("Bern", "Oslo"), description="Which one."),
        Parameter("days", "int", default="7"),
        Parameter("fast", "bool", default=""),
        Parameter("date", "datetime", default=""),
    ),
)
VALUES = {"city": "Bern", "days": "7", "fast": "", "date": ""}


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture(params=["argo", "kubernetes"])
def argo(request: Any, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Argo:
    monkeypatch.setenv("ARGO_TOKEN", "token")
    reached = {"server": server.url, "namespace": "jobs"}
    if request.param == "kubernetes":
        reached = {"kubeconfig": server.kubeconfig(tmp_path)}
    return Argo(**reached, image="image:1")


def deploy(argo: Argo, record: Record = WANTED, *, replace: bool = False, **asked: Any) -> None:
    argo.deploy(record, Resources(**asked), (), replace=replace)


def test_deployments_are_put_replaced_listed_and_removed(server: Server, argo: Argo) -> None:
    deploy(argo)
    assert argo.deployments() == [WANTED]
    newer = dataclasses.replace(WANTED, digest="d2" * 32, parameters=())
    deploy(argo, newer, env={"A": "b"})
    assert server.templates["told"]["metadata"]["resourceVersion"] == "2"
    assert argo.deployments() == [newer]
    argo.undeploy("told")
    assert server.templates == {}
    with pytest.raises(BackendError, match="no deployment 'told' in 'jobs'; there are: none"):
        argo.undeploy("told")


def test_a_template_is_sent_as_it_is_made(server: Server, argo: Argo) -> None:
    for version in ("1", "2"):  # created, then replaced
        deploy(argo)
        sent = server.templates["told"]
        assert sent["metadata"].pop("resourceVersion") == version
        for name in ("uid", "creationTimestamp"):
            sent["metadata"].pop(name, None)
        assert sent == deployments.manifest(argo, WANTED, Resources(), None)
        sent["metadata"]["resourceVersion"] = version


@pytest.mark.parametrize("other", [{"owner": "bob"}, {"root": "s3://other/runs"}])
def test_what_someone_else_deployed_stays_unless_it_is_to_be_replaced(
    server: Server, argo: Argo, other: dict[str, str]
) -> None:
    deploy(argo)
    theirs = dataclasses.replace(WANTED, **other)
    ((what, value),) = other.items()
    with pytest.raises(BackendError) as refused:
        deploy(argo, theirs)
    for part in (f"has {what} {getattr(WANTED, what)!r}", repr(value), "replace=True (--replace)"):
        assert part in str(refused.value)
    assert argo.deployments() == [WANTED]
    deploy(argo, theirs, replace=True)
    assert argo.deployments() == [theirs]


@pytest.mark.parametrize("missing", ["annotations", "labels"])
def test_a_template_that_mapred_did_not_make_is_left_alone(
    server: Server, argo: Argo, missing: str
) -> None:
    theirs = deployments.manifest(argo, WANTED, Resources(), None)
    del theirs["metadata"][missing]
    theirs["metadata"]["resourceVersion"] = "5"
    server.templates["told"] = theirs
    assert argo.deployments() == []
    with pytest.raises(BackendError, match="that mapred did not make: choose another name="):
        deploy(argo)
    with pytest.raises(BackendError, match="no deployment 'told'"):
        argo.undeploy("told")
    assert server.templates["told"] == theirs
    deploy(argo, replace=True)
    assert argo.deployments() == [WANTED]


@pytest.mark.parametrize("before", ["none", "ours", "removed"])
@pytest.mark.parametrize("replace", [False, True])
def test_of_two_that_deploy_at_one_moment_one_is_told(
    server: Server, argo: Argo, before: str, replace: bool
) -> None:
    theirs = deployments.manifest(argo, dataclasses.replace(WANTED, owner="bob"), Resources(), None)
    theirs["metadata"]["resourceVersion"] = "9"
    if before != "none":
        deploy(argo)

    def meanwhile() -> None:
        server.templates.clear()
        if before != "removed":
            server.templates["told"] = theirs

    server.before = meanwhile
    with pytest.raises(BackendError, match="was changed by another client at this moment"):
        deploy(argo, replace=replace)
    assert server.templates == ({} if before == "removed" else {"told": theirs})


def test_a_start_makes_a_workflow_of_the_template(server: Server, argo: Argo) -> None:
    deploy(argo)
    started = argo.start_deployed(WANTED, VALUES)
    ((name, workflow),) = server.workflows.items()
    assert name.startswith("told-")
    assert started.uid == f"uid-of-{name}"
    assert started.created == datetime(2026, 3, 1, 2, tzinfo=timezone.utc)
    assert started.patience == 1800
    values = {**VALUES, deployments.VERSION: cases.DIGEST}
    assert workflow["spec"] == {
        "workflowTemplateRef": {"name": "told"},
        "arguments": {"parameters": [{"name": k, "value": v} for k, v in values.items()]},
    }
    assert workflow["metadata"]["labels"]["mapred-deployment"] == "told"
    assert started.outcome() is None
    workflow["status"] = {"phase": "Succeeded"}
    assert started.outcome() == Outcome(True, f"workflow {name} succeeded")
    workflow["status"] = {"phase": "Failed", "message": "no such template"}
    assert started.outcome() == Outcome(False, f"workflow {name} failed: no such template")
    server.workflows.clear()
    assert started.outcome() == Outcome(False, f"workflow {name} is gone from 'jobs'")


def test_a_start_whose_answer_was_lost_is_the_one_that_is_there(
    server: Server, argo: Argo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployments.secrets, "token_hex", lambda _: "00")
    first = argo.start_deployed(WANTED, VALUES)
    again = argo.start_deployed(WANTED, VALUES)
    assert (again.uid, again.created) == (first.uid, first.created)
    assert list(server.workflows) == ["told-00"]


def test_a_value_that_argo_would_replace_is_refused(server: Server, argo: Argo) -> None:
    with pytest.raises(BackendError, match="which Argo would replace"):
        argo.start_deployed(WANTED, {**VALUES, "city": "{{workflow.uid}}"})
    assert server.workflows == {}


def test_an_unreadable_note_is_shown_as_such(server: Server, argo: Argo) -> None:
    deploy(argo)
    server.templates["told"]["metadata"]["annotations"]["mapred-deployment"] = "{"
    (found,) = argo.deployments()
    assert found.job.startswith("unreadable: the annotation mapred-deployment of told")


def test_a_parameter_that_argo_cannot_name_is_refused() -> None:
    odd = dataclasses.replace(WANTED, parameters=(Parameter("größe"),))
    with pytest.raises(BackendError, match="parameter größe: Argo takes names of up to 128"):
        deployments.manifest(Argo(image="image:1"), odd, Resources(), None)


def test_a_conflict_is_told_from_other_refusals(server: Server, argo: Argo) -> None:
    client = templates.connect(argo)
    made = deployments.manifest(argo, WANTED, Resources(), None)
    client.put_template(made, None)
    with pytest.raises(Conflict):
        client.put_template(made, None)
    with pytest.raises(Conflict):
        client.put_template(made, "7")
    assert client.delete_template("told")
    assert not client.delete_template("told")
    assert client.template("told") is None


def test_the_form_on_argos_page_has_the_parameters() -> None:
    made = deployments.manifest(Argo(image="image:1"), WANTED, Resources(), cases.PACKAGES)
    assert problems(made) == []
    parameters = {each["name"]: each for each in made["spec"]["arguments"]["parameters"]}
    assert list(parameters) == ["city", "days", "fast", "date", deployments.VERSION]
    assert parameters["city"] == {
        "name": "city",
        "enum": ["Bern", "Oslo"],
        "description": "Which one.",
    }
    assert parameters["days"] == {"name": "days", "value": "7", "description": "int"}
    assert parameters["fast"] == {"name": "fast", "value": "", "enum": ["", "true", "false"]}
    assert parameters["date"]["value"] == ""
    assert parameters[deployments.VERSION]["value"] == cases.DIGEST


def test_the_words_of_the_pod_are_those_that_its_module_takes(tmp_path: Path) -> None:
    made = deployments.manifest(Argo(image="image:1"), WANTED, Resources(), None)
    (template,) = made["spec"]["templates"]
    container = template["container"]
    given = {
        **{f"{{{{workflow.parameters.{k}}}}}": v for k, v in VALUES.items()},
        f"{{{{workflow.parameters.{deployments.VERSION}}}}}": cases.DIGEST,
        "{{workflow.uid}}": "uid",
        "{{workflow.creationTimestamp}}": CREATED,
        "s3://team/runs": str(tmp_path),
    }
    words = []
    for word in container["args"]:
        for old, new in given.items():
            word = word.replace(old, new)
        words.append(word)
    assert words[-4:] == ["city=Bern", "days=7", "fast=", "date="]
    program = [sys.executable, *container["command"][1:], *words]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120)
    assert done.returncode == 78, done.stderr
    assert "is gone: deploy the job again" in done.stderr
