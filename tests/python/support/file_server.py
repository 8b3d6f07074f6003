# SPDX-License-Identifier: MIT
"""Sends a file: file_server.py IMPLEMENTATION KIND WAY FILE CERTIFICATE KEY, until input ends.

WAY is `sendfile`, to whoever connects, or `aiohttp`, as a FileResponse.
"""
import asyncio
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from support.echo_server import make_context
from support.env import make_loop


class Sender(asyncio.Protocol):
    def __init__(self, loop, path):
        self.loop = loop
        self.path = path

    def connection_made(self, transport):
        self.task = self.loop.create_task(self.send(transport))

    async def send(self, transport):
        with open(self.path, "rb") as file:
            await self.loop.sendfile(transport, file)
        transport.close()


async def start_sender(loop, path, context):
    server = await loop.create_server(lambda: Sender(loop, path), "127.0.0.1", 0, ssl=context)
    return server.sockets[0].getsockname()[1], server


async def start_aiohttp(loop, path, context):
    from aiohttp import web

    async def respond(request):
        return web.FileResponse(path)

    application = web.Application()
    application.router.add_get("/", respond)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    return runner.addresses[0][1], runner


async def main(loop, kind, way, path, *files):
    start = start_aiohttp if way == "aiohttp" else start_sender
    port, server = await start(loop, path, make_context(kind, *files))
    print(port, flush=True)
    ended = loop.create_future()
    loop.add_reader(0, ended.set_result, None)
    await ended
    loop.remove_reader(0)
    server.close() if way == "sendfile" else await server.cleanup()


if __name__ == "__main__":
    loop = make_loop(sys.argv[1])
    asyncio.set_event_loop(loop)
    loop.run_until_complete(main(loop, *sys.argv[2:]))
    loop.close()
