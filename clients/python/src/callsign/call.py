"""A call that is under way on a connection."""

from __future__ import annotations

import asyncio

import anyio

from .errors import Closed, RemoteError
from .items import Items


class Overdue(Exception):
    """A call was not answered in time."""


class Call:
    """A call that is under way, and then its answer."""

    __slots__ = ("answer", "deadline", "ended", "error", "items")

    def __init__(self, ended: anyio.Event | asyncio.Event, items: Items | None) -> None:
        self.ended = ended
        self.answer: bytes | None = None
        self.error: RemoteError | Closed | Overdue | None = None
        self.items = items
        #: When it is given up, if ever.
        self.deadline: float | None = None

    def end(self) -> None:
        """Wakes whoever waits for it: it has an answer or an error."""
        self.ended.set()
        if self.items is not None:
            self.items.end(self.error)

    def result(self) -> bytes:
        """Returns its answer, or raises its error."""
        if self.error is not None:
            raise self.error
        if self.answer is None:
            raise Closed("the connection was closed on this side")
        return self.answer
