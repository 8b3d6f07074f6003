# SPDX-License-Identifier: MIT
"""Pipes of every kind, and what is on their ends."""
import io
import os
import pty
import socket
import tty

from .protocols import Recorder

PIPES = ("pipe", "fifo", "socket", "terminal")
HANG_UP = ("pipe", "fifo", "socket")        # where a writer is told that the reader is gone
BYTES = bytes(range(251)) * 8000            # more than any of them holds


class Counted(io.FileIO):
    """A file that counts how often it was closed; the first time is the real one."""

    closes = 0

    def close(self):
        self.closes += 1
        super().close()


def make_ends(env, what):
    """Two files, unbuffered: what is written to the second is read from the first."""
    if what == "socket":
        return socket.socketpair()
    if what == "terminal":
        master, slave = pty.openpty()
        tty.setraw(slave)
        return Counted(master, "rb"), Counted(slave, "wb")
    if what == "fifo":
        path = env.new_path()
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        return Counted(reader, "rb"), Counted(os.open(path, os.O_WRONLY), "wb")
    reader, writer = os.pipe()
    return Counted(reader, "rb"), Counted(writer, "wb")


def is_open(file):
    return file.fileno() >= 0 if isinstance(file, socket.socket) else not file.closed


def read_exactly(file, count):
    """Blocking; less only at the end."""
    os.set_blocking(file.fileno(), True)
    data = bytearray()
    while len(data) < count:
        piece = os.read(file.fileno(), min(count - len(data), 1 << 20))
        if not piece:
            break
        data += piece
    return bytes(data)


async def connect_reader(env, file, protocol=None):
    protocol = protocol or Recorder()
    transport, same = await env.loop.connect_read_pipe(lambda: protocol, file)
    assert same is protocol
    return transport, protocol


async def connect_writer(env, file, protocol=None):
    protocol = protocol or Recorder()
    transport, same = await env.loop.connect_write_pipe(lambda: protocol, file)
    assert same is protocol
    return transport, protocol
