# SPDX-License-Identifier: MIT
"""Kernel TLS against peers that are not ours and do not use it: openssl and curl."""
import contextlib
import hashlib
import os
import ssl

import pytest

from support.curl import needs_curl, run_curl
from support.ktls import KERNEL
from support.openssl import Command, change_keys, free_port, needs_openssl, version_flag
from support.protocols import Recorder, assert_same, echoing, until

pytestmark = [pytest.mark.kinds("tls12", "tls13"), pytest.mark.implementations("ours")]

tls13_only = pytest.mark.kinds("tls13")
tls12_only = pytest.mark.kinds("tls12")
MIB = 1 << 20


async def start_server(env, ours, protocol, receive=False):
    """The port of a server on which the kernel is wanted."""
    context = env.server_context()
    ours.set_ktls(context, True, receive)
    server = await env.start_server(lambda: protocol, ssl=context)
    return server.sockets[0].getsockname()[1]


@contextlib.asynccontextmanager
async def openssl_client(env, ours, protocol, receive=False):
    """`openssl s_client`, connected to a server of ours."""
    port = await start_server(env, ours, protocol, receive)
    client = Command("s_client", version_flag(env), "-connect", "127.0.0.1:%d" % port,
                     "-CAfile", env.certs.ca, "-verify_return_error")
    with contextlib.closing(client):
        await until(lambda: protocol.transport is not None)
        assert protocol.transport.get_extra_info("ktls_send_enabled") is KERNEL
        yield client


@contextlib.asynccontextmanager
async def openssl_server(env, ours, protocol, receive=False):
    """`openssl s_server`, to which `protocol` is connected."""
    port = await free_port(env)
    chain, key = env.certs.chain("server")
    context = env.client_context()
    ours.set_ktls(context, True, receive)
    with contextlib.closing(Command("s_server", version_flag(env), "-cert", chain, "-key", key,
                                    "-accept", "127.0.0.1:%d" % port, "-naccept", "1")) as peer:
        await env.thread(peer.wait_for, b"ACCEPT")
        await env.connect(lambda: protocol, ("127.0.0.1", port), ssl=context)
        assert protocol.transport.get_extra_info("ktls_send_enabled") is KERNEL
        yield peer


class Files(Recorder):
    """Answers a request of HTTP with a file between two writes, and closes."""

    def __init__(self, env, path):
        super().__init__(data=Files.answer)
        self.env, self.path, self.task = env, path, None

    def answer(self, data):
        if self.task is None and b"\r\n\r\n" in self.data:
            self.task = self.env.loop.create_task(self.send())

    async def send(self):
        assert self.transport.get_extra_info("ktls_send_enabled") is KERNEL
        self.transport.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                             b"head" % (os.path.getsize(self.path) + 8))
        with open(self.path, "rb") as file:
            await self.env.loop.sendfile(self.transport, file)
        self.transport.write(b"tail")
        self.transport.close()


@needs_curl
@pytest.mark.parametrize("receive", [False, True])
def test_curl_gets_a_file(env, ours, tmp_path, receive):
    """T37, T40: a file of megabytes, between what is written before and after it."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(3 * MIB + 12345))

    async def main():
        protocol = Files(env, source)
        port = await start_server(env, ours, protocol, receive)
        await env.thread(run_curl, "--fail", "--cacert", env.certs.ca, "--output", str(target),
                         "https://127.0.0.1:%d/" % port)
        await protocol.task
        expected = b"head" + source.read_bytes() + b"tail"
        assert hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(expected).digest()
        assert await protocol.lost() is None

    env.run(main())


def make_lines(size):
    """Text of which no line, nor the middle of one, is a command of openssl."""
    return b"".join(b"%015d\n" % number for number in range(size // 16))


@needs_openssl
@pytest.mark.parametrize("receive", [False, True])
def test_openssl_server_gets_and_sends_megabytes(env, ours, receive):
    """T40: our side is the client."""
    async def main():
        receiver, lines = Recorder(), make_lines(MIB)
        async with openssl_server(env, ours, receiver, receive) as peer:
            receiver.transport.write(lines)
            await env.thread(peer.wait_for, lines[-16:])
            assert lines in peer.output
            await env.thread(peer.say, lines[:-1])
            assert_same(await receiver.received(len(lines)), lines)
            receiver.transport.close()
            assert await receiver.lost() is None

    env.run(main())


@needs_openssl
@tls13_only
@pytest.mark.parametrize("command", [b"k", b"K"], ids=["sent", "requested"])
def test_openssl_client_changes_its_keys(env, ours, command):
    """T9: what it asks of ours has no answer, and data go on in both directions."""
    async def main():
        receiver = echoing()
        async with openssl_client(env, ours, receiver) as client:
            await change_keys(env, client, command)
            lines = make_lines(MIB)
            receiver.transport.write(lines)
            await env.thread(client.wait_for, lines[-16:])
            assert lines in client.output
            await env.thread(client.say, b"Q")
            assert await receiver.lost() is None

    env.run(main())


@needs_openssl
@tls13_only
@pytest.mark.parametrize("command", [b"k", b"K"], ids=["sent", "requested"])
def test_openssl_server_changes_its_keys(env, ours, command):
    """T9: the same with our side as the client."""
    async def main():
        receiver = Recorder()
        async with openssl_server(env, ours, receiver) as peer:
            for number in range(3):
                receiver.transport.write(b"line %d\n" % number)
                await env.thread(peer.wait_for, b"line %d" % number)
                await env.thread(peer.say, command)
                await env.thread(peer.say, b"answer %d" % number)
                await until(lambda: b"answer %d" % number in receiver.data)
            receiver.transport.close()
            assert await receiver.lost() is None

    env.run(main())


@needs_openssl
@tls13_only
def test_new_keys_where_the_kernel_receives_end_the_connection(env, ours):
    """T9: not before what came under the old ones; nothing hangs."""
    async def main():
        receiver = echoing()
        async with openssl_client(env, ours, receiver, True) as client:
            await env.thread(client.say, b"before")
            await env.thread(client.wait_for, b"before")
            receives = KERNEL and ssl.OPENSSL_VERSION_INFO >= (3, 2)
            assert receiver.transport.get_extra_info("ktls_recv_enabled") is receives
            await env.thread(client.say, b"k")
            if receives:
                assert isinstance(await receiver.lost(), ssl.SSLError)
                assert receiver.data == b"before\n"
            else:
                await env.thread(client.say, b"after")
                await env.thread(client.wait_for, b"after")

    env.run(main())


@needs_openssl
@tls12_only
@pytest.mark.parametrize("receive", [False, True])
def test_openssl_server_is_refused_a_renegotiation(env, ours, receive):
    """T9: it gives up then; without the kernel the handshake is made."""
    async def main():
        receiver = Recorder()
        async with openssl_server(env, ours, receiver, receive) as peer:
            receiver.transport.write(b"before\n")
            await env.thread(peer.wait_for, b"before")
            await env.thread(peer.say, b"r")
            if KERNEL:
                await env.thread(peer.wait_for, b"no renegotiation")
                assert isinstance(await receiver.lost(), ssl.SSLError)
            else:
                await env.thread(peer.say, b"after")
                await until(lambda: b"after\n" in receiver.data)

    env.run(main())
