# SPDX-License-Identifier: MIT
import asyncio
from asyncio import AbstractEventLoop, AbstractServer, BaseProtocol, Future
from collections.abc import Callable, Mapping, Sized
from socket import socket
from ssl import SSLContext, SSLSession
from typing import Any, Optional, TypedDict, Union, final

from typing_extensions import Literal

@final
class Transport(asyncio.Transport):
    """A TCP, Unix or TLS connection; made by Reactor only."""

    @property
    def _loop(self) -> AbstractEventLoop: ...
    @property
    def _sendfile_compatible(self) -> object: ...
    @property
    def _sending_file(self) -> bool: ...
    def get_write_buffer_limits(self) -> tuple[int, int]: ...
    def _begin_sendfile(
        self,
        fd: int,
        offset: int,
        count: Optional[int],
        by_kernel: bool,
        waiter: Future[None],
        /,
    ) -> None: ...
    def _end_sendfile(self) -> int: ...

@final
class ReadPipeTransport(asyncio.ReadTransport):
    """The reading end of a pipe; made by Reactor only."""

    @property
    def _loop(self) -> AbstractEventLoop: ...

@final
class WritePipeTransport(asyncio.Transport):
    """The writing end of a pipe; made by Reactor only."""

    @property
    def _loop(self) -> AbstractEventLoop: ...
    def get_write_buffer_limits(self) -> tuple[int, int]: ...

@final
class DatagramTransport(asyncio.Transport, asyncio.DatagramTransport):
    """A datagram socket; made by Reactor only."""

    def get_write_buffer_limits(self) -> tuple[int, int]: ...

@final
class Reactor:
    """Everything that an event loop's transports share; one per loop."""

    def __init__(self, loop: AbstractEventLoop, ready: Optional[Sized] = ...) -> None: ...
    def fileno(self) -> int: ...
    def dispatch(self) -> None: ...
    def dispatch_scheduled(self) -> None: ...
    def close(self) -> None: ...
    def make_datagram_transport(
        self,
        sock: socket,
        protocol: BaseProtocol,
        address: Optional[object] = ...,
        waiter: Optional[Future[None]] = ...,
        extra: Optional[Mapping[str, Any]] = ...,
    ) -> DatagramTransport: ...
    def make_socket_transport(
        self,
        sock: socket,
        protocol: BaseProtocol,
        waiter: Optional[Future[None]] = ...,
        extra: Optional[Mapping[str, Any]] = ...,
        server: Optional[AbstractServer] = ...,
    ) -> Transport: ...
    def make_ssl_transport(
        self,
        sock: socket,
        protocol: BaseProtocol,
        sslcontext: SSLContext,
        waiter: Optional[Future[None]] = ...,
        *,
        server_side: bool = ...,
        server_hostname: Optional[str] = ...,
        extra: Optional[Mapping[str, Any]] = ...,
        server: Optional[AbstractServer] = ...,
        ssl_handshake_timeout: Optional[float] = ...,
        ssl_shutdown_timeout: Optional[float] = ...,
        ssl_session: Optional[SSLSession] = ...,
    ) -> Transport: ...
    def start_tls(
        self,
        transport: Transport,
        protocol: BaseProtocol,
        sslcontext: SSLContext,
        waiter: Future[None],
        *,
        server_side: bool = ...,
        server_hostname: Optional[str] = ...,
        ssl_handshake_timeout: Optional[float] = ...,
        ssl_shutdown_timeout: Optional[float] = ...,
        ssl_session: Optional[SSLSession] = ...,
        received: bytes = ...,
    ) -> Transport: ...
    def make_read_pipe_transport(
        self,
        pipe: Any,
        protocol: BaseProtocol,
        waiter: Optional[Future[None]] = ...,
        extra: Optional[Mapping[str, Any]] = ...,
    ) -> ReadPipeTransport: ...
    def make_write_pipe_transport(
        self,
        pipe: Any,
        protocol: BaseProtocol,
        waiter: Optional[Future[None]] = ...,
        extra: Optional[Mapping[str, Any]] = ...,
    ) -> WritePipeTransport: ...
    def start_serving(
        self,
        sock: socket,
        protocol_factory: Callable[[], BaseProtocol],
        sslcontext: Optional[SSLContext] = ...,
        server: Optional[AbstractServer] = ...,
        backlog: int = ...,
        ssl_handshake_timeout: Optional[float] = ...,
        ssl_shutdown_timeout: Optional[float] = ...,
    ) -> None: ...
    def stop_serving(self, sock: socket) -> None: ...
    def get_transport(self, fd: int) -> Union[Transport, DatagramTransport, None]: ...

__version__: str
c_api: object  # the capsule of <aiofastnet/python.h>

class _CoreInfo(TypedDict):
    version: str
    library_version: str
    library_path: Optional[str]
    engine: Literal["openssl", "python"]
    reason: Optional[str]
    libssl: str
    libssl_path: Optional[str]
    ktls_compiled: bool

def force_python_engine(flag: bool) -> bool: ...
def info() -> _CoreInfo: ...
def find_libssl(path: Optional[str], /) -> Optional[str]: ...
