"""How tests reach the cluster: this machine's own, or the one of MAPRED_TEST_KUBECONFIG.

That one needs Argo Workflows 4 and kubectl on the search path; nothing is started there. The tests
make the namespace MAPRED_TEST_NAMESPACE with mapred's accounts in it, and read these as well:

    MAPRED_TEST_S3_ENDPOINT  MAPRED_TEST_S3_ENDPOINT_IN_PODS (the same without it)
    MAPRED_TEST_S3_BUCKET  MAPRED_TEST_S3_KEY  MAPRED_TEST_S3_SECRET  MAPRED_TEST_S3_REGION
    MAPRED_TEST_IMAGE_MAPRED (built from the Dockerfile with the tests' own Python)
    MAPRED_TEST_IMAGE_PYTHON  MAPRED_TEST_IMAGE_BUSYBOX  MAPRED_TEST_IMAGE_OTHER_PYTHON
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.cluster import workflows
from testbed.cluster.__main__ import CANNOT
from testbed.cluster.errors import CannotHaveCluster, ClusterError
from testbed.cluster.images import BUSYBOX, Names
from testbed.cluster.places import (
    BIN,
    BUCKET,
    HOST_IN_PODS,
    IMAGES,
    KUBECONFIG,
    NAMESPACE,
    PORTS_S3,
    S3_SECRET,
    TESTS,
)
from testbed.servers import seaweed

FOREIGN = "MAPRED_TEST_KUBECONFIG"


@dataclass(frozen=True)
class Storage:
    """A bucket that tests and pods reach, each at an endpoint of its own."""

    endpoint: str
    endpoint_in_pods: str
    bucket: str
    key: str
    secret: str
    secret_name: str  # in the namespace, with the keys accessKey and secretKey
    region: str = "us-east-1"

    @property
    def environment(self) -> dict[str, str]:
        """What tells a client on this side how to reach the bucket, and hides other settings."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": self.region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }


@dataclass(frozen=True)
class Cluster:
    """A cluster with Argo Workflows, and a namespace in it that enforces `restricted`."""

    kubeconfig: Path
    namespace: str
    storage: Storage
    images: Names
    own: bool  # of this machine, where tests may do as they like with nodes and controllers

    @property
    def backend(self) -> dict[str, str]:
        """Arguments of `mapred.Argo`, or what a mapred.toml says, for this cluster."""
        return {
            "namespace": self.namespace,
            "image": self.images.mapred,
            "kubeconfig": str(self.kubeconfig),
            "endpoint": self.storage.endpoint_in_pods,
            "region": self.storage.region,
            "root_secret": self.storage.secret_name,
        }

    def kubectl(
        self, *words: object, stdin: str | None = None, seconds: float = 60, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Runs kubectl in the namespace of the tests."""
        own = BIN / "kubectl"
        program = str(own) if own.exists() else shutil.which("kubectl")
        if program is None:
            raise ClusterError("needs kubectl on the search path")
        options = ["--kubeconfig", str(self.kubeconfig), "--namespace", self.namespace]
        done = subprocess.run(
            [program, *options, *map(str, words)],
            input=stdin, capture_output=True, text=True, timeout=seconds,
        )  # fmt: skip
        if check and done.returncode:
            raise ClusterError(f"kubectl {' '.join(map(str, words))}:\n{done.stderr[-3000:]}")
        return done

    def submit(self, manifest: Mapping[str, Any]) -> str:
        """Creates a workflow, and gives its name."""
        created = self.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(manifest))
        return str(json.loads(created.stdout)["metadata"]["name"])

    def finished(self, workflow: str, seconds: float = 300) -> dict[str, Any]:
        """The workflow once it is over. Raises ClusterError, with its pods, after `seconds`."""
        limit = time.monotonic() + seconds
        while True:
            found = json.loads(self.kubectl("get", "workflow", workflow, "-o", "json").stdout)
            if found.get("status", {}).get("phase") in ("Succeeded", "Failed", "Error"):
                return dict(found)
            if time.monotonic() > limit:
                pods = self.kubectl(
                    "get", "pods", "-l", f"workflows.argoproj.io/workflow={workflow}"
                )
                raise ClusterError(
                    f"{workflow} is not finished after {seconds:.0f} s:\n{pods.stdout}"
                )
            time.sleep(0.5)


def cluster() -> Cluster:
    """The cluster that the environment names, or else this machine's own, started if need be.

    Raises CannotHaveCluster where there is none to be had.
    """
    foreign = os.environ.get(FOREIGN)
    return _foreign(Path(foreign)) if foreign else _own()


def _own() -> Cluster:
    command = [sys.executable, "-m", "testbed.cluster", "up"]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True)
    if done.returncode:
        kind = CannotHaveCluster if done.returncode == CANNOT else ClusterError
        raise kind(f"no cluster: {done.stderr[-4000:]}")
    storage = Storage(
        endpoint=f"http://127.0.0.1:{PORTS_S3[6]}",
        endpoint_in_pods=f"http://{HOST_IN_PODS}:{PORTS_S3[6]}",
        bucket=BUCKET,
        key=seaweed.KEY,
        secret=seaweed.SECRET,
        secret_name=S3_SECRET,
    )
    names = Names(**json.loads(IMAGES.read_text()))
    return Cluster(KUBECONFIG, NAMESPACE, storage, names, own=True)


def _foreign(kubeconfig: Path) -> Cluster:
    """Puts the tests' accounts and the bucket's keys into the namespace there."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    storage = Storage(
        endpoint=_setting("S3_ENDPOINT"),
        endpoint_in_pods=os.environ.get("MAPRED_TEST_S3_ENDPOINT_IN_PODS")
        or _setting("S3_ENDPOINT"),
        bucket=_setting("S3_BUCKET"),
        key=_setting("S3_KEY"),
        secret=_setting("S3_SECRET"),
        secret_name=S3_SECRET,
        region=os.environ.get("MAPRED_TEST_S3_REGION", "us-east-1"),
    )
    names = Names(
        busybox=os.environ.get("MAPRED_TEST_IMAGE_BUSYBOX", BUSYBOX),
        python=os.environ.get(
            "MAPRED_TEST_IMAGE_PYTHON", f"docker.io/library/python:{version}-slim"
        ),
        mapred=_setting("IMAGE_MAPRED"),
        other_python=os.environ.get("MAPRED_TEST_IMAGE_OTHER_PYTHON"),
    )
    namespace = os.environ.get("MAPRED_TEST_NAMESPACE", NAMESPACE)
    found = Cluster(kubeconfig, namespace, storage, names, own=False)
    content = workflows.namespace(namespace, storage.key, storage.secret)
    found.kubectl("apply", "-f", "-", stdin=content)
    return found


def _setting(name: str) -> str:
    value = os.environ.get(f"MAPRED_TEST_{name}")
    if not value:
        raise ClusterError(f"{FOREIGN} is set, so set MAPRED_TEST_{name} too")
    return value
