# SPDX-License-Identifier: MIT
"""An aiohttp HTTPS server on stock asyncio, and the same server on aiofastnet, side by side.

Two server processes share one processor and run the same program; they differ in the event loop
that it is given.  This process is the client: it drives them in turn, over connections that stay
open, and compares every answer with what it must be.
"""
import argparse
import asyncio
import base64
import hashlib
import json
import os
import resource
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

FILE_SIZE = 1 << 20
MESSAGE_SIZE = 256
IMPLEMENTATIONS = ("stock asyncio", "aiofastnet")


# ---- The server ---------------------------------------------------------------------------------

def serve(implementation, directory):
    from aiohttp import web

    async def file(request):
        return web.FileResponse(os.path.join(directory, "file"))

    async def echo(request):
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        async for message in websocket:
            await websocket.send_bytes(message.data)
        return websocket

    async def usage(request):
        used = resource.getrusage(resource.RUSAGE_SELF)
        kind = type(request.transport)
        return web.json_response({"seconds": used.ru_utime + used.ru_stime,
                                  "transport": kind.__module__ + "." + kind.__qualname__})

    # All that a program has to change:
    if implementation == "aiofastnet":
        import aiofastnet
        make_loop = aiofastnet.loop_factory()
    else:
        make_loop = asyncio.new_event_loop

    application = web.Application()
    application.add_routes([web.get("/file", file), web.get("/echo", echo),
                            web.get("/usage", usage)])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(directory, "cert"), os.path.join(directory, "key"))
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listening.getsockname()[1], flush=True)
    web.run_app(application, sock=listening, ssl_context=context, loop=make_loop(), print=None,
                access_log=None)


# ---- The client ---------------------------------------------------------------------------------

class WrongAnswer(Exception):
    pass


class Connection:
    """A blocking HTTPS connection; what it waits for, others of this process need not."""

    def __init__(self, port, context):
        plain = socket.create_connection(("127.0.0.1", port), timeout=20)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(plain, server_hostname="localhost")
        self.buffer = bytearray(FILE_SIZE + 4096)

    def request(self, path, *headers):
        lines = ["GET {} HTTP/1.1".format(path), "Host: localhost"] + list(headers)
        self.socket.sendall("\r\n".join(lines + ["", ""]).encode())
        filled = 0
        while True:
            filled += self.receive(filled)
            end = self.buffer.find(b"\r\n\r\n", 0, filled)
            if end >= 0:
                break
        head = bytes(self.buffer[:end]).decode("latin-1").split("\r\n")
        names = {name.lower(): value.strip()
                 for name, _, value in (line.partition(":") for line in head[1:])}
        return head[0].split(" ")[1], names, end + 4, filled

    def receive(self, filled):
        count = self.socket.recv_into(memoryview(self.buffer)[filled:])
        if count == 0:
            raise WrongAnswer("the server closed the connection")
        return count

    def get(self, path):
        """The body, as a view that the next call overwrites."""
        status, headers, start, filled = self.request(path)
        if status != "200":
            raise WrongAnswer("{} was answered with {}".format(path, status))
        end = start + int(headers["content-length"])
        while filled < end:
            filled += self.receive(filled)
        return memoryview(self.buffer)[start:end]

    def close(self):
        self.socket.close()


class Download(Connection):
    title = "GET of a 1 MiB file"
    connections = 4

    def __init__(self, port, context, digest):
        super().__init__(port, context)
        self.digest = digest

    def once(self):
        if hashlib.sha256(self.get("/file")).hexdigest() != self.digest:
            raise WrongAnswer("the file arrived changed")


