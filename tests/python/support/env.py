# SPDX-License-Identifier: MIT
"""What a behaviour body runs in: an event loop of one implementation, and one kind of transport."""
import asyncio
import contextlib
import gc
import os
import shutil
import ssl
import tempfile
import threading
import weakref

from . import protocols
from .peers import PATIENCE, RawListener, connect_raw

# Whether what is not there is an error; otherwise its tests are skipped.
IS_REQUIRED = os.environ.get("AFN_TEST_REQUIRE") == "1"

try:
    import uvloop
except ImportError:
    uvloop = None
try:
    import aiofastnet
    import aiofastnet._core
except ImportError:
    if IS_REQUIRED:
        raise
    aiofastnet = None

IMPLEMENTATIONS = ("stock", "ours", "ours_uvloop")
KINDS = ("tcp", "unix", "tls12", "tls13", "pyengine", "ktls12", "ktls13")
KTLS = ("ktls12", "ktls13")
# The kinds that only ours has, and what is the same to a stock loop.
OURS_ONLY = {"pyengine": "tls13", "ktls12": "tls12", "ktls13": "tls13"}
TLS = ("tls12", "tls13", "pyengine") + KTLS
PLAIN = ("tcp", "unix")


def why_missing(implementation):
    """Why the implementation cannot be tested here, or None."""
    if implementation != "stock" and aiofastnet is None:
        return "aiofastnet cannot be imported"
    if implementation.endswith("uvloop") and uvloop is None:
        return "uvloop cannot be imported"
    return None


def make_loop(implementation):
    loop = uvloop.new_event_loop() if implementation.endswith("uvloop") \
        else asyncio.SelectorEventLoop()
    if implementation != "stock":
        assert aiofastnet.patch_loop(loop) is loop
    return loop


def want_ktls(context):
    aiofastnet.set_ktls(context, send=True, receive=True)


def check_ktls():
    """After a silent fall-back everything else would be as it should."""
    for recorder in protocols.live:
        transport = recorder.transport
        if transport is not None and transport.get_extra_info("cipher") is not None:
            assert transport.get_extra_info("ktls_send_enabled"), transport


