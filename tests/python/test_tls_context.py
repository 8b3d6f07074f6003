# SPDX-License-Identifier: MIT
"""What users set on an SSLContext works, and what they ask of a TLS transport is answered."""
import asyncio
import gc
import ssl
import sys
import weakref

import pytest

from support.marks import improvement, one_tls, tls_only
from support.protocols import Recorder, echoing, turns, until

pytestmark = tls_only


async def echo_once(env, server_context, client_context, **keywords):
    """One exchange; (server protocol, client protocol), both still connected."""
    receiver, sender = echoing(), Recorder()
    server = await env.start_server(lambda: receiver, ssl=server_context)
    await env.connect(lambda: sender, server, ssl=client_context, **keywords)
    sender.transport.write(b"hello")
    await sender.received(5)
    return receiver, sender


def test_a_key_log_file_is_written(env, tmp_path, monkeypatch):
    """T1: SSLKEYLOGFILE for the client, keylog_filename for the server: no crash, and lines."""
    path = tmp_path / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(path))

    async def main():
        server_context = env.server_context()
        server_context.keylog_filename = str(tmp_path / "server-keys")
        await echo_once(env, server_context, env.client_context())

    env.run(main())
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    assert any(line.startswith("CLIENT_") for line in lines)
    assert sorted(lines) == sorted(line for line in
                                   (tmp_path / "server-keys").read_text().splitlines()
                                   if not line.startswith("#"))


def test_the_sni_callback_gets_the_real_object_and_may_switch_the_context(env):
    """T2: its object is an ssl.SSLObject, the name is the client's, the new context is used."""
    async def main():
        second = env.server_context("second")
        seen = []

        def choose(obj, name, context):
            seen.append((type(obj), name, context is first, obj.server_side))
            obj.context = second

        first = env.server_context()
        first.sni_callback = choose
        receiver, sender = await echo_once(env, first, env.client_context(),
                                           server_hostname="second.test")
        assert seen == [(ssl.SSLObject, "second.test", True, True)]
        assert receiver.transport.get_extra_info("ssl_object").context is second
        names = sender.transport.get_extra_info("peercert")["subjectAltName"]
        assert names == (("DNS", "second.test"),)
        first.sni_callback = None

    env.run(main())


def test_the_object_of_the_sni_callback_is_that_of_the_transport(env):
    """T2: what the callback puts on its object is found on the transport's."""
    async def main():
        seen = []
        first = env.server_context()
        first.sni_callback = lambda obj, name, context: seen.append(obj)
        receiver, _ = await echo_once(env, first, env.client_context())
        assert seen[0] is receiver.transport.get_extra_info("ssl_object")
        first.sni_callback = None

    env.run(main())


@improvement("stock closes without sending the alert")
def test_an_alert_of_the_sni_callback_fails_the_handshake(env):
    """T2: a returned alert reaches the client; the server's protocol hears nothing."""
    async def main():
        first = env.server_context()
        first.sni_callback = lambda *args: ssl.ALERT_DESCRIPTION_ACCESS_DENIED
        receiver = Recorder()
        server = await env.start_server(lambda: receiver, ssl=first)
        with pytest.raises(ssl.SSLError, match="ACCESS_DENIED"):
            await env.connect(Recorder, server)
        await turns()
        assert receiver.events == []
        first.sni_callback = None

    env.run(main())


@improvement("stock closes without sending the alert")
def test_an_exception_of_the_sni_callback_fails_the_handshake(env, monkeypatch):
    """T2: it goes to sys.unraisablehook; the client gets an alert."""
    raised = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: raised.append(args.exc_type))

    async def main():
        def fail(*args):
            raise LookupError("no such name")

        first = env.server_context()
        first.sni_callback = fail
        receiver = Recorder()
        server = await env.start_server(lambda: receiver, ssl=first)
        with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
            await env.connect(Recorder, server)
        await turns()
        assert receiver.events == []
        first.sni_callback = None

    env.run(main())
    assert raised == [LookupError]


def test_a_collection_during_the_sni_callback_is_harmless(env):
    """T2: the owner of the SSL object lives as long as the handshake."""
    async def main():
        first = env.server_context()
        first.sni_callback = lambda obj, name, context: [gc.collect()] and None
        receiver, sender = await echo_once(env, first, env.client_context())
        first.sni_callback = None

    env.run(main())


def test_the_message_callback_sees_the_handshake(env):
    """T3: SSLContext._msg_callback of both sides."""
    async def main():
        seen = {"read": 0, "write": 0}

        def note(conn, direction, version, content_type, msg_type, data):
            assert isinstance(conn, ssl.SSLObject)
            seen[direction] += 1

        client_context = env.client_context()
        client_context._msg_callback = note
        await echo_once(env, env.server_context(), client_context)
        assert seen["read"] >= 3 and seen["write"] >= 2
        client_context._msg_callback = None

    env.run(main())


