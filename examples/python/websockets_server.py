# SPDX-License-Identifier: MIT
"""A WebSocket server, with the package websockets, that sends back what it gets.

    python3 websockets_server.py --port 8000 [--tls CERTIFICATE KEY]
"""
import argparse
import asyncio
import contextlib
import signal
import ssl

import websockets

import aiofastnet


async def echo(websocket):
    with contextlib.suppress(websockets.ConnectionClosed):
        async for message in websocket:
            await websocket.send(message)
    transport = websocket.transport
    facts = transport.get_extra_info("aiofastnet")
    print("{}: engine {engine}, {bytes_received} bytes in, {bytes_sent} bytes out".format(
        transport.get_extra_info("peername"), **facts), flush=True)


async def serve(options, context):
    aiofastnet.patch_loop()  # all that a program has to add
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    async with websockets.serve(echo, options.host, options.port, ssl=context,
                                max_size=16 << 20) as server:
        print("listening on {}://{}:{}/".format("wss" if context else "ws", options.host,
                                                server.sockets[0].getsockname()[1]), flush=True)
        await stopping.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 for any that is free")
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"))
    options = parser.parse_args()
    context = None
    if options.tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*options.tls)
    asyncio.run(serve(options, context))


if __name__ == "__main__":
    main()
