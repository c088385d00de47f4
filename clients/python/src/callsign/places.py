"""Places: what can be registered as an endpoint, each as its stamped endpoints."""

from __future__ import annotations

import asyncio
import os
import socket as sockets
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Protocol, TypeGuard

import anyio.abc
from anyio.abc import SocketAttribute
from anyio.streams.stapled import MultiListener

from . import kernel
from .endpoint import Endpoint, Tcp, UnixAbstract, UnixPath
from .errors import EndpointError, InvalidRegistration
from .kernel import Socket
from .locality import Stamp, Stamped, is_there, stamp
from .multiaddr import endpoint, of_path
from .secure import TlsListener
from .text import kind_of, quoted, system


class Server(Protocol):
    """A server of uvloop, which is none of asyncio's."""

    @property
    def sockets(self) -> Any: ...


class SocketListener(Protocol):
    """A listener of trio."""

    socket: Any


#: An endpoint as it is given: its text, its value, with a stamp of its own, or a listener.
Place = (
    str
    | Endpoint
    | Stamped
    | Socket
    | SocketListener
    | anyio.abc.Listener[Any]
    | asyncio.AbstractServer
    | Server
)

#: The protocols whose listeners take connections of TCP: the other is MPTCP (RFC 8684).
_TCP = (sockets.IPPROTO_TCP, 262)

_OTHER_TYPES: dict[int, str] = {
    sockets.SOCK_DGRAM: "datagram",
    sockets.SOCK_SEQPACKET: "seqpacket",
    sockets.SOCK_RAW: "raw",
}


def stamped_all(places: Iterable[Place]) -> list[Stamped]:
    """Returns the stamped endpoints of places."""
    if isinstance(places, str) or not isinstance(places, Iterable):
        raise EndpointError("", f"endpoints are given as a list, not as {kind_of(places)}")
    found: list[Stamped] = []
    for place in places:
        match place:
            case Stamped():
                endpoint(place.endpoint)
                found.append(place)
            case anyio.abc.Listener() if not isinstance(place, MultiListener):
                listener = place.extra(SocketAttribute.raw_socket)
                found += published(listener, tls=isinstance(place, TlsListener))
            case _ if (listeners := _parts(place)) is not None:
                if not listeners:
                    raise _fault("it does not listen any more")
                found += stamped_all(listeners)
            case _ if _is_socket(place):
                found += published(place)
            case _:
                other: Any = place
                read = endpoint(other)
                found.append(Stamped(read, stamp(read)))
    return found


def _parts(place: Any) -> list[Any] | None:
    """Returns the listeners of which one of asyncio, trio or anyio is made, if it is one."""
    if isinstance(place, MultiListener):
        return list(place.listeners)
    several = getattr(place, "sockets", None)
    if isinstance(place, asyncio.AbstractServer) or isinstance(several, list | tuple):
        return list(several or ())
    inner = getattr(place, "socket", None)
    return [inner] if _is_socket(inner) else None


def _is_socket(place: Any) -> TypeGuard[Socket]:
    return hasattr(place, "getsockname") and hasattr(place, "getsockopt")


def listeners(places: Iterable[Place]) -> Iterator[Socket]:
    """Returns the listening sockets among places."""
    for place in places:
        match place:
            case anyio.abc.Listener() if not isinstance(place, MultiListener):
                yield place.extra(SocketAttribute.raw_socket)
            case _ if (parts := _parts(place)) is not None:
                yield from listeners(parts)
            case _ if _is_socket(place):
                yield place


def has_wildcard(places: Iterable[Place]) -> bool:
    """Tells whether a listener among places takes connections at all addresses of its host."""
    return any(map(_is_wildcard, listeners(places)))


def _is_wildcard(listener: Socket) -> bool:
    is_tcp = listener.family in (sockets.AF_INET, sockets.AF_INET6)
    return is_tcp and ip_address(listener.getsockname()[0].partition("%")[0]).is_unspecified


