# SPDX-License-Identifier: MIT
"""The TLS engine: OpenSSL's error queue, renegotiation, key updates, and which engine is used."""
import ctypes
import ssl
import subprocess
import sys

import pytest

from support.marks import improvement, one_tls, tls_only
from support.openssl import Command, change_keys, free_port, needs_openssl, version_flag
from support.protocols import Recorder, echoing, until

# Where the kernel receives, a peer's new keys end the connection: see test_ktls_peers.
follows_new_keys = one_tls if ssl.OPENSSL_VERSION_INFO < (3, 2) else pytest.mark.kinds(
    "tls13", "pyengine")


def test_info_says_what_is_used(ours):
    """T6: aiofastnet.info() names the engine, the libraries and kernel TLS."""
    info = ours.info()
    assert info["engine"] in ("openssl", "python")
    assert info["reason"] is None if info["engine"] == "openssl" else info["reason"]
    assert isinstance(info["libssl"], str) and isinstance(info["ktls_compiled"], bool)
    assert info["version"] and info["library_version"]
    if info["engine"] == "openssl":
        assert ssl.OPENSSL_VERSION.split()[1] in info["libssl"]


WITHOUT_SSL = """
import asyncio, sys
sys.modules["ssl"] = sys.modules["_ssl"] = None
import aiofastnet

async def refused(coroutine):
    try:
        await coroutine
    except RuntimeError as error:
        print(error)

async def main():
    loop = aiofastnet.patch_loop(asyncio.get_running_loop())
    server = await asyncio.start_server(lambda reader, writer: writer.write(b"hello"),
                                        "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    reader, writer = await asyncio.open_connection(*address)
    print(await reader.readexactly(5))
    await refused(asyncio.open_connection(*address, ssl=True))
    await refused(loop.start_tls(writer.transport, writer.transport.get_protocol(), None))
    writer.close()
    server.close()

asyncio.run(main())
print(aiofastnet.info()["reason"], aiofastnet.info()["python_libssl"])
"""


def test_a_python_without_ssl_has_the_rest(ours):
    """T6: all works but TLS, of which it is said that it is not there."""
    output = subprocess.run([sys.executable, "-c", WITHOUT_SSL], check=True,
                            stdout=subprocess.PIPE, universal_newlines=True).stdout
    assert output.splitlines() == [
        "b'hello'", "stdlib ssl module not available", "Python ssl module is not available",
        "this Python has no module ssl None"]


def test_the_module_can_be_run(ours):
    """T6: python3 -m aiofastnet prints the same."""
    output = subprocess.run([sys.executable, "-m", "aiofastnet"], check=True,
                            stdout=subprocess.PIPE, universal_newlines=True).stdout
    assert ours.info()["version"] in output
    assert ours.info()["libssl"] in output


def test_the_python_engine_can_be_forced_and_is_then_named(ours):
    """T6: what the other parameters of this suite rely on."""
    old = ours._core.force_python_engine(True)
    try:
        info = ours.info()
        assert info["engine"] == "python" and info["reason"]
    finally:
        assert ours._core.force_python_engine(old) is True


def spoil_error_queue():
    """Put an entry into OpenSSL's error queue of this thread, as careless code does."""
    try:
        libcrypto = ctypes.CDLL("libcrypto.so.3")
        libcrypto.ERR_new()
        libcrypto.ERR_set_error(ctypes.c_int(20), ctypes.c_int(123), None)
    except (OSError, AttributeError):
        pytest.skip("no libcrypto of OpenSSL 3")


@pytest.mark.kinds("tls12", "tls13", "ktls12", "ktls13")
@improvement("stock takes the entry for an error of its own call")
def test_a_stale_entry_in_the_error_queue_is_harmless(env):
    """T8: before the handshake, before reads and writes, and before the shutdown."""
    async def main():
        def spoil(protocol, *args):
            spoil_error_queue()

        receiver = Recorder(made=spoil, data=lambda protocol, data: (
            spoil_error_queue(), protocol.transport.write(data), spoil_error_queue()))
        sender = Recorder(made=spoil, data=spoil)
        server = await env.start_server(lambda: receiver)
        spoil_error_queue()
        transport, _ = await env.connect(lambda: sender, server)
        for number in range(1, 6):
            spoil_error_queue()
            transport.write(b"x" * 20000)
            await sender.received(20000 * number)
        spoil_error_queue()
        transport.close()
        assert await sender.lost() is None
        assert await receiver.lost() is None

    env.run(main())


