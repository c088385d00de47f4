"""Links: one to each registrar, as everybody else sees it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

import anyio

from .call import Overdue
from .endpoint import Endpoint, Tcp
from .errors import (
    Closed,
    LinkError,
    RegistrarFailure,
    RemoteError,
    WireError,
)
from .kernel import SocketId
from .known import Known
from .locality import Stamped
from .portal import Portal
from .reading import quota_of
from .signal import Signal
from .text import duration

if TYPE_CHECKING:
    from .hub import Hub

T = TypeVar("T")

log: logging.Logger = logging.getLogger("callsign")

#: The longest settling time to believe of a registrar.
SETTLING_MAX = 60.0

#: The most names that are awaited concurrently, at each registrar: half the calls of a connection.
WAITS_MAX = 512

#: A registrar that hangs may have a successor, which is found only by dialing again.
PATIENCE_MOST = 8


@dataclass(eq=False, slots=True)
class LinkConnection:
    """A connection of a link."""

    #: Counts the connections of the link, from 1.
    number: int
    registrar: UUID
    #: By what its link claims it: the registrar, or all of its cluster.
    keeper: UUID
    #: Whether the link has moved within a cluster: what this one knows, the last one knew too.
    is_of_cluster: bool
    portal: Portal
    settling_until: float | None
    link: Link
    #: The socket file by which the registrar was reached, if it was one. Whoever takes its place
    #: binds another.
    socket: SocketId | None = None
    #: Set by a caller that has waited for an answer in vain.
    overdue: anyio.Event = field(default_factory=anyio.Event)

    @property
    def settles_at(self) -> float | None:
        """The time until which the registrar settles, if it does now."""
        if self.settling_until is not None and self.settling_until <= anyio.current_time():
            self.settling_until = None
        return self.settling_until

    async def call(
        self, method: str, body: bytes, read: Callable[[bytes], T], limit: float | None
    ) -> T:
        """Calls a method. When no answer comes in time, the connection is given up."""
        try:
            if limit is None:
                answer = await self.portal.call(method, body)
            else:
                try:
                    answer = await self.portal.call_within(limit, method, body)
                except Overdue as overdue:
                    answer = await self._again(overdue, limit, method, body)
        except RemoteError as error:
            raise of_refusal(error) from None
        except Closed as error:
            raise LinkError("closed", str(error)) from None
        except WireError as error:
            what = f"the request is too long to be sent: {error}"
            raise LinkError("too-long", what) from None
        return read_body(answer, read)

    async def _again(self, overdue: Overdue, limit: float, method: str, body: bytes) -> bytes:
        """Calls again if the time has passed while this process was stopped: it begins anew."""
        if overdue.late >= limit:
            with suppress(Overdue):
                return await self.portal.call_within(limit, method, body)
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


def read_body(body: bytes, read: Callable[[bytes], T]) -> T:
    """Reads the body of an answer."""
    try:
        return read(body)
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
        self.changed: Signal = Signal()
        self.waits = 0
        #: Where the others of its cluster are.
        self.others: tuple[Stamped, ...] = ()
        self.known: Known = Known()
        #: By how much the usual times are multiplied, while the registrar does not answer in them.
        self.patience = 1
        #: Whether an attempt is under way.
        self.is_tried = False
        #: When the pause between two attempts began, if there is one now.
        self._pausing_since: float | None = None
        self._pause_ended: Signal = Signal()
        self._hub = hub

    def grow_patient(self) -> None:
        """Doubles the time of the next attempt, since one was given up or turned away.

        Many clients that come back at once may be more than a busy registrar answers in time, and
        each attempt that is given up is more work for it.
        """
        self.patience = min(PATIENCE_MOST, self.patience * 2)

    async def pause(self, seconds: float) -> None:
        """Pauses between two attempts, until a caller ends the pause."""
        self._pausing_since = time.monotonic()
        try:
            with anyio.move_on_after(seconds):
                await self._pause_ended.changed()
        finally:
            self._pausing_since = None

    @property
    def is_near(self) -> bool:
        """Tells whether the registrar is on this host, where an attempt costs next to nothing."""
        return not isinstance(self.registrar, Tcp) or self.registrar.is_loopback

    @property
    def may_come(self) -> bool:
        """Tells whether a caller may wait for an attempt, since the last failure may be over.

        A registrar that may be busy is left alone; and a loop of calls dials no more often than the
        shortest pause allows.
        """
        if not isinstance(self.state, Down) or not self.is_near or self.patience > 1:
            return False
        first, _ = self._hub.options.backoff
        since = self._pausing_since
        return self.is_tried or (since is not None and time.monotonic() - since >= first)

    async def tried_again(self, limit: float) -> None:
        """Ends a pause, and waits for the end of the attempt that follows: one for all who wait."""
        failed = self.state
        self._pause_ended.notify()
        with anyio.move_on_after(limit):
            await self.changed.until(lambda: self.state is not failed)

    def set(self, state: LinkState) -> None:
        self.state = state
        self._hub.find_sole()
        self.changed.notify()
        for entry in (*self._hub.entries.values(), *self._hub.leaving):
            entry.changed.notify()

    def failure(self, error: LinkError) -> RegistrarFailure:
        age = 0.0
        is_last = isinstance(self.state, Down) and self.state.error is error
        if is_last and self._pausing_since is not None:
            age = time.monotonic() - self._pausing_since
        return RegistrarFailure(self.registrar, error, age)

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
