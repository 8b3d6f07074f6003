# SPDX-License-Identifier: MIT
import sys
from asyncio import (
    AbstractEventLoop,
    AbstractEventLoopPolicy,
    BaseProtocol,
    BaseTransport,
    DatagramTransport,
    ReadTransport,
    Server,
    StreamReader,
    StreamWriter,
    Transport,
    WriteTransport,
)
from collections.abc import Awaitable, Callable, Sequence
from os import PathLike
from socket import socket
from ssl import SSLContext, SSLSession
from typing import IO, Any, Optional, TypedDict, TypeVar, Union, overload

from _typeshed import ReadableBuffer, WriteableBuffer
from typing_extensions import Literal, TypeAlias

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

__version__: str

_Protocol = TypeVar("_Protocol", bound=BaseProtocol)
_Loop = TypeVar("_Loop", bound=AbstractEventLoop)
_ClientSSL: TypeAlias = Union[bool, None, SSLContext]
_Host: TypeAlias = Optional[Union[str, bytes]]
_Port: TypeAlias = Optional[Union[int, str, bytes]]
_ServerHosts: TypeAlias = Optional[Union[str, Sequence[str]]]
_Path: TypeAlias = Union[str, bytes, PathLike[str], PathLike[bytes]]
_LocalAddress: TypeAlias = Optional[tuple[str, int]]
_DatagramAddress: TypeAlias = Optional[Union[tuple[str, int], str]]
_ClientConnected: TypeAlias = Callable[[StreamReader, StreamWriter], Optional[Awaitable[None]]]

class _Info(TypedDict):
    version: str
    library_version: str
    library_path: Optional[str]
    engine: Literal["openssl", "python"]
    reason: Optional[str]
    libssl: str
    libssl_path: Optional[str]
    python: str
    python_libssl: Optional[str]
    python_libssl_path: Optional[str]
    uvloop: Optional[str]
    kernel: str
    ktls_compiled: bool
    ktls_kernel: bool
    ktls_reason: Optional[str]
    ktls_ciphers: list[str]

def info() -> _Info: ...

# Loops and policies.

@overload
def patch_loop(loop: None = ...) -> AbstractEventLoop: ...
@overload
def patch_loop(loop: _Loop) -> _Loop: ...
@overload
def loop_factory(base: None = ...) -> Callable[[], AbstractEventLoop]: ...
@overload
def loop_factory(base: Callable[[], _Loop]) -> Callable[[], _Loop]: ...
def install_policy(
    base: Union[AbstractEventLoopPolicy, Callable[[], AbstractEventLoop], None] = ...,
) -> None: ...

def set_ktls(context: SSLContext, send: bool = ..., receive: bool = ...) -> None: ...

# The loop's methods as functions.

if sys.version_info >= (3, 12):
    async def create_connection(
        loop: AbstractEventLoop,
        protocol_factory: Callable[[], _Protocol],
        host: _Host = ...,
        port: _Port = ...,
        *,
        ssl: _ClientSSL = ...,
        family: int = ...,
        proto: int = ...,
        flags: int = ...,
        sock: Optional[socket] = ...,
        local_addr: _LocalAddress = ...,
        server_hostname: Optional[str] = ...,
        ssl_handshake_timeout: Optional[float] = ...,
        ssl_shutdown_timeout: Optional[float] = ...,
        happy_eyeballs_delay: Optional[float] = ...,
        interleave: Optional[int] = ...,
        all_errors: bool = ...,
        ssl_session: Optional[SSLSession] = ...,
    ) -> tuple[Transport, _Protocol]: ...

elif sys.version_info >= (3, 11):
    async def create_connection(
        loop: AbstractEventLoop,
        protocol_factory: Callable[[], _Protocol],
        host: _Host = ...,
        port: _Port = ...,
        *,
        ssl: _ClientSSL = ...,
        family: int = ...,
        proto: int = ...,
        flags: int = ...,
        sock: Optional[socket] = ...,
        local_addr: _LocalAddress = ...,
        server_hostname: Optional[str] = ...,
        ssl_handshake_timeout: Optional[float] = ...,
        ssl_shutdown_timeout: Optional[float] = ...,
        happy_eyeballs_delay: Optional[float] = ...,
        interleave: Optional[int] = ...,
        ssl_session: Optional[SSLSession] = ...,
    ) -> tuple[Transport, _Protocol]: ...

else:
    async def create_connection(
        loop: AbstractEventLoop,
        protocol_factory: Callable[[], _Protocol],
        host: _Host = ...,
        port: _Port = ...,
        *,
        ssl: _ClientSSL = ...,
        family: int = ...,
        proto: int = ...,
        flags: int = ...,
        sock: Optional[socket] = ...,
        local_addr: _LocalAddress = ...,
        server_hostname: Optional[str] = ...,
        ssl_handshake_timeout: Optional[float] = ...,
        happy_eyeballs_delay: Optional[float] = ...,
        interleave: Optional[int] = ...,
        ssl_session: Optional[SSLSession] = ...,
    ) -> tuple[Transport, _Protocol]: ...

