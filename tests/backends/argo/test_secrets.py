"""No value of a secret is in what mapred writes, renders, prints or raises.

Values are planted where secrets come from, and looked for in everything that is left behind.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from backends.argo import cases, remote
from backends.argo.functions import checks_the_password
from testbed.cluster.access import Cluster
from user_code.failing import fails

import mapred
from mapred.backends.argo.yaml import to_yaml
from mapred.errors import MapredError
from mapred.storage import open_store

PLANTED = "planted-" + secrets.token_hex(8)


def everything(root: str) -> str:
    """Paths and contents of every file below a root."""
    store = open_store(root)
    return "\n".join(f"{path}\n{store.read(path).decode('latin-1')}" for path, _ in store.list(""))


def hidden(text: str, *values: str) -> None:
    for value in values:
        for form in (value, base64.b64encode(value.encode()).decode()):
            assert form not in text, text[max(0, text.index(form) - 200) :][:400]


def test_no_value_of_a_secret_is_anywhere(
    s3_server: dict[str, Any], s3_root: str, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    for name in ("PGPASSWORD", "ARGO_TOKEN", "MAPRED_WEBHOOK"):
        monkeypatch.setenv(name, PLANTED)
    asked = mapred.Resources(secrets={"PGPASSWORD": "database/password"})
    job = mapred.job(fails, mapred.array(3), attempts=2, resources=asked)
    argo = mapred.Argo(
        image="team/image:1",
        root_secret="s3",
        endpoint=s3_server["endpoint"],
        server="https://argo.example:2746",
    )
    said = [job.render(backend=argo, root=s3_root)]
    said.append(cases.schedule(argo, root=s3_root, on_failure="hooks/url"))
    said.append(cases.deployment(argo, root=s3_root))
    run = job.submit(backend="local", root=s3_root)
    with pytest.raises(mapred.RunError) as failed:
        run.finish("plain")
    said += [str(failed.value), repr(run), run.logs(), str(run.failures), str(run.audit())]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{PLANTED}-wrong")
    with pytest.raises(MapredError) as refused:
        job.submit(backend="local", root=f"{s3_root}/other")
    said += [str(refused.value), *(str(each) for each in (refused.value.__cause__,) if each)]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server["secret"])
    said += [everything(s3_root), *capfd.readouterr()]
    assert "asked for" in "".join(said)
    hidden("\n".join(said), PLANTED, s3_server["secret"])


@pytest.fixture
def database(cluster: Cluster) -> Iterator[str]:
    """The name of a Secret whose key `password` holds the planted value."""
    name = f"planted-{secrets.token_hex(4)}"
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": {"password": PLANTED},
    }
    cluster.kubectl("create", "-f", "-", stdin=to_yaml(secret))
    yield name
    cluster.kubectl("delete", "secret", name, "--ignore-not-found")


@pytest.mark.on_cluster
def test_no_value_of_a_secret_is_in_a_run_on_a_cluster(
    cluster: Cluster, cluster_root: str, database: str, capfd: Any
) -> None:
    argo = remote.argo(cluster, ttl=600)
    asked = mapred.Resources(cpu=0.01, secrets={"PGPASSWORD": f"{database}/password"})
    run = mapred.submit(
        checks_the_password,
        mapred.array(2),
        attempts=1,
        resources=asked,
        backend=argo,
        root=cluster_root,
    )
    assert run._handle is not None
    workflow = run._handle.ref.rpartition(":")[2]
    with pytest.raises(mapred.RunError) as failed:
        run.finish("plain")
    left = cluster.kubectl("get", "workflow", workflow, "-o", "json").stdout
    printed = cluster.kubectl(
        "logs", "-l", f"workflows.argoproj.io/workflow={workflow}", "--all-containers", check=False
    )
    said = [str(failed.value), repr(run), left, json.dumps(json.loads(left)), printed.stdout]
    text = "\n".join([*said, everything(cluster_root), *capfd.readouterr()])
    assert "no table 1" in text
    hidden(text, PLANTED, cluster.storage.secret)