@pytest.mark.skipif(not hasattr(ssl.SSLContext, "set_psk_client_callback"),
                    reason="needs Python 3.13")
@pytest.mark.kinds("tls12", "ktls12")
def test_pre_shared_keys(env):
    """T3: PSK callbacks of both contexts."""
    async def main():
        key = b"0123456789abcdef"
        contexts = []
        for protocol in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT):
            context = ssl.SSLContext(protocol)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers("PSK")
            contexts.append(context)
        seen = []
        contexts[0].set_psk_server_callback(lambda name: seen.append(name) or key, "hint")
        contexts[1].set_psk_client_callback(lambda hint: (hint, key))
        await echo_once(env, *contexts)
        assert seen == ["hint"]

    env.run(main())


def test_alpn_is_negotiated(env):
    """T3: selected_alpn_protocol on both sides."""
    async def main():
        server_context, client_context = env.server_context(), env.client_context()
        server_context.set_alpn_protocols(["h2", "http/1.1"])
        client_context.set_alpn_protocols(["other", "http/1.1"])
        for protocol in await echo_once(env, server_context, client_context):
            obj = protocol.transport.get_extra_info("ssl_object")
            assert obj.selected_alpn_protocol() == "http/1.1"

    env.run(main())


def test_a_client_certificate_reaches_the_server(env):
    """T3: mutual TLS; peercert of the server side is the client's."""
    async def main():
        server_context, client_context = env.server_context(), env.client_context()
        server_context.verify_mode = ssl.CERT_REQUIRED
        server_context.load_verify_locations(env.certs.ca)
        client_context.load_cert_chain(*env.certs.chain("client"))
        receiver, _ = await echo_once(env, server_context, client_context)
        peercert = receiver.transport.get_extra_info("peercert")
        assert peercert["subject"] == ((("commonName", "client"),),)

    env.run(main())


def test_a_missing_client_certificate_fails(env):
    """T3: in TLS 1.2 the handshake fails, in TLS 1.3 the first read of the client."""
    async def main():
        server_context = env.server_context()
        server_context.verify_mode = ssl.CERT_REQUIRED
        server_context.load_verify_locations(env.certs.ca)
        receiver, sender = Recorder(), Recorder()
        server = await env.start_server(lambda: receiver, ssl=server_context)
        try:
            await env.connect(lambda: sender, server)
        except OSError as exc:
            error = exc
        else:
            assert not env.is_old_tls
            # Stock closes without the alert, so that there may be no error at all.
            error = await sender.lost()
            assert isinstance(error, ssl.SSLError) or env.is_stock
        if isinstance(error, ssl.SSLError):
            assert "REQUIRED" in error.reason or "HANDSHAKE_FAILURE" in error.reason
        await turns()
        assert receiver.events == []

    env.run(main())


@one_tls
def test_post_handshake_authentication(env):
    """T3: the server asks for the client's certificate in the open connection."""
    env.expects_ktls = False        # it asks by what OpenSSL writes, and that is nothing then

    async def main():
        server_context, client_context = env.server_context(), env.client_context()
        server_context.load_verify_locations(env.certs.ca)
        server_context.verify_mode = ssl.CERT_REQUIRED
        server_context.post_handshake_auth = True
        client_context.post_handshake_auth = True
        client_context.load_cert_chain(*env.certs.chain("client"))
        receiver, sender = await echo_once(env, server_context, client_context)
        obj = receiver.transport.get_extra_info("ssl_object")
        assert obj.getpeercert() is None
        obj.verify_client_post_handshake()
        assert not receiver.transport.get_extra_info("ktls_send_enabled")
        receiver.transport.write(b"who are you?")
        await sender.received(17)
        sender.transport.write(b"see")
        await receiver.received(8)
        assert obj.getpeercert()["subject"] == ((("commonName", "client"),),)

    env.run(main())


