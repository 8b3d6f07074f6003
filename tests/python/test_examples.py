# SPDX-License-Identifier: MIT
"""The examples, as separate processes, against clients and servers without aiofastnet.

Each says, in a header, a line or a log, what carries its connections: that is compared too, so that
none of them can fall back to the loop's own transports unseen.
"""
import asyncio
import contextlib
import hashlib
import os
import re
import select
import signal
import socket
import ssl

import pytest

from support.curl import run_curl
from support.env import why_missing
from support.files import CONTENT
from support.peers import PATIENCE
from support.programs import EXAMPLES, Program, blocking_server, need, need_end
from support.protocols import assert_same

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

TESTED = {"aiohttp_files.py", "aiohttp_websocket.py", "echo_client.py", "echo_server.py",
          "frames.py", "frames_program.py", "loop_threads.py", "uvicorn_server.py",
          "websockets_server.py"}
# aiohttp 3.8 leaves transports to be closed by the loop's end, on asyncio as well as on ours.
AIOHTTP_OPTIONS = ()


class Variant:
    """With or without TLS, on asyncio's loop or uvloop's."""

    def __init__(self, is_tls, is_uvloop, certs):
        self.is_tls, self.is_uvloop = is_tls, is_uvloop
        self.ca = certs.ca
        self.tls = ["--tls", *certs.chain("server")] if is_tls else []
        self.uvloop = ["--uvloop"] if is_uvloop else []
        self.trust = ["--ca", certs.ca] if is_tls else []
        self.scheme = "s" if is_tls else ""
        self.client_context = certs.client_context() if is_tls else None
        self.server_context = certs.server_context() if is_tls else None

    @property
    def engine(self):
        import aiofastnet
        return aiofastnet.info()["engine"] if self.is_tls else "plain"


@pytest.fixture(autouse=True)
def _no_proxy(ours, monkeypatch):
    """No proxy is asked for what is on this machine."""
    monkeypatch.setenv("no_proxy", "*")


def variants(*names):
    return pytest.mark.parametrize("variant", names, indirect=True)


@pytest.fixture
def variant(request, certs):
    is_uvloop = "uvloop" in request.param
    if is_uvloop and why_missing("ours_uvloop"):
        pytest.skip(why_missing("ours_uvloop"))
    return Variant("tls" in request.param, is_uvloop, certs)


all_variants = variants("plain", "tls", "plain-uvloop", "tls-uvloop")
plain_and_tls = variants("plain", "tls")


def test_every_example_is_tested():
    """A new one is to be added to TESTED, with its test."""
    assert {name for name in os.listdir(EXAMPLES) if name.endswith(".py")} == TESTED


# ---- echo_server.py, echo_client.py --------------------------------------------------------------

def exchange(program, variant, count):
    """`count` clients at a time, on stock transports, each of which gets CONTENT back."""
    async def converse():
        reader, writer = await asyncio.open_connection("127.0.0.1", program.port,
                                                       ssl=variant.client_context)
        assert writer.get_extra_info("aiofastnet") is None
        writer.write(CONTENT)
        received, _ = await asyncio.gather(reader.readexactly(len(CONTENT)), writer.drain())
        assert_same(received, CONTENT)
        writer.close()
        await writer.wait_closed()

    async def main():
        await asyncio.gather(*[converse() for _ in range(count)])

    asyncio.run(main())


def conversations(program):
    """(thread, engine, bytes in, bytes out) of each client that is gone."""
    return re.findall(r"^(\S+): \(.*\): engine (\S+), (\d+) bytes in, (\d+) bytes out$",
                      program.output, re.MULTILINE)


@all_variants
def test_echo_server_gives_back_what_it_gets(variant, tmp_path):
    """Four clients at a time; the counters of our transports know each byte."""
    with Program(tmp_path, "echo_server.py", "--threads", 2, *variant.tls,
                 *variant.uvloop) as program:
        exchange(program, variant, 4)
        assert program.end() == 0
        size = str(len(CONTENT))
        assert [found[1:] for found in conversations(program)] == [(variant.engine, size, size)] * 4
        assert program.errors == ""


@variants("plain", "plain-uvloop")
def test_echo_server_divides_clients_among_threads(variant, tmp_path):
    """Of forty clients each of the two threads gets some."""
    with Program(tmp_path, "echo_server.py", "--threads", 2, *variant.uvloop) as program:
        for _ in range(40):
            peer = program.connect()
            peer.send(b"hello")
            assert peer.read_exactly(5) == b"hello"
            peer.close()
        assert program.end(signal.SIGINT) == 0
        found = conversations(program)
        assert len(found) == 40 and len({thread for thread, *_ in found}) == 2
        assert program.errors == ""


