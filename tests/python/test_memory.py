# SPDX-License-Identifier: MIT
"""Memory that does not grow, however many connections there were and however much came."""
import ctypes
import gc
import os
import ssl
import sys

import pytest

from support.marks import improvement, one_tls
from support.peers import SCALE, TIME_LIMIT
from support.protocols import Recorder, echoing, live, turns, until

MIB = 1 << 20
# Its default would limit how slow a machine may be.
LONG_SHUTDOWN = {"ssl_shutdown_timeout": TIME_LIMIT} if sys.version_info >= (3, 11) else {}
# Bytes; a connection that stays has 100 KiB at its two ends, most of it the SSLs'.
LITTLE = 8192

pytestmark = [one_tls, pytest.mark.skipif("san.so" in os.environ.get("LD_PRELOAD", ""),
                                          reason="a sanitizer keeps what was freed")]


class Mallinfo(ctypes.Structure):
    """struct mallinfo2 of <malloc.h>."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost")]


def allocated():
    """The bytes that malloc() has given away: all of OpenSSL's and the library's, some of Python's."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = Mallinfo
    info = mallinfo()
    return info.uordblks + info.hblkhd


def resident():
    """The bytes of the process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


async def measure(env, connect, count):
    """What each of so many connections has left allocated, bytes, after some to warm up.

    SCALE times as many may leave no more in all: what grows with their number grows too much.
    """
    async def repeat(count):
        for _ in range(count):
            await connect()
            await until(lambda: all(recorder.is_lost for recorder in live if recorder.transport))
            live.clear()
            if env.is_stock:
                gc.collect()    # stock's transports and protocols are cycles
        gc.collect()
        return allocated()

    before = await repeat(count // 3)
    return (await repeat(count * SCALE) - before) / count


def test_connections_that_end_leave_no_memory_behind(env):
    """T21: of 150, one after the other, nothing stays."""
    async def main():
        server = await env.start_server(echoing)
        context = env.client_context()

        async def connect():
            sender = Recorder()
            await env.connect(lambda: sender, server, ssl=context)
            sender.transport.write(b"hello")
            await sender.received(5)
            sender.transport.close()
            assert await sender.lost() is None

        assert await measure(env, connect, 150) < LITTLE

    env.run(main())


def test_handshakes_that_fail_leave_no_memory_behind(env):
    """T21: the same for a client that breaks the handshake off."""
    async def main():
        server = await env.start_server(Recorder)
        context = ssl.create_default_context()

        async def connect():
            with pytest.raises(ssl.SSLCertVerificationError):
                await env.connect(Recorder, server, ssl=context)
            await turns(3)

        assert await measure(env, connect, 150) < LITTLE

    env.run(main())


@improvement("stock takes the peer's data for an error of the shutdown")
def test_flood_during_the_shutdown_needs_no_memory(env):
    """T17: a peer that sends 64 MiB and only then answers; they are read and dropped."""
    async def flood(size):
        receiver = Recorder()
        transport, peer = await env.raw_client(receiver, **LONG_SHUTDOWN)

        def pour():
            assert peer.got_close_notify()
            for _ in range(size // 65536):
                peer.send(bytes(65536))
            peer.close_notify()
            peer.close()

        transport.close()
        poured = env.start_thread(pour)
        peak = resident()
        while not receiver.is_lost:
            await turns(1)
            peak = max(peak, resident())
        await poured
        assert receiver.exception is None and not receiver.data
        return peak

    async def main():
        await flood(8 * MIB)
        before = resident()
        assert await flood(64 * SCALE * MIB) - before < 16 * MIB

    env.run(main())
