# SPDX-License-Identifier: MIT
"""Serves the files below a directory over HTTPS, with aiohttp.

    python3 aiohttp_files.py --port 8443 --tls CERTIFICATE KEY [--uvloop] DIRECTORY

aiohttp sends files with loop.sendfile(), which with aiofastnet works over TLS too: the library
reads and encrypts them, or the kernel does where it can (set_ktls()), and no byte of them passes
through Python.  Each answer says in its header X-Transport which of the two it is.
"""
import argparse
import socket
import ssl

from aiohttp import web

import aiofastnet


async def describe(request, response):
    facts = request.get_extra_info("aiofastnet")
    if facts is not None:
        engine = "kernel" if request.get_extra_info("ktls_send_enabled") else facts["engine"]
        response.headers["X-Transport"] = "aiofastnet, engine " + engine


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 for any that is free")
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"), required=True)
    parser.add_argument("--uvloop", action="store_true", help="build on a loop of uvloop")
    parser.add_argument("directory")
    options = parser.parse_args()
    base = None
    if options.uvloop:
        from uvloop import new_event_loop as base
    new_loop = aiofastnet.loop_factory(base)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*options.tls)
    aiofastnet.set_ktls(context)

    application = web.Application()
    application.router.add_static("/", options.directory, show_index=True)
    application.on_response_prepare.append(describe)
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listening = socket.create_server((options.host, options.port), family=family)
    print("listening on https://{}:{}/".format(options.host, listening.getsockname()[1]),
          flush=True)
    web.run_app(application, sock=listening, ssl_context=context, loop=new_loop(), print=None)


if __name__ == "__main__":
    main()
