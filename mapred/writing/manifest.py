"""The next version of a folder's manifest, put if absent.

Replacing the whole list by one put is what makes a run's files appear at once to those who read
by it. A later run can finish what a version says is still to be done.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from mapred.dataset.manifests import FOLDER, Entry, Manifest, newest, path_of
from mapred.errors import StorageError
from mapred.storage import Store

__all__ = ["FOLDER", "Entry", "Manifest", "latest", "update"]

_KEPT, _KEPT_SECONDS = 20, 24 * 3600.0
_RUNS = 10_000
_TRIES = 1000


def latest(store: Store, least: Manifest | None = None) -> Manifest:
    """Return the current version, `least` or a later one; an empty version 0 if there is none."""

    def names() -> list[str]:
        return [path.rpartition("/")[2] for path, _ in store.list(FOLDER)]

    version = 0 if least is None else least.version
    manifest = newest(store.uri, names, lambda name: store.read(f"{FOLDER}/{name}"), version)
    return Manifest() if manifest is None else manifest


def update(
    store: Store, change: Callable[[Manifest], Manifest], least: Manifest | None = None
) -> Manifest:
    """Put `change` of the latest version as the next one, and again where others were faster.

    A change that returns its argument puts nothing. The latest version is `least` or a later one.
    """
    for _ in range(_TRIES):
        now = latest(store, least)
        changed = change(now)
        if changed is now:
            return now
        kept, dropped = _split_versions(now)
        version = replace(
            changed,
            version=now.version + 1,
            time=time.time(),
            runs=changed.runs[-_RUNS:],
            kept=kept,
        )
        if store.put_if_absent(path_of(version.version), version.to_bytes()):
            for number in dropped:
                with suppress(FileNotFoundError):
                    store.delete(path_of(number))
            return version
        time.sleep(random.uniform(0, 0.1))
    raise StorageError(f"{store.uri}/{FOLDER}: {_TRIES} other writers were first; try again")


def _split_versions(now: Manifest) -> tuple[tuple[tuple[int, float], ...], list[int]]:
    """Return the versions to keep, and those too old for anyone to still build on."""
    versions = [*now.kept, *([(now.version, now.time)] if now.version else [])]
    limit = time.time() - _KEPT_SECONDS
    old = [number for number, when in versions[:-_KEPT] if when < limit]
    return tuple(entry for entry in versions if entry[0] not in set(old)), old
