"""A future of asyncio that wakes its task at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any

_Wake = Callable[[Any], object]


class Prompt(asyncio.Future[None]):
    """A future that one task awaits. `wake` runs the task at once, within the callback of the loop
    that has the news; a usual future has it run in the loop's next turn, and each turn asks the
    kernel for events. That is a fifth of what an exchange of bytes takes."""

    _waiting: tuple[_Wake, Context] | None = None

    def add_done_callback(self, fn: _Wake, /, *, context: Context | None = None) -> None:
        if self._waiting is None and context is not None and not self.done():
            self._waiting = fn, context  # the task that awaits it
        else:
            super().add_done_callback(fn, context=context)

    def wake(self) -> None:
        """Ends it, and runs its task. A task cannot do that, whose own step has yet to end."""
        waiting, self._waiting = self._waiting, None
        super().set_result(None)
        if waiting is not None:
            wake, context = waiting
            context.run(wake, self)

    def set_result(self, result: None, /) -> None:
        self._hand_over()
        super().set_result(result)

    def cancel(self, msg: Any | None = None) -> bool:
        self._hand_over()
        return super().cancel(msg)

    def _hand_over(self) -> None:
        """Leaves the waking to the loop."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            super().add_done_callback(waiting[0], context=waiting[1])
