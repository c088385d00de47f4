"""The present addresses of listeners at a wildcard, as the addresses of the host change."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

import anyio

from .errors import InvalidRegistration
from .streams import receive

#: The kernel's groups of messages on changed addresses (rtnetlink(7)).
_ADDRESSES_CHANGED = 0x10 | 0x100

#: A change brings several messages; what is published should be what they come to.
_PAUSE = 0.1


async def follow(publish: Callable[[], None]) -> None:
    """Calls `publish` whenever the host's addresses have changed, until it is cancelled. Where the
    kernel tells of no changes, it ends at once. A listener that is closed meanwhile ends it too."""
    try:
        changes = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC)
    except (AttributeError, OSError):
        return
    with changes, suppress(InvalidRegistration):
        changes.setblocking(False)
        changes.bind((0, _ADDRESSES_CHANGED))
        while True:
            # Also once at the beginning: they may have changed since they were registered.
            publish()
            # More than the kernel keeps is an error: some are missing, and all is looked at anyway.
            with suppress(OSError):
                await receive(changes)
            await anyio.sleep(_PAUSE)
