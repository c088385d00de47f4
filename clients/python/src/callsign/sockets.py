"""Dialing an endpoint: a Unix socket by path or name, or a host by address or name."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import anyio

from . import kernel
from .credentials import Credentials
from .endpoint import Endpoint, Memory, Tcp, UnixAbstract, UnixPath
from .errors import DialError, no_certificate
from .kernel import SocketId
from .secure import connect
from .text import system

#: The first and the longest pause before a busy socket is tried again.
_BUSY_PAUSE_MIN, _BUSY_PAUSE_MAX = 0.001, 0.05

#: The wait for one address of a host before the next is tried beside it (RFC 8305, section 5).
_STAGGER = 0.25


async def dial(
    place: Endpoint,
    limit: float,
    credentials: Credentials | None,
    expected: SocketId | None = None,
) -> socket.socket:
    """Connects to an endpoint within a time; where a socket is expected, to that one and no other.
    Over TLS it shows the certificate of `credentials`, and checks that of the other side.

    A cancelled dial leaves no socket behind.
    """
    if place.is_bind_only:
        raise DialError("bind-only", "a wildcard address or port 0 can be bound, not dialed")
    late = DialError("busy", "it is busy: its queue of new connections is full")
    with anyio.move_on_after(limit):
        match place:
            case Memory():
                raise DialError("connection-refused", "connection refused: nobody listens there")
            case UnixPath():
                return await _dial_path(place, expected)
            case UnixAbstract():
                return await _dial_unix(f"\0{place.name}".encode())
            case Tcp():
                late = DialError("timed-out", "no answer in time")
                return await _dial_tcp(place, credentials)
    raise late


async def _dial_path(place: UnixPath, expected: SocketId | None) -> socket.socket:
    # The file is looked at and connected to by one descriptor, so that whatever is put in its
    # place meanwhile is not reached, and the path may be longer than `sun_path`.
    try:
        descriptor = kernel.open_path(place.path)
    except OSError as error:
        raise _of_system(error) from None
    try:
        found = kernel.socket_id(descriptor)
        if not isinstance(found, SocketId):
            raise DialError("not-a-socket", f"there is {found} in its place, not a stream socket")
        if expected is not None and not found.is_same(expected):
            raise DialError("other-socket", "the path leads to another socket than the one meant")
        try:
            return await _dial_unix(f"/proc/self/fd/{descriptor}".encode())
        except DialError as error:
            # The file is open, so `/proc` is missing. A dial that expects no particular socket can
            # do without.
            if error.kind != "missing":
                raise
            if expected is not None:
                what = "the connection cannot be made: /proc is not mounted here"
                raise DialError("io", what) from None
            return await _dial_unix(place.path.encode())
    finally:
        os.close(descriptor)


async def _dial_unix(address: bytes) -> socket.socket:
    pause = _BUSY_PAUSE_MIN
    sock = _new(socket.AF_UNIX)
    try:
        while True:
            try:
                sock.connect(address)
                return sock
            except BlockingIOError:
                # The queue is full, and the kernel does not say when there is room.
                await anyio.sleep(pause)
                pause = min(pause * 2, _BUSY_PAUSE_MAX)
            except OSError as error:
                raise _of_system(error) from None
    except BaseException:
        sock.close()
        raise


async def _dial_tcp(place: Tcp, credentials: Credentials | None) -> socket.socket:
    if place.tls and credentials is None:
        raise no_certificate()
    addresses = await _resolve(place)
    if len(addresses) == 1:
        sock = await _dial_address(*addresses[0])
    else:
        sock = await _dial_first(_alternate(addresses))
    if not place.tls or credentials is None:
        return sock
    return await connect(sock, place, credentials)


Address = tuple[socket.AddressFamily, tuple[Any, ...]]


async def _resolve(place: Tcp) -> list[Address]:
    if place.nowhere:
        raise DialError("nowhere", place.nowhere)
    if not isinstance(place.host, str):
        if place.host.version == 4:
            return [(socket.AF_INET, (str(place.host), place.port))]
        scope = 0
        if place.zone is not None:
            try:
                scope = socket.if_nametoindex(place.zone)
            except OSError:
                what = f"this host has no network interface `{place.zone}` with an address"
                raise DialError("no-such-host", what) from None
        return [(socket.AF_INET6, (str(place.host), place.port, 0, scope))]
    families = {"dns4": socket.AF_INET, "dns6": socket.AF_INET6}
    wanted = families.get(place.family or "", socket.AF_UNSPEC)
    try:
        found = await anyio.getaddrinfo(
            place.host, place.port, family=wanted, type=socket.SOCK_STREAM
        )
    except (OSError, UnicodeError) as error:
        why = system(error) if isinstance(error, OSError) else str(error)
        what = f"the host name `{place.host}` cannot be looked up: {why}"
        raise DialError("no-such-host", what) from None
    addresses = [(family, address) for family, _, _, _, address in found]
    if not addresses:
        raise DialError("no-such-host", f"the host name `{place.host}` has no IP address")
    return list(dict.fromkeys(addresses))


def _alternate(addresses: Sequence[Address]) -> list[Address]:
    """Alternates the families, beginning with the resolver's first choice (RFC 8305, section 4)."""
    this = [it for it in addresses if it[0] == addresses[0][0]]
    that = [it for it in addresses if it[0] != addresses[0][0]]
    ordered: list[Address] = []
    while this or that:
        if this:
            ordered.append(this.pop(0))
        if that:
            this, that = that, this
    return ordered


