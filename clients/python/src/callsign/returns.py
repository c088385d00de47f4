"""The return of registrations that were found dead, once their sockets are in their places again.

A folder may be away for a moment. Who is looked for just then is found dead, though it lives.
"""

from __future__ import annotations

import anyio

from .desired import Entry
from .endpoint import UnixPath
from .kernel import SocketId
from .link import log
from .locality import look

#: How often the places of what is lost are looked at.
_LOOK_EVERY = 1.0

#: The shortest pause before a registration is made again, and the longest: it grows with each time
#: that the registration is lost soon after.
_PAUSE_MIN, _PAUSE_MAX = 0.2, 30.0

#: After how long a registration that stays is there for good.
_CALM = 60.0


async def bring_back(entry: Entry) -> None:
    """Registers an instance again whenever its sockets are where it was found dead."""
    pause, returned_at = _PAUSE_MIN, 0.0
    while True:
        await entry.changed.until(lambda: entry.is_found_dead or not entry.is_wanted)
        if not entry.is_wanted:
            return
        has_stayed = anyio.current_time() - returned_at > _CALM
        pause = _PAUSE_MIN if has_stayed else min(pause * 2, _PAUSE_MAX)
        await anyio.sleep(pause)
        while entry.is_found_dead and not _is_there(entry):
            await anyio.sleep(_LOOK_EVERY)
        if entry.is_found_dead:
            log.info("%s is there again", entry.instance)
            returned_at = anyio.current_time()
            entry.lost = None
            entry.change()


def _is_there(entry: Entry) -> bool:
    """Tells whether a socket that it has lost is at its path."""
    lost = entry.lost.endpoint if entry.lost is not None else None
    for stamped in entry.wanted.endpoints:
        path, socket = stamped.endpoint, stamped.stamp.socket
        if isinstance(path, UnixPath) and socket is not None and lost in (None, str(path)):
            found = look(path)
            if isinstance(found, SocketId) and found.is_same(socket):
                return True
    return False