def open_fds():
    """The open descriptors of the process and what they are."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found[int(name)] = os.readlink("/proc/self/fd/" + name)
    return {fd: target for fd, target in found.items() if not target.endswith("/fd")}


class Env:
    """One implementation and one kind of transport; see `run`."""

    def __init__(self, implementation, kind, certs):
        self.implementation = implementation
        self.kind = kind
        self.is_ktls = kind in KTLS
        self._plain_certs = certs
        self.certs = certs.with_contexts(want_ktls) if self.is_ktls else certs
        self.expects_ktls = self.is_ktls    # False where something else is below TLS
        self.is_stock = implementation == "stock"
        self.is_uvloop = implementation.endswith("uvloop")
        self.is_tls = kind in TLS
        self.is_unix = kind == "unix"
        self.is_old_tls = kind in ("tls12", "ktls12")
        self.version = None if not self.is_tls else (
            ssl.TLSVersion.TLSv1_2 if self.is_old_tls else ssl.TLSVersion.TLSv1_3)
        self.directory = tempfile.mkdtemp(prefix="afn")
        self.exceptions = []    # contexts of call_exception_handler that no test has taken
        self.check_references = True
        self._servers = []
        self._peers = []
        self._threads = []
        self._paths = 0

    def oracle(self):
        """What stock asyncio has in place of this."""
        return Env("stock", OURS_ONLY.get(self.kind, self.kind), self._plain_certs)

    # Running

    def run(self, main, debug=False):
        """Run the coroutine on a new loop, then check that nothing is left over."""
        return self.drive(lambda loop: loop.run_until_complete(main), debug)

    def drive(self, function, debug=False):
        """As `run`, for a function that gets the loop and runs it itself."""
        before = open_fds()
        loop = make_loop(self.implementation)
        loop.set_debug(debug)
        loop.set_exception_handler(lambda _, context: self.exceptions.append(context))
        asyncio.set_event_loop(loop)
        self.loop = loop
        try:
            with self._engine():
                result = function(loop)
                loop.run_until_complete(self._settle())
            references = [weakref.ref(loop)] if self.check_references else []
            if self.expects_ktls:
                check_ktls()
        finally:
            transports = [weakref.ref(recorder.transport) for recorder in protocols.live
                          if recorder.transport is not None]
            pending = self._end(loop)
        assert not pending, pending
        assert not self.exceptions, [describe(context) for context in self.exceptions]
        self.loop = loop = None
        if self.check_references:
            references += transports
        del transports
        gc.collect()
        alive = [ref() for ref in references if ref() is not None]
        assert not alive, [(thing, gc.get_referrers(thing)) for thing in alive]
        after = open_fds()
        assert after == before, (before, after)
        return result

    @contextlib.contextmanager
    def _engine(self):
        if self.kind != "pyengine":
            yield
            return
        old = aiofastnet._core.force_python_engine(True)
        try:
            yield
        finally:
            aiofastnet._core.force_python_engine(old)

    async def _settle(self):
        """Close what the test left open, and wait until the transports know it."""
        for server in self._servers:
            server.close()
        self._abort_transports()
        for recorder in protocols.live:
            if recorder.transport is not None:
                await recorder.lost()
        self._close_peers()
        await protocols.until(lambda: not any(thread.is_alive() for thread in self._threads))
        await protocols.turns()

    def _abort_transports(self):
        for recorder in protocols.live:
            if recorder.transport is None or recorder.is_lost:
                continue
            # After a second close() or abort(), stock's TLS transport fails here.
            with contextlib.suppress(*([AttributeError] if self.is_stock else [])):
                getattr(recorder.transport, "abort", recorder.transport.close)()

    def _close_peers(self):
        for peer in self._peers:
            peer.close()

    def _end(self, loop):
        """Close the loop whatever happened; the tasks that were still pending."""
        self._close_peers()
        self._abort_transports()
        pending = [task for task in asyncio.all_tasks(loop) if not task.done()]
        names = [repr(task) for task in pending]
        for task in pending:
            task.cancel()
        if pending:
            loop.run_until_complete(asyncio.wait(pending))
        loop.run_until_complete(protocols.turns())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        for thread in self._threads:
            thread.join(PATIENCE)
        loop.close()
        asyncio.set_event_loop(None)
        protocols.live.clear()
        self._servers.clear()
        self._peers.clear()
        self._threads.clear()
        return names

    def dispose(self):
        shutil.rmtree(self.directory, ignore_errors=True)

    def take_exceptions(self):
        """The contexts that call_exception_handler got so far; they count as expected."""
        taken = self.exceptions[:]
        self.exceptions.clear()
        return taken

    async def thread(self, function, *args):
        """Run a blocking function in a thread of its own, and wait for its result."""
        future = self.start_thread(function, *args)
        return await future

    def start_thread(self, function, *args):
        """As `thread`, but the future of the result at once."""
        loop, future = self.loop, self.loop.create_future()

        def settle(result, error):
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        def body():
            result = error = None
            try:
                result = function(*args)
            except BaseException as exc:
                error = exc
            with contextlib.suppress(RuntimeError):     # the loop of a failed test is closed
                loop.call_soon_threadsafe(settle, result, error)

        thread = threading.Thread(target=body, daemon=True)
        self._threads.append(thread)
        thread.start()
        return future

    # Servers and clients

    def server_context(self, name="server"):
        return self.certs.server_context(self.version, name) if self.is_tls else None

    def client_context(self, cafile=None):
        return self.certs.client_context(self.version, cafile) if self.is_tls else None

    def server_keywords(self, keywords):
        """The keywords of a create_server call, with a default for ssl."""
        if self.is_tls:
            keywords.setdefault("ssl", self.server_context())
        return keywords

    def client_keywords(self, keywords):
        """The keywords of a create_connection call, with defaults for TLS."""
        if self.is_tls:
            keywords.setdefault("ssl", self.client_context())
            if keywords["ssl"]:
                keywords.setdefault("server_hostname", "localhost")
        return keywords

    def new_path(self):
        self._paths += 1
        return os.path.join(self.directory, "s%d" % self._paths)

    async def start_server(self, factory, **keywords):
        """A server; its address is the attribute of `address_of`."""
        keywords = self.server_keywords(keywords)
        if self.is_unix:
            server = await self.loop.create_unix_server(factory, self.new_path(), **keywords)
        else:
            server = await self.loop.create_server(factory, "127.0.0.1", 0, **keywords)
        self._servers.append(server)
        return server

    def connect_coroutine(self, factory, where, **keywords):
        """The coroutine of a connect to a server or an address."""
        address = address_of(where)
        keywords = self.client_keywords(keywords)
        if isinstance(address, str):
            return self.loop.create_unix_connection(factory, address, **keywords)
        return self.loop.create_connection(factory, address[0], address[1], **keywords)

    async def connect(self, factory, where, **keywords):
        return await self.connect_coroutine(factory, where, **keywords)

    async def pair(self, server_protocol, client_protocol):
        """Connect two protocols that are given as objects; the client's transport."""
        server = await self.start_server(lambda: server_protocol)
        transport, _ = await self.connect(lambda: client_protocol, server)
        await protocols.until(lambda: server_protocol.transport is not None)
        server.close()
        return transport

    async def upgrade(self, server_protocol, client_protocol):
        """TLS over what the two connected protocols are on."""
        below = client_protocol.transport.get_extra_info("aiofastnet") or {}
        if below.get("engine") != "plain":
            self.expects_ktls = False   # the kernel has one layer at the most, above its socket
        server_protocol.transport, client_protocol.transport = await asyncio.gather(
            self.loop.start_tls(server_protocol.transport, server_protocol,
                                self.certs.server_context(self.version), server_side=True),
            self.loop.start_tls(client_protocol.transport, client_protocol,
                                self.certs.client_context(self.version),
                                server_hostname="localhost"))

    async def pair_unpatched(self, server_protocol, client_protocol):
        """Connect them over TCP by transports of the loop as it was before patch_loop()."""
        loop = self.loop
        patched = {name: loop.__dict__.pop(name) for name in loop._aiofastnet.originals}
        try:
            server = await loop.create_server(lambda: server_protocol, "127.0.0.1", 0)
            address = server.sockets[0].getsockname()
            await loop.create_connection(lambda: client_protocol, *address)
            await protocols.until(lambda: server_protocol.transport is not None)
            server.close()
            await protocols.turns()
        finally:
            loop.__dict__.update(patched)

    async def read_in_pieces(self, receiver):
        """Several records come at once to a protocol that pauses whenever data comes."""
        transport, peer = await self.raw_client(receiver)
        if self.is_tls:
            await self.thread(peer.wire, peer.seal(*[b"x" * 16384] * 8))
        else:
            await self.thread(peer.send, b"x" * 8 * 16384)
        count = 0
        while count < 8 * 16384:
            await protocols.until(lambda: len(receiver.data) > count)
            count = len(receiver.data)
            await protocols.turns(20)
            assert len(receiver.data) == count, "data came while paused"
            transport.resume_reading()
            assert len(receiver.data) == count, "delivered from inside of resume_reading"

    async def open_streams(self, where, **keywords):
        """As asyncio.open_connection, to a server or an address."""
        address = address_of(where)
        keywords = self.client_keywords(keywords)
        if isinstance(address, str):
            return await asyncio.open_unix_connection(address, **keywords)
        return await asyncio.open_connection(address[0], address[1], **keywords)

    async def start_stream_server(self, handler, **keywords):
        """As asyncio.start_server."""
        keywords = self.server_keywords(keywords)
        if self.is_unix:
            server = await asyncio.start_unix_server(handler, self.new_path(), **keywords)
        else:
            server = await asyncio.start_server(handler, "127.0.0.1", 0, **keywords)
        self._servers.append(server)
        return server

    # Raw peers

    def raw_listener(self, context="default", backlog=16):
        if context == "default":
            context = self.server_context()
        listener = RawListener(self.kind, self.directory, context, backlog)
        self._peers.append(listener)
        return listener

    async def raw_connect(self, where, context="default"):
        """A RawPeer connected to a server; the handshake is done unless `context` is None."""
        if context == "default":
            context = self.client_context()
        peer = await self.thread(connect_raw, address_of(where), context, "localhost")
        self._peers.append(peer)
        await self.thread(peer.handshake)
        return peer

    async def raw_server(self, protocol, **keywords):
        """(transport, peer): `protocol` connected as a client to a RawPeer that is the server."""
        listener = self.raw_listener()

        def serve():
            peer = listener.accept()
            self._peers.append(peer)
            peer.handshake()
            return peer

        accepted = self.start_thread(serve)
        transport, _ = await self.connect(lambda: protocol, listener.address, **keywords)
        return transport, await accepted

    async def raw_client(self, protocol, **keywords):
        """(transport, peer): `protocol` accepted by a server, connected to by a RawPeer."""
        server = await self.start_server(lambda: protocol, **keywords)
        peer = await self.raw_connect(server)
        await protocols.until(lambda: protocol.transport is not None)
        server.close()
        return protocol.transport, peer


def address_of(where):
    """The address of a server, or the address itself."""
    return where.sockets[0].getsockname() if hasattr(where, "sockets") else where


def describe(context):
    """A readable form of an exception handler's context."""
    error = context.get("exception")
    return context.get("message"), repr(error), getattr(error, "__traceback__", None) and [
        "%s:%d" % (frame.f_code.co_filename, line)
        for frame, line in __import__("traceback").walk_tb(error.__traceback__)]
