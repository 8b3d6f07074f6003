# SPDX-License-Identifier: MIT
"""What connections and the package tell about themselves to those who look for a fault."""
import asyncio

import pytest

from support.env import aiofastnet
from support.protocols import Recorder, assert_same, echoing, until

COUNTERS = ("bytes_received", "bytes_sent", "wire_bytes_received", "wire_bytes_sent",
            "receive_calls", "send_calls", "records_received", "records_sent", "high_water_hits")
ours_only = pytest.mark.implementations("ours", "ours_uvloop")


def engine_of(env):
    if not env.is_tls:
        return "plain"
    return aiofastnet.info()["engine"]      # of which the kind pyengine is a part


@ours_only
def test_a_transport_tells_its_engine_and_its_counters(env):
    """What one side sent over the wire is what the other one received."""
    async def main():
        receiver, sender = echoing(), Recorder()
        transport = await env.pair(receiver, sender)
        data = b"x" * 50000
        transport.write(data)
        await sender.received(len(data))
        assert_same(sender.data, data)
        await until(lambda: wire(receiver) == wire(sender)[::-1])
        client = transport.get_extra_info("aiofastnet")
        server = receiver.transport.get_extra_info("aiofastnet")
        for told in client, server:
            assert tuple(told) == ("engine",) + COUNTERS
            assert told["engine"] == engine_of(env)
            assert told["bytes_received"] == told["bytes_sent"] == len(data)
            assert told["receive_calls"] >= 1 and told["send_calls"] >= 1
            assert told["high_water_hits"] == 0
        if env.is_tls:
            assert client["wire_bytes_sent"] > len(data)
        else:
            assert client["wire_bytes_sent"] == len(data)
        check_records(env, client, server)

    env.run(main())


def wire(protocol):
    """(received, sent)"""
    told = protocol.transport.get_extra_info("aiofastnet")
    return told["wire_bytes_received"], told["wire_bytes_sent"]


def check_records(env, client, server):
    if engine_of(env) == "python":
        assert client["records_sent"] is server["records_received"] is None
    elif env.is_tls:
        # Four of 16 KiB at the least, and the handshake.
        assert client["records_sent"] > 4 and server["records_sent"] > 4
        assert server["records_received"] == client["records_sent"]
    else:
        assert client["records_sent"] == client["records_received"] == 0


@ours_only
@pytest.mark.kinds("tcp", "tls13")
def test_the_counters_stay_when_the_connection_is_gone(env):
    """T24: valid after close."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        transport = await env.pair(receiver, sender)
        transport.write(b"hello")
        await receiver.received(5)
        transport.close()
        assert await sender.lost() is None
        assert await receiver.lost() is None
        assert transport.get_extra_info("aiofastnet")["bytes_sent"] == 5
        told = receiver.transport.get_extra_info("aiofastnet")
        assert told["bytes_received"] == 5
        assert told["engine"] == engine_of(env)
        assert wire(receiver)[0] == wire(sender)[1]

    env.run(main())


@ours_only
@pytest.mark.kinds("tcp", "tls13", "pyengine")
def test_the_times_of_a_full_buffer_are_counted(env):
    async def main():
        receiver, sender = Recorder(made=lambda _, transport: transport.pause_reading()), Recorder()
        transport = await env.pair(receiver, sender)
        for number in range(3):
            del sender.events[:]
            while "pause" not in sender.events:
                transport.write(b"x" * 65536)
            receiver.transport.resume_reading()
            await sender.seen("resume")
            receiver.transport.pause_reading()
            assert transport.get_extra_info("aiofastnet")["high_water_hits"] == number + 1

    env.run(main())


@ours_only
@pytest.mark.upgrades
@pytest.mark.kinds("tcp")
def test_an_upgraded_connection_goes_on_counting(env):
    """start_tls(): the transport that was replaced tells what the new one does."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        lower = await env.pair(receiver, sender)
        lower.write(b"hello")
        await receiver.received(5)
        receiver.transport, upper = await asyncio.gather(
            env.loop.start_tls(receiver.transport, receiver, env.certs.server_context(),
                               server_side=True),
            env.loop.start_tls(lower, sender, env.certs.client_context(),
                               server_hostname="localhost"))
        upper.write(b" world")
        await receiver.received(11)
        told = upper.get_extra_info("aiofastnet")
        assert told == lower.get_extra_info("aiofastnet")
        assert told["engine"] == aiofastnet.info()["engine"]
        assert told["bytes_sent"] == 11 and told["wire_bytes_sent"] > 11
        upper.close()
        await sender.lost()

    env.run(main())


@ours_only
@pytest.mark.kinds("tcp")
def test_the_counters_are_never_a_snapshot(env):
    """transport._extra, which asyncio's own TLS and other libraries copy, does not freeze them."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        transport = await env.pair(receiver, sender)
        assert "aiofastnet" not in transport._extra
        transport.write(b"hello")
        assert transport.get_extra_info("aiofastnet")["bytes_sent"] == 5

    env.run(main())


@pytest.mark.kinds("tcp")
@pytest.mark.implementations("stock")
def test_a_transport_of_others_tells_nothing(env):
    async def main():
        transport = await env.pair(Recorder(), Recorder())
        assert transport.get_extra_info("aiofastnet") is None

    env.run(main())
