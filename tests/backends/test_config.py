"""Backends that a project names in a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import mapred
from mapred.backends import resolve
from mapred.backends.argo.backend import Argo
from mapred.backends.local import Local
from mapred.errors import BackendError
from mapred.model.resources import Volume

PROD = """
[backend.prod]
type = "argo"
namespace = "team"
image = "python:3.12-slim"
root = "s3://team/runs"
service_account = "runner"
endpoint = "http://minio:9000"
root_secret = "minio"
root_secret_keys = ["id", "key"]
provider = "eci"
parallelism = 50
ttl = 3600
labels = { team = "search" }

[[backend.prod.volumes]]
path = "/nas"
claim = "nas"

[backend.four]
type = "local"
workers = 4

[backend.argo]
namespace = "plain"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MAPRED_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_table_is_typed_arguments(folder: Path) -> None:
    (folder / "mapred.toml").write_text(PROD)
    assert resolve("prod") == Argo(
        namespace="team",
        image="python:3.12-slim",
        root="s3://team/runs",
        service_account="runner",
        endpoint="http://minio:9000",
        root_secret="minio",
        root_secret_keys=("id", "key"),
        provider="eci",
        parallelism=50,
        ttl=3600,
        labels={"team": "search"},
        volumes=(Volume("/nas", claim="nas"),),
    )
    assert resolve("four") == Local(workers=4)
    assert resolve("argo") == Argo(namespace="plain")


def test_the_nearest_file_above_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "mapred.toml").write_text("[backend.a]\ntype = 'local'\nworkers = 1\n")
    (folder / ".git").mkdir()
    deep = folder / "deep" / "down"
    deep.mkdir(parents=True)
    (folder / "deep" / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    monkeypatch.chdir(deep)
    assert resolve("a") == Local(workers=1)
    (folder / "deep" / "pyproject.toml").write_text(
        "[tool.mapred.backend.a]\ntype = 'local'\nworkers = 2\n"
    )
    assert resolve("a") == Local(workers=2)
    (deep / "mapred.toml").write_text("[backend.a]\ntype = 'local'\nworkers = 3\n")
    assert resolve("a") == Local(workers=3)
    other = folder / "other.toml"
    other.write_text("[backend.a]\ntype = 'local'\nworkers = 9\n")
    monkeypatch.setenv("MAPRED_CONFIG", str(other))
    assert resolve("a") == Local(workers=9)


@pytest.mark.parametrize("top", [".git", "home", None])
def test_files_above_the_project_do_not_count(
    folder: Path, monkeypatch: pytest.MonkeyPatch, top: str | None
) -> None:
    (folder / "mapred.toml").write_text("[backend.a]\ntype = 'local'\nworkers = 1\n")
    project = folder / "me" / "project"
    project.mkdir(parents=True)
    monkeypatch.chdir(project)
    if top == ".git":
        (folder / "me" / ".git").mkdir()
    if top == "home":
        monkeypatch.setenv("HOME", str(folder / "me"))
    with pytest.raises(BackendError, match="no backend 'a'"):
        resolve("a")
    where = project if top is None else folder / "me"
    (where / "mapred.toml").write_text("[backend.a]\ntype = 'local'\nworkers = 2\n")
    assert resolve("a") == Local(workers=2)


def _given_away(path: Path) -> None:
    try:
        os.chown(path, 12345, 12345)
    except PermissionError:
        pytest.skip("needs the right to give files away")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder, file: _given_away(file), "it belongs to user 12345"),
        (lambda folder, file: _given_away(folder), "belongs to user 12345"),
        (lambda folder, file: file.chmod(0o666), "others can write to it"),
        (lambda folder, file: folder.chmod(0o777), "others can write in"),
        (lambda folder, file: folder.parent.chmod(0o777), "others can write in"),
    ],
    ids=["owner", "owner of the folder", "file", "folder", "folder above"],
)
def test_a_file_that_others_have_a_say_in_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Any, says: str
) -> None:
    monkeypatch.delenv("MAPRED_CONFIG", raising=False)
    folder = tmp_path / "a" / "project"
    (folder / "deep").mkdir(parents=True)
    (folder / ".git").mkdir()
    file = folder / "mapred.toml"
    file.write_text("[backend.argo]\nkubeconfig = '/tmp/k.yaml'\n")
    monkeypatch.chdir(folder / "deep")
    assert resolve("argo") == Argo(kubeconfig="/tmp/k.yaml")
    spoil(folder, file)
    with pytest.raises(BackendError, match=f"{says}.*allow it: MAPRED_CONFIG={file}"):
        resolve("argo")
    monkeypatch.setenv("MAPRED_CONFIG", str(file))
    assert resolve("argo") == Argo(kubeconfig="/tmp/k.yaml")
    assert resolve("local") == Local()


