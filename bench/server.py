#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""An asyncio echo server as people write them, on the event loop that is named.

It prints its port, then answers each line on standard input with the processor time it has used
so far, and ends when standard input does.
"""
import argparse
import asyncio
import importlib
import json
import os
import resource
import ssl

KINDS = ("asyncio", "uvloop", "aiofastnet-asyncio", "aiofastnet-uvloop")


class Echo(asyncio.Protocol):
    # Shows bench/compare that it measures the transport it believes to measure.
    transport_type = None

    def connection_made(self, transport):
        self.transport = transport
        Echo.transport_type = type(transport)

    def data_received(self, data):
        self.transport.write(data)


def choose_protocol(module):
    """The class above; or that of the module, which cannot show its transport: the first one does.
    """
    if module is None:
        return Echo
    other = importlib.import_module(module).Echo

    class Derived(other):
        def connection_made(self, transport):
            Echo.transport_type = type(transport)
            super().connection_made(transport)

    return lambda: Derived() if Echo.transport_type is None else other()


def new_loop(kind):
    base = asyncio.new_event_loop
    if kind.endswith("uvloop"):
        import uvloop
        base = uvloop.new_event_loop
    if not kind.startswith("aiofastnet"):
        return base()
    import aiofastnet
    if base is asyncio.new_event_loop:
        factory = aiofastnet.loop_factory()
    else:
        factory = aiofastnet.loop_factory(base)
    return factory()


def tls_context(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    return context


def answer_command(loop):
    if not os.read(0, 64):
        loop.stop()
        return
    usage = resource.getrusage(resource.RUSAGE_SELF)
    kind = Echo.transport_type
    print(json.dumps({
        "user": usage.ru_utime,
        "system": usage.ru_stime,
        "transport": kind and "{}.{}".format(kind.__module__, kind.__qualname__),
    }), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"))
    parser.add_argument("--protocol", metavar="MODULE",
                        help="serve with the Echo of this module")
    args = parser.parse_args()

    loop = new_loop(args.kind)
    asyncio.set_event_loop(loop)
    context = tls_context(*args.tls) if args.tls else None
    server = loop.run_until_complete(
        loop.create_server(choose_protocol(args.protocol), "127.0.0.1", 0, ssl=context,
                           backlog=1024))
    print(server.sockets[0].getsockname()[1], flush=True)
    loop.add_reader(0, answer_command, loop)
    loop.run_forever()
    # No orderly end: what is still connected is the measuring program's, and it is gone.
    os._exit(0)


if __name__ == "__main__":
    main()
