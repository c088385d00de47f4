"""Keeping a link up: dialing a registrar, greeting it, and coming back when it is lost."""

from __future__ import annotations

import os
import random
import socket

import anyio

from . import kernel
from .endpoint import Tcp
from .errors import (
    HandshakeError,
    LinkError,
)
from .frames import handshake
from .hub import Hub
from .link import SETTLING_MAX, Down, Link, LinkConnection, log, of_refusal
from .messages import Hello
from .options import Trust
from .portal import Portal
from .registrant import Registrant
from .secure import is_private
from .sockets import dial
from .text import duration, plain

#: The age at which a connection counts as a good one: longer than any pause before it.
_STEADY = 2.0

#: For how long a link waits for those named before it: one on this host has answered by then.
_EARLIER_PAUSE = 0.05


class Connector:
    """Keeps one link up: dials, serves until the connection ends, pauses, and starts again."""

    def __init__(self, hub: Hub, link: Link) -> None:
        self._hub = hub
        self._link = link
        self._number = 0

    async def run(self) -> None:
        """Runs until it is cancelled. An accident within restarts it."""
        first, most = self._hub.options.backoff
        bound = first
        while True:
            began = anyio.current_time()
            try:
                await self._attempt()
            except LinkError as error:
                log.debug("%s is not reached: %s", self._link.registrar, error)
                self._link.set(Down(error))
            except Exception:
                log.exception("the task that kept the connection has failed, and restarts")
                what = "the task that kept the connection has panicked, and restarts"
                self._hub.forget(self._link, LinkError("panicked", what))
            if anyio.current_time() - began >= _STEADY:
                bound = first
            # The whole range, so that clients that lost it together do not return together.
            await anyio.sleep(random.uniform(0, bound))
            bound = min(most, bound * 2)

    async def _attempt(self) -> None:
        connection = await self._reach()
        # If two addresses lead to one registrar, the one that was named first is used.
        holder: int | None = None
        failure = LinkError("closed", "the connection was closed on this side")

        async def drive() -> None:
            nonlocal failure
            failure = LinkError("closed", str(await connection.portal.run()))
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(drive)
            for earlier in self._hub.links[: self._link.index]:
                await earlier.settled(_EARLIER_PAUSE)
            holder = self._hub.claim(self._link, connection)
            if holder is None:
                failure = await self._serve(connection)
            else:
                connection.portal.goodbye("it is connected by another address")
            tasks.cancel_scope.cancel()
        if holder is None:
            self._hub.release(self._link, connection.registrar, failure)
            log.info("%s is lost: %s", self._link.registrar, failure)
            return
        other = self._hub.links[holder]
        await other.changed.until(
            lambda: other.connection is None or other.connection.registrar != connection.registrar
        )

    async def _serve(self, connection: LinkConnection) -> LinkError:
        from .keeper import Keeper

        log.info("%s is connected", self._link.registrar)
        async with anyio.create_task_group() as keepers:
            keepers.start_soon(Keeper(self._hub, self._link, connection).run)
            await connection.overdue.wait()
            keepers.cancel_scope.cancel()
        what = f"no answer within {duration(self._hub.options.ask_timeout)}"
        return LinkError("no-answer", what)

    async def _reach(self) -> LinkConnection:
        """Dials the registrar and greets it."""
        options, place = self._hub.options, self._link.registrar
        self._number += 1
        sock = await dial(place, options.dial_timeout, self._hub.credentials)
        try:
            if not options.insecure and not is_private(sock):
                raise LinkError("insecure", "it is beyond the loopback, and has no TLS")
            is_tcp = isinstance(place, Tcp)
            # Within a host, a registrar that has not answered by then hangs.
            is_far = isinstance(place, Tcp) and not place.is_loopback
            limit = options.handshake_timeout
            limit = limit if is_far else min(limit, options.ask_timeout)
            try:
                peer = await handshake(sock, Hello(agent=options.agent), limit)
            except HandshakeError as error:
                if error.remote is not None:
                    raise of_refusal(error.remote) from None
                raise
            if is_tcp and self._hub.trust is Trust.USUAL:
                _check_owner(sock)
            if peer.registrar is None:
                agent = f": {plain(peer.agent)}" if peer.agent else ""
                what = f"the listener there is not a registrar{agent}"
                raise LinkError("not-a-registrar", what)
            service = Registrant(self._hub, self._link)
            portal = Portal(sock, service, options.heartbeat, ends_on_silence=is_tcp)
        except BaseException:
            sock.close()
            raise
        settling = peer.settling_ms
        until = None
        if settling is not None:
            until = anyio.current_time() + min(settling / 1000, SETTLING_MAX)
        return LinkConnection(self._number, peer.registrar, portal, until, self._link)


def _check_owner(sock: socket.socket) -> None:
    """Makes sure that a listener at a port that anybody may have is this user's, or root's."""
    user = kernel.tcp_user(sock)
    if user is not None and user in (0, os.geteuid()):
        return
    whose = f"user {user}" if user is not None else "a user that the kernel does not identify"
    what = f"a registrar of {whose} listens there, and nobody has named it"
    raise LinkError("others-port", what)
