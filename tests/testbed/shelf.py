"""A cluster that keeps deployed jobs in this process, and runs what is started inline, as its pod."""

from __future__ import annotations

import contextlib
import io
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from mapred.backends.deployments import Outcome, Record
from mapred.client.deploying import starting
from mapred.errors import BackendError


@dataclass
class Start:
    """What one pod did: the words that it got, its exit code, and what it said."""

    words: list[str]
    uid: str
    created: datetime
    patience: float = 60.0
    code: int | None = None
    said: str = ""

    def again(self) -> int:
        """Run the pod, as a cluster does until it ends well."""
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            self.code = starting.main(*self.words)
        self.said = said.getvalue()
        return self.code

    def outcome(self) -> Outcome | None:
        return None if self.code is None else Outcome(self.code == 0, f"the pod said: {self.said}")


@dataclass
class Shelf:
    """The backend: `kept` by name, and what was `started`. Where `idle`, no pod begins."""

    name: str = "inline"
    root: str | None = None
    idle: bool = False
    kept: dict[str, Record] = field(default_factory=dict)
    started: list[Start] = field(default_factory=list)
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def prepare(self) -> None: ...

    def submit(self, store: Any, job: Any, digest: str) -> Any:
        raise NotImplementedError

    def deploy(self, record: Record, resources: Any, packages: Any, *, replace: bool) -> None:
        self.kept[record.name] = record

    def deployments(self) -> list[Record]:
        return [self.kept[name] for name in sorted(self.kept)]

    def undeploy(self, name: str) -> None:
        if self.kept.pop(name, None) is None:
            raise BackendError(f"no deployment {name!r}")

    def start_deployed(self, record: Record, values: Mapping[str, str]) -> Start:
        now = self.kept[record.name]  # the template as it is when its controller looks
        uid, created = secrets.token_hex(8), datetime.now(timezone.utc).replace(microsecond=0)
        words = [
            *(now.root, now.name, now.digest, record.digest, uid, created.isoformat(), "-"),
            *(f"{name}={value}" for name, value in values.items()),
        ]
        self.started.append(Start(words, uid, created, patience=0.0 if self.idle else 60.0))
        if not self.idle:
            self.started[-1].again()
        return self.started[-1]
