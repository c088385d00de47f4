"""Links: one to each registrar, which dials it, greets it, and comes back when it is lost."""

from __future__ import annotations

import logging
import os
import random
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from uuid import UUID

import anyio

from . import kernel
from .credentials import Credentials
from .desired import Entry, token_of
from .endpoint import Endpoint, Tcp
from .errors import (
    CLOSED,
    NOT_ENTERED,
    OTHER_PROCESS,
    Closed,
    HandshakeError,
    LinkError,
    Lost,
    NotOpen,
    RegistrarFailure,
    RemoteError,
    WireError,
)
from .frames import handshake
from .locality import is_there
from .messages import Fields, Hello, pack, quota_of, read_lost, unpack
from .options import Options, Trust
from .portal import Overdue, Portal
from .secure import is_private
from .signal import Signal
from .sockets import dial
from .text import duration, plain

T = TypeVar("T")

log = logging.getLogger("callsign")

#: The age at which a connection counts as a good one: longer than any pause before it.
_STEADY = 2.0

#: For how long a link waits for those named before it: one on this host has answered by then.
_EARLIER_PAUSE = 0.05

#: The longest settling time to believe of a registrar.
SETTLING_MAX = 60.0

#: The most names that are awaited concurrently, at each registrar: half the calls of a connection.
WAITS_MAX = 512


@dataclass(eq=False, slots=True)
class LinkConnection:
    """A connection of a link."""

    #: Counts the connections of the link, from 1.
    number: int
    registrar: UUID
    portal: Portal
    settling_until: float | None
    link: Link
    #: Set by a caller that has waited for an answer in vain.
    overdue: anyio.Event = field(default_factory=anyio.Event)

    @property
    def settles_at(self) -> float | None:
        """The time until which the registrar settles, if it does now."""
        until = self.settling_until
        return until if until is not None and until > anyio.current_time() else None

    async def call(
        self, method: str, body: bytes, read: Callable[[Fields], T], limit: float | None
    ) -> T:
        """Calls a method. When no answer comes in time, the connection is given up."""
        try:
            if limit is None:
                answer = await self.portal.call(method, body)
            else:
                answer = await self._within(limit, method, body)
        except RemoteError as error:
            raise of_refusal(error) from None
        except Closed as error:
            raise LinkError("closed", str(error)) from None
        except WireError as error:
            what = f"the request is too long to be sent: {error}"
            raise LinkError("too-long", what) from None
        return read_answer(answer, read)

    async def _within(self, limit: float, method: str, body: bytes) -> bytes:
        for _ in range(2):
            began = anyio.current_time()
            try:
                return await self.portal.call_within(limit, method, body)
            except Overdue:
                if anyio.current_time() - began < 2 * limit:
                    break
            # The timer fired far too late: this process was stopped, and the time begins anew.
        raise self.give_up(limit)

    def give_up(self, limit: float) -> LinkError:
        """Gives the connection up, for everybody at once, since no answer has come in time."""
        error = LinkError("no-answer", f"no answer within {duration(limit)}")
        if not self.overdue.is_set():
            self.overdue.set()
            self.portal.goodbye("no answer in time", returns=True)
            self.portal.closed = self.portal.closed or Closed(str(error))
            if self.link.connection is self:
                self.link.set(Down(error))
        return error


def read_answer(body: bytes, read: Callable[[Fields], T]) -> T:
    """Reads the body of an answer."""
    try:
        value = unpack(body)
        return read(Fields({} if value is None else value, "an answer"))
    except WireError as error:
        what = f"its answer cannot be read: {error}"
        raise LinkError("unreadable", what) from None


def of_refusal(error: RemoteError) -> LinkError:
    """Makes the reason of a refusal of a registrar's error."""
    quota = quota_of(error)
    link = LinkError(
        "refused" if quota is None else "quota-exceeded", f"it refused: {error}", error
    )
    link.quota = quota  # type: ignore[attr-defined]
    return link


@dataclass(frozen=True, slots=True)
class Dialing:
    """The first attempt is under way."""


