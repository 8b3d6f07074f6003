# SPDX-License-Identifier: MIT
"""What aiofastnet.info() says.  Imported when somebody asks."""

import os
import platform
import socket
import struct

from . import _core

try:
    import _ssl
    import ssl
except ImportError:
    _ssl = ssl = None

# Of linux/tcp.h, linux/socket.h and linux/tls.h.
_TCP_ULP = 31
_SOL_TLS = 282
_TLS_TX = 1
_TLS_1_3 = 0x0304
# The number of each cipher, and how long its structure is behind the version and the number.
_CIPHERS = {
    "AES-128-GCM": (51, 8 + 16 + 4 + 8),
    "AES-256-GCM": (52, 8 + 32 + 4 + 8),
    "AES-128-CCM": (53, 8 + 16 + 4 + 8),
    "CHACHA20-POLY1305": (54, 12 + 32 + 8),
}


def collect():
    facts = _core.info()
    facts.update(_ask_python())
    facts.update(_ask_kernel())
    return facts


def _ask_python():
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "python_libssl": ssl.OPENSSL_VERSION if ssl else None,
        "python_libssl_path": _find_libssl_of_python() if ssl else None,
        "uvloop": _find_uvloop(),
    }


def _find_libssl_of_python():
    """Where the OpenSSL of the module ssl is: a library, or the file that it was linked into."""
    path = getattr(_ssl, "__file__", None)
    return _core.find_libssl(path) or path


def _find_uvloop():
    """The version of uvloop, or None where there is none, or none for this Python."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.__version__


def _ask_kernel():
    facts = {"kernel": os.uname().release, "ktls_kernel": False, "ktls_reason": None,
             "ktls_ciphers": []}
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            _try_ktls(server.getsockname())
            facts["ktls_kernel"] = True
            facts["ktls_ciphers"] = [name for name in _CIPHERS
                                     if _takes_cipher(server.getsockname(), *_CIPHERS[name])]
    except OSError as error:
        facts["ktls_reason"] = _explain(error)
    return facts


def _explain(error):
    if isinstance(error, FileNotFoundError):
        return "the kernel has no module tls, or may not load it"
    return f"the kernel says: {error.strerror or error}"


def _connect(address):
    return socket.create_connection(address)


def _try_ktls(address, setting=None):
    """Make the kernel's TLS part of a connection, as OpenSSL would; /sys/module proves nothing."""
    with _connect(address) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_ULP, b"tls")
        if setting is not None:
            sock.setsockopt(_SOL_TLS, _TLS_TX, setting)


def _takes_cipher(address, number, length):
    """Does the kernel encrypt TLS 1.3 with this cipher?"""
    try:
        _try_ktls(address, struct.pack("=HH", _TLS_1_3, number) + bytes(length))
    except OSError:
        return False
    return True
