"""Other users' listeners in the places of programs that cannot prove who they are.

A port or an abstract name is free for anybody as soon as its server ends, and nothing of its own
tells two servers apart. The kernel tells their users apart: so a lease says whose the listener
is, and callers compare.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace

from . import kernel
from .endpoint import Tcp, UnixAbstract
from .locality import Stamped


def stamp_users(places: Iterable[Stamped], former: Sequence[Stamped]) -> list[Stamped]:
    """Stamps the ports and abstract names of this network namespace with the users who listen
    there; where nobody listens, with this one, unless that is root, whose programs may be of any
    user. A former stamp of the same place keeps its user: another server is not meant."""
    return [_with_user(it, former) for it in places]


def stranger_at(stamped: Stamped, registrant: int | None) -> int | None:
    """Returns the user who listens at a port, or at an abstract name, in place of the one in its
    stamp, if there is one. The registrant may listen there too, and root, who listens for
    others."""
    if meant_user(stamped) is None:
        return None
    users = _users_at(stamped)
    return next((it for it in users or () if is_stranger(it, stamped, registrant)), None)


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


def _with_user(stamped: Stamped, former: Sequence[Stamped]) -> Stamped:
    users = _users_at(stamped) if _is_of_here(stamped) and kernel.are_users_global() else None
    if users is None:
        return stamped
    user = users[0] if users else os.geteuid() or None
    for it in former:
        is_same = (it.stamp.kernel, it.stamp.netns) == (stamped.stamp.kernel, stamped.stamp.netns)
        if is_same and it.endpoint == stamped.endpoint and it.stamp.user is not None:
            user = it.stamp.user
    return replace(stamped, stamp=replace(stamped.stamp, user=user))


def _users_at(stamped: Stamped) -> tuple[int, ...] | None:
    """Returns the users who listen at a place; `None` if it is of no such kind."""
    place = stamped.endpoint
    if isinstance(place, UnixAbstract):
        return kernel.naming_users(place.name.encode())
    if isinstance(place, Tcp) and place.ip is not None:
        return kernel.listening_users(place.ip, place.port)
    return None


def _is_of_here(stamped: Stamped) -> bool:
    """Tells whether a place that anybody may have next is of this network namespace."""
    stamp = stamped.stamp
    if not isinstance(stamped.endpoint, Tcp | UnixAbstract) or None in (stamp.kernel, stamp.netns):
        return False
    return (stamp.kernel, stamp.netns) == (kernel.kernel_id(), kernel.netns())