if sys.version_info >= (3, 11):
    async def create_datagram_endpoint(
        loop: AbstractEventLoop,
        protocol_factory: Callable[[], _Protocol],
        local_addr: _DatagramAddress = ...,
        remote_addr: _DatagramAddress = ...,
        *,
        family: int = ...,
        proto: int = ...,
        flags: int = ...,
        reuse_port: Optional[bool] = ...,
        allow_broadcast: Optional[bool] = ...,
        sock: Optional[socket] = ...,
    ) -> tuple[DatagramTransport, _Protocol]: ...

else:
    async def create_datagram_endpoint(
        loop: AbstractEventLoop,
        protocol_factory: Callable[[], _Protocol],
        local_addr: _DatagramAddress = ...,
        remote_addr: _DatagramAddress = ...,
        *,
        family: int = ...,
        proto: int = ...,
        flags: int = ...,
        reuse_address: Optional[bool] = ...,
        reuse_port: Optional[bool] = ...,
        allow_broadcast: Optional[bool] = ...,
        sock: Optional[socket] = ...,
    ) -> tuple[DatagramTransport, _Protocol]: ...

if sys.version_info >= (3, 13):
    async def create_server(
        loop: AbstractEventLoop,
        protocol_factory: Callable[[], BaseProtocol],
        host: _ServerHosts = ...,
        port: Optional[int] = ...,
        *,
        family: int = ...,
        flags: int = ...,
        sock: Optional[socket] = ...,
        backlog: int = ...,
        ssl: Optional[SSLContext] = ...,
        reuse_address: Optional[bool] = ...,
        reuse_port: Optional[bool] = ...,
        keep_alive: Optional[bool] = ...,
        ssl_handshake_timeout: Optional[float] = ...,
        ssl_shutdown_timeout: Optional[float] = ...,
        start_serving: bool = ...,
    ) -> Server: ...
    async def create_unix_server(
        loop: AbstractEventLoop,
        protocol_factory: Callable[[], BaseProtocol],
        path: Optional[_Path] = ...,
        *,
        sock: Optional[socket] = ...,
        backlog: int = ...,
        ssl: Optional[SSLContext] = ...,
        ssl_handshake_timeout: Optional[float] = ...,
        ssl_shutdown_timeout: Optional[float] = ...,
        start_serving: bool = ...,
        cleanup_socket: bool = ...,
    ) -> Server: ...

elif sys.version_info >= (3, 11):
    async def create_server(
        loop: AbstractEventLoop,
        protocol_factory: Callable[[], BaseProtocol],
        host: _ServerHosts = ...,
        port: Optional[int] = ...,
        *,
        family: int = ...,
        flags: int = ...,
        sock: Optional[socket] = ...,
        backlog: int = ...,
        ssl: Optional[SSLContext] = ...,
        reuse_address: Optional[bool] = ...,
        reuse_port: Optional[bool] = ...,
        ssl_handshake_timeout: Optional[float] = ...,
        ssl_shutdown_timeout: Optional[float] = ...,
        start_serving: bool = ...,
    ) -> Server: ...
    async def create_unix_server(
        loop: AbstractEventLoop,
        protocol_factory: Callable[[], BaseProtocol],
        path: Optional[_Path] = ...,
        *,
        sock: Optional[socket] = ...,
        backlog: int = ...,
        ssl: Optional[SSLContext] = ...,
        ssl_handshake_timeout: Optional[float] = ...,
        ssl_shutdown_timeout: Optional[float] = ...,
        start_serving: bool = ...,
    ) -> Server: ...

else:
    async def create_server(
        loop: AbstractEventLoop,
        protocol_factory: Callable[[], BaseProtocol],
        host: _ServerHosts = ...,
        port: Optional[int] = ...,
        *,
        family: int = ...,
        flags: int = ...,
        sock: Optional[socket] = ...,
        backlog: int = ...,
        ssl: Optional[SSLContext] = ...,
        reuse_address: Optional[bool] = ...,
        reuse_port: Optional[bool] = ...,
        ssl_handshake_timeout: Optional[float] = ...,
        start_serving: bool = ...,
    ) -> Server: ...
    async def create_unix_server(
        loop: AbstractEventLoop,
        protocol_factory: Callable[[], BaseProtocol],
        path: Optional[_Path] = ...,
        *,
        sock: Optional[socket] = ...,
        backlog: int = ...,
        ssl: Optional[SSLContext] = ...,
        ssl_handshake_timeout: Optional[float] = ...,
        start_serving: bool = ...,
    ) -> Server: ...

