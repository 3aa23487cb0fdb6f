"""Tell a webhook that a scheduled run failed: `python -c` of this text, in a pod of its own.

It needs nothing but Python, as what failed may be the packages or the root.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request


def main() -> None:
    names = ("schedule", "scheduled", "root", "workflow", "namespace", "status", "failures")
    said = {name: os.environ.get(f"MAPRED_{name.upper()}", "") for name in names}
    said["text"] = (
        f"The scheduled job {said['schedule']} of {said['scheduled']} ended as {said['status']}: "
        f"Workflow {said['workflow']} in {said['namespace']}; runs are in {said['root']}"
    )
    request = urllib.request.Request(
        os.environ["MAPRED_WEBHOOK"],
        json.dumps(said).encode(),
        {"Content-Type": "application/json", "User-Agent": "mapred"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            sys.stdout.write(f"told: {answer.status}\n")
    except (OSError, ValueError) as error:
        # The address is a secret more often than not: only the kind of error is shown.
        sys.stderr.write(f"the webhook could not be called: {type(error).__name__}\n")
        sys.exit(75)


if __name__ == "__main__":
    main()
