"""The programs of the cluster, each with all its options, in the order of their start."""

from __future__ import annotations

import json
from string import Template

from testbed.cluster import pki
from testbed.cluster.images import CTR, PAUSE
from testbed.cluster.places import (
    BIN,
    BRIDGE,
    CONFIG,
    GATEWAY,
    HERE,
    KUBECONFIG,
    NETWORK,
    NODE,
    PKI,
    PODS,
    PORT_API,
    PORT_ETCD,
    PORT_ETCD_PEER,
    PORT_KUBELET,
    PORTS_S3,
    SERVICES,
    SOCKET,
    STATE,
)
from testbed.cluster.processes import run, start, wait_until
from testbed.servers import seaweed

KUBECTL = [str(BIN / "kubectl"), "--kubeconfig", str(KUBECONFIG), "--request-timeout=60s"]
CONTROLLERS = "*,-cloud-node-lifecycle-controller,-service-lb-controller,-node-route-controller"


def containerd() -> None:
    _configure("containerd.toml", "containerd.toml")
    _configure("cni.conflist", "cni/10-pods.conflist")
    start("containerd", ["containerd", "--config", CONFIG / "containerd.toml"])
    wait_until(
        lambda: not run(*CTR, "version", check=False).returncode, "containerd", 60, "containerd"
    )


def storage() -> None:
    """The S3 server; its data goes with the cluster."""
    home = STATE / "s3"
    home.mkdir(parents=True, exist_ok=True)
    command, _, _ = seaweed.server(home, list(PORTS_S3))
    start("s3", command)


def control_plane() -> None:
    pki.make()
    start("etcd", _words(BIN / "etcd", {
        "name": "one",
        "data-dir": STATE / "etcd",
        "listen-client-urls": f"http://127.0.0.1:{PORT_ETCD}",
        "advertise-client-urls": f"http://127.0.0.1:{PORT_ETCD}",
        "listen-peer-urls": f"http://127.0.0.1:{PORT_ETCD_PEER}",
        "initial-advertise-peer-urls": f"http://127.0.0.1:{PORT_ETCD_PEER}",
        "initial-cluster": f"one=http://127.0.0.1:{PORT_ETCD_PEER}",
        "unsafe-no-fsync": "true",  # nothing here has to survive a loss of power
        "quota-backend-bytes": 8 << 30,
        "auto-compaction-mode": "periodic",
        "auto-compaction-retention": "10m",
        "log-level": "warn",
    }))  # fmt: skip
    start("kube-apiserver", _words(BIN / "kube-apiserver", {
        "bind-address": "127.0.0.1",
        "secure-port": PORT_API,
        "advertise-address": GATEWAY,  # may not be loopback; the rules lead there all the same
        "etcd-servers": f"http://127.0.0.1:{PORT_ETCD}",
        "tls-cert-file": PKI / "apiserver.crt",
        "tls-private-key-file": PKI / "apiserver.key",
        "client-ca-file": PKI / "ca.crt",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "service-account-key-file": PKI / "accounts.pub",
        "service-account-signing-key-file": PKI / "accounts.key",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-cluster-ip-range": SERVICES,
        "kubelet-client-certificate": PKI / "admin.crt",
        "kubelet-client-key": PKI / "admin.key",
        "kubelet-preferred-address-types": "Hostname",
        "allow-privileged": "true",
        "profiling": "false",
        "event-ttl": "10m",
        "max-requests-inflight": 800,
        "max-mutating-requests-inflight": 400,
    }))  # fmt: skip
    wait_until(lambda: _answers("/readyz"), "API server", 120, "kube-apiserver")
    start("kube-controller-manager", _words(BIN / "kube-controller-manager", {
        "kubeconfig": PKI / "controllers.kubeconfig",
        "secure-port": 0,
        "leader-elect": "false",
        "use-service-account-credentials": "true",
        "service-account-private-key-file": PKI / "accounts.key",
        "root-ca-file": PKI / "ca.crt",
        "controllers": CONTROLLERS,
        "kube-api-qps": 300,
        "kube-api-burst": 500,
        "terminated-pod-gc-threshold": 60000,
        "profiling": "false",
    }))  # fmt: skip
    start("kube-scheduler", _words(BIN / "kube-scheduler", {
        "kubeconfig": PKI / "scheduler.kubeconfig",
        "secure-port": 0,
        "leader-elect": "false",
        "kube-api-qps": 1000,
        "kube-api-burst": 2000,
        "profiling": "false",
    }))  # fmt: skip


def node() -> None:
    """The kubelet, until the node is Ready."""
    _configure("kubelet.yaml", "kubelet.yaml")
    start("kubelet", _words(BIN / "kubelet", {
        "config": CONFIG / "kubelet.yaml",
        "kubeconfig": PKI / "kubelet.kubeconfig",
        "root-dir": STATE / "kubelet",
        "cert-dir": STATE / "kubelet" / "pki",
        "hostname-override": NODE,
        "node-ip": GATEWAY,
    }))  # fmt: skip
    wait_until(_ready, "Ready node", 120, "kubelet")
    wait_until(
        lambda: not run(*KUBECTL, "get", "serviceaccount", "default", check=False).returncode,
        "default service account", 60, "kube-controller-manager",
    )  # fmt: skip


def kubectl(*words: object, stdin: str | None = None, seconds: float = 60) -> str:
    return run(*KUBECTL, *words, stdin=stdin, seconds=seconds).stdout


def _answers(path: str) -> bool:
    return not run(*KUBECTL, "get", "--raw", path, check=False).returncode


def _ready() -> bool:
    done = run(*KUBECTL, "get", "node", NODE, "--output", "json", check=False)
    if done.returncode:
        return False
    conditions = json.loads(done.stdout)["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _words(program: object, options: dict[str, object]) -> list[object]:
    return [program, *(f"--{name}={value}" for name, value in options.items())]


def _configure(template: str, name: str) -> None:
    names = {
        "state": STATE, "socket": SOCKET, "pause": PAUSE, "port": PORT_KUBELET,
        "network": NETWORK, "bridge": BRIDGE, "pods": PODS, "gateway": GATEWAY,
    }  # fmt: skip
    target = CONFIG / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(Template((HERE / "config" / template).read_text()).substitute(names))
