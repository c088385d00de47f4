"""What the parts of a client share: its links, and what is registered."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import get_ident
from typing import Generic
from uuid import UUID

from .credentials import Credentials
from .desired import Entry
from .endpoint import Endpoint, Tcp
from .errors import (
    CLOSED,
    NOT_ENTERED,
    OTHER_PROCESS,
    OTHER_THREAD,
    HandshakeError,
    LinkError,
    NotOpen,
    RegistrarFailure,
)
from .fields import T
from .link import Dialing, Down, Link, LinkConnection, Standby, Up
from .options import Options, Trust
from .signal import Signal
from .text import duration


class Hub:
    """What the parts of a client share."""

    def __init__(self, registrars: Sequence[Endpoint], options: Options, trust: Trust) -> None:
        self.options = options
        self.trust = trust
        self.credentials: Credentials | None = (
            None if options.tls is None else Credentials(options.tls)
        )
        self.entries: dict[UUID, Entry] = {}
        self.entries_changed: Signal = Signal()
        #: Those that are being taken out.
        self.leaving: set[Entry] = set()
        self.links: list[Link] = [Link(at, it, self) for at, it in enumerate(registrars)]
        #: The connection to the only registrar that counts, if there is one now: the others, if
        #: any, are not there, and not missed.
        self.sole: LinkConnection | None = None
        #: Why nothing can be asked: the client has not been entered, or is closed.
        self.is_shut: str | None = NOT_ENTERED
        #: Those in which it is made, and then those that open it.
        self._process, self._thread = os.getpid(), get_ident()
        #: The link that serves each registrar or cluster, since two addresses may lead to the same
        #: one.
        self._claims: dict[UUID, int] = {}

    def open(self) -> None:
        self.is_shut, self._process, self._thread = None, os.getpid(), get_ident()

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
        """Makes sure that this are the process and the thread that opened it: neither asyncio nor
        trio can wake a task of another thread's loop."""
        if self._process != os.getpid():
            raise NotOpen(OTHER_PROCESS)
        if self._thread != get_ident():
            raise NotOpen(OTHER_THREAD)

    def find_sole(self) -> None:
        """Looks again for the registrar that is the only one to be asked."""
        up = [it.connection for it in self.links if it.connection is not None]
        missed = any(
            isinstance(it.state, Dialing)
            or (isinstance(it.state, Down) and self.misses(it.failure(it.state.error)))
            for it in self.links
        )
        self.sole = up[0] if len(up) == 1 and not missed else None

    def claim(self, link: Link, connection: LinkConnection) -> int | None:
        """Claims a registrar for a link, and declares it up; or returns the link that has it."""
        holder = self._claims.setdefault(connection.keeper, link.index)
        if holder != link.index:
            link.set(Standby(holder))
            return holder
        link.set(Up(connection))
        return None

    def release(self, link: Link, keeper: UUID, error: LinkError) -> None:
        """Gives the registrar of a link free, and declares the link down."""
        self._claims.pop(keeper, None)
        link.set(Down(error))

    def forget(self, link: Link, error: LinkError) -> None:
        """Releases whatever a link has."""
        self._claims = {it: holder for it, holder in self._claims.items() if holder != link.index}
        link.set(Down(error))

    async def ask(
        self, index: int, method: str, body: bytes, read: Callable[[bytes], T]
    ) -> Reply[T] | RegistrarFailure | None:
        """Asks one registrar. One that another link serves is not asked twice: `None`."""
        self.check_open()
        link, limit = self.links[index], self.options.ask_timeout
        state = link.state
        if isinstance(state, Dialing):
            state = await link.settled(limit)
        elif self.is_tried_again(link):
            await link.tried_again(limit)
            state = link.state
        match state:
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

    def is_tried_again(self, link: Link) -> bool:
        """Tells whether a registrar that was not reached gets another attempt before it counts as
        away: if no other is there, or it is missed."""
        if not isinstance(link.state, Down) or not link.may_come:
            return False
        is_alone = not any(it.connection for it in self.links)
        return is_alone or self.misses(link.failure(link.state.error))

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


@dataclass(slots=True)  # not frozen, since that makes it five times as slow
class Reply(Generic[T]):
    """A registrar's answer, and the time until which it settles."""

    value: T
    settles_at: float | None
