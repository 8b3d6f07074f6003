# SPDX-License-Identifier: MIT
"""A file to send, for the tests of sendfile()."""
import socket

import pytest

from .protocols import turns

CONTENT = b"".join(index.to_bytes(4, "big") for index in range(750000))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def narrow(transport):
    """Make the socket's buffer small, so that CONTENT does not fit into the kernel."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)


async def start(env, protocol, file, *args):
    """A transport whose peer does not read, the peer, and the task that sends to it."""
    transport, peer = await env.raw_server(protocol)
    narrow(transport)
    task = env.loop.create_task(env.loop.sendfile(transport, file, *args))
    await turns()
    assert not task.done()
    return transport, peer, task
