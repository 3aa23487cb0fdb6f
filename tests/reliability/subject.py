"""The process that is attacked: `python -m reliability.subject begin|resume KIND ROOT|RUN [STEP]`.

It prints the run's folder as soon as there is one and, as it ends, what came of it. With STEP its
clock is set by so many seconds in the middle.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import mapred
from reliability.jobs import KINDS


def main(action: str, kind: str, where: str, step: str = "") -> None:
    if step:
        _set_clock(float(step))
    print(json.dumps(_told(action, kind, where)), flush=True)


def _told(action: str, name: str, where: str) -> dict[str, Any]:
    kind, backend = KINDS[name], mapred.Local(workers=2)
    try:
        if action == "begin":
            run = kind.job(where).submit(root=where, backend=backend)
            print(json.dumps({"uri": run.uri}), flush=True)
            run.finish("none")
        else:
            run = mapred.open(where)
            run.resume(backend=backend, progress="none")
        answer, audit = kind.answer(run), run.audit()
    except KeyboardInterrupt:
        return {"stopped": True}
    except BaseException as error:
        ours = type(error).__module__ == "mapred.errors"
        return {"error": type(error).__name__, "text": str(error), "ours": ours}
    exact = json.loads(json.dumps(answer)) == json.loads(json.dumps(kind.exact))
    text = str(audit) if not audit.ok else "" if exact else str(answer)[:200]
    return {"exact": exact, "whole": audit.ok, "text": text}


def _set_clock(step: float) -> None:
    known, start = time.time, time.monotonic()

    def now() -> float:
        return known() + (step if time.monotonic() - start > 0.6 else 0)

    time.time = now


if __name__ == "__main__":
    main(*sys.argv[1:])
