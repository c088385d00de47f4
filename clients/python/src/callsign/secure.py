"""Connections over TLS 1.3, on which both sides show certificates."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from ipaddress import ip_address
from typing import Any

import anyio
import anyio.abc
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSAttribute

from . import alerts
from .binding import KeyLog, exported
from .credentials import Credentials
from .endpoint import Tcp
from .errors import DialError, HandshakeError, InvalidArgument, TlsError
from .streams import READ_BYTES, SocketStream
from .text import kind_of

#: A socket that does not block, or any stream of bytes of the library.
Channel = socket.socket | anyio.abc.ByteStream


class TlsSocket(ssl.SSLSocket):
    """A socket over TLS that does not block."""

    #: What only the two ends of it know, by the end of the handshake.
    binding: bytes | None = None

    def close(self) -> None:
        """Says goodbye, as far as there is room, and closes it: without that, the peer could not
        tell this end from one that somebody in between has made."""
        if self.fileno() >= 0:
            self.setblocking(False)
            with suppress(OSError, ValueError):
                self.unwrap()
        super().close()


def wrap(sock: socket.socket, context: ssl.SSLContext, host: str | None = None) -> TlsSocket:
    """Makes a socket one over TLS: dialed as that host, or accepted. The former is closed then."""
    context.sslsocket_class = TlsSocket
    tls = context.wrap_socket(
        sock,
        server_side=host is None,
        do_handshake_on_connect=False,
        suppress_ragged_eofs=False,
        server_hostname=host,
    )
    assert isinstance(tls, TlsSocket)
    return tls


async def shake_hands(sock: TlsSocket, keylog: KeyLog) -> None:
    """Completes the handshake of TLS. One that was cancelled goes on where it was."""
    while True:
        try:
            sock.do_handshake()
            break
        except ssl.SSLWantReadError:
            wait = anyio.wait_readable
        except ssl.SSLWantWriteError:
            wait = anyio.wait_writable
        finally:
            # No other connection's: a step of a handshake waits for nothing.
            if (secret := keylog.take()) is not None:
                sock.binding = exported(secret)
        await wait(sock)


async def connect(sock: socket.socket, place: Tcp, credentials: Credentials) -> TlsSocket:
    """Shakes hands with a listener that was dialed."""
    host = str(place.ip or str(place.host).removesuffix("."))
    try:
        tls = wrap(sock, credentials.dialing, host)
    except (OSError, ValueError) as error:
        sock.close()
        raise _of_handshake(error, host) from None
    try:
        await shake_hands(tls, credentials.keylog)
    except OSError as error:
        tls.close()
        raise _of_handshake(error, host) from None
    except BaseException:
        tls.close()
        raise
    return tls


def _of_handshake(error: OSError | ValueError, host: str) -> DialError:
    if isinstance(error, ssl.SSLEOFError | ConnectionResetError | BrokenPipeError):
        return TlsError("tls-ended", alerts.ENDED)
    if isinstance(error, ssl.SSLError):
        kind = "tls-ended" if alerts.may_pass(error) else "tls"
        return TlsError(kind, alerts.words(error, host))
    return TlsError("tls-ended", f"TLS fails: {error}")


def is_private(sock: socket.socket) -> bool:
    """Tells whether nobody on a network can read a connection: it is within this host, or over
    TLS."""
    if sock.family == socket.AF_UNIX or isinstance(sock, TlsSocket):
        return True
    try:
        ip = ip_address(sock.getpeername()[0].partition("%")[0])
    except OSError:
        return True  # the other side has gone, and gets nothing any more
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


def binding_of(channel: Channel) -> bytes | None:
    """Returns what only the two ends of a connection know, if it is over TLS."""
    sock: socket.socket | None
    if isinstance(channel, socket.socket):
        sock, is_foreign = channel, False
    else:
        sock = channel.extra(SocketAttribute.raw_socket, None)
        is_foreign = channel.extra(TLSAttribute.ssl_object, None) is not None
    if isinstance(sock, TlsSocket) and not is_foreign:
        if sock.binding is None:
            what = "this Python's OpenSSL does not tell what a proof of identity over TLS needs"
            raise HandshakeError("unbound", what)
        return sock.binding
    if is_foreign or isinstance(sock, ssl.SSLSocket):
        what = "a caller over TLS can be answered only if `Client.tls_listener` has accepted it"
        raise HandshakeError("unbound", what)
    return None


class TlsStream(SocketStream):
    """An accepted connection over TLS, whose handshake runs with its first use."""

    def __init__(self, sock: TlsSocket, keylog: KeyLog) -> None:
        super().__init__(sock)
        self._tls = sock
        self._keylog: KeyLog | None = keylog
        self._shaking = anyio.Lock()

    async def handshake(self) -> None:
        """Completes the handshake of TLS, if that is not done."""
        if self._keylog is None:
            return
        async with self._shaking:
            if self._keylog is None:
                return
            self._open()
            try:
                await shake_hands(self._tls, self._keylog)
            except OSError as error:
                raise anyio.BrokenResourceError from error
            self._keylog = None

    async def receive(self, max_bytes: int = READ_BYTES) -> bytes:
        await self.handshake()
        return await super().receive(max_bytes)

    async def send(self, item: bytes) -> None:
        await self.handshake()
        await super().send(item)


class TlsListener(anyio.abc.Listener[TlsStream]):
    """A listening socket whose callers speak TLS, with the certificate of a client:
    `Client.tls_listener` makes it. It is registered as `…/tls`."""

    def __init__(self, sock: socket.socket, credentials: Credentials) -> None:
        if not isinstance(sock, socket.socket):
            raise InvalidArgument(f"callers over TLS come by a socket, not by {kind_of(sock)}")
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            raise InvalidArgument("TLS is for TCP: this is a socket of another kind")
        sock.setblocking(False)
        self._sock = sock
        self._credentials = credentials

    async def serve(
        self,
        handler: Callable[[TlsStream], Any],
        task_group: anyio.abc.TaskGroup | None = None,
    ) -> None:
        async with AsyncExitStack() as stack:
            if task_group is None:
                task_group = await stack.enter_async_context(anyio.create_task_group())
            while True:
                try:
                    await anyio.wait_readable(self._sock)
                    accepted, _ = self._sock.accept()
                except (BlockingIOError, InterruptedError):
                    continue
                accepted.setblocking(False)
                with suppress(OSError):
                    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    tls = wrap(accepted, self._credentials.accepting)
                except (OSError, ValueError):
                    accepted.close()  # it has gone already
                    continue
                task_group.start_soon(handler, TlsStream(tls, self._credentials.keylog))

    async def aclose(self) -> None:
        if self._sock.fileno() >= 0:
            anyio.notify_closing(self._sock)
            self._sock.close()
        await anyio.lowlevel.checkpoint()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return {
            SocketAttribute.family: lambda: self._sock.family,
            SocketAttribute.local_address: self._sock.getsockname,
            SocketAttribute.raw_socket: lambda: self._sock,
        }
