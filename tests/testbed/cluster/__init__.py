"""A one-node Kubernetes with Argo Workflows on this machine, for the tests marked `on_cluster`.

Everything is real: etcd, the servers of Kubernetes, containerd, Argo's controller, an S3 server.
Nothing listens beyond the loopback interface, pods reach this machine alone, and two folders hold
all files: the cache (what was built, `MAPRED_CLUSTER_CACHE`) and the state (what runs,
`MAPRED_CLUSTER_STATE`). From the folder tests: `python -m testbed.cluster up`, `down`, `status`,
`build`.
"""

from __future__ import annotations
