"""Sockets that do not block, for asyncio and trio alike.

The package waits for sockets by itself instead of using the streams of its library. So it reads no
byte beyond a handshake and can give the bare socket away; and it can tell that a Unix socket is
busy, which asyncio and trio take for a connection (connect(2) says EAGAIN there, not EINPROGRESS).
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
from anyio.abc import SocketAttribute

#: The most bytes that one read takes: more than a record of TLS, so that none is left in between.
READ_BYTES = 65536

#: How a socket says that it has nothing now, or no room. Over TLS either may wait for the other.
NOT_READABLE = (BlockingIOError, InterruptedError, ssl.SSLWantReadError)
NOT_WRITABLE = (BlockingIOError, InterruptedError, ssl.SSLWantWriteError)
NOT_NOW = (*NOT_READABLE, *NOT_WRITABLE)


async def receive(sock: socket.socket, most: int = READ_BYTES) -> bytes:
    """Reads what is there, and waits until something is; empty at the end."""
    while True:
        try:
            return sock.recv(most)
        except InterruptedError:
            continue
        except NOT_READABLE:
            await anyio.wait_readable(sock)
        except ssl.SSLWantWriteError:
            await anyio.wait_writable(sock)


async def receive_exactly(sock: socket.socket, length: int) -> bytes:
    """Reads so many bytes; fewer at the end. Memory grows only as they arrive."""
    parts: list[bytes] = []
    while length > 0:
        part = await receive(sock, min(length, READ_BYTES))
        if not part:
            break
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


async def send_all(sock: socket.socket, data: bytes | bytearray | memoryview) -> None:
    """Writes all of it."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[sock.send(rest) :]
        except InterruptedError:
            continue
        except NOT_WRITABLE:
            await anyio.wait_writable(sock)
        except ssl.SSLWantReadError:
            await anyio.wait_readable(sock)


class SocketStream(anyio.abc.ByteStream):
    """A stream of bytes over a connected socket that does not block."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock: socket.socket | None = sock
        self._receiving = anyio.ResourceGuard("reading from")
        self._sending = anyio.ResourceGuard("writing to")
        #: Whether a send over TLS was cancelled in its middle.
        self._is_cut = False

    def detach(self) -> socket.socket:
        """Gives the bare socket away, which does not block: to `asyncio.open_connection(sock=…)`,
        an `aiohttp` connector, or `trio.SocketStream`. This stream is closed then. Over TLS it is
        an `ssl.SSLSocket`, which these do not take."""
        sock, self._sock = self._open(), None
        return sock

    async def receive(self, max_bytes: int = READ_BYTES) -> bytes:
        sock = self._open()
        with self._receiving:
            await anyio.lowlevel.checkpoint()
            try:
                data = await receive(sock, max_bytes)
            except OSError as error:
                raise self._broken() from error
        if not data:
            raise anyio.EndOfStream
        return data

    async def send(self, item: bytes) -> None:
        sock = self._open()
        with self._sending:
            await anyio.lowlevel.checkpoint()
            if self._is_cut:
                raise anyio.BrokenResourceError
            try:
                await send_all(sock, item)
            except OSError as error:
                raise self._broken() from error
            except BaseException:
                # Part of a record of TLS may have been sent, and only its rest could follow.
                self._is_cut = isinstance(sock, ssl.SSLSocket)
                raise

    async def send_eof(self) -> None:
        """Says that no more bytes follow. Python's `ssl` cannot do that over TLS and go on reading:
        `NotImplementedError` there."""
        if isinstance(self._open(), ssl.SSLSocket):
            raise NotImplementedError("the end of one direction cannot be sent over TLS")
        try:
            self._open().shutdown(socket.SHUT_WR)
        except OSError as error:
            raise self._broken() from error
        await anyio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            anyio.notify_closing(sock)
            sock.close()
        await anyio.lowlevel.checkpoint()

    def _open(self) -> socket.socket:
        if self._sock is None:
            raise anyio.ClosedResourceError
        return self._sock

    def _broken(self) -> Exception:
        return anyio.ClosedResourceError() if self._sock is None else anyio.BrokenResourceError()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return {
            SocketAttribute.family: lambda: self._open().family,
            SocketAttribute.local_address: lambda: self._open().getsockname(),
            SocketAttribute.raw_socket: self._open,
            SocketAttribute.remote_address: lambda: self._open().getpeername(),
        }
