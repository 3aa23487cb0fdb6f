"""Names, versions, ports and folders of the test cluster; nothing else knows one."""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).parent
TESTS = HERE.parents[1]
PROJECT = HERE.parents[2]

CACHE = Path(os.environ.get("MAPRED_CLUSTER_CACHE") or Path.home() / ".cache" / "mapred-cluster")
BIN = CACHE / "bin"
LAYERS = CACHE / "layers"
CRDS = CACHE / "crds"
STAGES = CACHE / "kwok-stages"

STATE = Path(os.environ.get("MAPRED_CLUSTER_STATE") or CACHE / "state")
PKI = STATE / "pki"
LOGS = STATE / "logs"
PIDS = STATE / "pids"
CONFIG = STATE / "config"
BEFORE = STATE / "before.json"
IMPORTED = STATE / "containerd" / "imported.json"
INSTALLED = STATE / "run" / "installed.sha256"
IMAGES = STATE / "images.json"
SOCKET = STATE / "run" / "containerd.sock"
# Goes with `down`; the keys stay, and so do images and snapshots, in STATE/containerd.
PASSING = [STATE / name for name in "run etcd kubelet podlogs ipam s3 config logs pids".split()]
KUBECONFIG = PKI / "admin.kubeconfig"

KUBERNETES = "1.34.4"
ARGO = "4.0.5"

NODE = "localhost"
BRIDGE = "mapred0"
NETWORK = "mapred-tests"  # the CNI network, as its records in /var/lib/cni call it
PODS, GATEWAY = "10.244.0.0/22", "10.244.0.1"
SERVICES, API_IN_PODS = "10.96.0.0/16", "10.96.0.1"
HOST_IN_PODS = "10.96.255.1"  # port for port the loopback interface of this machine

PORT_API = 26443
PORT_ETCD, PORT_ETCD_PEER = 22379, 22380
PORT_KUBELET = 20250
PORTS_S3 = range(29100, 29108)  # by twos: master, volume, filer, S3

NAMESPACE = "mapred-tests"
BUCKET = "runs"
S3_SECRET = "mapred-s3"
