"""Locality: how near an endpoint is, as seen from here; and stamps, which say where it is.

Nearness depends on the dialer. A path or a loopback address means something else in another
namespace, so that only its stamp tells whether it is the one that was registered.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from . import kernel
from .endpoint import Endpoint, Memory, Tcp, UnixAbstract, UnixPath
from .kernel import Interface, Socket, SocketId
from .text import quoted, system


class Locality(enum.IntEnum):
    """The distance of an endpoint from the dialer; less is nearer."""

    IN_PROCESS = 0
    UNIX_SOCKET = 1
    LOOPBACK = 2
    THIS_HOST = 3
    SAME_SUBNET = 4
    REMOTE = 5

    def __str__(self) -> str:
        return self.name.lower().replace("_", " ")

    @property
    def is_within_host(self) -> bool:
        """Tells whether the endpoint is on this host."""
        return self <= Locality.THIS_HOST


@dataclass(frozen=True, slots=True)
class Stamp:
    """The location of an endpoint, as its registrant says it."""

    kernel: int | None = None
    netns: int | None = None
    process: int | None = None
    socket: SocketId | None = None
    root: int | None = None
    #: Whose listener was there, of a port or an abstract name of what proves nothing.
    user: int | None = None


@dataclass(frozen=True, slots=True)
class Stamped:
    """An endpoint with its stamp."""

    endpoint: Endpoint
    stamp: Stamp = field(default_factory=Stamp)


@dataclass(frozen=True, slots=True)
class OutOfReach:
    """Why an endpoint is left out: it is out of reach, or cannot be proved to be meant."""

    kind: str
    message: str

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class Here:
    """A dialer's own location. Unreadable parts are absent."""

    kernel: int | None = None
    netns: int | None = None
    process: int | None = None
    interfaces: tuple[Interface, ...] = ()


Look = Callable[[UnixPath], SocketId | OutOfReach]
Verdict = Locality | OutOfReach


def here_for(endpoints: Iterable[Endpoint]) -> Here:
    """Reads this process's own location; the interfaces only if one of the endpoints needs them."""
    needs = any(isinstance(it, Tcp) and not it.is_loopback for it in endpoints)
    found = kernel.interfaces() if needs else ()
    return Here(kernel.kernel_id(), kernel.netns(), kernel.process_id(), found)


def look(path: UnixPath) -> SocketId | OutOfReach:
    """Finds the socket that a path leads to from here."""
    import os

    try:
        descriptor = kernel.open_path(path.path)
    except (FileNotFoundError, NotADirectoryError):
        return _MISSING
    except PermissionError:
        return OutOfReach("no-permission", "no permission to look at the path")
    except OSError as error:
        return OutOfReach("unseen", f"the path cannot be looked at: {system(error)}")
    try:
        found = kernel.socket_id(descriptor)
    finally:
        os.close(descriptor)
    return found if isinstance(found, SocketId) else _NOT_A_SOCKET


def locate(stamped: Stamped, here: Here, look: Look = look) -> Verdict:
    """Tells how near an endpoint is, or why it is not to be dialed from here."""
    place, stamp = stamped.endpoint, stamped.stamp
    if place.is_bind_only:
        return OutOfReach("bind-only", "a wildcard address or port 0 can be bound, not dialed")
    match place:
        case Memory():
            return _same(stamp.process, here.process, _OTHER_PROCESS) or Locality.IN_PROCESS
        case UnixPath():
            return _locate_path(place, stamp, here, look)
        case UnixAbstract():
            return _same_netns(stamp, here) or Locality.UNIX_SOCKET
        case Tcp() if place.is_loopback:
            return _same_netns(stamp, here) or Locality.LOOPBACK
        case Tcp():
            return _locate_tcp(place, stamp, here)


def ranked(places: Sequence[Stamped]) -> list[Stamped]:
    """Returns the endpoints that may be dialed from here, the nearest first."""
    here = here_for(it.endpoint for it in places)
    judged = [(locate(it, here), it) for it in places]
    within = [(verdict, it) for verdict, it in judged if isinstance(verdict, Locality)]
    return [it for _, it in sorted(within, key=lambda judged: judged[0])]


def _locate_path(place: UnixPath, stamp: Stamp, here: Here, look: Look) -> Verdict:
    if elsewhere := _same_kernel(stamp, here):
        return elsewhere
    if stamp.socket is None:
        return OutOfReach("no-socket-stamp", "no socket was seen there when it was registered")
    found = look(place)
    if isinstance(found, OutOfReach):
        return found
    return Locality.UNIX_SOCKET if found.is_same(stamp.socket) else _OTHER_SOCKET


