"""A proxy that stands between a client and a server, counts requests and spoils some answers.

`python -m testbed.faults.proxy PORT TARGET_PORT PLAN`: the JSON file PLAN, read anew for each
request, may give `rate` (the share of requests spoiled, evenly: 0.25 is every fourth), `kinds`
(in turn), `methods`, `ended`, keys whose session is over, and `without`, headers that do not get
through.
The kinds:

  busy      503 in place of the answer; the request does not reach the server
  reset     the connection is reset before the request reaches the server
  lost      the server carries the request out; the connection is reset before the answer
  failed    the server carries the request out; 500 in place of the answer
  truncated the answer's body ends in the middle
  stall     no answer at all
  short     half of the body of an answer to GET, and a length that agrees with it
  long      the body of an answer to GET ends before its length says, in good order
  skewed    the request is refused, for a clock that is an hour off
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from testbed.sharing import free_ports

KINDS = ("busy", "reset", "lost", "failed", "truncated", "stall")
LENGTHS = ("short", "long")
AHEAD = 3600  # seconds by which the server's clock is ahead of a skewed client
_BODY = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>injected %s</Message>%s</Error>"
_matching = itertools.count(1)
_spoiled = itertools.count()


@contextlib.contextmanager
def proxy(folder: Path, endpoint: str) -> Iterator[Proxy]:
    """A proxy in front of `endpoint` that spoils nothing yet."""
    (port,) = free_ports(1)
    plan = folder / f"faults-{port}.json"
    known = Proxy(f"http://127.0.0.1:{port}", plan)
    known.spoil()
    command = [sys.executable, "-m", "testbed.faults.proxy", str(port), endpoint.rsplit(":", 1)[1]]
    home = Path(__file__).parents[2]
    process = subprocess.Popen([*command, str(plan)], stdin=subprocess.DEVNULL, cwd=home)
    try:
        limit = time.monotonic() + 20
        while time.monotonic() < limit:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            time.sleep(0.05)
        yield known
    finally:
        process.kill()
        process.wait()


class Proxy:
    """Where a proxy listens, and what it is told to spoil."""

    def __init__(self, endpoint: str, plan: Path) -> None:
        self.endpoint, self._plan = endpoint, plan

    def spoil(
        self,
        rate: float = 0.0,
        kinds: tuple[str, ...] = KINDS,
        methods: str = "GET HEAD PUT POST",
        ended: tuple[str, ...] = (),
        without: tuple[str, ...] = (),
    ) -> None:
        """From now on, spoil this share of the requests of these methods, and refuse these keys."""
        plan = {"rate": rate, "kinds": kinds, "methods": methods.split(), "ended": ended}
        plan["without"] = without
        new = self._plan.with_suffix(".new")
        new.write_text(json.dumps(plan))
        new.replace(self._plan)

    def requests(self) -> list[tuple[str, str]]:
        """Method and path, query included, of every request since the last call."""
        record = self._plan.with_suffix(".requests")
        lines = record.read_text().splitlines() if record.exists() else []
        record.unlink(missing_ok=True)
        return [(line.split(" ")[0], line.split(" ")[1]) for line in lines]


async def _message(reader: asyncio.StreamReader, *, to: str = "") -> tuple[bytes, bytes]:
    """The head and body of a request, or of the answer to a request of method `to`."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    fields = dict(line.split(b": ", 1) for line in lines[1:] if b": " in line)
    if to == "HEAD" or (to and lines[0].split()[1] in (b"204", b"304")):
        return head, b""
    if b"chunked" in fields.get(b"transfer-encoding", b""):
        body = b""
        while True:
            size = await reader.readuntil(b"\r\n")
            chunk = await reader.readexactly(int(size.split(b";")[0], 16) + 2)
            body += size + chunk
            if size.startswith(b"0"):
                return head, body
    return head, await reader.readexactly(int(fields.get(b"content-length", b"0")))


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close at once with a reset, not with an orderly end."""
    raw: Any = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _kind(settings: dict[str, Any], method: str) -> str:
    """How to spoil the next request, or nothing."""
    if method not in settings["methods"]:
        return ""
    number, rate = next(_matching), settings["rate"]
    if int(number * rate) == int((number - 1) * rate):
        return ""
    kinds = settings["kinds"]
    return str(kinds[next(_spoiled) % len(kinds)])


def _of_wrong_length(kind: str, head: bytes, body: bytes) -> bytes:
    if kind == "short":
        body = body[: len(body) // 2]
    length = b"content-length: %d" % (2 * len(body) + 1 if kind == "long" else len(body))
    return re.sub(rb"(?i)content-length: \d+", length, head) + body


def _refusal(status: bytes, code: bytes, said: bytes = b"", more: bytes = b"") -> bytes:
    body = _BODY % (code, said, more)
    return b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body)


async def _serve(
    plan: Path, target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    upstream: Any = None
    try:
        while True:
            request = await _message(reader)
            method = request[0].split(b" ", 1)[0].decode()
            with plan.with_suffix(".requests").open("ab") as record:
                record.write(request[0].split(b"\r\n", 1)[0] + b"\n")
            settings = json.loads(plan.read_text())
            kind = _kind(settings, method)
            key = re.search(rb"Credential=([^/]+)/", request[0])
            if key and key[1].decode() in settings["ended"]:
                token = re.search(rb"(?i)x-amz-security-token: (.*)", request[0])
                said = token[1].strip() if token else b""
                writer.write(_refusal(b"403 Forbidden", b"ExpiredToken", said))
                continue
            if kind == "skewed":
                theirs = time.gmtime(time.time() + AHEAD)
                more = time.strftime("<ServerTime>%Y-%m-%dT%H:%M:%SZ</ServerTime>", theirs).encode()
                writer.write(_refusal(b"403 Forbidden", b"RequestTimeTooSkewed", more=more))
                continue
            if kind == "busy":
                writer.write(_refusal(b"503 Slow Down", b"SlowDown"))
                continue
            if kind == "reset":
                return _reset(writer)
            if kind == "stall":
                await asyncio.sleep(600)
            if upstream is None:
                upstream = await asyncio.open_connection("127.0.0.1", target, limit=1 << 24)
            for name in settings["without"]:
                line = rb"(?i)\r\n%s: [^\r]*" % name.encode()
                request = re.sub(line, b"", request[0]), request[1]
            upstream[1].write(b"".join(request))
            head, body = await _message(upstream[0], to=method)
            if kind == "lost":
                return _reset(writer)
            if kind == "failed":
                writer.write(_refusal(b"500 Internal", b"InternalError"))
                continue
            if kind == "truncated":
                writer.write(head + body[: len(body) // 2] if body else head[: len(head) // 2])
                await writer.drain()
                return _reset(writer)
            if kind in LENGTHS and method == "GET":
                writer.write(_of_wrong_length(kind, head, body))
                await writer.drain()
                return None
            writer.write(head + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    finally:
        for each in (writer, upstream[1] if upstream else None):
            if each is not None:
                each.close()


async def main(port: str, target: str, plan: str) -> None:
    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        return _serve(Path(plan), int(target), reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", int(port), limit=1 << 24)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
