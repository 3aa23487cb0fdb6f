"""What the driver, the fork server and workers tell each other."""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import socket
import struct
import sys
from dataclasses import dataclass
from typing import Any

NOTICE = struct.Struct("!cii")
STARTED, REFUSED, ENDED = b"s", b"r", b"e"
LOG_CAP = 64 * 1024
_SIZE = struct.Struct("!Q")


class Channel:
    """Pickled values over one end of a socket pair.

    `multiprocessing.connection` would do, at some ten times the time to import.
    """

    def __init__(self, end: socket.socket) -> None:
        end.settimeout(None)  # whatever default this process has for sockets
        self._end = end

    def fileno(self) -> int:
        return self._end.fileno()

    def send(self, value: Any) -> None:
        data = pickle.dumps(value)
        self._end.sendall(_SIZE.pack(len(data)) + data)

    def receive(self) -> Any:
        """The next value; `EOFError` where the other end is closed."""
        (size,) = _SIZE.unpack(self._exactly(_SIZE.size))
        return pickle.loads(self._exactly(size))

    def has_more(self) -> bool:
        """Whether there is something to receive, if only the end."""
        poll = select.poll()
        poll.register(self._end, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        self._end.close()

    def _exactly(self, size: int) -> bytearray:
        data, at = bytearray(size), 0
        while at < size:
            taken = self._end.recv_into(memoryview(data)[at:])
            if not taken:
                raise EOFError
            at += taken
        return data


@dataclass(frozen=True)
class Left:
    """A worker's last message: all is closed, but for what the complaints name."""

    complaints: tuple[str, ...]


class Log:
    """What a worker printed: an unlinked file that driver and worker share."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def cap(self) -> None:
        """Keep head and tail alone once the file is far above the cap."""
        if os.fstat(self.descriptor).st_size > 8 * LOG_CAP:
            text = self._head_and_tail()
            os.ftruncate(self.descriptor, 0)
            os.write(self.descriptor, text)

    def read(self) -> str:
        """All that is there, head and tail when it is long."""
        return self._head_and_tail().decode(errors="replace")

    def take(self) -> str:
        """What was printed since the last take."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        if not os.fstat(self.descriptor).st_size:
            return ""
        text = self.read()
        os.ftruncate(self.descriptor, 0)
        return text

    def _head_and_tail(self) -> bytes:
        size = os.fstat(self.descriptor).st_size
        head = os.pread(self.descriptor, LOG_CAP, 0)
        if size <= LOG_CAP:
            return head
        if size <= 2 * LOG_CAP:
            return head + os.pread(self.descriptor, LOG_CAP, LOG_CAP)
        tail = os.pread(self.descriptor, LOG_CAP, size - LOG_CAP)
        return head + f"\n… {size - 2 * LOG_CAP:,} bytes left out …\n".encode() + tail
