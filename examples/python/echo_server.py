# SPDX-License-Identifier: MIT
"""An echo server with an event loop in each of several threads.

    python3 echo_server.py --port 7000 [--threads 4] [--tls CERTIFICATE KEY] [--uvloop]

Each thread has a listening socket of its own for the one port (SO_REUSEPORT), among which the
kernel divides the clients.  That makes use of several processors on a free-threaded build of
Python; on any other, start several processes of this program, which divide the clients likewise.
"""
import argparse
import asyncio
import logging
import socket
import ssl

import aiofastnet
from loop_threads import run_in_threads


class Echo(asyncio.Protocol):
    def __init__(self, clients):
        self.clients = clients

    def connection_made(self, transport):
        self.transport = transport
        self.clients[transport] = asyncio.get_running_loop().create_future()

    def data_received(self, data):
        self.transport.write(data)

    # Of a client that does not read nothing is read, so that its echoes do not pile up here.
    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()

    def connection_lost(self, exc):
        self.clients.pop(self.transport).set_result(None)
        facts = self.transport.get_extra_info("aiofastnet")
        logging.info("%s: engine %s, %d bytes in, %d bytes out",
                     self.transport.get_extra_info("peername"), facts["engine"],
                     facts["bytes_received"], facts["bytes_sent"])


async def serve(listening, context, patience):
    loop = asyncio.get_running_loop()
    clients = {}
    server = await loop.create_server(lambda: Echo(clients), sock=listening, ssl=context)
    try:
        await loop.create_future()  # until this task is cancelled
    finally:
        server.close()
        for transport in clients:
            transport.close()  # when what is on its way has been sent
            loop.call_later(patience, transport.abort)
        if clients:
            await asyncio.wait(clients.values())


def listen(host, port, count):
    """As many listening sockets, all on the port of the first."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(count):
        listening = socket.create_server((host, port), family=family, reuse_port=True)
        port = listening.getsockname()[1]
        yield listening


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 for any that is free")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"))
    parser.add_argument("--uvloop", action="store_true", help="build on uvloop's loops")
    parser.add_argument("--patience", type=float, default=5,
                        help="seconds that clients have at the end to take their last bytes")
    options = parser.parse_args()
    base = context = None
    if options.uvloop:
        from uvloop import new_event_loop as base
    if options.tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*options.tls)
    logging.basicConfig(filename="/dev/stdout", level=logging.INFO,
                        format="%(threadName)s: %(message)s")
    sockets = list(listen(options.host, options.port, options.threads))
    logging.info("listening on %s:%d", options.host, sockets[0].getsockname()[1])
    run_in_threads([serve(listening, context, options.patience) for listening in sockets],
                   aiofastnet.loop_factory(base))


if __name__ == "__main__":
    main()