if sys.version_info >= (3, 11):
    async def create_unix_connection(
        loop: AbstractEventLoop,
        protocol_factory: Callable[[], _Protocol],
        path: Optional[_Path] = ...,
        *,
        ssl: _ClientSSL = ...,
        sock: Optional[socket] = ...,
        server_hostname: Optional[str] = ...,
        ssl_handshake_timeout: Optional[float] = ...,
        ssl_shutdown_timeout: Optional[float] = ...,
        ssl_session: Optional[SSLSession] = ...,
    ) -> tuple[Transport, _Protocol]: ...
    async def connect_accepted_socket(
        loop: AbstractEventLoop,
        protocol_factory: Callable[[], _Protocol],
        sock: socket,
        *,
        ssl: Optional[SSLContext] = ...,
        ssl_handshake_timeout: Optional[float] = ...,
        ssl_shutdown_timeout: Optional[float] = ...,
    ) -> tuple[Transport, _Protocol]: ...
    async def start_tls(
        loop: AbstractEventLoop,
        transport: BaseTransport,
        protocol: BaseProtocol,
        sslcontext: SSLContext,
        *,
        server_side: bool = ...,
        server_hostname: Optional[str] = ...,
        ssl_handshake_timeout: Optional[float] = ...,
        ssl_shutdown_timeout: Optional[float] = ...,
        ssl_session: Optional[SSLSession] = ...,
    ) -> Transport: ...

else:
    async def create_unix_connection(
        loop: AbstractEventLoop,
        protocol_factory: Callable[[], _Protocol],
        path: Optional[_Path] = ...,
        *,
        ssl: _ClientSSL = ...,
        sock: Optional[socket] = ...,
        server_hostname: Optional[str] = ...,
        ssl_handshake_timeout: Optional[float] = ...,
        ssl_session: Optional[SSLSession] = ...,
    ) -> tuple[Transport, _Protocol]: ...
    async def connect_accepted_socket(
        loop: AbstractEventLoop,
        protocol_factory: Callable[[], _Protocol],
        sock: socket,
        *,
        ssl: Optional[SSLContext] = ...,
        ssl_handshake_timeout: Optional[float] = ...,
    ) -> tuple[Transport, _Protocol]: ...
    async def start_tls(
        loop: AbstractEventLoop,
        transport: BaseTransport,
        protocol: BaseProtocol,
        sslcontext: SSLContext,
        *,
        server_side: bool = ...,
        server_hostname: Optional[str] = ...,
        ssl_handshake_timeout: Optional[float] = ...,
        ssl_session: Optional[SSLSession] = ...,
    ) -> Transport: ...

async def connect_read_pipe(
    loop: AbstractEventLoop,
    protocol_factory: Callable[[], _Protocol],
    pipe: Any,
) -> tuple[ReadTransport, _Protocol]: ...
async def connect_write_pipe(
    loop: AbstractEventLoop,
    protocol_factory: Callable[[], _Protocol],
    pipe: Any,
) -> tuple[WriteTransport, _Protocol]: ...
async def sendfile(
    loop: AbstractEventLoop,
    transport: BaseTransport,
    file: IO[bytes],
    offset: int = ...,
    count: Optional[int] = ...,
    *,
    fallback: bool = ...,
) -> int: ...

async def sock_accept(loop: AbstractEventLoop, sock: socket) -> tuple[socket, Any]: ...
async def sock_connect(loop: AbstractEventLoop, sock: socket, address: Any) -> None: ...
async def sock_recv(loop: AbstractEventLoop, sock: socket, n: int) -> bytes: ...
async def sock_recv_into(loop: AbstractEventLoop, sock: socket, buf: WriteableBuffer) -> int: ...
async def sock_recvfrom(
    loop: AbstractEventLoop, sock: socket, bufsize: int
) -> tuple[bytes, Any]: ...
async def sock_recvfrom_into(
    loop: AbstractEventLoop, sock: socket, buf: WriteableBuffer, nbytes: int = ...
) -> tuple[int, Any]: ...
async def sock_sendall(loop: AbstractEventLoop, sock: socket, data: ReadableBuffer) -> None: ...
async def sock_sendto(
    loop: AbstractEventLoop, sock: socket, data: ReadableBuffer, address: Any
) -> int: ...

# asyncio's stream functions.  Further keywords are those of the loop's method.

async def open_connection(
    loop: AbstractEventLoop,
    host: _Host = ...,
    port: _Port = ...,
    *,
    limit: int = ...,
    **kwds: Any,
) -> tuple[StreamReader, StreamWriter]: ...
async def open_unix_connection(
    loop: AbstractEventLoop,
    path: Optional[_Path] = ...,
    *,
    limit: int = ...,
    **kwds: Any,
) -> tuple[StreamReader, StreamWriter]: ...
async def start_server(
    loop: AbstractEventLoop,
    client_connected_cb: _ClientConnected,
    host: _ServerHosts = ...,
    port: Optional[int] = ...,
    *,
    limit: int = ...,
    **kwds: Any,
) -> Server: ...
async def start_unix_server(
    loop: AbstractEventLoop,
    client_connected_cb: _ClientConnected,
    path: Optional[_Path] = ...,
    *,
    limit: int = ...,
    **kwds: Any,
) -> Server: ...
