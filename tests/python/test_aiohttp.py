# SPDX-License-Identifier: MIT
"""aiohttp, client and server, on our transports."""
import asyncio
import hashlib

import pytest

try:
    # The distribution's aiohttp serves one Python; others run it without its C modules, or fail.
    import aiohttp
    from aiohttp import web
except Exception:
    pytest.skip("no aiohttp for this Python", allow_module_level=True)

from support.protocols import turns

pytestmark = [pytest.mark.kinds("tcp", "tls13", "pyengine", "ktls12", "ktls13"),
              pytest.mark.filterwarnings("ignore::DeprecationWarning")]

BODY = bytes(range(256)) * 16384


async def websocket(request):
    socket = web.WebSocketResponse(max_msg_size=0)
    await socket.prepare(request)
    async for message in socket:
        if message.type == aiohttp.WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


async def upload(request):
    digest = hashlib.sha256()
    async for block in request.content.iter_any():
        digest.update(block)
    return web.Response(text=digest.hexdigest())


def application(path):
    async def send_file(request):
        return web.FileResponse(path)

    async def body(request):
        return web.Response(body=BODY)

    app = web.Application(client_max_size=0)
    app.add_routes([web.get("/body", body), web.get("/file", send_file),
                    web.get("/ws", websocket), web.post("/upload", upload)])
    return app


class Site:
    """A running aiohttp server and a client session for it."""

    def __init__(self, env, path):
        self.env = env
        self.path = path

    async def __aenter__(self):
        self.runner = web.AppRunner(application(self.path))
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0, ssl_context=self.env.server_context())
        await site.start()
        port = self.runner.addresses[0][1]
        scheme = "https" if self.env.is_tls else "http"
        self.url = "%s://127.0.0.1:%d" % (scheme, port)
        connector = aiohttp.TCPConnector(ssl=self.env.client_context() or False,
                                         family=2)
        self.session = aiohttp.ClientSession(connector=connector)
        return self

    async def __aexit__(self, *_):
        await self.session.close()
        await self.runner.cleanup()
        # A handler whose client has all it wanted may still be closing its file in a thread.
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others)
        await turns(50)


def run(env, path, body):
    async def main():
        async with Site(env, path) as site:
            await body(site.session, site.url)

    env.check_references = False        # aiohttp keeps objects in cycles of its own
    env.run(main())


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(BODY)
    return path


def test_downloads(env, path):
    """T32: large bodies from memory and from a file, several at once."""
    async def body(session, url):
        async def fetch(name):
            async with session.get(url + name) as response:
                assert response.status == 200
                assert await response.read() == BODY

        await asyncio.gather(*[fetch(name) for name in ("/body", "/file") * 4])

    run(env, path, body)


def test_uploads(env, path):
    """A streamed request body, compared by SHA-256."""
    async def body(session, url):
        async def blocks():
            for start in range(0, len(BODY), 100000):
                yield BODY[start:start + 100000]

        async with session.post(url + "/upload", data=blocks()) as response:
            assert await response.text() == hashlib.sha256(BODY).hexdigest()

    run(env, path, body)


def test_websocket_echo(env, path):
    """Small and large messages, then an orderly end."""
    async def body(session, url):
        async with session.ws_connect(url + "/ws", max_msg_size=0) as socket:
            for size in (0, 1, 125, 126, 65535, 65536, 3000000):
                await socket.send_bytes(BODY[:size])
                assert await socket.receive_bytes() == BODY[:size]
            await socket.close()
            assert socket.close_code == 1000

    run(env, path, body)


def test_many_requests_on_one_connection(env, path):
    """Keep-alive: two hundred small requests."""
    async def body(session, url):
        for _ in range(200):
            async with session.get(url + "/nothing") as response:
                assert response.status == 404
                await response.read()

    run(env, path, body)