def test_extra_info_of_a_tls_transport(env):
    """T24: sslcontext, ssl_object, peercert, cipher, compression and the socket's items."""
    async def main():
        server_context, client_context = env.server_context(), env.client_context()
        receiver, sender = await echo_once(env, server_context, client_context)
        for transport, context in ((receiver.transport, server_context),
                                   (sender.transport, client_context)):
            info = transport.get_extra_info
            assert info("sslcontext") is context
            obj = info("ssl_object")
            assert isinstance(obj, ssl.SSLObject)
            assert info("cipher") == obj.cipher() and len(info("cipher")) == 3
            assert info("compression") is None
            assert obj.version() == ("TLSv1.2" if env.is_old_tls else "TLSv1.3")
            assert info("socket").fileno() >= 0
            assert info("sockname") == info("socket").getsockname()
            assert info("no such thing", "default") == "default"
        assert sender.transport.get_extra_info("peercert")["subject"] == \
            ((("commonName", "localhost"),),)
        assert not receiver.transport.get_extra_info("peercert")
        assert sender.transport.get_extra_info("ssl_object").server_hostname == "localhost"
        binding = sender.transport.get_extra_info("ssl_object").get_channel_binding("tls-unique")
        assert isinstance(binding, bytes)

    env.run(main())


def test_extra_info_of_tls_stays_after_close(env):
    """T24: what the handshake found is kept."""
    async def main():
        receiver, sender = await echo_once(env, env.server_context(), env.client_context())
        transport = sender.transport
        names = ("sslcontext", "ssl_object", "peercert", "cipher")
        before = [transport.get_extra_info(name) for name in names]
        transport.close()
        await sender.lost()
        await receiver.lost()
        if env.is_stock and transport.get_extra_info("cipher") is None:
            pytest.xfail("improvement: a closed TLS transport of stock forgets everything")
        assert [transport.get_extra_info(name) for name in names] == before

    env.run(main())


def test_an_empty_server_hostname_means_no_name(env):
    """T51: server_hostname='' is accepted without check_hostname, and sends no SNI."""
    async def main():
        seen = []
        server_context, client_context = env.server_context(), env.client_context()
        server_context.sni_callback = lambda obj, name, context: seen.append(name)
        client_context.check_hostname = False
        _, sender = await echo_once(env, server_context, client_context, server_hostname="")
        assert sender.transport.get_extra_info("ssl_object").server_hostname is None
        assert seen == [None]
        server_context.sni_callback = None

    env.run(main())


@pytest.mark.parametrize("how", ["cancelled", "timed-out", "refused"])
def test_contexts_are_freed_after_a_handshake_that_failed(env, how):
    """T60: no reference to the SSLContext outlives the attempt."""
    async def main():
        context = env.client_context()
        reference = weakref.ref(context)
        listener = env.raw_listener(None)
        timeout = {"ssl_handshake_timeout": 0.02} if how == "timed-out" else {}
        connecting = env.loop.create_task(env.connect_coroutine(
            Recorder, listener.address, ssl=context, **timeout))
        peer = await env.thread(listener.accept)
        await env.thread(peer.read_wire)
        if how == "cancelled":
            connecting.cancel()
        elif how == "refused":
            await env.thread(peer.wire, b"HTTP/1.0 400 Bad Request\r\n\r\n")
        with pytest.raises((asyncio.CancelledError, OSError)):
            await connecting
        peer.close()
        del connecting, context
        await turns()
        gc.collect()        # asyncio's own connection logic leaves a cycle
        await until(lambda: reference() is None)

    env.run(main())


@pytest.mark.parametrize("how", ["timed-out", pytest.param("refused", marks=improvement(
    "stock's frames and exception refer to each other", before=(3, 14, 10)))])
@pytest.mark.kinds("tls13")
def test_a_connect_that_failed_leaves_no_cycle(env, how):
    """T59, T60: the context is freed at once, without the collector's help."""
    async def attempt(context, address):
        with pytest.raises((asyncio.TimeoutError, ssl.SSLError)):
            await asyncio.wait_for(env.connect_coroutine(Recorder, address, ssl=context),
                                   0.1 if how == "timed-out" else None)

    def refuse(listener):
        peer = listener.accept()
        peer.read_wire()
        peer.wire(b"HTTP/1.0 400 Bad Request\r\n\r\n")
        peer.close()

    async def main():
        context = env.client_context()
        reference = weakref.ref(context)
        listener = env.raw_listener(None)
        gc.disable()
        try:
            refused = env.start_thread(refuse, listener) if how == "refused" else None
            await attempt(context, listener.address)
            if refused is not None:
                await refused
            del context
            await turns()
            assert reference() is None
        finally:
            gc.enable()

    env.run(main())


@improvement("stock leaves the socket open", before=(3, 14, 10))
@pytest.mark.parametrize("value", [0, -1])
@pytest.mark.parametrize("keyword", ["ssl_handshake_timeout", "ssl_shutdown_timeout"])
def test_wrong_time_limits_are_refused(env, keyword, value):
    """A limit that is not positive raises what stock raises."""
    if keyword == "ssl_shutdown_timeout" and sys.version_info < (3, 11):
        pytest.skip("ssl_shutdown_timeout is new in 3.11")

    async def main():
        listener = env.raw_listener(None)
        with pytest.raises(ValueError, match=keyword + " should be a positive number"):
            await env.connect(Recorder, listener.address, **{keyword: value})

    env.run(main())


