"""What the driver, the fork server and workers tell each other."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import struct
import sys
from dataclasses import dataclass
from typing import Any

NOTICE = struct.Struct("!cii")
STARTED, REFUSED, ENDED = b"s", b"r", b"e"
LOG_CAP = 64 * 1024
_TAIL = 2000  # bytes of a log that are looked at while it grows
_SIZE = struct.Struct("!Q")


def _file_at(descriptor: int) -> tuple[int, int] | None:
    """Return the identity of a descriptor's file; None where it is closed."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


class Channel:
    """Pickled values over one end of a socket pair.

    `multiprocessing.connection` would do, but takes longer to import than all else here.
    """

    def __init__(self, end: socket.socket) -> None:
        end.settimeout(None)  # whatever default this process has for sockets
        self._end = end
        self._await_value()
        self._file = _file_at(end.fileno())

    def fileno(self) -> int:
        return self._end.fileno()

    def send(self, value: Any) -> None:
        """Send a value; `ConnectionResetError` where someone closed the connection."""
        data = pickle.dumps(value)
        if _file_at(self._end.fileno()) != self._file:
            # A function closed it, and what has its number now is a file of the function's.
            raise ConnectionResetError("the connection was closed by someone else")
        self._end.sendall(_SIZE.pack(len(data)) + data)

    def receive(self) -> Any:
        """Return the next value; `EOFError` where the other end is closed."""
        self._take(0)
        data = self._data
        self._await_value()
        return pickle.loads(data)

    def has_value(self) -> bool:
        """Whether all of the next value has come; waits for nothing.

        A process may be stopped, or end, in the middle of a value, and its reader must not hang.
        """
        try:
            self._take(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        self._end.close()

    def _await_value(self) -> None:
        self._data, self._at, self._is_size = bytearray(_SIZE.size), 0, True

    def _take(self, flags: int) -> None:
        while True:
            while self._at < len(self._data):
                taken = self._end.recv_into(memoryview(self._data)[self._at :], 0, flags)
                if not taken:
                    raise EOFError
                self._at += taken
            if not self._is_size:
                return
            (size,) = _SIZE.unpack(self._data)
            self._data, self._at, self._is_size = bytearray(size), 0, False


def bound_sending(end: socket.socket, seconds: float) -> None:
    """Have what is sent fail with an `OSError` where nobody takes it for so long."""
    whole = int(seconds)
    timeval = struct.pack("@ll", whole, int((seconds - whole) * 1e6))
    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)


@dataclass(frozen=True)
class Left:
    """A worker's last message: all is closed, but for what the complaints name."""

    complaints: tuple[str, ...]


class Log:
    """What a worker printed: an unlinked file that driver and worker share."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._file = _file_at(descriptor)

    def cap(self) -> None:
        """Cut the file to its head and tail once it is far above the cap."""
        if os.fstat(self.descriptor).st_size > 8 * LOG_CAP:
            text = self._head_and_tail()
            os.ftruncate(self.descriptor, 0)
            os.write(self.descriptor, text)

    def read(self) -> str:
        """Return the whole log, or its head and tail when it is long."""
        return self._head_and_tail().decode(errors="replace")

    def tail(self) -> str:
        """Return the end of the log, without the line that it begins in the middle of."""
        size = os.fstat(self.descriptor).st_size
        text = os.pread(self.descriptor, _TAIL, max(0, size - _TAIL)).decode(errors="replace")
        return text if size <= _TAIL else text.partition("\n")[2]

    def take(self) -> str:
        """Return what was printed since the last take."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        if _file_at(self.descriptor) != self._file:
            return ""  # a function closed it, and may have opened a file of its own in its place
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
