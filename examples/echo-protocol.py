#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""An echo server whose protocol is compiled: echo-protocol.c, which says how."""
import argparse
import asyncio
import signal
import ssl

import aiofastnet

from echo_protocol import Echo


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int, nargs="?", default=7000)
    parser.add_argument("certificate", nargs="?", help="for TLS")
    parser.add_argument("key", nargs="?")
    parser.add_argument("--uvloop", action="store_true", help="on its loop")
    parser.add_argument("--stock", action="store_true", help="with the loop's own transports")
    return parser.parse_args()


async def serve(arguments):
    context = None
    if arguments.certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(arguments.certificate, arguments.key)
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    server = await loop.create_server(Echo, "127.0.0.1", arguments.port, ssl=context)
    print("listening on 127.0.0.1:%d" % server.sockets[0].getsockname()[1], flush=True)
    await stopped.wait()
    server.close()


def main():
    arguments = parse_arguments()
    base = asyncio.new_event_loop
    if arguments.uvloop:
        import uvloop
        base = uvloop.new_event_loop
    loop = base() if arguments.stock else aiofastnet.loop_factory(base)()
    try:
        loop.run_until_complete(serve(arguments))
    finally:
        loop.close()


if __name__ == "__main__":
    main()