@needs_openssl
@follows_new_keys
@pytest.mark.parametrize("command", [b"k", b"K"], ids=["sent", "requested"])
def test_a_key_update_of_the_client_leaves_data_intact(env, command):
    """T9: KeyUpdate in, and out when it is requested, between data of both directions."""
    async def main():
        receiver = echoing()
        server = await env.start_server(lambda: receiver)
        host, port = server.sockets[0].getsockname()
        client = Command("s_client", version_flag(env), "-connect", "%s:%d" % (host, port),
                         "-CAfile", env.certs.ca)
        try:
            await change_keys(env, client, command)
            receiver.transport.write(b"y" * 100000 + b"\nthe end\n")
            await env.thread(client.wait_for, b"the end")
            assert client.output.count(b"y") >= 100000
        finally:
            client.close()
        await receiver.lost()

    env.run(main())


@needs_openssl
@follows_new_keys
@pytest.mark.parametrize("command", [b"k", b"K"], ids=["sent", "requested"])
def test_a_key_update_of_the_server_leaves_data_intact(env, command):
    """T9: the same with our side as the client, with writes going on."""
    async def main():
        port = await free_port(env)
        chain, key = env.certs.chain("server")
        peer = Command("s_server", version_flag(env), "-accept", "127.0.0.1:%d" % port,
                       "-cert", chain, "-key", key, "-naccept", "1")
        try:
            await env.thread(peer.wait_for, b"ACCEPT")
            receiver = Recorder()
            transport, _ = await env.connect(lambda: receiver, ("127.0.0.1", port))
            for number in range(3):
                transport.write(b"line %d\n" % number)
                await env.thread(peer.wait_for, b"line %d" % number)
                await env.thread(peer.say, command)
                await env.thread(peer.say, b"answer %d" % number)
                await until(lambda: b"answer %d" % number in receiver.data)
            transport.close()
            await receiver.lost()
        finally:
            peer.close()

    env.run(main())


@needs_openssl
@pytest.mark.kinds("tls12")
def test_a_renegotiation_asked_by_the_server_leaves_data_intact(env):
    """T9: TLS 1.2: a read makes a handshake that writes."""
    async def main():
        port = await free_port(env)
        chain, key = env.certs.chain("server")
        peer = Command("s_server", version_flag(env), "-accept", "127.0.0.1:%d" % port,
                       "-cert", chain, "-key", key, "-naccept", "1")
        try:
            await env.thread(peer.wait_for, b"ACCEPT")
            receiver = Recorder()
            context = env.client_context()
            context.options &= ~getattr(ssl, "OP_NO_RENEGOTIATION", 0)
            transport, _ = await env.connect(lambda: receiver, ("127.0.0.1", port), ssl=context)
            for number in range(2):
                transport.write(b"line %d\n" % number)
                await env.thread(peer.wait_for, b"line %d" % number)
                await env.thread(peer.say, b"r")
                await env.thread(peer.say, b"answer %d" % number)
                await until(lambda: b"answer %d" % number in receiver.data)
                transport.write(b"after %d\n" % number)
                await env.thread(peer.wait_for, b"after %d" % number)
            transport.close()
            await receiver.lost()
        finally:
            peer.close()

    env.run(main())


@needs_openssl
@pytest.mark.kinds("tls12", "ktls12")
def test_a_renegotiation_asked_by_the_client_never_hangs(env):
    """T9: refused or done, the connection ends or goes on."""
    async def main():
        receiver = echoing()
        server = await env.start_server(lambda: receiver)
        host, port = server.sockets[0].getsockname()
        client = Command("s_client", version_flag(env), "-connect", "%s:%d" % (host, port),
                         "-CAfile", env.certs.ca)
        try:
            await env.thread(client.say, b"before")
            await env.thread(client.wait_for, b"before")
            await env.thread(client.say, b"R")
            await env.thread(client.wait_for, b"RENEGOTIATING")
            await env.thread(client.wait_for, b"error")
        finally:
            client.close()
        await receiver.lost()
        assert receiver.data == b"before\n"

    env.run(main())


@tls_only
def test_both_sides_write_megabytes_at_once(env):
    """T9: every call flushes what the engine wants to send: no mutual waiting."""
    async def main():
        left, right = Recorder(), Recorder()
        await env.pair(left, right)
        for _ in range(4):
            left.transport.write(b"l" * 1000000)
            right.transport.write(b"r" * 1000000)
        await left.received(4000000)
        await right.received(4000000)
        assert left.data.count(b"r") == right.data.count(b"l") == 4000000

    env.run(main())
