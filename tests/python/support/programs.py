# SPDX-License-Identifier: MIT
"""The programs of examples/python, run as their users run them."""
import contextlib
import importlib
import importlib.util
import os
import re
import signal
import socketserver
import ssl
import subprocess
import sys
import threading
import time

import pytest

from .env import IS_REQUIRED
from .peers import PATIENCE, connect_raw

# In the debug mode asyncio logs what took long, which is up to the machine, and aiohttp requests.
DEBUG = ("PYTHONASYNCIODEBUG", "PYTHONDEVMODE")
EXAMPLES = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../../examples/python"))


def need(*modules):
    """Skip where one of the modules does not work; the first part of a name must be there.

    What is there may have been built for another Python than the one that runs.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:
            if IS_REQUIRED and importlib.util.find_spec(module.partition(".")[0]) is None:
                raise
            pytest.skip("%s: %r" % (module, error))


def need_end(module, release):
    """Skip where servers of releases before this one never end while they have clients.

    Since Python 3.12 wait_closed() waits for the clients, which they close after it.
    """
    version = importlib.import_module(module).__version__
    if sys.version_info >= (3, 12) and tuple(map(int, version.split(".")[:2])) < release:
        pytest.skip("%s %s waits for ever at its end, on stock asyncio too" % (module, version))


class Program:
    """A running example.  What it writes goes to files, whose contents are `output`, `errors`."""

    def __init__(self, directory, name, *arguments, options=("-W", "default::ResourceWarning")):
        self._files = [open(os.path.join(str(directory), stream), "w+")
                       for stream in ("stdout", "stderr")]
        command = [sys.executable, *options, os.path.join(EXAMPLES, name), *map(str, arguments)]
        environment = {name: value for name, value in os.environ.items() if name not in DEBUG}
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment,
                                        stdout=self._files[0], stderr=self._files[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        for file in self._files:
            file.close()

    @property
    def output(self):
        return self._read(0)

    @property
    def errors(self):
        return self._read(1)

    def _read(self, number):
        with open(self._files[number].name) as file:
            return file.read()

    def said(self, pattern):
        """Wait until the program has said what matches; the match."""
        while True:
            is_running = self.process.poll() is None
            match = re.search(pattern, self.output + "\n" + self.errors)
            if match is not None:
                return match
            assert is_running, (pattern, self.process.returncode, self.output, self.errors)
            time.sleep(0.01)

    @property
    def port(self):
        return int(self.said(r"(?:listening|running) on \S*:(\d+)\b")[1])

    def connect(self, context=None):
        """A peer on a blocking socket."""
        peer = connect_raw(("127.0.0.1", self.port), context, "localhost" if context else None)
        peer.handshake()
        return peer

    def wait(self):
        """The exit status, which is negative for a signal."""
        return self.process.wait()

    def end(self, number=signal.SIGTERM):
        """Send the signal; the exit status."""
        self.process.send_signal(number)
        return self.wait()


@contextlib.contextmanager
def blocking_server(converse, context=None):
    """A server with a thread for each client, which runs converse(socket); its port."""
    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.settimeout(PATIENCE)
            sock = self.request
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                if context is not None:
                    sock = context.wrap_socket(sock, server_side=True)
                with sock:
                    converse(sock)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
