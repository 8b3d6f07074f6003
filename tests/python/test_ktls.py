# SPDX-License-Identifier: MIT
"""TLS in the kernel, where there is one that does it; otherwise that nothing is different.

AFN_TEST_KTLS=1 says that there must be one.
"""
import asyncio
import hashlib
import ssl

import pytest

from support.ktls import KERNEL, WANTED, count
from support.protocols import Recorder, assert_same, echoing, until

pytestmark = [pytest.mark.kinds("tls12", "tls13"),
              pytest.mark.implementations("ours", "ours_uvloop")]

MIB = 1 << 20
OP_ENABLE_KTLS = 1 << 3
needs_kernel = pytest.mark.skipif(not KERNEL, reason="the kernel has no TLS")


def receives(version):
    """Does OpenSSL let the kernel receive?  3.0 does not in TLS 1.3."""
    return version is ssl.TLSVersion.TLSv1_2 or ssl.OPENSSL_VERSION_INFO >= (3, 2)


async def connect(env, ours, receiver, sender, send=True, receive=False):
    """Two protocols connected; the kernel is wanted on both sides."""
    server_context, client_context = env.server_context(), env.client_context()
    ours.set_ktls(server_context, send, receive)
    ours.set_ktls(client_context, send, receive)
    server = await env.start_server(lambda: receiver, ssl=server_context)
    await env.connect(lambda: sender, server, ssl=client_context)
    await until(lambda: receiver.transport is not None)


@pytest.mark.parametrize("send,receive", [(False, False), (True, False), (True, True)])
def test_the_directions_are_told(env, ours, send, receive):
    """T40, T41: sending only where it was asked for, receiving only where that was too."""
    async def main():
        receiver, sender = echoing(), Recorder()
        await connect(env, ours, receiver, sender, send, receive)
        for transport in (receiver.transport, sender.transport):
            assert transport.get_extra_info("ktls_send_enabled") is (KERNEL and send)
            assert transport.get_extra_info("ktls_recv_enabled") is (
                KERNEL and receive and receives(env.version))
        data = bytes(range(256)) * (MIB // 64)
        sender.transport.write(data)
        assert_same(await sender.received(len(data)), data)
        sender.transport.close()
        assert await sender.lost() is None
        assert await receiver.lost() is None

    env.run(main())


def test_what_set_ktls_takes(env, ours):
    """An SSLContext, and no receiving without sending."""
    context = env.client_context()
    ours.set_ktls(context)
    assert context.options & OP_ENABLE_KTLS
    ours.set_ktls(context, send=False)
    assert not context.options & OP_ENABLE_KTLS
    with pytest.raises(TypeError):
        ours.set_ktls("a context")
    with pytest.raises(ValueError):
        ours.set_ktls(context, send=False, receive=True)


def test_without_tls_there_is_nothing_to_tell(env):
    """The names are those of TLS: on other transports the default."""
    async def main():
        receiver, sender = echoing(), Recorder()
        server = await env.start_server(lambda: receiver, ssl=None)
        await env.connect(lambda: sender, server, ssl=None)
        assert sender.transport.get_extra_info("ktls_send_enabled", 42) == 42

    env.run(main())


def test_files_between_writes(env, ours, tmp_path):
    """T37: write, sendfile, write, twice, in their order."""
    content = bytes(range(256)) * 6000
    path = tmp_path / "file"
    path.write_bytes(content)

    async def main():
        receiver, sender = Recorder(), Recorder()
        await connect(env, ours, receiver, sender)
        with open(path, "rb") as file:
            for _ in range(2):
                sender.transport.write(b"before" * 1000)
                assert await env.loop.sendfile(sender.transport, file, 1000) == len(content) - 1000
                sender.transport.write(b"after" * 1000)
        expected = (b"before" * 1000 + content[1000:] + b"after" * 1000) * 2
        await receiver.received(len(expected))
        assert hashlib.sha256(receiver.data).digest() == hashlib.sha256(expected).digest()

    env.run(main())


def test_sendfile_without_a_fallback(env, ours, tmp_path):
    """T37: with the keys in the kernel there is a path for files; otherwise it is refused."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * 10000)

    async def main():
        receiver, sender = Recorder(), Recorder()
        await connect(env, ours, receiver, sender)
        with open(path, "rb") as file:
            sending = env.loop.sendfile(sender.transport, file, fallback=False)
            if not KERNEL:
                with pytest.raises(asyncio.SendfileNotAvailableError):
                    await sending
                return
            assert await sending == 100000
        assert_same(await receiver.received(100000), b"0123456789" * 10000)

    env.run(main())


def test_abort_in_the_middle_of_a_file(env, ours, tmp_path):
    """T37: the sendfile ends with an exception, and nothing is left."""
    path = tmp_path / "file"
    path.write_bytes(bytes(32 * MIB))

    async def main():
        receiver, sender = Recorder(), Recorder()
        await connect(env, ours, receiver, sender)
        receiver.transport.pause_reading()
        with open(path, "rb") as file:
            sending = env.loop.create_task(env.loop.sendfile(sender.transport, file))
            for _ in range(50):
                await asyncio.sleep(0)
            sender.transport.abort()
            with pytest.raises(ConnectionError):
                await sending
        await sender.lost()

    env.run(main())


def test_an_upgraded_connection(env, ours):
    """Kernel TLS by start_tls()."""
    async def main():
        receiver, sender = echoing(), Recorder()
        server = await env.start_server(lambda: receiver, ssl=None)
        await env.connect(lambda: sender, server, ssl=None)
        await until(lambda: receiver.transport is not None)
        sender.transport.write(b"clear")
        await sender.received(5)
        contexts = env.server_context(), env.client_context()
        for context in contexts:
            ours.set_ktls(context)
        receiver.transport, sender.transport = await asyncio.gather(
            env.loop.start_tls(receiver.transport, receiver, contexts[0], server_side=True),
            env.loop.start_tls(sender.transport, sender, contexts[1],
                               server_hostname="localhost"))
        assert sender.transport.get_extra_info("ktls_send_enabled") is KERNEL
        sender.transport.write(b"secret" * 100000)
        assert_same(await sender.received(600005), b"clear" + b"secret" * 100000)

    env.run(main())


@needs_kernel
def test_many_connections(env, ours):
    """The kernel's counter says that each of them is its own."""
    async def main():
        before = count()
        for _ in range(20):
            receiver, sender = echoing(), Recorder()
            await connect(env, ours, receiver, sender)
            sender.transport.write(b"hello")
            assert await sender.received(5) == b"hello"
            sender.transport.abort()
        growth = count() - before
        # Elsewhere than on a machine of the tests' own other programs may add to it.
        assert growth == 40 if WANTED else growth >= 40

    env.run(main())
