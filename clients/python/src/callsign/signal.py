"""A signal that something has changed, for any number of tasks that wait for their condition."""

from __future__ import annotations

from collections.abc import Callable

import anyio


class Signal:
    """Wakes those who wait for a condition. There is no queue: each looks at the present state."""

    __slots__ = ("_changed",)

    def __init__(self) -> None:
        self._changed: anyio.Event | None = None

    def notify(self) -> None:
        """Tells that something has changed."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def changed(self) -> None:
        """Waits for the next change."""
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until a condition holds."""
        while not condition():
            await self.changed()
