"""Arguments of calls that are neither names nor endpoints: owners, UUIDs, times."""

from __future__ import annotations

import math
import pwd
from contextlib import suppress
from functools import partial
from ipaddress import IPv6Network, ip_address
from typing import Any
from uuid import UUID

import anyio
import anyio.to_thread

from .errors import InvalidArgument
from .text import kind_of, quoted

#: For how long the system's directory of users may take.
_USERS_TIMEOUT = 5.0

_USER_MAX = 2**32 - 1


def check_uuid(uuid: UUID) -> bytes:
    """Returns the bytes of a UUID."""
    if not isinstance(uuid, UUID):
        what = f"an instance is named by its UUID, as in `record.uuid`, not by {kind_of(uuid)}"
        raise InvalidArgument(what)
    return uuid.bytes


def check_seconds(what: str, seconds: Any, least: float = 0.0) -> float:
    """Returns a time in seconds, if it is one."""
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not is_number or math.isnan(seconds) or seconds < least:
        found = f"{seconds}" if is_number else kind_of(seconds)
        raise InvalidArgument(f"`{what}` is a number of seconds from {least:g} on, not {found}")
    return float(seconds)


async def read_owner(owner: str | None) -> str | None:
    """Reads a user's name or number, a SPIFFE ID, or an owner as it is written for programs, and
    returns it in the latter way: `user:1000`, `address:10.0.0.7`, `tls:feed.example`,
    `registrar`."""
    if owner in (None, "registrar", "unknown"):
        return owner
    if not isinstance(owner, str):
        raise InvalidArgument(f"an owner is a text, not {kind_of(owner)}")
    if owner.startswith("spiffe://"):
        return f"tls:{owner}"
    kind, _, address = owner.partition(":")
    try:
        if kind == "address":
            return f"address:{ip_address(address)}"
        if kind == "network":
            return f"network:{IPv6Network(address)}"
    except ValueError:
        raise _no_user(owner) from None
    if kind == "tls" and address:
        return owner
    user = owner.removeprefix("user:")
    if user.isascii() and user.isdigit() and int(user) <= _USER_MAX:
        return f"user:{int(user)}"
    with anyio.move_on_after(_USERS_TIMEOUT):
        try:
            found = await anyio.to_thread.run_sync(pwd.getpwnam, user, abandon_on_cancel=True)
        except (KeyError, ValueError):  # ValueError: a NUL in it
            raise _no_user(user) from None
        return f"user:{found.pw_uid}"
    what = "the system's directory of users (NSS) does not answer"
    error = InvalidArgument(f"{what}: who is {quoted(user)}?")
    error.add_note("hint: write the user's number")
    raise error


async def in_words(owner: str | None) -> str:
    """Names an owner for people: users by their names on this machine."""
    kind, _, name = (owner or "").partition(":")
    if kind == "user" and name.isdigit():
        with anyio.move_on_after(_USERS_TIMEOUT), suppress(KeyError, OverflowError):
            ask = partial(pwd.getpwuid, int(name))
            return (await anyio.to_thread.run_sync(ask, abandon_on_cancel=True)).pw_name
    return {"registrar": "the registrar"}.get(kind, name or kind or "somebody else")


def _no_user(user: str) -> InvalidArgument:
    error = InvalidArgument(f"there is no user {quoted(user)} on this machine")
    error.add_note(
        "hint: write a user's name or number; for a registrant on the network, its SPIFFE ID, "
        "`tls:feed.example` or `address:10.0.0.7`"
    )
    return error