@dataclass(frozen=True, slots=True)
class Up:
    """It is connected."""

    connection: LinkConnection


@dataclass(frozen=True, slots=True)
class Standby:
    """Another link is up with the same registrar."""

    holder: int


@dataclass(frozen=True, slots=True)
class Down:
    """The last attempt failed, the connection was lost, or the registrar is silent."""

    error: LinkError


LinkState = Dialing | Up | Standby | Down


class Link:
    """A link to one registrar, as everybody else sees it."""

    def __init__(self, index: int, registrar: Endpoint, hub: Hub) -> None:
        self.index = index
        self.registrar = registrar
        self.state: LinkState = Dialing()
        self.changed = Signal()
        self.waits = 0
        self._hub = hub

    def set(self, state: LinkState) -> None:
        self.state = state
        self.changed.notify()
        for entry in (*self._hub.entries.values(), *self._hub.leaving):
            entry.changed.notify()

    def failure(self, error: LinkError) -> RegistrarFailure:
        return RegistrarFailure(self.registrar, error)

    @property
    def connection(self) -> LinkConnection | None:
        return self.state.connection if isinstance(self.state, Up) else None

    @property
    def silence(self) -> LinkError | None:
        """The error of a registrar that gives no sign of life, if it is silent."""
        is_silent = isinstance(self.state, Down) and self.state.error.kind == "silent"
        return self.state.error if isinstance(self.state, Down) and is_silent else None

    async def settled(self, limit: float) -> LinkState:
        """Waits until the first attempt has ended."""
        if isinstance(self.state, Dialing):
            with anyio.move_on_after(limit):
                await self.changed.until(lambda: not isinstance(self.state, Dialing))
        return self.state

    async def up(self, after: int) -> LinkConnection:
        """Waits until it is up with a connection later than number `after`."""
        while True:
            connection = self.connection
            if connection is not None and connection.number > after:
                return connection
            await self.changed.changed()


class Hub:
    """What the parts of a client share."""

    def __init__(self, registrars: Sequence[Endpoint], options: Options, trust: Trust) -> None:
        self.options = options
        self.trust = trust
        self.credentials = None if options.tls is None else Credentials(options.tls)
        self.entries: dict[UUID, Entry] = {}
        self.entries_changed = Signal()
        #: Those that are being taken out.
        self.leaving: set[Entry] = set()
        self.links = [Link(at, it, self) for at, it in enumerate(registrars)]
        #: Why nothing can be asked: the client has not been entered, or is closed.
        self.is_shut: str | None = NOT_ENTERED
        self._process = os.getpid()  # that in which it is made, and then the one that opens it
        #: The link that serves each registrar, since two addresses may lead to the same one.
        self._claims: dict[UUID, int] = {}

    def open(self) -> None:
        self.is_shut, self._process = None, os.getpid()

    def close(self) -> None:
        self.is_shut = CLOSED

    @property
    def is_here(self) -> bool:
        """Tells whether this is the process that opened it, and not a fork of that."""
        return self._process == os.getpid()

    def check_open(self) -> None:
        """Makes sure that it can be used."""
        if self.is_shut is not None:
            raise NotOpen(self.is_shut)
        self.check_here()

    def check_here(self) -> None:
        """Makes sure that this is the process that opened it."""
        if not self.is_here:
            raise NotOpen(OTHER_PROCESS)

    def claim(self, link: Link, connection: LinkConnection) -> int | None:
        """Claims a registrar for a link, and declares it up; or returns the link that has it."""
        holder = self._claims.setdefault(connection.registrar, link.index)
        if holder != link.index:
            link.set(Standby(holder))
            return holder
        link.set(Up(connection))
        return None

    def release(self, link: Link, registrar: UUID, error: LinkError) -> None:
        """Gives the registrar of a link free, and declares the link down."""
        self._claims.pop(registrar, None)
        link.set(Down(error))

    def forget(self, link: Link, error: LinkError) -> None:
        """Releases whatever a link has."""
        self._claims = {it: holder for it, holder in self._claims.items() if holder != link.index}
        link.set(Down(error))

    async def ask(
        self, index: int, method: str, body: bytes, read: Callable[[Fields], T]
    ) -> Reply[T] | RegistrarFailure | None:
        """Asks one registrar. One that another link serves is not asked twice: `None`."""
        self.check_open()
        link, limit = self.links[index], self.options.ask_timeout
        match await link.settled(limit):
            case Up(connection):
                try:
                    value = await connection.call(method, body, read, limit)
                except LinkError as error:
                    return link.failure(error)
                return Reply(value, connection.settles_at)
            case Down(error):
                return link.failure(error)
            case Dialing():
                what = f"no answer within {duration(limit)}"
                return link.failure(LinkError("no-answer", what))
            case _:
                return None

    def misses(self, failure: RegistrarFailure) -> bool:
        """Tells whether a registrar is missed that did not answer while another did: it may know a
        name that the other does not."""
        if self.trust is not Trust.USUAL:
            return self.trust is Trust.NAMED
        kind = failure.error.kind
        if kind in ("busy", "timed-out") or isinstance(failure.error, HandshakeError):
            # A listener at a port that any program may have is no registrar before it says so.
            return not isinstance(failure.registrar, Tcp)
        return kind in ("no-answer", "silent", "closed", "ended", "refused", "quota-exceeded")