def _locate_tcp(place: Tcp, stamp: Stamp, here: Here) -> Verdict:
    is_same_kernel = stamp.kernel is not None and stamp.kernel == here.kernel
    ip = place.ip
    if ip is None:
        return Locality.THIS_HOST if is_same_kernel else Locality.REMOTE
    if isinstance(ip, IPv6Address) and ip.is_link_local:
        if place.zone is None:
            return OutOfReach("no-zone", "it is a link-local address, and its zone is not given")
        # A zone is a name that its own host gave to a link; elsewhere it may name another link.
        if stamp.kernel is not None and _same_netns(stamp, here) is None:
            return Locality.THIS_HOST
        if stamp.kernel is None and any(it.name == place.zone for it in here.interfaces):
            return Locality.SAME_SUBNET
        zone = f"its zone {quoted(place.zone)} is a link of another host or network namespace"
        return OutOfReach("other-zone", zone)
    if any(_canonical(it.ip) == ip for it in here.interfaces):
        # A dial of our own address reaches this host, even if another host has the same address.
        if _differ(stamp.kernel, here.kernel) or _differ(stamp.netns, here.netns):
            return OutOfReach(
                "address-is-ours",
                "its address is one of this host's own, and its registrant is elsewhere",
            )
        return Locality.THIS_HOST
    if is_same_kernel:
        return Locality.THIS_HOST
    reached = any(not it.ip.is_loopback and it.reaches(ip) for it in here.interfaces)
    return Locality.SAME_SUBNET if reached else Locality.REMOTE


def _canonical(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip


def _same(theirs: int | None, own: int | None, other: OutOfReach) -> OutOfReach | None:
    if theirs is None:
        return OutOfReach("no-stamp", "its registrant did not say where it is")
    if own is None:
        return OutOfReach("here-unknown", "this process could not learn where it is itself")
    return None if theirs == own else other


def _same_kernel(stamp: Stamp, here: Here) -> OutOfReach | None:
    found = _same(stamp.kernel, here.kernel, _OTHER_HOST)
    if found is not None and found.kind == "no-stamp" and stamp != Stamp():
        return OutOfReach(
            "kernel-not-said",
            "its registrant could not learn which kernel it runs on; `[host] id` in its settings "
            "says it",
        )
    return found


def _same_netns(stamp: Stamp, here: Here) -> OutOfReach | None:
    if elsewhere := _same_kernel(stamp, here):
        return elsewhere
    found = _same(stamp.netns, here.netns, _OTHER_NETNS)
    if found is not None and found.kind == "no-stamp":
        return OutOfReach("netns-not-said", "its registrant could not tell its network namespace")
    if found is not None and found.kind == "here-unknown":
        return OutOfReach(
            "here-netns-unknown", "this process could not learn its own network namespace"
        )
    return found


def _differ(one: int | None, other: int | None) -> bool:
    return one is not None and other is not None and one != other


_OTHER_HOST = OutOfReach("other-host", "it is on another host")
_OTHER_NETNS = OutOfReach("other-netns", "it is in another network namespace of this host")
_OTHER_PROCESS = OutOfReach("other-process", "it is in another process")
_OTHER_SOCKET = OutOfReach(
    "other-socket", "the path leads to another socket than the one registered"
)
_MISSING = OutOfReach("missing", "no such socket")
_NOT_A_SOCKET = OutOfReach("not-a-socket", "the path leads to something that is not a socket")


# Stamping.


def stamp(place: Endpoint, of: Socket | None = None) -> Stamp:
    """Stamps an endpoint as this process sees it, unless it may be on another host."""
    this_host = Stamp(kernel.kernel_id(), kernel.netns(of))
    match place:
        case Memory():
            return Stamp(this_host.kernel, this_host.netns, process=kernel.process_id())
        case UnixAbstract():
            return this_host
        case UnixPath():
            found = look(place)
            found_socket = found if isinstance(found, SocketId) else None
            return Stamp(
                this_host.kernel, this_host.netns, socket=found_socket, root=kernel.root_id()
            )
        case Tcp() if place.is_loopback or _is_own_address(place):
            return this_host
    return Stamp()


def is_there(stamped: Stamped) -> bool | None:
    """Tells whether an endpoint is still where it was stamped; `None` if that is not visible."""
    match stamped.endpoint:
        case UnixPath():
            meant = stamped.stamp.socket
            found = look(stamped.endpoint)
            if meant is None or (isinstance(found, OutOfReach) and found.kind not in _GONE):
                return None
            return isinstance(found, SocketId) and found.is_same(meant)
        case Tcp() if not stamped.endpoint.is_loopback and stamped.endpoint.ip is not None:
            if (stamped.stamp.kernel, stamped.stamp.netns) != (kernel.kernel_id(), kernel.netns()):
                return None
            return _is_own_address(stamped.endpoint)
    return None


_GONE = ("missing", "not-a-socket")


def _is_own_address(place: Tcp) -> bool:
    ip = place.ip
    if ip is None:
        return False
    if place.zone is None:
        return kernel.has_address(ip)
    return any((it.ip, it.name) == (ip, place.zone) for it in kernel.interfaces())
