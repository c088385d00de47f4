"""Keeping a link up: dialing a registrar, greeting it, and coming back when it is lost."""

from __future__ import annotations

import os
import random
import socket
from uuid import UUID

import anyio

from . import kernel
from .endpoint import Endpoint, Tcp, UnixPath
from .errors import (
    HandshakeError,
    LinkError,
)
from .frames import handshake
from .hub import Hub
from .kernel import SocketId
from .link import PATIENCE_MOST, SETTLING_MAX, Down, Link, LinkConnection, log, of_refusal
from .locality import look, ranked
from .messages import Hello
from .options import Trust
from .portal import Portal
from .registrant import Registrant
from .secure import is_private
from .sockets import dial
from .text import duration, plain

#: The age at which a connection counts as a good one: longer than any pause before it.
_STEADY = 2.0

#: The failures of a registrar that may have too much to do, and each attempt is more.
_TOO_BUSY = ("handshake-timed-out", "handshake-refused", "quota-exceeded")

#: For how long a link waits for those named before it: one on this host has answered by then.
_EARLIER_PAUSE = 0.05

#: The limit of each attempt where there are others: a registrar on this host answers in a
#: millisecond, and one of the same cluster far away in some hundred.
_OTHERS_AFTER = 0.4

#: For how long the address of a silent registrar is tried: it may have a successor since.
_REDIAL_LIMIT = 1.0

#: The same for all others of its cluster together.
_OTHERS_LIMIT = 3.0


