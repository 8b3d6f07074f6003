# SPDX-License-Identifier: MIT
"""System calls of an echo, counted with strace."""
import os
import re
import shutil
import socket
import subprocess
import sys

import pytest

from support.peers import PATIENCE, RawPeer
from support.protocols import assert_same

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "support", "echo_server.py")
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


@pytest.mark.skipif(not strace_works(), reason="strace is not there or not permitted")
@pytest.mark.kinds("tcp", "unix", "tls12", "tls13")
def test_an_echo_costs_one_receive_and_one_send(env, tmp_path):
    """One receive and one send system call per echo, and no try that finds nothing."""
    log = tmp_path / "log"
    address = str(tmp_path / "socket")
    server = subprocess.Popen(
        ["strace", "-f", "-o", str(log), "-e", "trace=" + ",".join(RECEIVE + SEND + (
            "accept4", "accept")),
         sys.executable, SCRIPT, env.implementation, env.kind, address,
         env.certs.directory / "server.pem", env.certs.directory / "server.key"],
        stdout=subprocess.PIPE)
    try:
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
        server.wait(PATIENCE)
    finally:
        server.kill()
        server.stdout.close()
        server.wait()
    lines = log.read_text(errors="replace").splitlines()
    descriptor = [re.search(r"= (\d+)$", line).group(1) for line in lines
                  if re.search(r"\baccept4?\(.*= \d+$", line)][-1]
    # The handshake, the end of the stream and the shutdown need a few calls of their own.
    spare = 12 if env.is_tls else 3
    assert ECHOES <= count(lines, RECEIVE, descriptor) <= ECHOES + spare
    assert ECHOES <= count(lines, SEND, descriptor) <= ECHOES + spare
