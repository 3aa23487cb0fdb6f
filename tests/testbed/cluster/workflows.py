"""What the cluster holds before the first test: Argo, the tests' namespace, its accounts, S3's keys."""

from __future__ import annotations

import hashlib
import json
from string import Template

from mapred.backends.argo import rbac
from mapred.backends.argo.backend import Argo
from testbed.cluster import images
from testbed.cluster.places import CRDS, HERE, INSTALLED, NAMESPACE, S3_SECRET
from testbed.cluster.processes import wait_until
from testbed.cluster.servers import kubectl
from testbed.servers import seaweed

MANIFESTS = HERE / "manifests"
# A plain apply has no room for such large definitions, and reads all schemas at each call.
APPLY = ["apply", "--server-side", "--force-conflicts", "--validate=false", "--filename"]


def install() -> None:
    """Applies what is missing or has changed, and waits for Argo's controller."""
    _define()
    names = {"controller": images.CONTROLLER, "executor": images.EXECUTOR}
    argo = Template((MANIFESTS / "argo.yaml").read_text()).substitute(names)
    for manifest in (argo, namespace(NAMESPACE, seaweed.KEY, seaweed.SECRET)):
        kubectl(*APPLY, "-", stdin=manifest)
    kubectl("rollout", "status", "deployment/workflow-controller", "--namespace=argo",
            "--timeout=120s", "--request-timeout=0", seconds=150)  # fmt: skip


def _define() -> None:
    """Argo's kinds with their full schemas, 12 MB of them, unless this cluster has them."""
    definitions = sorted(CRDS.glob("*.yaml"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in definitions)).hexdigest()
    if INSTALLED.exists() and INSTALLED.read_text() == digest:
        return
    for path in definitions:
        kubectl(*APPLY, path, seconds=120)
    wait_until(_established, "definition of workflows", 30)
    INSTALLED.write_text(digest)


def _established() -> bool:
    """Whether Workflows are served; `kubectl wait` fails while the kind has no conditions yet."""
    definition = json.loads(kubectl("get", "crd/workflows.argoproj.io", "--output=json"))
    conditions = definition.get("status", {}).get("conditions") or []
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


def namespace(name: str, key: str, secret: str) -> str:
    """The manifest of a namespace for tests: the accounts that mapred asks for, the bucket's keys."""
    top = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }
    keys = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": S3_SECRET, "namespace": name},
        "stringData": {"accessKey": key, "secretKey": secret},
    }
    items = [top, *rbac.manifests(Argo(namespace=name)), keys]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
