# SPDX-License-Identifier: MIT
"""Uses the library frames.py, as a server or as a client, on asyncio's loop or a switched one.

    python3 frames_program.py --port 7000 [--tls CERTIFICATE KEY] [--patch]
    python3 frames_program.py --port 7000 [--ca CERTIFICATES] [--patch] hello world

The server answers with the upper case of what comes.  The client sends its words, and prints the
answers.  Both say what carries their connections, which is the same with and without --patch.
"""
import argparse
import asyncio
import signal
import ssl

import frames


def describe(connection):
    facts = connection.transport.get_extra_info("aiofastnet")
    return "carried by " + ("aiofastnet, engine " + facts["engine"] if facts else "asyncio")


async def serve(options):
    context = None
    if options.tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*options.tls)
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with frames.serve(bytes.upper, options.host, options.port, ssl=context) as server:
        print("listening on {}:{}".format(options.host, server.sockets[0].getsockname()[1]),
              flush=True)
        await stopping.wait()


async def call(options):
    context = ssl.create_default_context(cafile=options.ca) if options.ca else None
    client = await frames.connect(options.host, options.port, ssl=context)
    try:
        for answer in await asyncio.gather(*[client.call(word.encode()) for word in options.words]):
            print(answer.decode())
        print(describe(client))
    finally:
        await client.close()


async def run(options):
    if options.patch:
        import aiofastnet
        aiofastnet.patch_loop()
    await (call(options) if options.words else serve(options))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 for any that is free")
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"), help="of the server")
    parser.add_argument("--ca", metavar="CERTIFICATES", help="that the client trusts, for TLS")
    parser.add_argument("--patch", action="store_true", help="switch the program's loop")
    parser.add_argument("words", nargs="*", help="that the client sends")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
