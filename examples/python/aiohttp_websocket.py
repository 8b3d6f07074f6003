# SPDX-License-Identifier: MIT
"""An aiohttp WebSocket server that sends back what it gets, made faster by its event loop.

    python3 aiohttp_websocket.py --port 8000 [--tls CERTIFICATE KEY] [--uvloop] [--stock]

With --stock it runs without aiofastnet, for comparison.  The answer to the handshake says in its
header X-Transport what carries the connection.
"""
import argparse
import asyncio
import contextlib
import socket
import ssl
import weakref

from aiohttp import WSCloseCode, WSMsgType, web

import aiofastnet


class Echo:
    def __init__(self):
        self.websockets = weakref.WeakSet()

    async def handle(self, request):
        websocket = web.WebSocketResponse(max_msg_size=16 << 20)
        facts = request.get_extra_info("aiofastnet")
        websocket.headers["X-Transport"] = \
            "aiofastnet, engine " + facts["engine"] if facts else "the loop's own"
        await websocket.prepare(request)
        self.websockets.add(websocket)
        with contextlib.suppress(ConnectionError):  # the client may be gone when we answer
            async for message in websocket:
                if message.type == WSMsgType.TEXT:
                    await websocket.send_str(message.data)
                elif message.type == WSMsgType.BINARY:
                    await websocket.send_bytes(message.data)
        return websocket

    async def say_goodbye(self, application):
        await asyncio.gather(*[websocket.close(code=WSCloseCode.GOING_AWAY)
                               for websocket in list(self.websockets)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 for any that is free")
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"))
    parser.add_argument("--uvloop", action="store_true", help="build on a loop of uvloop")
    parser.add_argument("--stock", action="store_true", help="leave aiofastnet out")
    options = parser.parse_args()
    new_loop, context = asyncio.new_event_loop, None
    if options.uvloop:
        from uvloop import new_event_loop as new_loop
    if not options.stock:
        new_loop = aiofastnet.loop_factory(new_loop)
    if options.tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*options.tls)

    echo = Echo()
    application = web.Application()
    application.router.add_get("/", echo.handle)
    application.on_shutdown.append(echo.say_goodbye)
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listening = socket.create_server((options.host, options.port), family=family)
    print("listening on {}://{}:{}/".format("wss" if context else "ws", options.host,
                                            listening.getsockname()[1]), flush=True)
    web.run_app(application, sock=listening, ssl_context=context, loop=new_loop(), print=None)


if __name__ == "__main__":
    main()
