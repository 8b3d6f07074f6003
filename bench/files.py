# SPDX-License-Identifier: MIT
"""What sendfile and ktls share: the file, the server's loop, and the client that fetches."""
import asyncio
import hashlib
import json
import os
import resource
import socket
import ssl
import statistics
import time

from harness import Failed

GIB = float(1 << 30)


class Sender(asyncio.Protocol):
    """Sends the file to whoever connects, and closes."""

    last = None     # the transport of the last connection

    def __init__(self, loop, path):
        self.loop = loop
        self.path = path

    def connection_made(self, transport):
        Sender.last = transport
        self.task = self.loop.create_task(self.send(transport))

    async def send(self, transport):
        with open(self.path, "rb") as file:
            await self.loop.sendfile(transport, file)
        transport.close()


def run_server(loop, port, describe=lambda: None):
    """Print the port; then answer each line with what ask() returns."""
    def answer():
        if not os.read(0, 64):
            loop.stop()
            return
        usage = resource.getrusage(resource.RUSAGE_SELF)
        print(json.dumps([usage.ru_utime, usage.ru_stime, describe()]), flush=True)

    print(port, flush=True)
    loop.add_reader(0, answer)
    loop.run_forever()


def ask(server):
    """(seconds of processor time in the process, in the kernel for it, what `describe` says)"""
    return json.loads(server.ask("usage"))


def make_file(path, size):
    """A file of so many bytes, whole MiB; its digest."""
    block = os.urandom(1 << 20)
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for _ in range(size >> 20):
            file.write(block)
            digest.update(block)
    return digest.hexdigest()


def connect(port, is_tls):
    sock = socket.create_connection(("127.0.0.1", port))
    if not is_tls:
        return sock
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(sock)


def skip_head(sock):
    """Read to the end of an HTTP head, and no further."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            raise Failed("the answer ended in its head")
        head += byte


def fetch(port, is_tls, expected=None, request=b""):
    """Read to the end; `expected` is the digest, or None not to spend time on it."""
    sock = connect(port, is_tls)
    if request:
        sock.sendall(request)
        skip_head(sock)
    buffer = bytearray(1 << 20)
    view = memoryview(buffer)
    digest = hashlib.sha256()
    length = 0
    while True:
        count = sock.recv_into(buffer)
        if not count:
            break
        length += count
        if expected:
            digest.update(view[:count])
    sock.close()
    if expected and digest.hexdigest() != expected:
        raise Failed("other bytes came than were in the file")
    return length


class Times:
    """Of the rounds of one variant, per GiB: the server's processor time, and the whole."""

    def __init__(self):
        self.user = []
        self.system = []
        self.elapsed = []

    def take(self, server, size, is_tls, request=b""):
        before, start = ask(server), time.monotonic()
        if fetch(server.port, is_tls, None, request) != size:
            raise Failed("the file was cut short")
        self.elapsed.append((time.monotonic() - start) / (size / GIB))
        after = ask(server)
        self.user.append((after[0] - before[0]) / (size / GIB))
        self.system.append((after[1] - before[1]) / (size / GIB))

    @property
    def processor(self):
        return [user + system for user, system in zip(self.user, self.system)]

    @property
    def cost(self):
        return statistics.median(self.processor)

    def row(self, base):
        """`base` is the cost that the ratio is to."""
        return ("{:8.3f} s/GiB  {:5.2f}  ({:.3f} to {:.3f})  {:7.3f} user {:7.3f} system"
                " {:8.0f} MiB/s").format(
            self.cost, self.cost / base, min(self.processor), max(self.processor),
            statistics.median(self.user), statistics.median(self.system),
            1024 / statistics.median(self.elapsed))
