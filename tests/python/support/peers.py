# SPDX-License-Identifier: MIT
"""Peers on plain blocking sockets, for the odd behaviour that a transport never shows."""
import os
import socket
import ssl
import struct

# Seconds for one test, and those after which a blocking call of a peer fails instead of hanging.
TIME_LIMIT = int(os.environ.get("AFN_TEST_TIME_LIMIT", 30))
PATIENCE = TIME_LIMIT / 2
# Factor for the number of connections, and of bytes, in the tests of what memory they need.
SCALE = int(os.environ.get("AFN_TEST_SCALE", 1))

# Python sets it in every context; a peer is to tell close_notify from an end without it.
IGNORE_UNEXPECTED_EOF = getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 1 << 7)


class RawPeer:
    """One end of a connection on a blocking socket, with TLS over memory BIOs if wanted.

    `wire(data)` and `read_wire()` reach the socket below TLS.
    """

    def __init__(self, sock, context=None, server_side=False, hostname=None):
        self.sock = sock
        sock.settimeout(PATIENCE)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.tls = None
        if context is not None:
            self.start_tls(context, server_side, hostname)

    def start_tls(self, context, server_side=False, hostname=None):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context.options &= ~IGNORE_UNEXPECTED_EOF
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=server_side,
                                    server_hostname=hostname)

    def flush(self):
        if self.outgoing.pending:
            self.sock.sendall(self.outgoing.read())

    def _call(self, function, *args):
        while True:
            try:
                result = function(*args)
            except ssl.SSLWantReadError:
                self.flush()
                data = self.sock.recv(65536)
                if data:
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()
            except ssl.SSLError:
                self.flush()        # the alert must reach the other side
                raise
            else:
                self.flush()
                return result

    def handshake(self):
        if self.tls is not None:
            self._call(self.tls.do_handshake)

    def send(self, data):
        if self.tls is None:
            self.sock.sendall(data)
            return
        view = memoryview(data)
        while view:
            view = view[self._call(self.tls.write, view[:65536]):]

    def seal(self, *parts):
        """The ciphertext of `parts`, one record or more each, not yet sent."""
        for part in parts:
            self.tls.write(part)
        return self.outgoing.read()

    def recv(self, size=65536):
        """Some bytes, or b"" at the end of the stream (with or without close_notify)."""
        if self.tls is None:
            return self.sock.recv(size)
        try:
            return self._call(self.tls.read, size)
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def read_exactly(self, count):
        data = bytearray()
        while len(data) < count:
            part = self.recv(min(65536, count - len(data)))
            assert part, "end of stream after %d of %d bytes" % (len(data), count)
            data += part
        return bytes(data)

    def read_to_end(self):
        data = bytearray()
        while True:
            part = self.recv()
            if not part:
                return bytes(data)
            data += part

    def close_notify(self):
        """Send close_notify without waiting for the other one."""
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass        # the other close_notify has not come yet, or data came instead
        self.flush()

    def got_close_notify(self):
        """Read to the end; whether close_notify was the end."""
        try:
            while self._call(self.tls.read, 65536):
                pass
        except ssl.SSLZeroReturnError:
            return True
        except ssl.SSLEOFError:
            return False
        return True

    def wire(self, data):
        self.sock.sendall(data)

    def wire_slowly(self, data):
        """One byte a segment."""
        for index in range(len(data)):
            self.sock.sendall(data[index:index + 1])

    def read_wire(self, size=65536):
        return self.sock.recv(size)

    def wire_end(self):
        """Read and drop until the other side closes or resets."""
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionError:
            pass

    def shutdown_write(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        if self.sock.family != socket.AF_UNIX:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()


class RawListener:
    """A listening blocking socket; `accept()` gives a RawPeer."""

    def __init__(self, kind, directory, context=None, backlog=16):
        self.context = context
        if kind == "unix":
            self.address = os.path.join(directory, "raw%d" % id(self))
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.bind(self.address)
        else:
            self.sock = socket.socket(socket.AF_INET)
            self.sock.bind(("127.0.0.1", 0))
            self.address = self.sock.getsockname()
        self.sock.settimeout(PATIENCE)
        self.sock.listen(backlog)

    def accept(self):
        sock, _ = self.sock.accept()
        return RawPeer(sock, self.context, server_side=True)

    def close(self):
        self.sock.close()


def connect_raw(address, context=None, hostname=None):
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    sock = socket.socket(family)
    sock.settimeout(PATIENCE)
    sock.connect(address)
    return RawPeer(sock, context, hostname=hostname)


def socket_pair(kind, small_buffers=False):
    """Two connected sockets of the kind, blocking."""
    if kind == "unix":
        left, right = socket.socketpair()
    else:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            left = socket.create_connection(listener.getsockname())
            right, _ = listener.accept()
    if small_buffers:
        for sock in (left, right):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return left, right
