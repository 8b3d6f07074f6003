# SPDX-License-Identifier: MIT
"""What start_tls() asks of a transport, and what streams need when it makes them a new one."""

import asyncio


def can_carry(transport):
    """Can TLS go over this transport?  asyncio's own say so, of others their methods do."""
    compatible = getattr(transport, "_start_tls_compatible", None)
    if compatible is not None:
        return compatible
    kind = type(transport)
    for base, name in (
        (asyncio.WriteTransport, "write"),
        (asyncio.ReadTransport, "resume_reading"),
        (asyncio.BaseTransport, "set_protocol"),
    ):
        if getattr(kind, name, getattr(base, name)) is getattr(base, name):
            return False
    return True


def _reader_of(protocol):
    if isinstance(protocol, asyncio.StreamReaderProtocol):
        return protocol._stream_reader
    return None


def get_received(protocol, server_side):
    """Return the bytes of the handshake that a server's StreamReader already holds.

    A client may have sent its ClientHello together with what made the server upgrade.  What a
    client's reader holds stays there, as in asyncio: no server speaks first in TLS, so it is
    plain text, and must not be mistaken for anything that was protected.
    """
    reader = _reader_of(protocol) if server_side else None
    return b"" if reader is None else bytes(reader._buffer)


def move_reader(protocol, old, new, received):
    """Make the StreamReader on `protocol` use the transport `new`, without `received`.

    To be done at once: data and the end of it may reach the reader before the code that waits
    for the handshake runs.
    """
    reader = _reader_of(protocol)
    if reader is None or reader._transport is not old:
        return
    reader._transport = new
    # The new transport reads, whatever the reader had asked of the old one.
    reader._paused = False
    # Or eof_received() would ask to keep one half open, which TLS cannot do.
    protocol._over_ssl = True
    del reader._buffer[: len(received)]


def move_writer(protocol, old, new):
    """Make a server's StreamWriter use the transport `new`, when the handshake is over.

    StreamWriter.start_tls() of Python 3.11 and newer does this; before, only a user could.  Later
    ones' protocol does not know its writer any more.
    """
    writer = getattr(protocol, "_stream_writer", None)
    if writer is not None and writer._transport is old:
        writer._transport = new
