"""The items of a streaming call, bounded by credit."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from .errors import Closed, RemoteError, WireError
from .signal import Signal

if TYPE_CHECKING:
    from .call import Overdue

#: The items in transit, and the bytes of those that nobody has read yet.
WINDOW = 128
_BYTES_MAX = 32 << 20


class Calls(Protocol):
    """What the calls of a connection do for items."""

    def send(self, kind: str, fields: dict[str, Any]) -> None:
        """Sends a frame."""

    def forget(self, number: int) -> None:
        """Withdraws a call."""


class Items:
    """The items of a streaming call. Those that nobody reads are bounded by credit."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        #: The call that they belong to.
        self.number = -1
        self._changed = Signal()
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._credit = WINDOW
        self._read = 0
        self._is_over = False
        self._error: RemoteError | Closed | Overdue | None = None
        self.started: bytes | None = None

    async def next(self) -> bytes | None:
        """Returns the next item; `None` at the end."""
        await self._changed.until(lambda: bool(self._queue) or self._is_over)
        if not self._queue:
            if self._error is not None:
                raise self._error
            return None
        item = self._queue.popleft()
        self._queued_bytes -= len(item)
        self._read += 1
        if self._read >= WINDOW // 2 and not self._is_over:
            self._credit += self._read
            self._calls.send("credit", {"id": self.number, "items": self._read})
            self._read = 0
        return item

    async def begun(self) -> None:
        """Waits until the stream has begun, or ended."""
        await self._changed.until(lambda: self.started is not None or self._is_over)

    def close(self) -> None:
        """Ends the call."""
        self._calls.forget(self.number)

    def take(self, kind: str, body: bytes) -> None:
        """Takes `started`, or an item."""
        if kind == "started":
            if self.started is not None:
                raise WireError("a second `started`")
            self.started = body
        else:
            if self.started is None or self._credit == 0:
                raise WireError("an item without credit")
            self._credit -= 1
            self._queue.append(body)
            self._queued_bytes += len(body)
            if self._queued_bytes > _BYTES_MAX:
                raise WireError("items of more bytes than anybody has room for")
        self._changed.notify()

    def end(self, error: RemoteError | Closed | Overdue | None) -> None:
        """Ends them, as the call has."""
        self._is_over, self._error = True, error
        self._changed.notify()
