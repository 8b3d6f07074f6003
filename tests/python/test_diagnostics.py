# SPDX-License-Identifier: MIT
"""What connections and the package tell about themselves to those who look for a fault."""
import ast
import contextlib
import errno
import importlib
import logging
import os
import socket
import ssl
import struct
import subprocess
import sys

import pytest

from support.env import KTLS, aiofastnet, uvloop
from support.protocols import Recorder, assert_same, echoing, live, until

COUNTERS = ("bytes_received", "bytes_sent", "wire_bytes_received", "wire_bytes_sent",
            "receive_calls", "send_calls", "records_received", "records_sent", "high_water_hits")
ours_only = pytest.mark.implementations("ours", "ours_uvloop")


def engine_of(env):
    if not env.is_tls:
        return "plain"
    return aiofastnet.info()["engine"]      # of which the kind pyengine is a part


@ours_only
@pytest.mark.kinds("tcp", "unix", "tls12", "tls13", "pyengine")
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
@pytest.mark.kinds(*KTLS)
def test_what_the_kernel_encrypts_is_counted_in_the_clear(env):
    """It takes bytes and makes the records, of which nobody hears."""
    async def main():
        sender = Recorder()
        transport = await env.pair(echoing(), sender)
        before = transport.get_extra_info("aiofastnet")
        transport.write(b"x" * 50000)
        await sender.received(50000)
        after = transport.get_extra_info("aiofastnet")
        assert after["engine"] == "openssl"
        assert after["bytes_sent"] == after["bytes_received"] == 50000
        assert after["wire_bytes_sent"] == before["wire_bytes_sent"] + 50000
        assert after["records_sent"] == before["records_sent"]

    env.run(main())


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
@pytest.mark.kinds("tcp", "tls13", "pyengine", "ktls13")
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
        await env.upgrade(receiver, sender)
        upper = sender.transport
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
@pytest.mark.upgrades
@pytest.mark.kinds("tls13", "pyengine")
def test_tls_over_tls_has_counters_of_both(env):
    """T27: the wire of the upper is the application of the lower."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        lower = await env.pair(receiver, sender)
        await env.upgrade(receiver, sender)
        sender.transport.write(b"hello")
        await receiver.received(5)
        above = sender.transport.get_extra_info("aiofastnet")
        below = lower.get_extra_info("aiofastnet")
        assert above["engine"] == below["engine"] == engine_of(env)
        assert above["bytes_sent"] == 5 < above["wire_bytes_sent"]
        assert below["bytes_sent"] == above["wire_bytes_sent"]
        assert below["bytes_received"] == above["wire_bytes_received"]
        sender.transport.abort()
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


# The package


@pytest.fixture
def info_module(ours):
    return importlib.import_module("aiofastnet._info")


def test_info_is_a_plain_dict_with_the_keys_of_its_stub(ours):
    """T6."""
    info = ours.info()
    assert type(info) is dict
    with open(os.path.join(os.path.dirname(ours.__file__), "__init__.pyi")) as file:
        stub = next(node for node in ast.parse(file.read()).body
                    if isinstance(node, ast.ClassDef) and node.name == "_Info")
    assert set(info) == {line.target.id for line in stub.body}


def test_info_names_the_versions_and_the_files(ours):
    """T6: which libssl is ours, and which is that of the module ssl."""
    info = ours.info()
    assert info["version"] == ours.__version__
    assert info["python"].split() == [sys.implementation.name.replace("cp", "CP"),
                                      "%d.%d.%d" % sys.version_info[:3]]
    assert info["python_libssl"] == ssl.OPENSSL_VERSION
    assert info["uvloop"] == (uvloop.__version__ if uvloop is not None else None)
    with open("/proc/self/maps") as file:
        mapped = {os.path.realpath(line.split(None, 5)[5].rstrip("\n")) for line in file
                  if "/" in line}
    for name in ("library_path", "libssl_path", "python_libssl_path"):
        assert os.path.realpath(info[name]) in mapped, name
    same = info["libssl_path"] == info["python_libssl_path"]
    assert info["engine"] == ("openssl" if same else "python")
    assert (info["reason"] is None) == same


def test_the_library_of_a_module_is_found(ours):
    """Through what it depends on; and nothing is loaded for that."""
    assert ours._core.find_libssl(ours._core.__file__) == ours.info()["libssl_path"]
    assert ours._core.find_libssl("/nowhere/_ssl.so") is None
    with pytest.raises(TypeError):
        ours._core.find_libssl(1)


def test_info_asks_the_kernel_for_its_tls(ours):
    """T41: by a real setsockopt()."""
    info = ours.info()
    assert info["kernel"] == os.uname().release
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as sock:
            try:
                sock.setsockopt(socket.IPPROTO_TCP, 31, b"tls")
                has_tls = True
            except OSError:
                has_tls = False
    assert info["ktls_kernel"] is has_tls
    assert (info["ktls_reason"] is None) is has_tls
    assert bool(info["ktls_ciphers"]) is has_tls


class Kernel:
    """A socket of a kernel that has TLS with the given ciphers."""

    ciphers = {51: 40, 53: 40}      # the number, and the size of its structure

    def __init__(self, address):
        self.has_tls = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def setsockopt(self, level, option, value):
        if (level, option) == (socket.IPPROTO_TCP, 31):
            self.has_tls = True
        elif self.ciphers.get(struct.unpack_from("=HH", value)[1]) != len(value):
            raise OSError(errno.EINVAL, "no such cipher")
        assert self.has_tls


def test_info_names_the_ciphers_that_the_kernel_takes(info_module, monkeypatch):
    monkeypatch.setattr(info_module, "_connect", Kernel)
    info = aiofastnet.info()
    assert info["ktls_kernel"] and info["ktls_reason"] is None
    assert info["ktls_ciphers"] == ["AES-128-GCM", "AES-128-CCM"]


def test_info_says_why_the_kernel_has_no_tls(info_module, monkeypatch):
    def refuse(address):
        raise OSError(errno.ENOPROTOOPT, "Protocol not available")

    monkeypatch.setattr(info_module, "_connect", refuse)
    info = aiofastnet.info()
    assert not info["ktls_kernel"] and info["ktls_ciphers"] == []
    assert "Protocol not available" in info["ktls_reason"]


def test_the_module_prints_what_info_says(ours):
    """T6: python3 -m aiofastnet, for people."""
    output = subprocess.run([sys.executable, "-m", "aiofastnet"], check=True,
                            stdout=subprocess.PIPE, universal_newlines=True).stdout
    info = ours.info()
    for name, value in info.items():
        if isinstance(value, str):
            assert value in output, name
    for cipher in info["ktls_ciphers"]:
        assert cipher in output


def test_importing_the_package_asks_nothing(ours):
    """What info() needs is imported when it is called."""
    code = ("import sys, aiofastnet; assert 'aiofastnet._info' not in sys.modules; "
            "assert aiofastnet.info()['version'] == aiofastnet.__version__; "
            "assert 'aiofastnet._info' in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True)


# The log


class Log(logging.Filter):
    """What was logged, without references to the transports: pairs of the object's id and the
    message without its repr."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def filter(self, record):
        message = record.getMessage()
        assert message.startswith("<Transport ") and record.levelno == logging.DEBUG
        self.lines.append((id(record.args[0]), message.partition(">: ")[2]))
        return False

    def of(self, protocol):
        return [message for number, message in self.lines if number == id(protocol.transport)]


