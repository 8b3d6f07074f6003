# SPDX-License-Identifier: MIT
"""System calls of an echo and of a file, counted with strace."""
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys

import pytest

from support.env import KTLS
from support.files import CONTENT, path
from support.peers import PATIENCE, RawPeer, connect_raw
from support.protocols import assert_same

SUPPORT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "support")
RECEIVE = ("read", "recvfrom", "recvmsg", "readv")
SEND = ("write", "sendto", "sendmsg", "writev")
ECHOES = 200


def strace_works():
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", os.devnull, "true"], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode == 0


def count(log, names, descriptor):
    pattern = re.compile(r"\b(%s)\(%s, " % ("|".join(names), descriptor))
    return sum(bool(pattern.search(line)) for line in log)


needs_strace = pytest.mark.skipif(not strace_works(),
                                  reason="strace is not there or not permitted")


@contextlib.contextmanager
def traced(env, log, options, script, *args):
    """A server of support/ under strace, which has written its log when this is over."""
    server = subprocess.Popen(
        ["strace", "-f", "-o", str(log), *options, sys.executable, os.path.join(SUPPORT, script),
         env.implementation, env.kind, *args, *env.certs.chain("server")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield server
        server.stdin.close()
        server.wait(PATIENCE)
    finally:
        server.kill()
        server.stdin.close()
        server.stdout.close()
        server.wait()


@needs_strace
@pytest.mark.kinds("tcp", "unix", "tls12", "tls13", "ktls12", "ktls13")
def test_an_echo_costs_one_receive_and_one_send(env, tmp_path):
    """One receive and one send system call per echo, and no try that finds nothing."""
    log = tmp_path / "log"
    address = str(tmp_path / "socket")
    calls = ",".join(RECEIVE + SEND + ("accept4", "accept"))
    with traced(env, log, ["-e", "trace=" + calls], "echo_server.py", address) as server:
        line = server.stdout.readline().decode().strip()
        sock = socket.socket(socket.AF_UNIX if env.is_unix else socket.AF_INET)
        sock.connect(address if env.is_unix else ("127.0.0.1", int(line)))
        peer = RawPeer(sock, env.client_context(), hostname="localhost")
        peer.handshake()
        for number in range(ECHOES):
            data = b"%05d" % number * 50
            peer.send(data)
            assert_same(peer.read_exactly(len(data)), data)
        peer.close()
    lines = log.read_text(errors="replace").splitlines()
    descriptor = [re.search(r"= (\d+)$", line).group(1) for line in lines
                  if re.search(r"\baccept4?\(.*= \d+$", line)][-1]
    # The handshake, the end of the stream and the shutdown need a few calls of their own.
    spare = 12 if env.is_tls else 3
    assert ECHOES <= count(lines, RECEIVE, descriptor) <= ECHOES + spare
    assert ECHOES <= count(lines, SEND, descriptor) <= ECHOES + spare


def has_aiohttp():
    """Whether it can be imported: that of the distribution is for one Python."""
    try:
        import aiohttp
    except Exception:
        return False
    return True


def fetch(env, way, port):
    peer = connect_raw(("127.0.0.1", port), env.client_context(), "localhost")
    try:
        peer.handshake()
        if way == "sendfile":
            return peer.read_to_end()
        peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        head, _, body = peer.read_to_end().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        return body
    finally:
        peer.close()


@needs_strace
@pytest.mark.kinds(*KTLS)
@pytest.mark.parametrize("way", ["sendfile", pytest.param("aiohttp", marks=pytest.mark.skipif(
    not has_aiohttp(), reason="no aiohttp for this Python"))])
def test_a_file_by_kernel_tls_does_not_pass_through_the_process(env, path, tmp_path, way):
    """T37: nothing reads or maps it, and sendfile(2) sends all of it."""
    log = tmp_path / "log"
    with traced(env, log, ["-y", "-e", "trace=%desc"], "file_server.py", way, str(path)) as server:
        assert_same(fetch(env, way, int(server.stdout.readline())), CONTENT)
    lines = log.read_text(errors="replace").splitlines()
    mentions = [line for line in lines if "<%s>" % path in line]
    calls = {re.search(r"(\w+)\(", line).group(1) for line in mentions
             if not re.search(r"= \d+<[^>]*>$", line)}      # which is how it is opened
    looks = {"newfstatat", "fstat", "lseek", "ioctl", "fcntl", "dup", "close"}
    assert calls - looks == {"sendfile"}
    sent = [int(re.search(r"= (-?\d+)", line).group(1)) for line in lines
            if re.search(r"\bsendfile(\(| resumed).*= ", line)]
    assert sum(count for count in sent if count > 0) == len(CONTENT)
