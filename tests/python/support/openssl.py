# SPDX-License-Identifier: MIT
"""The openssl command as a peer."""
import fcntl
import shutil
import struct
import subprocess
import termios
import time

import pytest

from .peers import PATIENCE

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command")


class Command:
    """`openssl s_client` or `s_server` as a peer that can be asked for what Python cannot do."""

    def __init__(self, *args):
        self.process = subprocess.Popen(("openssl",) + args, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.output = bytearray()

    def say(self, line):
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()
        # A command is one only if it comes first in what the other side reads at once.
        while self.process.poll() is None and struct.unpack(
                "i", fcntl.ioctl(self.process.stdin, termios.FIONREAD, b"    "))[0]:
            time.sleep(0.001)

    def wait_for(self, text):
        """Read the output until `text` comes."""
        while text not in self.output:
            part = self.process.stdout.read1(65536)
            assert part, bytes(self.output)
            self.output += part

    def close(self):
        self.process.stdin.close()
        self.process.terminate()
        self.process.stdout.close()
        self.process.wait(PATIENCE)


def version_flag(env):
    return "-tls1_2" if env.is_old_tls else "-tls1_3"


async def free_port(env):
    listener = env.raw_listener(None)
    port = listener.address[1]
    listener.close()
    return port


async def change_keys(env, client, command):
    """Three times, between data that an echo server sends back; `K` asks for ours too."""
    for number in range(3):
        await env.thread(client.say, b"before %d" % number)
        await env.thread(client.wait_for, b"before %d" % number)
        await env.thread(client.say, command)
        await env.thread(client.wait_for, b"KEYUPDATE")
        client.output.clear()