@pytest.fixture
def log():
    """A filter: what gets to a handler pytest keeps, and with it transports that the test sees
    collected."""
    logger, log = logging.getLogger("aiofastnet"), Log()
    logger.addFilter(log)
    logger.setLevel(logging.DEBUG)
    yield log
    logger.setLevel(logging.NOTSET)
    logger.removeFilter(log)


def beginning(env):
    made = "connection made, engine " + engine_of(env)
    if not env.is_tls:
        return [made]
    context = env.client_context()
    return ["TLS established, %s, " % context.maximum_version.name.replace("v1_", "v1."), made]


def assert_course(lines, *expected):
    assert len(lines) == len(expected), lines
    for line, part in zip(lines, expected):
        assert line.startswith(part), (lines, expected)


@ours_only
def test_changes_of_state_are_logged(env, log):
    async def main():
        receiver, sender = echoing(), Recorder()
        transport = await env.pair(receiver, sender)
        transport.write(b"hello")
        await sender.received(5)
        transport.close()
        transport.close()
        await sender.lost()
        await receiver.lost()
        end = "connection lost, None, 5 bytes received, 5 bytes sent"
        assert_course(log.of(sender), *beginning(env), "closing", end)
        assert_course(log.of(receiver), *beginning(env), "the peer sends no more", end)

    env.run(main())


@ours_only
@pytest.mark.kinds("tcp", "tls13", "pyengine", "ktls13")
def test_the_reason_of_a_loss_is_logged(env, log):
    async def main():
        receiver, sender = Recorder(), Recorder(data=lambda *_: 1 / 0)
        await env.pair(receiver, sender)
        receiver.transport.write(b"hello")
        await sender.lost()
        env.take_exceptions()
        assert_course(log.of(sender), *beginning(env), "connection lost, ZeroDivisionError(")
        await receiver.lost()

    env.run(main())