class Connector:
    """Keeps one link up: dials, serves until the connection ends, pauses, and starts again."""

    def __init__(self, hub: Hub, link: Link) -> None:
        self._hub = hub
        self._link = link
        self._number = 0
        #: The beginning of the attempt, or of its connection.
        self._began = 0.0
        #: The connection to the registrar that has taken the place of a silent one.
        self._successor: LinkConnection | None = None

    async def run(self) -> None:
        """Runs until it is cancelled."""
        try:
            await self._keep_up()
        finally:
            if self._successor is not None:
                self._successor.portal.part("the client is done")

    async def _keep_up(self) -> None:
        """Dials again and again. An accident within restarts it."""
        first, most = self._hub.options.backoff
        bound = first
        while True:
            self._began = anyio.current_time()
            try:
                await self._attempt()
            except LinkError as error:
                if error.kind in _TOO_BUSY:
                    self._link.grow_patient()
                log.debug("%s is not reached: %s", self._link.registrar, error)
                self._link.set(Down(error))
            except Exception:
                log.exception("the task that kept the connection has failed, and restarts")
                what = "the task that kept the connection has panicked, and restarts"
                self._hub.forget(self._link, LinkError("panicked", what))
            if self._successor is not None:
                continue
            if anyio.current_time() - self._began >= _STEADY and self._link.patience == 1:
                bound = first
            # The whole range, so that clients that lost it together do not return together.
            await self._link.pause(random.uniform(0, bound) * self._link.patience)
            bound = min(most, bound * 2)

    async def _attempt(self) -> None:
        connection, self._successor = self._successor, None
        if connection is None:
            self._link.is_tried = True
            try:
                connection = await self._reach_any()
            finally:
                self._link.is_tried = False
        self._began = anyio.current_time()
        # If two addresses lead to one registrar, the one that was named first is used; if they lead
        # to one cluster, the nearest.
        holder: int | None = None
        failure = LinkError("closed", "the connection was closed on this side")

        async def drive() -> None:
            nonlocal failure
            failure = LinkError("closed", str(await connection.portal.run()))
            tasks.cancel_scope.cancel()

        async def move() -> None:
            nonlocal failure
            failure = await self._replaced(connection)
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(drive)
            for earlier in self._earlier(connection):
                await earlier.settled(_EARLIER_PAUSE)
            holder = self._hub.claim(self._link, connection)
            if holder is None:
                tasks.start_soon(move)
                failure = await self._serve(connection)
            else:
                connection.portal.goodbye("it is connected by another address")
            tasks.cancel_scope.cancel()
        if holder is None:
            self._hub.release(self._link, connection.keeper, failure)
            log.info("%s is lost: %s", self._link.registrar, failure)
            return
        other = self._hub.links[holder]
        await other.changed.until(
            lambda: other.connection is None or other.connection.keeper != connection.keeper
        )

    def _earlier(self, connection: LinkConnection) -> list[Link]:
        """Returns the links that come before this one, if they lead to the same."""
        is_of_cluster = connection.keeper != connection.registrar

        def order(link: Link) -> tuple[int, int]:
            return (_nearness(link.registrar) if is_of_cluster else 0, link.index)

        return [it for it in self._hub.links if order(it) < order(self._link)]

    async def _serve(self, connection: LinkConnection) -> LinkError:
        from .keeper import Keeper

        log.info("%s is connected", self._link.registrar)
        async with anyio.create_task_group() as keepers:
            keepers.start_soon(Keeper(self._hub, self._link, connection).run)
            await connection.overdue.wait()
            self._link.grow_patient()
            keepers.cancel_scope.cancel()
        what = f"no answer within {duration(self._hub.options.ask_timeout)}"
        return LinkError("no-answer", what)

    async def _replaced(self, silent: LinkConnection) -> LinkError:
        """Waits until a registrar is silent while another one answers at its address, or another of
        its cluster, and returns the silence.

        One that hangs gives its address up to a successor without closing a connection. But it may
        only be busy, and each attempt is more work for it.
        """
        link = self._link
        while True:
            await link.changed.until(lambda: link.silence is not None)
            bound, most = self._hub.options.backoff
            patience = 1
            while (silence := link.silence) is not None:
                reached: LinkConnection | None = None
                limit = _OTHERS_LIMIT if link.others else _REDIAL_LIMIT
                with anyio.move_on_after(limit * patience) as scope:
                    reached = await self._reach_instead_of(silent)
                if reached is not None and reached.registrar != silent.registrar:
                    log.info("another registrar answers in the place of silent %s", link.registrar)
                    self._successor = reached
                    return silence
                if reached is not None:
                    reached.portal.part("it is heard again")
                if reached is not None or scope.cancelled_caught:
                    patience = min(PATIENCE_MOST, patience * 2)
                await anyio.sleep(random.uniform(0, bound) * patience)
                bound = min(most, bound * 2)

    async def _reach_instead_of(self, silent: LinkConnection) -> LinkConnection | None:
        """Dials who may be there instead of a silent registrar: at its address only once it has
        another socket, if that can be told."""
        there = _socket_at(self._link.registrar)
        if silent.socket is not None and there is not None and silent.socket.is_same(there):
            return await self._reach_other()
        try:
            return await self._reach_any()
        except LinkError as error:
            log.debug("%s is not reached: %s", self._link.registrar, error)
            return None

    async def _reach_any(self) -> LinkConnection:
        """Dials the registrar and greets it; or, if it is not there, another of its cluster."""
        if not self._link.others:
            return await self._reach(self._link.registrar)
        failure: LinkError | None = None
        with anyio.move_on_after(_OTHERS_AFTER):
            try:
                return await self._reach(self._link.registrar)
            except LinkError as error:
                failure = error
        if other := await self._reach_other():
            return other
        if failure is not None:
            raise failure
        return await self._reach(self._link.registrar)

    async def _reach_other(self) -> LinkConnection | None:
        """Dials others of the registrar's cluster, the nearest first, and greets the first that
        answers."""
        for stamped in ranked(self._link.others):
            with anyio.move_on_after(_OTHERS_AFTER):
                try:
                    connection = await self._reach(stamped.endpoint, stamped.stamp.socket)
                except LinkError as error:
                    log.debug("%s is not reached: %s", stamped.endpoint, error)
                    continue
                what = "%s is not there; %s of its cluster is"
                log.info(what, self._link.registrar, stamped.endpoint)
                return connection
        return None

    async def _reach(self, place: Endpoint, expected: SocketId | None = None) -> LinkConnection:
        """Dials a registrar and greets it."""
        self._number += 1
        options = self._hub.options
        # Before it is dialed: who takes its place meanwhile is another.
        socket_there = _socket_at(place)
        sock = await dial(place, options.dial_timeout, self._hub.credentials, expected)
        try:
            if not options.insecure and not is_private(sock):
                raise LinkError("insecure", "it is beyond the loopback, and has no TLS")
            is_tcp = isinstance(place, Tcp)
            # Within a host, a registrar that has not answered by then hangs.
            is_far = isinstance(place, Tcp) and not place.is_loopback
            limit = options.handshake_timeout
            limit = limit if is_far else min(limit, options.ask_timeout)
            limit *= self._link.patience
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
        is_of_cluster = peer.cluster_number is not None and bool(self._link.others)
        self._link.others = peer.cluster
        keeper = peer.registrar
        if peer.cluster_number is not None:
            keeper = UUID(int=peer.cluster_number)
        settling = peer.settling_ms
        until = None
        if settling is not None:
            until = anyio.current_time() + min(settling / 1000, SETTLING_MAX)
        return LinkConnection(
            self._number,
            peer.registrar,
            keeper,
            is_of_cluster,
            portal,
            until,
            self._link,
            socket_there,
        )


def _socket_at(place: Endpoint) -> SocketId | None:
    """Returns the socket file at an address, if that is a path."""
    there = look(place) if isinstance(place, UnixPath) else None
    return there if isinstance(there, SocketId) else None


def _nearness(place: Endpoint) -> int:
    """Returns how far an address is, the nearest first: within this host or not."""
    if isinstance(place, Tcp):
        return 1 if place.is_loopback else 2
    return 0


def _check_owner(sock: socket.socket) -> None:
    """Makes sure that a listener at a port that anybody may have is this user's, or root's."""
    user = kernel.tcp_user(sock)
    if user is not None and user in (0, os.geteuid()):
        return
    whose = f"user {user}" if user is not None else "a user that the kernel does not identify"
    what = f"a registrar of {whose} listens there, and nobody has named it"
    raise LinkError("others-port", what)
