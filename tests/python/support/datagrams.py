# SPDX-License-Identifier: MIT
"""Datagram endpoints of the three families, for the tests of them."""
import socket
import sys

import pytest

from .peers import PATIENCE
from .protocols import DatagramRecorder

all_families = pytest.mark.kinds("inet", "inet6", "unix")
inet_only = pytest.mark.kinds("inet", "inet6")
ipv4_only = pytest.mark.kinds("inet")
unix_only = pytest.mark.kinds("unix")
ours_only = pytest.mark.implementations("ours", "ours_uvloop")

FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6, "unix": socket.AF_UNIX}
HOSTS = {"inet": "127.0.0.1", "inet6": "::1"}
SENDS_EMPTY = sys.version_info >= (3, 13)


def local_address(env):
    return env.new_path() if env.is_unix else (HOSTS[env.kind], 0)


def remote_address(address):
    """What create_datagram_endpoint takes for an address that a socket has."""
    return address if isinstance(address, (str, bytes)) else address[:2]


def raw_socket(env, bound=True):
    """A blocking socket of the test, which is closed at the end of it."""
    sock = socket.socket(FAMILIES[env.kind], socket.SOCK_DGRAM)
    sock.settimeout(PATIENCE)
    if bound:
        sock.bind(local_address(env))
    env._peers.append(sock)
    return sock


async def endpoint(env, protocol=None, **keywords):
    """A recorder with its transport; bound unless there are keywords."""
    protocol = DatagramRecorder() if protocol is None else protocol
    if env.is_unix and "sock" not in keywords:
        keywords["family"] = socket.AF_UNIX
    if not {"sock", "remote_addr", "local_addr"} & set(keywords):
        keywords["local_addr"] = local_address(env)
    transport, given = await env.loop.create_datagram_endpoint(lambda: protocol, **keywords)
    assert given is protocol
    assert transport is protocol.transport
    return protocol


def name_of(protocol):
    return protocol.transport.get_extra_info("sockname")


def reply(protocol, data, addr):
    protocol.transport.sendto(data, addr)


async def blocked(env, protocol=None, connected=False):
    """(protocol, peer): on a Unix socket whose peer's queue is full, so that more is queued."""
    peer = raw_socket(env)
    address = peer.getsockname()
    protocol = await endpoint(env, protocol, local_addr=local_address(env),
                              **({"remote_addr": address} if connected else {}))
    count = 0
    while protocol.transport.get_write_buffer_size() == 0:
        protocol.transport.sendto(b"%05d" % count, None if connected else address)
        count += 1
        assert count < 10000
    protocol.sent = count
    return protocol, peer


def drain(protocol, peer, extra=0):
    """What the peer of `blocked` gets of its endpoint, in a thread."""
    return [peer.recv(1024) for _ in range(protocol.sent + extra)]
