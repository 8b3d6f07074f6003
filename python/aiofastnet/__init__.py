# SPDX-License-Identifier: MIT
"""asyncio's transport layer on libaiofastnet.

Two ways to use it.  Switch a whole program, with a loop that makes its connections here:

    asyncio.run(main(), loop_factory=aiofastnet.loop_factory())     # Python 3.12 and newer
    aiofastnet.install_policy()                                     # before 3.12
    aiofastnet.patch_loop()                                         # inside a running program

or make single connections here, on any loop, with the functions of this package: they are called
as the loop's methods and asyncio's stream functions are, with the loop as their first argument.
"""

from . import _core
from ._api import (
    connect_accepted_socket,
    connect_read_pipe,
    connect_write_pipe,
    create_connection,
    create_datagram_endpoint,
    create_server,
    create_unix_connection,
    create_unix_server,
    sendfile,
    start_tls,
)
from ._factory import install_policy, loop_factory
from ._ktls import set_ktls
from ._patch import patch_loop
from ._sock import (
    sock_accept,
    sock_connect,
    sock_recv,
    sock_recv_into,
    sock_recvfrom,
    sock_recvfrom_into,
    sock_sendall,
    sock_sendto,
)
from ._streams import (
    open_connection,
    open_unix_connection,
    start_server,
    start_unix_server,
)

__all__ = (
    "connect_accepted_socket",
    "connect_read_pipe",
    "connect_write_pipe",
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "info",
    "install_policy",
    "loop_factory",
    "open_connection",
    "open_unix_connection",
    "patch_loop",
    "sendfile",
    "set_ktls",
    "sock_accept",
    "sock_connect",
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_recvfrom_into",
    "sock_sendall",
    "sock_sendto",
    "start_server",
    "start_tls",
    "start_unix_server",
)


__version__ = _core.__version__


def info():
    """Return a dict that says which versions, TLS engine and OpenSSL are in use, and why.

    It is found out at each call, and takes a while: the kernel is asked over TCP connections of
    the process to itself, uvloop may be imported.
    """
    from ._info import collect
    return collect()