@all_variants
def test_echo_server_says_goodbye(variant, tmp_path):
    """A client that is connected when the server ends gets an orderly end of its stream."""
    with Program(tmp_path, "echo_server.py", "--patience", 1000, *variant.tls,
                 *variant.uvloop) as program:
        peer = program.connect(variant.client_context)
        peer.send(b"hello")
        assert peer.read_exactly(5) == b"hello"
        program.process.send_signal(signal.SIGTERM)
        if variant.is_tls:
            assert peer.got_close_notify()
        else:
            assert peer.recv() == b""
        peer.close()
        assert program.wait() == 0
        assert program.errors == ""


@variants("plain", "plain-uvloop")
def test_echo_server_ends_in_spite_of_a_client_that_does_not_read(variant, tmp_path):
    """Its last bytes are waited for, but not for ever."""
    with Program(tmp_path, "echo_server.py", "--patience", 0.1, *variant.uvloop) as program:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", program.port))
            client.setblocking(False)
            while select.select([], [client], [], 1)[1]:
                client.send(CONTENT)
            assert program.end() == 0
            assert program.errors == ""


def echo(sock):
    while True:
        data = sock.recv(65536)
        if not data:
            return
        sock.sendall(data)


@all_variants
def test_echo_client_compares_what_comes_back(variant, tmp_path):
    """Six connections from two threads to a server on blocking sockets, which counts."""
    counts = []

    def count(sock):
        counts.append(0)
        index = len(counts) - 1
        while True:
            data = sock.recv(65536)
            if not data:
                return
            counts[index] += len(data)
            sock.sendall(data)

    with blocking_server(count, variant.server_context) as port:
        with Program(tmp_path, "echo_client.py", "--port", port, "--threads", 2, "--connections", 3,
                     "--size", 700001, *variant.trust, *variant.uvloop) as program:
            assert program.wait() == 0, program.errors
            assert program.output == \
                "6 connections, engine %s: 700001 bytes came back on each\n" % variant.engine
            assert program.errors == ""
    assert counts == [700001] * 6


def spoil(sock):
    sock.sendall(bytes(reversed(sock.recv(65536))))
    echo(sock)


def hang_up(sock):
    sock.recv(1)
    sock.shutdown(socket.SHUT_WR)
    with contextlib.suppress(ConnectionError):
        while sock.recv(65536):
            pass


@pytest.mark.parametrize("converse, complaint", (
    (spoil, "something else came back"),
    (hang_up, "the server closed the connection")), ids=("spoil", "hang_up"))
def test_echo_client_finds_a_bad_server(converse, complaint, tmp_path):
    """It ends with a line that says so, and a status."""
    with blocking_server(converse) as port:
        with Program(tmp_path, "echo_client.py", "--port", port, "--connections", 2) as program:
            assert program.wait() == 1
            assert program.output == ""
            assert program.errors.endswith(complaint + "\n") and program.errors.count("\n") == 1


@variants("plain", "plain-uvloop")
def test_echo_client_can_be_interrupted(variant, tmp_path):
    """While a server does not answer."""
    def is_connected(sock):
        connected.append(sock.recv(1))
        if len(connected) == 2:
            program.process.send_signal(signal.SIGINT)
        while sock.recv(65536):
            pass

    connected = []
    with blocking_server(is_connected) as port:
        with Program(tmp_path, "echo_client.py", "--port", port, "--connections", 2,
                     *variant.uvloop) as program:
            assert program.wait() == 1
            assert program.output == "" and program.errors == "interrupted\n"


# ---- The WebSocket servers -----------------------------------------------------------------------

def header(websocket, name):
    """A header of the answer to the handshake, in websockets' new interface or the old one."""
    response = getattr(websocket, "response", None)
    return (websocket.response_headers if response is None else response.headers).get(name)


def talk(program, variant, before_the_end=lambda websocket: None):
    """Get some messages back; then the server is to end.  The client's close code."""
    import websockets

    async def main():
        url = "ws%s://127.0.0.1:%d/" % (variant.scheme, program.port)
        async with websockets.connect(url, ssl=variant.client_context,
                                      max_size=None) as websocket:
            assert websocket.transport.get_extra_info("aiofastnet") is None
            for size in (0, 1, 125, 126, 65535, 65536, 1000000):
                await websocket.send(CONTENT[:size])
                assert_same(await websocket.recv(), CONTENT[:size])
            await websocket.send("Grüße")
            assert await websocket.recv() == "Grüße"
            before_the_end(websocket)
            program.process.send_signal(signal.SIGTERM)
            with pytest.raises(websockets.ConnectionClosed):
                await websocket.recv()
            return websocket.close_code

    return asyncio.run(main())


