"""`python -m testbed NAME`: start a server of the tests by hand, until it is interrupted."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from testbed import sharing
from testbed.servers import azurite, dask_cluster, moto, oss, seaweed

CANNOT = 3  # the exit status where this machine lacks what the server needs
PLANS = {
    "azurite": azurite.plan,
    "dask": dask_cluster.plan,
    "moto": moto.plan,
    "oss": oss.plan,
    "seaweed": seaweed.plan,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m testbed", description=__doc__)
    parser.add_argument("name", choices=sorted(PLANS), help="the server to start")
    name = parser.parse_args().name
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix=f"mapred-{name}-") as folder:
        try:
            plan = PLANS[name](Path(folder))
            with sharing.running(Path(folder), plan):
                print(json.dumps(plan[1], indent=2), flush=True)
                print(f"its state is in {folder} until Ctrl-C stops it", file=sys.stderr)
                signal.pause()
        except KeyboardInterrupt:
            pass
        except pytest.skip.Exception as error:
            print(f"{name} cannot be started on this machine: {error}", file=sys.stderr)
            return CANNOT
    return 0


if __name__ == "__main__":
    sys.exit(main())
