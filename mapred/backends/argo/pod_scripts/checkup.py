"""Prints what a pod finds about itself, as one line of JSON: `python -m` of this module, and a root."""

from __future__ import annotations

import json
import sys
import time

from mapred._version import __version__
from mapred.errors import MapredError
from mapred.functions.versions import code_digest
from mapred.storage import open_store, probe


def main(root: str) -> None:
    report = {
        "python": ".".join(map(str, sys.version_info[:2])),
        "mapred": __version__,
        "code": code_digest(),
        "root": "",
    }
    try:
        report["listed"] = probe(open_store(root))
    except MapredError as error:
        report["root"] = f"{type(error).__name__}: {error}"
    sys.stdout.write(json.dumps({**report, "time": time.time()}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
