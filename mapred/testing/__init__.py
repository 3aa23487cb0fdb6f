"""Suites that every backend and every store must pass, for ours and for yours.

class TestMyBackend(BackendContract):
    @pytest.fixture
    def backend(self):
        return MyBackend()

`mapred.testing.fakes` has the smallest store and the smallest backend.
"""

from __future__ import annotations

from mapred.testing.backend import BackendContract, Orders, Script, orders
from mapred.testing.changes import drop_commit, tamper
from mapred.testing.fakes import Idle, MemoryStore, NotStarted
from mapred.testing.store import StoreContract

__all__ = [
    "BackendContract",
    "Idle",
    "MemoryStore",
    "NotStarted",
    "Orders",
    "Script",
    "StoreContract",
    "drop_commit",
    "orders",
    "tamper",
]
