"""Waiting for a name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import anyio

from .arguments import check_seconds
from .dial import explain
from .errors import (
    Incomplete,
    LinkError,
    RegistrarFailure,
    RegistrarsError,
    TimedOut,
    registrars_error,
)
from .fields import pack
from .link import WAITS_MAX, Down, Link, LinkConnection
from .messages import Record
from .names import check_name
from .text import duration
from .view import newest_first

if TYPE_CHECKING:
    from .client import Client

#: How often it is looked whether an instance has come within reach.
_LOOK_AGAIN = 0.2

#: The time limit for the last look: a registrar that is there answers in milliseconds.
_LAST_LOOK = 1.0


async def wait(client: Client, name: str, timeout: float | None) -> Record:
    """Waits until an instance of a name is ready, and returns the newest."""
    check_name(name)
    return await _within(client, name, timeout, _ready, lambda _: True)


async def wait_within_reach(client: Client, name: str, timeout: float | None) -> Record:
    """Waits until an instance of a name is ready, and one of its endpoints can be reached."""
    check_name(name)
    return await _within(client, name, timeout, _near, _is_within_reach)


async def _within(
    client: Client,
    name: str,
    timeout: float | None,
    wait: Callable[[Client, str], Awaitable[Record]],
    is_wanted: Callable[[Record], bool],
) -> Record:
    client.hub.check_open()
    if timeout is None:
        return await wait(client, name)
    check_seconds("timeout", timeout)
    with anyio.move_on_after(timeout):
        return await wait(client, name)
    limit = duration(timeout)
    try:
        with anyio.fail_after(_LAST_LOOK):
            found = await client.query_now(name)
            records = found.complete().records
    except TimeoutError:
        error = LinkError("not-yet", "it has not answered yet")
        failures = [link.failure(error) for link in client.hub.links]
        raise _unknown(registrars_error("no registrar answers", failures), name, limit) from None
    except Incomplete as error:
        raise error.with_context(f"`{name}` was not ready within {limit}") from None
    except RegistrarsError as error:
        raise _unknown(error, name, limit) from None
    ready = [it for it in records if it.is_there]
    for record in filter(is_wanted, ready):
        return record
    if ready:
        left_out = [it for it in explain(ready).candidates if not it.is_within_reach]
        why = "".join(f"\n  {it.endpoint}: {it.verdict}" for it in left_out)
        what = f"registered, and cannot be reached from here:{why}"
        raise TimedOut(f"`{name}` was not within reach after {limit}: it is {what}")
    raise TimedOut(f"`{name}` was not ready within {limit}: {_why(records)}")


def _unknown(error: RegistrarsError, name: str, limit: str) -> RegistrarsError:
    return error.with_context(f"whether `{name}` is there is not known after {limit}")


def _why(records: Sequence[Record]) -> str:
    if not records:
        return "no such actor is registered"
    if all(it.lifetime == "declared" for it in records):
        return "it is declared, and has not registered"
    if any(it.is_cut_off for it in records):
        return "the registrar is cut off from its cluster, and does not hear of its node"
    return f"{states(records)} and none ready"


def states(records: Sequence[Record]) -> str:
    """Counts the instances of each state but `ready`: `2 starting, 1 draining`."""
    found = [it.state for it in records]
    counted = [f"{found.count(it)} {words}" for it, words in _STATES.items() if it in found]
    return ", ".join(counted)


async def _ready(client: Client, name: str) -> Record:
    body = pack({"name": name})
    found: list[Record] = []
    failures: list[RegistrarFailure] = []

    async def wait(link: Link) -> None:
        try:
            record = await _wait_on(link, body)
        except LinkError as error:
            failures.append(link.failure(error))
        else:
            found.append(record)
            waits.cancel_scope.cancel()

    async with anyio.create_task_group() as waits:
        for link in client.hub.links:
            waits.start_soon(wait, link)
    if not found:
        raise registrars_error("no registrar answers", failures)
    return found[0]


async def _wait_on(link: Link, body: bytes) -> Record:
    """Waits on one registrar, over as many connections as it takes."""
    if link.waits >= WAITS_MAX:
        what = f"too many names are awaited at once: at most {WAITS_MAX}"
        raise LinkError("too-many-waits", what)
    link.waits += 1
    after = 0
    try:
        while True:
            connection = await _up(link, after)
            after = connection.number
            try:
                answer = await connection.call("registrar.wait", body, link.known.answer, None)
            except LinkError as error:
                is_away = error.remote is not None and error.remote.kind == "shutting-down"
                if error.kind == "closed" or is_away:
                    continue  # the registrar at the next connection knows more
                raise
            live = next((it for it in answer.records if it.is_there), None)
            if live is None:
                what = "its answer cannot be read: an answer to a wait without an instance"
                raise LinkError("unreadable", what)
            return live
    finally:
        link.waits -= 1


async def _up(link: Link, after: int) -> LinkConnection:
    """Waits until a link is up, unless what keeps it down needs a remedy."""
    while True:
        connection = link.connection
        if connection is not None and connection.number > after:
            return connection
        if isinstance(link.state, Down) and not link.state.error.may_pass:
            raise link.state.error
        await link.changed.changed()


async def _near(client: Client, name: str) -> Record:
    first = await _ready(client, name)
    ready = {first.uuid: first}
    async with client.watch(name) as watch:
        while True:
            for record in sorted(ready.values(), key=newest_first):
                if _is_within_reach(record):
                    return record
            # No event reports whether a path leads to its socket.
            with anyio.move_on_after(_LOOK_AGAIN):
                change = await anext(watch)
                if change.kind == "reset":
                    ready.clear()
                elif change.instance is not None:
                    ready.pop(change.instance.uuid, None)
                elif (changed := change.record) is not None:
                    ready.pop(changed.uuid, None)
                    if changed.state == "ready" and changed.lifetime != "declared":
                        ready[changed.uuid] = changed


def _is_within_reach(record: Record) -> bool:
    return any(it.is_within_reach for it in explain([record]).candidates)


_STATES = {
    "starting": "starting",
    "draining": "draining",
    "unknown": "in a state that this version does not know",
}