def published(listener: Socket, *, tls: bool = False) -> list[Stamped]:
    """Returns the stamped endpoints of a listening socket: of a wildcard, those of all
    interfaces."""
    _check_listens(listener)
    name = listener.getsockname()
    if listener.family == sockets.AF_UNIX:
        place = _of_unix(name)
        stamped = Stamped(place, stamp(place, listener))
        if isinstance(place, UnixPath) and stamped.stamp.socket is None:
            what = f"its path {quoted(place.path)} does not lead to it from here"
            raise _fault(f"{what}; bind it by its absolute path")
        return [stamped]
    ip, port = ip_address(name[0].partition("%")[0]), name[1]
    zone = sockets.if_indextoname(name[3]) if len(name) > 3 and name[3] else None
    places = [_tcp(ip, port, zone, tls)]
    if ip.is_unspecified:
        takes = {ip.version}
        if ip.version == 6 and not listener.getsockopt(sockets.IPPROTO_IPV6, sockets.IPV6_V6ONLY):
            takes.add(4)
        own = [it for it in kernel.interfaces() if it.ip.version in takes]
        places = list(dict.fromkeys(_tcp(it.ip, port, it.name, tls) for it in own))
    # It listens here, also if its address is yet to come (`ip_nonlocal_bind`).
    here = Stamp(kernel.kernel_id(), kernel.netns(listener))
    return [Stamped(it, here) for it in places]


def present(endpoints: Iterable[Stamped]) -> list[Stamped]:
    """Leaves out the endpoints whose address this host does not have now: another may have it."""
    return [it for it in endpoints if not (_is_at_address(it) and is_there(it) is False)]


def may_move(places: Iterable[Place], endpoints: Iterable[Stamped]) -> bool:
    """Tells whether places depend on the addresses that this host has at the moment."""
    is_here = any(_is_at_address(it) and is_there(it) is not None for it in endpoints)
    return is_here or has_wildcard(places)


def _is_at_address(stamped: Stamped) -> bool:
    return isinstance(stamped.endpoint, Tcp)


def _check_listens(listener: Socket) -> None:
    """Makes sure that callers can connect to a socket."""

    def option(number: int) -> int:
        return int(listener.getsockopt(sockets.SOL_SOCKET, number))

    try:
        kind, protocol = option(sockets.SO_TYPE), option(sockets.SO_PROTOCOL)
        listens = option(sockets.SO_ACCEPTCONN)
    except OSError as error:
        raise _fault(f"it cannot be looked at: {system(error)}") from None
    if found := _OTHER_TYPES.get(kind):
        raise _fault(f"it is a {found} socket; only a stream socket can take connections here")
    is_tcp = listener.family in (sockets.AF_INET, sockets.AF_INET6)
    if not (is_tcp and protocol in _TCP) and listener.family != sockets.AF_UNIX:
        raise _fault("it is neither a Unix socket nor a TCP socket")
    if listens:
        return
    try:
        listener.getpeername()
    except OSError:
        what = "it does not listen: `listen` has to be called before it is registered"
        raise _fault(what) from None
    raise _fault("it is a connection, not a socket that takes connections")


def _fault(what: str) -> InvalidRegistration:
    return InvalidRegistration(f"a listener cannot be registered: {what}")


def _of_unix(name: str | bytes) -> Endpoint:
    if not name:
        raise _fault("it has no name")
    try:
        if isinstance(name, bytes):
            return UnixAbstract(name[1:].decode())
        path = os.path.abspath(name)
        path.encode()
    except UnicodeError:
        raise _fault("its name is not UTF-8") from None
    return of_path(path)


def _tcp(ip: IPv4Address | IPv6Address, port: int, name: str | None, tls: bool) -> Tcp:
    zone = name if isinstance(ip, IPv6Address) and ip.is_link_local else None
    return Tcp(ip, port, zone, tls=tls)
