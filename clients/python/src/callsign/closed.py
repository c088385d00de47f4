"""Listeners of this program that it closes while an actor is registered there.

A server that ends closes its listener, and its program may still have work to finish. Only the
program knows at once that nobody will be reached there.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import anyio

from . import kernel
from .endpoint import Endpoint, Tcp
from .kernel import Socket
from .locality import Stamp, Stamped
from .places import Place, listeners, published

#: How often it is looked whether a listener is closed: no event tells that.
LOOK_EVERY = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Listening:
    """A listener, and where it is published."""

    handle: Any
    #: The number of its socket, which outlives the handle in processes that share it.
    inode: int
    endpoints: frozenset[Endpoint]
    #: Its port, if it takes connections at whatever addresses there are.
    wildcard_port: int | None

    @property
    def is_closed(self) -> bool:
        """Tells whether its handle is closed, and no other process listens with the same socket."""
        return self.handle.fileno() == -1 and not kernel.listens(self.inode)

    def has(self, stamped: Stamped) -> bool:
        """Tells whether an endpoint is one of its own."""
        place = stamped.endpoint
        if self.wildcard_port is not None and stamped.stamp != Stamp() and isinstance(place, Tcp):
            return place.port == self.wildcard_port
        return place in self.endpoints


class Lookout:
    """Looks after the listeners of all registrations of a client, in one task."""

    def __init__(self) -> None:
        self._watched: dict[object, tuple[list[Listening], Callable[[Listening], None]]] = {}
        self.is_running = False

    def watch(
        self, whose: object, found: list[Listening], tell: Callable[[Listening], None]
    ) -> None:
        """Tells of each that is closed from now on; those that were watched for the same are not
        any more."""
        self.forget(whose)
        if found:
            self._watched[whose] = (found, tell)

    def forget(self, whose: object) -> None:
        self._watched.pop(whose, None)

    async def run(self) -> None:
        """Runs for as long as there is one."""
        try:
            while self._watched:
                await anyio.sleep(LOOK_EVERY)
                for whose, (found, tell) in list(self._watched.items()):
                    closed = [it for it in found if it.is_closed]
                    if closed:
                        self.watch(whose, [it for it in found if it not in closed], tell)
                    for it in closed:
                        tell(it)
        finally:
            self.is_running = False


def listening(places: Iterable[Place]) -> list[Listening]:
    """Returns the listeners among places whose end is visible from here."""
    return [_listening(it) for it in listeners(places) if _is_visible(it)]


def _listening(listener: Socket) -> Listening:
    handle: Any = listener
    name = listener.getsockname()
    is_wildcard = listener.family != socket.AF_UNIX and not any(
        socket.inet_pton(listener.family, name[0].partition("%")[0])
    )
    endpoints = {it.endpoint for tls in (False, True) for it in published(listener, tls=tls)}
    inode = os.fstat(handle.fileno()).st_ino
    return Listening(handle, inode, frozenset(endpoints), name[1] if is_wildcard else None)


def _is_visible(listener: Socket) -> bool:
    """Tells whether it is of this network namespace, and the kernel lists it by its number."""
    is_plain = listener.family == socket.AF_UNIX or (
        listener.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL) == socket.IPPROTO_TCP
    )
    has_handle = hasattr(listener, "fileno") and listener.fileno() >= 0
    return is_plain and has_handle and kernel.netns(listener) == kernel.netns()