def test_a_folder_such_as_tmp_holds_a_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MAPRED_CONFIG", raising=False)
    shared, project = tmp_path / "shared", tmp_path / "shared" / "project"
    project.mkdir(parents=True)
    shared.chmod(0o1777)
    (project / "mapred.toml").write_text("[backend.a]\ntype = 'local'\nworkers = 2\n")
    monkeypatch.chdir(project)
    assert resolve("a") == Local(workers=2)


def test_no_file_touches_the_backends_of_this_machine(folder: Path) -> None:
    (folder / "mapred.toml").write_text("this is [ no TOML")
    assert resolve("local") == Local()
    with pytest.raises(BackendError, match="is not TOML"):
        resolve("prod")


def test_a_run_goes_where_the_name_says(folder: Path) -> None:
    (folder / "mapred.toml").write_text("[backend.two]\ntype = 'local'\nworkers = 2\n")
    run = mapred.run(abs, mapred.array(3), backend="two", progress="none")
    assert run.result() == [0, 1, 2]
    assert run.job.backend == {"name": "local", "arguments": {"workers": 2}}


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("namespace = 'x'", r"\[backend.x\] needs a type: 'argo', 'dask', 'inline', 'local'"),
        ("type = 'argos'", "type='argos'; did you mean 'argo'"),
        ("type = 'argo'\nnamspace = 'x'", "no key 'namspace'; did you mean 'namespace'"),
        ("type = 'argo'\nqqqq = 'x'", "no key 'qqqq'; there are annotations, context"),
        ("type = 'argo'\nparallelism = '5'", "parallelism must be a whole number, not a text"),
        ("type = 'argo'\nparallelism = true", "must be a whole number, not true or false"),
        ("type = 'argo'\nimage_cache = 1", "must be true or false, not a whole number"),
        ("type = 'argo'\nimage_pull_secrets = 'a'", "must be a list, not a text"),
        ("type = 'argo'\nlabels = ['a']", "labels must be a table, not a list"),
        ("type = 'argo'\nlabels = { a = 1 }", "labels.a must be a text"),
        ("type = 'argo'\nvolumes = ['/nas']", r"volumes\[0\] must be a table"),
        ("type = 'argo'\nvolumes = [{ path = '/nas', clam = 'x' }]", "did you mean 'claim'"),
        ("type = 'argo'\nvolumes = [{ path = '/nas' }]", r"volumes\[0\]: .*it has none"),
        ("type = 'argo'\nprovider = 'ecs'", r"\[backend.x\]: provider='ecs'"),
        ("type = 'local'\nworkers = 0", r"\[backend.x\]: workers=0"),
    ],
)
def test_a_wrong_table_is_named(folder: Path, table: str, says: str) -> None:
    (folder / "mapred.toml").write_text(f"[backend.x]\n{table}\n")
    with pytest.raises(BackendError, match=says):
        resolve("x")


def test_errors_show_no_value(folder: Path) -> None:
    (folder / "mapred.toml").write_text("[backend.x]\ntype = 'argo'\ntoken = 'hunter2'\n")
    with pytest.raises(BackendError, match="no key 'token'; did you mean 'token_env'") as caught:
        resolve("x")
    assert "hunter2" not in str(caught.value)


def test_an_unknown_name_lists_the_known(folder: Path) -> None:
    with pytest.raises(BackendError, match=r"no mapred.toml is here or above"):
        resolve("prod")
    (folder / "mapred.toml").write_text("[backend.test]\ntype = 'local'\n")
    with pytest.raises(BackendError, match=r"'local', 'test'.*has no backend of that name"):
        resolve("prod")