@improvement("stock leaves the socket open", before=(3, 14, 10))
def test_a_context_of_the_wrong_side_is_refused(env):
    """A client context on a server and the reverse: the error of the ssl module."""
    async def main():
        listener = env.raw_listener(None)
        with pytest.raises(ssl.SSLError, match="Cannot create a client socket|you should not call"):
            await env.connect(Recorder, listener.address, ssl=env.server_context(),
                              server_hostname="localhost")

    env.run(main())


async def connect_again(env, server, context, session, **keywords):
    """A client's SSLObject that has received something."""
    client = Recorder()
    await env.connect(lambda: client, server, ssl=context, ssl_session=session, **keywords)
    client.transport.write(b"hello")
    await client.received(5)
    ssl_object = client.transport.get_extra_info("ssl_object")
    client.transport.close()
    await client.lost()
    return ssl_object


@pytest.mark.implementations("ours", "ours_uvloop")
def test_a_client_resumes_a_session(env):
    """T4: ssl_session of a connect; TLS 1.3 has a session only after the first read."""
    async def main():
        server = await env.start_server(echoing)
        context = env.client_context()
        first = await connect_again(env, server, context, None)
        assert not first.session_reused and first.session is not None
        second = await connect_again(env, server, context, first.session)
        assert second.session_reused
        third = await connect_again(env, server, context, second.session)
        assert third.session_reused

    env.run(main())


@pytest.mark.implementations("ours", "ours_uvloop")
def test_a_client_of_a_unix_socket_resumes_a_session(env, ours):
    """T4: ssl_session of create_unix_connection and open_unix_connection."""
    env.expects_ktls = False        # only for TCP

    async def main():
        path = env.new_path()
        server = await env.loop.create_unix_server(echoing, path, ssl=env.server_context())
        context = env.client_context()
        session = None
        for _ in range(2):
            client = Recorder()
            await env.loop.create_unix_connection(
                lambda: client, path, ssl=context, server_hostname="localhost",
                ssl_session=session)
            client.transport.write(b"hello")
            await client.received(5)
            ssl_object = client.transport.get_extra_info("ssl_object")
            assert ssl_object.session_reused is (session is not None)
            session = ssl_object.session
            client.transport.close()
            await client.lost()
        reader, writer = await ours.open_unix_connection(
            env.loop, path, ssl=context, server_hostname="localhost", ssl_session=session)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        assert writer.get_extra_info("ssl_object").session_reused
        writer.close()
        await writer.wait_closed()
        server.close()

    env.run(main())


@pytest.mark.implementations("ours", "ours_uvloop")
def test_streams_and_start_tls_resume_a_session(env, ours):
    """T4: open_connection(ssl_session=) and start_tls(ssl_session=)."""
    async def main():
        server = await env.start_server(echoing)
        host, port = server.sockets[0].getsockname()
        context = env.client_context()
        first = await connect_again(env, server, context, None)
        reader, writer = await ours.open_connection(
            env.loop, host, port, ssl=context, server_hostname="localhost",
            ssl_session=first.session)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        second = writer.get_extra_info("ssl_object")
        assert second.session_reused
        writer.close()
        await writer.wait_closed()
        client = Recorder()
        await env.connect(lambda: client, server, ssl=None)
        client.transport = await env.loop.start_tls(
            client.transport, client, context, server_hostname="localhost",
            ssl_session=second.session)
        client.transport.write(b"hello")
        assert await client.received(5) == b"hello"
        assert client.transport.get_extra_info("ssl_object").session_reused

    env.run(main())


@pytest.mark.implementations("ours", "ours_uvloop")
def test_a_session_that_does_not_fit_is_refused(env):
    """T4: without TLS, of another context, or no session at all: the exception of each."""
    async def main():
        server = await env.start_server(echoing)
        context = env.client_context()
        first = await connect_again(env, server, context, None)
        with pytest.raises(ValueError, match="ssl_session is only meaningful with ssl"):
            await env.connect(Recorder, server, ssl=None, ssl_session=first.session)
        with pytest.raises(ValueError):
            await env.connect(Recorder, server, ssl=env.client_context(),
                              ssl_session=first.session)
        with pytest.raises(TypeError):
            await env.connect(Recorder, server, ssl=context, ssl_session="a session")

    env.run(main())
