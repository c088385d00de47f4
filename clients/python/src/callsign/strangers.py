"""Other users' listeners in the places of programs that cannot prove who they are.

A port is free for anybody as soon as its server ends, and nothing of its own tells two servers
apart. The kernel tells their users apart: so a lease says whose the listener is, and callers
compare.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace

from . import kernel
from .endpoint import Tcp, UnixAbstract
from .locality import Stamped


def stamp_users(places: Iterable[Stamped]) -> list[Stamped]:
    """Stamps the ports of this network namespace with the users who listen there; where nobody
    listens, with this one, unless that is root, whose programs may be of any user."""
    return [_with_user(it) for it in places]


def stranger_at(stamped: Stamped, registrant: int | None) -> int | None:
    """Returns the user who listens at a port in place of the one in its stamp, if there is one.
    The registrant may listen there too, and root, who listens for others."""
    place = stamped.endpoint
    if not isinstance(place, Tcp) or place.ip is None or meant_user(stamped) is None:
        return None
    users = kernel.listening_users(place.ip, place.port)
    return next((it for it in users if is_stranger(it, stamped, registrant)), None)


def is_stranger(user: int, stamped: Stamped, registrant: int | None) -> bool:
    """Tells whether a listener's user is none of those who are meant."""
    return user not in (meant_user(stamped), registrant, 0)


def meant_user(stamped: Stamped) -> int | None:
    """Returns the user in a stamp, if it is of this network namespace, where users are known by
    their numbers."""
    stamp = stamped.stamp
    if stamp.user is None or not _is_of_here(stamped) or not kernel.are_users_global():
        return None
    return stamp.user


def _with_user(stamped: Stamped) -> Stamped:
    place = stamped.endpoint
    if not isinstance(place, Tcp) or place.ip is None or not _is_of_here(stamped):
        return stamped
    if not kernel.are_users_global():
        return stamped
    users = kernel.listening_users(place.ip, place.port)
    user = users[0] if users else os.geteuid() or None
    return replace(stamped, stamp=replace(stamped.stamp, user=user))


def _is_of_here(stamped: Stamped) -> bool:
    """Tells whether a place that anybody may have next is of this network namespace."""
    stamp = stamped.stamp
    if not isinstance(stamped.endpoint, Tcp | UnixAbstract) or None in (stamp.kernel, stamp.netns):
        return False
    return (stamp.kernel, stamp.netns) == (kernel.kernel_id(), kernel.netns())
