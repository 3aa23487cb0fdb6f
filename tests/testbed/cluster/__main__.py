"""`python -m testbed.cluster build|up|down|status`, and `fake` for a node that is not real."""

from __future__ import annotations

import argparse
import json
import sys
import time

from testbed.cluster import fake, lifecycle
from testbed.cluster.errors import CannotHaveCluster, ClusterError
from testbed.cluster.places import KUBECONFIG, NAMESPACE

CANNOT = 3  # the exit status where the machine is at fault, and not the cluster


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m testbed.cluster", description=lifecycle.__doc__
    )
    parser.add_argument("command", choices=["build", "up", "down", "status", "fake"])
    command = parser.parse_args().command
    begin = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begin:6.1f} s  {text}", file=sys.stderr, flush=True)

    try:
        if command == "build":
            with lifecycle.alone():
                lifecycle.build(say)
        elif command == "up":
            lifecycle.up(say)
            print(f"export KUBECONFIG={KUBECONFIG}  # the tests' namespace is {NAMESPACE}")
        elif command == "fake":
            lifecycle.up(say)
            fake.up()
        elif command == "down":
            lifecycle.down(say)
        else:
            print(json.dumps(lifecycle.status(), indent=2))
    except CannotHaveCluster as error:
        print(f"this machine cannot have a cluster: {error}", file=sys.stderr)
        return CANNOT
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
