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


class Tally:
    """What the kernel did in the tests that run over kernel TLS."""

    def __init__(self):
        self.tests = 0
        self.unused = []        # the tests in which it did nothing
        self.sending = self.receiving = 0

    def start(self):
        return count("TlsTxSw"), count("TlsRxSw")

    def end(self, test, before):
        sending, receiving = count("TlsTxSw") - before[0], count("TlsRxSw") - before[1]
        self.tests += 1
        self.sending += sending
        self.receiving += receiving
        if sending == 0:
            self.unused.append(test)

    def describe(self):
        yield "kernel TLS: %d tests; the kernel sent on %d connections, received on %d" % (
            self.tests, self.sending, self.receiving)
        functions = {test.partition("[")[0] for test in self.unused}
        for function in sorted(functions):
            yield "not used in %s: %d" % (function, sum(
                test.partition("[")[0] == function for test in self.unused))


tally = Tally()