async def _dial_first(addresses: Sequence[Address]) -> socket.socket:
    """Connects to the first address that answers ("Happy Eyeballs")."""
    winner: list[socket.socket] = []
    failures: list[DialError] = []

    async def attempt(address: Address, ended: anyio.Event) -> None:
        try:
            sock = await _dial_address(*address)
        except DialError as error:
            failures.append(error)
        else:
            if winner:
                sock.close()
            else:
                winner.append(sock)
                attempts.cancel_scope.cancel()
        ended.set()

    try:
        async with anyio.create_task_group() as attempts:
            for address in addresses:
                ended = anyio.Event()
                attempts.start_soon(attempt, address, ended)
                with anyio.move_on_after(_STAGGER):
                    await ended.wait()
    except BaseException:
        for sock in winner:
            sock.close()
        raise
    if winner:
        return winner[0]
    refusals = [it for it in failures if it.kind == "connection-refused"]
    raise (refusals or failures)[0]


async def _dial_address(family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket:
    try:
        sock = _new(family)
    except OSError as error:
        raise _of_system(error) from None
    try:
        try:
            sock.connect(address)
        except (BlockingIOError, InterruptedError):
            await anyio.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code)) from None
        # If nobody listens on an ephemeral port, the kernel may give that very port to the caller,
        # which is then connected to itself.
        if sock.getsockname()[:2] == sock.getpeername()[:2]:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "connected to itself")
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    except OSError as error:
        sock.close()
        raise _of_system(error) from None
    except BaseException:
        sock.close()
        raise


def _new(family: socket.AddressFamily) -> socket.socket:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _of_system(error) from None
    sock.setblocking(False)
    return sock


def _of_system(error: OSError) -> DialError:
    match error.errno:
        case errno.EPROTOTYPE:
            what = "there is a socket of another type in its place, not a stream socket"
            return DialError("not-a-socket", what)
        case errno.ECONNREFUSED:
            return DialError("connection-refused", "connection refused: nobody listens there")
        case errno.ENOENT | errno.ENOTDIR:
            return DialError("missing", "there is no such socket file")
        case errno.EACCES | errno.EPERM:
            return DialError("no-permission", "no permission to connect to it")
        case errno.ETIMEDOUT:
            return DialError("timed-out", "no answer in time")
        case errno.ENETUNREACH | errno.EHOSTUNREACH:
            return DialError("no-route", "no route leads to its host")
    return DialError("io", f"the connection cannot be made: {system(error)}")
