# SPDX-License-Identifier: MIT
"""Does the kernel do TLS here, and how often has it?"""
import os
import socket

TCP_ULP = 31


def has_kernel_tls():
    """A real question: /sys/module/tls may be there or not, whatever the kernel can do."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as connection:
            try:
                connection.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
            except OSError:
                return False
    return True


def count(name="TlsTxSw"):
    """How many directions of this machine's connections the kernel has had keys for so far."""
    with open("/proc/net/tls_stat") as file:
        return int(dict(line.split() for line in file)[name])


KERNEL = has_kernel_tls()
WANTED = os.environ.get("AFN_TEST_KTLS") == "1"
assert KERNEL or not WANTED, "AFN_TEST_KTLS=1, and the kernel has no TLS"
