# SPDX-License-Identifier: MIT
"""An echo server for one connection: echo_server.py IMPLEMENTATION KIND PATH CERTIFICATE KEY."""
import asyncio
import os
import ssl
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from support.env import KTLS, make_loop, want_ktls


class Echo(asyncio.Protocol):
    def __init__(self, done):
        self.done = done

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

    def connection_lost(self, exc):
        self.done.set_result(None)


def make_context(kind, certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if kind in KTLS:
        want_ktls(context)
    return context


async def main(loop, kind, path, certificate, key):
    done = loop.create_future()
    if kind == "unix":
        server = await loop.create_unix_server(lambda: Echo(done), path)
        print(path, flush=True)
    else:
        context = None if kind == "tcp" else make_context(kind, certificate, key)
        server = await loop.create_server(lambda: Echo(done), "127.0.0.1", 0, ssl=context)
        print(server.sockets[0].getsockname()[1], flush=True)
    await done
    server.close()


if __name__ == "__main__":
    loop = make_loop(sys.argv[1])
    loop.run_until_complete(main(loop, *sys.argv[2:]))
    loop.close()
