"""A call that is under way on a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Protocol

from .errors import Closed, RemoteError
from .items import Items
from .prompt import Prompt


class Overdue(Exception):
    """A call was not answered in time; `late` is for how long nobody noticed that."""

    def __init__(self, late: float) -> None:
        super().__init__()
        self.late = late


class Ended(Protocol):
    """What the caller awaits: a future of asyncio, or the like."""

    def __await__(self) -> Generator[Any, None, None]: ...

    def done(self) -> bool: ...

    def set_result(self, result: None, /) -> None: ...

    def wake(self) -> None: ...


class Call:
    """A call that is under way, and then its answer."""

    __slots__ = ("answer", "deadline", "ended", "error", "items")

    def __init__(self, ended: Ended, items: Items | None) -> None:
        self.ended: Ended = ended
        self.answer: bytes | None = None
        self.error: RemoteError | Closed | Overdue | None = None
        self.items: Items | None = items
        #: When it is given up, if ever.
        self.deadline: float | None = None

    def end(self) -> None:
        """Wakes whoever waits for it: it has an answer or an error."""
        if not self.ended.done():  # as it is for a caller that is cancelled
            self.ended.set_result(None)
        if self.items is not None:
            self.items.end(self.error)

    def wake(self) -> None:
        """Does so at once, where that is possible: within no task."""
        if not self.ended.done():
            self.ended.wake()
        if self.items is not None:
            self.items.end(self.error)

    def result(self) -> bytes:
        """Returns its answer, or raises its error."""
        if self.error is not None:
            raise self.error
        if self.answer is None:
            raise Closed("the connection was closed on this side")
        return self.answer


def maker(loop: asyncio.AbstractEventLoop | None) -> Callable[[], Ended]:
    """Returns what makes the end of a call, on asyncio's loop or else on trio. That of each library
    costs a call a tenth of anyio's event."""
    if loop is not None:
        return partial(Prompt, loop=loop)
    import trio  # which runs this already

    class EndedOnTrio:
        __slots__ = ("_event",)

        def __init__(self) -> None:
            self._event = trio.Event()

        def __await__(self) -> Generator[Any, None, None]:
            return self._event.wait().__await__()

        def done(self) -> bool:
            return self._event.is_set()

        def set_result(self, _: None, /) -> None:
            self._event.set()

        def wake(self) -> None:
            self._event.set()

    return EndedOnTrio