def run_aiohttp_websocket(variant, directory, expected, *arguments):
    need("aiohttp", "websockets")
    need_end("aiohttp", (3, 9))

    def check(websocket):
        assert header(websocket, "X-Transport") == expected

    with Program(directory, "aiohttp_websocket.py", *variant.tls, *variant.uvloop, *arguments,
                 options=AIOHTTP_OPTIONS) as program:
        # The handler of aiohttp 3.8 ends first, which closes with the other code.
        assert talk(program, variant, check) in (1000, 1001)
        assert program.wait() == 0
        assert program.errors == ""


@all_variants
def test_aiohttp_websocket(variant, tmp_path):
    """Messages of all sizes come back, and the end is an orderly one."""
    run_aiohttp_websocket(variant, tmp_path, "aiofastnet, engine " + variant.engine)


@variants("tls")
def test_aiohttp_websocket_without_aiofastnet(variant, tmp_path):
    """The same with --stock."""
    run_aiohttp_websocket(variant, tmp_path, "the loop's own", "--stock")


@plain_and_tls
def test_websockets_server(variant, tmp_path):
    """Messages of all sizes come back, and clients are told that the server goes away."""
    need("websockets")
    need_end("websockets", (12, 0))
    with Program(tmp_path, "websockets_server.py", *variant.tls) as program:
        assert talk(program, variant) == 1001
        assert program.wait() == 0
        engine, received, sent = re.search(
            r"engine (\S+), (\d+) bytes in, (\d+) bytes out", program.output).groups()
        assert engine == variant.engine
        # At least what deflate leaves of it.
        assert min(int(received), int(sent)) > 10000
        assert program.errors == ""


# ---- aiohttp_files.py ----------------------------------------------------------------------------

def curl(program, variant, path, *arguments):
    """The status, the headers and the body."""
    url = "http%s://localhost:%d%s" % (variant.scheme, program.port, path)
    answer = run_curl("--include", "--path-as-is", "--ipv4", "--max-time", str(PATIENCE),
                      "--cacert", variant.ca, *arguments, url)
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split(" ")[1]), headers, body


@variants("tls", "tls-uvloop")
def test_aiohttp_files(variant, tmp_path):
    """Whole files and parts of them; nothing from outside of the directory."""
    need("aiohttp")
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "file").write_bytes(CONTENT)
    (tmp_path / "secret").write_bytes(b"secret")
    with Program(tmp_path, "aiohttp_files.py", *variant.tls, *variant.uvloop, shared,
                 options=AIOHTTP_OPTIONS) as program:
        status, headers, body = curl(program, variant, "/file")
        assert status == 200
        assert hashlib.sha256(body).digest() == hashlib.sha256(CONTENT).digest()
        # With kernel TLS it says so.
        assert headers["x-transport"] in ("aiofastnet, engine " + variant.engine,
                                          "aiofastnet, engine kernel")
        status, headers, body = curl(program, variant, "/file", "--range", "1000000-2345678")
        assert status == 206
        assert_same(body, CONTENT[1000000:2345679])
        status, _, body = curl(program, variant, "/../secret")
        assert status in (403, 404) and b"secret" not in body
        assert curl(program, variant, "/absent")[0] == 404
        assert program.end(signal.SIGINT) == 0
        assert program.errors == ""


# ---- frames.py -----------------------------------------------------------------------------------

def framed(*contents):
    return b"".join(len(content).to_bytes(4, "big") + content for content in contents)


def read_frame(read_exactly):
    return read_exactly(int.from_bytes(read_exactly(4), "big"))


@pytest.mark.parametrize("patch", ([], ["--patch"]), ids=("unpatched", "patched"))
@plain_and_tls
def test_frames_server(variant, patch, tmp_path):
    """Answers in order, also to frames that come in pieces; too long a frame ends a connection."""
    text = bytes(range(97, 123)) * 10000
    with Program(tmp_path, "frames_program.py", *variant.tls, *patch) as program:
        peer = program.connect(variant.client_context)
        peer.send(framed(b"hello", b"", b"world"))
        assert [read_frame(peer.read_exactly) for _ in range(3)] == [b"HELLO", b"", b"WORLD"]
        for piece in (b"\0", b"\0\0", b"\6pie", b"ces"):
            peer.send(piece)
        peer.send(framed(text))
        assert read_frame(peer.read_exactly) == b"PIECES"
        assert_same(read_frame(peer.read_exactly), text.upper())
        other = program.connect(variant.client_context)
        other.send(b"\xff\xff\xff\xff")
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            assert other.recv() == b""
        other.close()
        program.process.send_signal(signal.SIGTERM)
        assert peer.recv() == b""
        peer.close()
        assert program.wait() == 0
        assert program.errors == ""