@dataclass(frozen=True, slots=True)
class Reply(Generic[T]):
    """A registrar's answer, and the time until which it settles."""

    value: T
    settles_at: float | None


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


class Registrant:
    """Answers a registrar by the desired state."""

    def __init__(self, hub: Hub, link: Link) -> None:
        self._hub = hub
        self._link = link
        self._before: LinkState | None = None

    def call(self, method: str, body: bytes) -> bytes:
        match method:
            case "registrant.confirm":
                return self._confirm(Fields(unpack(body), "a question"))
            case "registrant.set-state":
                return self._set_state(Fields(unpack(body), "a change"))
            case "registrant.set-token":
                told = Fields(unpack(body), "a token")
                self._entry(told.uuid("uuid")).tell_token(
                    self._link.index,
                    told.number("epoch"),
                    token_of(told.optional_number("token"), told.optional_binary("resume", 16)),
                )
                return pack(None)
            case "registrant.lost":
                lost = read_lost(Fields(unpack(body), "a loss"))
                entry = self._entry(lost.uuid)
                entry.lose(Lost(self._link.registrar, lost.cause, lost.endpoint, lost.by))
                log.info("%s: %s", entry.instance, entry.lost)
                return pack(None)
        raise RemoteError("no-such-method", f"there is no method `{plain(method[:64])}` here")

    def fell_silent(self, silence: float) -> None:
        """Marks the link as down, though its connection lasts: the registrar is stopped, or busy,
        and its entries are there when it continues."""
        if isinstance(self._link.state, Up):
            self._before = self._link.state
            what = f"it has given no sign of life for {silence:.1f}s"
            self._link.set(Down(LinkError("silent", what)))

    def heard_again(self) -> None:
        if self._before is not None:
            before, self._before = self._before, None
            self._link.set(before)

    def _confirm(self, fields: Fields) -> bytes:
        entry, place = self._entry(fields.uuid("uuid")), fields.text("endpoint")
        wanted = entry.wanted.endpoints
        stamped = next((it for it in wanted if str(it.endpoint) == place), None)
        answer: dict[str, bool] = {"is_wanted": stamped is not None}
        is_own = None if stamped is None else is_there(stamped)
        if is_own is not None:
            answer["is_own_socket"] = is_own
        return pack(answer)

    def _set_state(self, fields: Fields) -> bytes:
        entry, state = self._entry(fields.uuid("uuid")), fields.text("state")
        if state not in ("starting", "ready", "draining"):
            raise RemoteError("invalid", "this version does not know that state")
        if entry.wanted.state != state:
            entry.change(state=state)
        return pack(None)

    def _entry(self, uuid: UUID) -> Entry:
        entry = self._hub.entries.get(uuid)
        if entry is None or not entry.is_wanted:
            raise RemoteError("not-found", "no such instance is kept registered here")
        return entry
