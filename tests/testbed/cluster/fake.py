"""A node that is not real, whose pods run nothing and succeed half a second after their start.

kwok plays its kubelet. Argo's controller cannot tell, for templates without outputs. The pods ask
for the node by `SELECTOR` and tolerate `TOLERATION`.
"""

from __future__ import annotations

from testbed.cluster.places import BIN, HERE, KUBECONFIG, STAGES
from testbed.cluster.processes import start
from testbed.cluster.servers import kubectl

SELECTOR = {"type": "fake"}
TOLERATION = {"key": "mapred.test/fake", "operator": "Exists"}
MANIFESTS = HERE / "manifests"


def up() -> None:
    """Starts kwok on the cluster of this machine, once; it ends with the cluster."""
    stages = [*sorted(STAGES.glob("*.yaml")), MANIFESTS / "fake-stages.yaml"]
    start("fake", [
        BIN / "kwok",
        f"--kubeconfig={KUBECONFIG}",
        *(f"--config={path}" for path in stages),
        "--manage-all-nodes=false",
        "--manage-nodes-with-label-selector=type=fake",
        "--cidr=10.250.0.0/16",
        "--node-ip=10.250.0.1",
        "--node-port=0",
        "--node-lease-duration-seconds=40",
    ])  # fmt: skip
    kubectl("apply", "--filename", MANIFESTS / "fake-node.yaml")
    kubectl("wait", "--for=condition=Ready", "node/fake", "--timeout=60s", "--request-timeout=0",
            seconds=90)  # fmt: skip
