"""The pods' bridge, and address rules in place of kube-proxy.

Pods reach the API server at its cluster address and this machine's loopback interface, port for
port, at HOST_IN_PODS; they reach nothing beyond this machine.
"""

from __future__ import annotations

import json
from pathlib import Path

from testbed.cluster.errors import ClusterError
from testbed.cluster.places import (
    API_IN_PODS,
    BRIDGE,
    GATEWAY,
    HOST_IN_PODS,
    NETWORK,
    PODS,
    PORT_API,
    SERVICES,
    STATE,
)
from testbed.cluster.processes import run

RULES = [
    ("nat", chain, f"-d {address} -j DNAT --to-destination {target}")
    for chain in ("PREROUTING", "OUTPUT")
    for address, target in (
        (f"{API_IN_PODS}/32 -p tcp --dport 443", f"127.0.0.1:{PORT_API}"),
        (f"{HOST_IN_PODS}/32", "127.0.0.1"),
    )
] + [("filter", "FORWARD", f"-i {BRIDGE} ! -o {BRIDGE} -j DROP")]
RECORDS = Path("/var/lib/cni/results")


def owner() -> str | None:
    """The state folder of the cluster that this machine runs; None without one."""
    shown = run("ip", "-json", "link", "show", BRIDGE, check=False)
    if shown.returncode:
        return None
    return str(json.loads(shown.stdout)[0].get("ifalias", "?"))


def claim() -> None:
    """Raises ClusterError if this machine runs the cluster of another state folder."""
    other = owner()
    if other not in (None, str(STATE)):
        raise ClusterError(
            f"this machine runs the cluster of {other} already: use it, "
            f"or end it with MAPRED_CLUSTER_STATE={other} make cluster-down"
        )


def up() -> None:
    _enable("ip_forward")
    if owner() is None:
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "link", "set", "dev", BRIDGE, "alias", STATE)
        prefix = PODS.rpartition("/")[2]
        run("ip", "address", "add", f"{GATEWAY}/{prefix}", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
    _enable(f"conf/{BRIDGE}/route_localnet")
    run("ip", "route", "replace", SERVICES, "dev", BRIDGE)
    for rule in RULES:
        if _iptables("-C", *rule):
            _iptables("-A", *rule, check=True)


def down() -> None:
    for rule in RULES:
        while not _iptables("-D", *rule):
            pass
    for space in _forget_pods():
        run("ip", "netns", "delete", space, check=False)
    run("ip", "link", "delete", BRIDGE, check=False)


def _forget_pods() -> set[str]:
    """Removes the records of pods that were not ended one by one; their network namespaces."""
    spaces = set()
    for record in RECORDS.glob(f"{NETWORK}-*"):
        known = json.loads(record.read_text())
        found = [each.get("sandbox", "") for each in known["result"]["interfaces"]]
        spaces |= {Path(path).name for path in found if path}
        for each in RECORDS.glob(f"*-{known['containerId']}-*"):
            each.unlink()
    return spaces


def _enable(setting: str) -> None:
    Path("/proc/sys/net/ipv4", setting).write_text("1")


def _iptables(action: str, table: str, chain: str, rule: str, check: bool = False) -> int:
    words = ["iptables", "-w", "10", "-t", table, action, chain, *rule.split()]
    return run(*words, check=check).returncode
