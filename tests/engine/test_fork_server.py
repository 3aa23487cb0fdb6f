"""What the process that workers are forked from does when its driver goes."""

from __future__ import annotations

import os
import pickle
import socket
import struct

import pytest

from mapred.engine.fork_server import _receive

SETTINGS = {"env": {}, "cwd": "/", "path": []}
PAYLOAD = pickle.dumps(SETTINGS)
REQUEST = struct.pack("!i", len(PAYLOAD)) + PAYLOAD


@pytest.mark.timeout(60)
@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, len(REQUEST) - 1, len(REQUEST)])
def test_a_driver_killed_in_the_middle_of_a_request_has_gone(length: int) -> None:
    driver, server = socket.socketpair()
    with driver, server:
        if length:
            socket.send_fds(driver, [REQUEST[: min(length, 4)]], [0, 0])
            driver.sendall(REQUEST[4:length])
        driver.close()
        request = _receive(server)
        if length < len(REQUEST):
            assert request is None
            return
        assert request is not None
        settings, descriptors = request
        for descriptor in descriptors:
            os.close(descriptor)
        assert settings == SETTINGS