@ours_only
@pytest.mark.kinds("tls13", "pyengine")
def test_a_handshake_that_fails_is_logged(env, log):
    async def main():
        server = await env.start_server(Recorder)
        with pytest.raises(ssl.SSLCertVerificationError):
            await env.connect(Recorder, server, ssl=env.client_context(env.certs.other_ca))
        await until(lambda: len(log.lines) == 2)
        lines = sorted(message for _, message in log.lines)
        assert lines[0].startswith("connection lost, SSL")
        assert any("CERTIFICATE_VERIFY_FAILED" in line for line in lines)

    env.run(main())


@ours_only
@pytest.mark.upgrades
@pytest.mark.kinds("tcp")
def test_an_upgrade_is_logged(env, log):
    async def main():
        receiver, sender = Recorder(), Recorder()
        await env.pair(receiver, sender)
        await env.upgrade(receiver, sender)
        assert_course(log.of(sender), "upgrade to TLS of <Transport", "TLS established, ")
        assert log.of(sender)[0].endswith("engine " + aiofastnet.info()["engine"])
        sender.transport.abort()
        await sender.lost()
        await receiver.lost()
        assert log.of(sender)[2] == "closing"

    env.run(main())


@ours_only
@pytest.mark.kinds("tcp", "tls13", "ktls13")
def test_the_level_may_change_while_a_connection_lives(env, log):
    async def main():
        logger = logging.getLogger("aiofastnet")
        logger.setLevel(logging.INFO)
        receiver, sender = Recorder(), Recorder()
        transport = await env.pair(receiver, sender)
        assert log.lines == []
        logger.setLevel(logging.DEBUG)
        transport.close()
        assert log.of(sender) == ["closing"]
        logger.setLevel(logging.INFO)
        await sender.lost()
        await receiver.lost()
        assert len(log.lines) == 1

    env.run(main())


@ours_only
@pytest.mark.kinds("tcp", "tls13", "pyengine", "ktls13")
def test_reads_and_writes_do_not_ask_the_logger(env, monkeypatch):
    async def main():
        receiver, sender = echoing(), Recorder()
        transport = await env.pair(receiver, sender)
        before = len(asked)
        for number in range(20):
            transport.write(b"hello")
            await sender.received(5 * (number + 1))
        assert before > 0 and len(asked) == before

    asked = []
    monkeypatch.setattr(logging.getLogger("aiofastnet"), "isEnabledFor", asked.append)
    env.run(main())


@ours_only
@pytest.mark.kinds("tcp", "tls13", "ktls13")
def test_many_changes_in_one_dispatch_ask_the_logger_once(env, monkeypatch):
    async def main():
        server = await env.start_server(lambda: Recorder(data=close_all))
        clients = [Recorder() for _ in range(10)]
        for client in clients:
            await env.connect(lambda: client, server)
        clients[0].transport.write(b"hello")
        for client in clients:
            await client.lost()
        assert counts in ([0], [1])

    def close_all(protocol, data):
        before = len(asked)
        for recorder in list(live):
            recorder.transport.close()
        counts.append(len(asked) - before)

    asked, counts = [], []
    monkeypatch.setattr(logging.getLogger("aiofastnet"), "isEnabledFor", asked.append)
    env.run(main())


@ours_only
@pytest.mark.kinds("tcp", "tls13", "pyengine", "ktls13")
@pytest.mark.parametrize("method", ["isEnabledFor", "debug"])
def test_a_logger_that_fails_does_no_harm(env, log, monkeypatch, method):
    async def main():
        receiver, sender = echoing(), Recorder()
        transport = await env.pair(receiver, sender)
        transport.write(b"hello")
        assert await sender.received(5) == b"hello"
        transport.close()
        assert await sender.lost() is None
        assert await receiver.lost() is None
        assert sender.course == ["made", "data", "lost"]

    def fail(*_):
        raise ZeroDivisionError

    told = []
    monkeypatch.setattr(logging.getLogger("aiofastnet"), method, fail)
    monkeypatch.setattr(sys, "unraisablehook", lambda args: told.append(args.exc_type))
    env.run(main())
    assert set(told) == {ZeroDivisionError} and len(told) >= 4


@ours_only
@pytest.mark.kinds("tcp", "tls13", "pyengine", "ktls13")
def test_who_logs_may_close_the_transport(env, log, monkeypatch):
    """Like every callback."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        server = await env.start_server(lambda: receiver)
        with contextlib.suppress(ConnectionError):
            await env.connect(lambda: sender, server)
        for protocol in receiver, sender:
            if protocol.transport is not None:
                assert await protocol.lost() is None
                assert protocol.course == ["made", "lost"]

    def close(record):
        transport = record.args[0]
        if not transport.is_closing():
            transport.abort()

    monkeypatch.setattr(log, "filter", close)
    env.run(main())
