# SPDX-License-Identifier: MIT
"""An ASGI application that puts its server, here uvicorn, on aiofastnet.

    python3 uvicorn_server.py --port 8000 [--tls CERTIFICATE KEY] [--loop uvloop]
    uvicorn --lifespan on uvicorn_server:application

An ASGI server runs the application's lifespan before it opens its port: what is done there works
with any server, any loop and any number of workers.  In Starlette and FastAPI the line belongs
into the function that is passed as `lifespan`.
"""
import argparse
import logging
import sys

import uvicorn

import aiofastnet

MAXIMUM = 16 << 20


async def application(scope, receive, send):
    await {"lifespan": live, "http": answer, "websocket": echo}[scope["type"]](receive, send)


async def live(receive, send):
    await receive()
    aiofastnet.patch_loop()  # all that a program has to add
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def answer(receive, send):
    """Send the body of the request back."""
    body, is_complete = bytearray(), False
    while not is_complete and len(body) <= MAXIMUM:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        is_complete = not message.get("more_body", False)
    status, body = (200, bytes(body)) if is_complete else (413, b"")
    await send({"type": "http.response.start", "status": status, "headers": [
        (b"content-type", b"application/octet-stream"),
        (b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


async def echo(receive, send):
    """Send each message of a WebSocket back."""
    message = await receive()
    while message["type"] != "websocket.disconnect":
        if message["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        else:
            await send({**message, "type": "websocket.send"})
        message = await receive()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 for any that is free")
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"), default=(None, None))
    parser.add_argument("--loop", default="auto", help="as uvicorn's: asyncio, uvloop or auto")
    parser.add_argument("--debug", action="store_true", help="tell about each connection")
    options = parser.parse_args()
    if options.debug:
        logger = logging.getLogger("aiofastnet")
        logger.addHandler(logging.StreamHandler(sys.stdout))
        logger.setLevel(logging.DEBUG)
    certificate, key = options.tls
    uvicorn.run(application, host=options.host, port=options.port, loop=options.loop,
                lifespan="on", ssl_certfile=certificate, ssl_keyfile=key)


if __name__ == "__main__":
    main()