class Echo(Connection):
    title = "WebSocket echo of {} B".format(MESSAGE_SIZE)
    connections = 16

    def __init__(self, port, context, digest):
        super().__init__(port, context)
        key = base64.b64encode(os.urandom(16)).decode()
        status, _, start, filled = self.request(
            "/echo", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: " + key)
        if status != "101" or filled != start:
            raise WrongAnswer("the upgrade was answered with " + status)
        payload = os.urandom(MESSAGE_SIZE)
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        length = MESSAGE_SIZE.to_bytes(2, "big")
        self.frame = b"\x82\xfe" + length + mask + masked
        self.expected = b"\x82\x7e" + length + payload

    def once(self):
        self.socket.sendall(self.frame)
        filled = 0
        while filled < len(self.expected):
            filled += self.receive(filled)
        if self.buffer[:filled] != self.expected:
            raise WrongAnswer("the echo is not what was sent")


class Server:
    def __init__(self, implementation, directory, cpu):
        self.implementation = implementation
        self.process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), "--serve", implementation, directory],
            stdout=subprocess.PIPE, preexec_fn=lambda: pin(cpu))
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("The server on {} did not start.".format(implementation))
        self.port = int(line)
        self.connections = []

    def print_transport(self, context):
        self.control = Connection(self.port, context)
        print("On {} its connections are {}.".format(
            self.implementation, self.usage()["transport"]))
        self.control.close()

    def connect(self, kind, context, digest):
        self.control = Connection(self.port, context)
        self.connections = [kind(self.port, context, digest) for _ in range(kind.connections)]

    def disconnect(self):
        for connection in self.connections + [self.control]:
            connection.close()

    def usage(self):
        return json.loads(bytes(self.control.get("/usage")))

    def drive(self, seconds):
        """Requests in a second and the server's processor time for one, in microseconds."""
        counts = []
        errors = []

        def repeat(connection):
            count = 0
            try:
                while time.monotonic() < end:
                    connection.once()
                    count += 1
            except Exception as error:
                errors.append(error)
            counts.append(count)

        before = self.usage()["seconds"]
        start = time.monotonic()
        end = start + seconds
        threads = [threading.Thread(target=repeat, args=(connection,))
                   for connection in self.connections]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        elapsed = time.monotonic() - start
        if errors:
            raise errors[0]
        return sum(counts) / elapsed, (self.usage()["seconds"] - before) * 1e6 / sum(counts)

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def pin(cpu):
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})


def make_files(directory):
    content = os.urandom(FILE_SIZE)
    with open(os.path.join(directory, "file"), "wb") as file:
        file.write(content)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost", "-keyout", os.path.join(directory, "key"),
         "-out", os.path.join(directory, "cert")],
        check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return hashlib.sha256(content).hexdigest()


def compare(kind, servers, context, digest, rounds, seconds):
    """A list of (requests in a second, microseconds for one) for each implementation."""
    for server in servers:
        server.connect(kind, context, digest)
    figures = {server.implementation: [] for server in servers}
    for number in range(rounds):
        print("  {}, {} connections: round {} of {}".format(
            kind.title, kind.connections, number + 1, rounds), flush=True)
        for server in servers:
            figures[server.implementation].append(server.drive(seconds))
    for server in servers:
        server.disconnect()
    return figures


def print_table(results):
    print("\n{:<48} {:>14} {:>11} {:>7}".format("", *IMPLEMENTATIONS, "ratio"))
    for kind, figures in results:
        rates, costs = (
            [statistics.median(sample[index] for sample in figures[name])
             for name in IMPLEMENTATIONS] for index in (0, 1))
        print("{:<48} {:>14.0f} {:>11.0f} {:>6.2f}x".format(
            kind.title + ": requests/s", *rates, rates[1] / rates[0]))
        print("{:<48} {:>11.0f} us {:>8.0f} us {:>6.2f}x".format(
            " " * len(kind.title) + "  server's CPU a request", *costs, costs[1] / costs[0]))
    print()


def run(rounds, seconds):
    import aiofastnet
    import aiohttp

    cpus = sorted(os.sched_getaffinity(0))
    server_cpu, client_cpu = (cpus[0], cpus[1]) if len(cpus) > 1 else (None, None)
    facts = aiofastnet.info()
    print("An aiohttp {} server over HTTPS on Python {}; {}; TLS engine: {}.".format(
        aiohttp.__version__, sys.version.split()[0], facts["libssl"], facts["engine"]))
    servers = []
    with tempfile.TemporaryDirectory(prefix="aiofastnet-demo-") as directory:
        digest = make_files(directory)
        context = ssl.create_default_context(cafile=os.path.join(directory, "cert"))
        try:
            for implementation in IMPLEMENTATIONS:
                servers.append(Server(implementation, directory, server_cpu))
            pin(client_cpu)
            for server in servers:
                server.print_transport(context)
            results = [(kind, compare(kind, servers, context, digest, rounds, seconds))
                       for kind in (Download, Echo)]
        finally:
            for server in servers:
                server.stop()
    print_table(results)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5, help="for each server in each round")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(*options.serve)
    else:
        run(options.rounds, options.seconds)


if __name__ == "__main__":
    main()
