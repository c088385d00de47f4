"""The loop of events that runs this: of asyncio, or trio's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


def asyncio_loop() -> asyncio.AbstractEventLoop | None:
    """Returns asyncio's loop, if that runs this."""
    try:
        # As a guest of asyncio, trio runs its tasks outside of those of asyncio.
        return None if asyncio.current_task() is None else asyncio.get_running_loop()
    except RuntimeError:
        return None


def caller_soon() -> Callable[[Callable[[], None]], object]:
    """Returns what has this loop call a function soon, wherever that is said: also in another
    thread, or while Python collects garbage. It raises `RuntimeError` once the loop has ended."""
    loop = asyncio_loop()
    if loop is not None:
        return loop.call_soon_threadsafe
    import trio  # which runs this already

    return trio.lowlevel.current_trio_token().run_sync_soon