def answer_frames(sock):
    """A server that answers with the frames turned round, when it has two of them."""
    with sock.makefile("rb") as file:
        frames = [read_frame(file.read) for _ in range(2)]
        sock.sendall(framed(*[frame[::-1] for frame in frames]))
        assert file.read() == b""


@pytest.mark.parametrize("patch", ([], ["--patch"]), ids=("unpatched", "patched"))
@plain_and_tls
def test_frames_client(variant, patch, tmp_path):
    """Calls at the same time to a server on blocking sockets; ours with and without the patch."""
    with blocking_server(answer_frames, variant.server_context) as port:
        with Program(tmp_path, "frames_program.py", "--port", port, *variant.trust, *patch,
                     "hello", "world") as program:
            assert program.wait() == 0, program.errors
            assert program.output == \
                "olleh\ndlrow\ncarried by aiofastnet, engine %s\n" % variant.engine
            assert program.errors == ""


def test_frames_client_whose_server_hangs_up(tmp_path):
    """Every call fails."""
    with blocking_server(hang_up) as port:
        with Program(tmp_path, "frames_program.py", "--port", port, "hello", "world") as program:
            assert program.wait() == 1
            assert program.errors.endswith("ConnectionError: the connection was closed\n")


@plain_and_tls
def test_frames_without_aiofastnet(variant, tmp_path):
    """The library falls back to the methods of the loop."""
    (tmp_path / "aiofastnet.py").write_text("raise ImportError('not installed')\n")
    hidden = str(tmp_path) + os.pathsep + os.environ.get("PYTHONPATH", "")
    with pytest.MonkeyPatch.context() as patch, \
            blocking_server(answer_frames, variant.server_context) as port:
        patch.setenv("PYTHONPATH", hidden)
        with Program(tmp_path, "frames_program.py", "--port", port, *variant.trust,
                     "hello", "world") as program:
            assert program.wait() == 0, program.errors
            assert program.output == "olleh\ndlrow\ncarried by asyncio\n"


# ---- uvicorn_server.py ---------------------------------------------------------------------------

def status_of_uvicorn(number):
    """Newer ones raise a signal once more when they are done with it, and catch a SIGINT."""
    import uvicorn
    is_raised_again = hasattr(uvicorn.Server, "capture_signals") and number != signal.SIGINT
    return -number if is_raised_again else 0


@pytest.mark.parametrize("variant, number", (
    ("plain", signal.SIGTERM), ("tls", signal.SIGINT), ("tls-uvloop", signal.SIGTERM)),
    indirect=["variant"])
def test_uvicorn_server(variant, number, tmp_path):
    """A request's body and a WebSocket's message come back; the log knows our transports."""
    need("uvicorn", "websockets")
    body = tmp_path / "body"
    body.write_bytes(CONTENT)
    with Program(tmp_path, "uvicorn_server.py", "--debug", *variant.tls,
                 "--loop", "uvloop" if variant.is_uvloop else "asyncio") as program:
        status, _, answer = curl(program, variant, "/", "--header", "Expect:",
                                 "--data-binary", "@" + str(body))
        assert status == 200
        assert hashlib.sha256(answer).digest() == hashlib.sha256(CONTENT).digest()
        asyncio.run(send_to_uvicorn(program, variant))
        program.said("connection lost, None, .*\n(.*\n)*.*connection lost, None")
        assert program.end(number) == status_of_uvicorn(number)
        engines = re.findall(r"connection made, engine (\S+)", program.output)
        assert engines == [variant.engine] * 2
        received = re.search(r"connection lost, None, (\d+) bytes received", program.output)[1]
        assert int(received) > len(CONTENT)
        assert all(line.startswith("INFO: ") for line in program.errors.splitlines())


async def send_to_uvicorn(program, variant):
    import websockets
    url = "ws%s://127.0.0.1:%d/" % (variant.scheme, program.port)
    async with websockets.connect(url, ssl=variant.client_context) as websocket:
        for message in ("Grüße", CONTENT[:500000]):
            await websocket.send(message)
            assert await websocket.recv() == message
