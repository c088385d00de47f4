"""Finding a name: asking until it is known whether it is there, and connecting to the nearest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel

from .arguments import check_seconds, in_words, read_owner
from .dial import Candidate, Connection, connect_nearest
from .errors import LinkError, NotFound, RegistrarFailure, Unreachable
from .fields import pack
from .hub import Reply
from .link import SETTLING_MAX
from .lookup import Found, LookupResult, alone, located, merged
from .messages import Answer, Located, Record
from .names import check_name
from .waiting import states

if TYPE_CHECKING:
    from .client import Client


@dataclass(slots=True)  # not frozen, since that makes it five times as slow
class Wanted:
    """What is looked up: the ready instances of a name or all, and perhaps of one owner only."""

    name: str
    all: bool
    owner: str | None = None
    #: How old an answer may be, in seconds, if no registrar can be asked.
    max_age: float | None = None

    def check(self, client: Client) -> None:
        """Makes sure that it is a name, and that the client can be asked."""
        client.hub.check_open()
        check_name(self.name)
        if self.max_age is not None:
            check_seconds("max_age", self.max_age)

    async def read(self) -> Wanted:
        """Returns it with the owner as the protocol has it."""
        return replace(self, owner=await read_owner(self.owner))

    def args(self) -> bytes:
        """Writes it as the arguments of a call."""
        return _args(self.name, self.all, self.owner)

    def wants(self, record: Record) -> bool:
        """Tells whether a record is of the owner."""
        return self.owner is None or record.owner == self.owner


@lru_cache(maxsize=1024)
def _args(name: str, all: bool, owner: str | None) -> bytes:
    args: dict[str, Any] = {"name": name, "all": all}
    return pack(args if owner is None else {**args, "owner": owner})


async def query(client: Client, wanted: Wanted) -> LookupResult:
    """Looks up a name, and waits for registrars that have just started."""
    wanted.check(client)
    sole = client.hub.sole
    if wanted.owner is not None:
        wanted = await wanted.read()
    elif sole is not None and sole.settles_at is None and wanted.max_age is None:
        # This is what programs do a thousand times a second: with as few steps as possible.
        body, limit = wanted.args(), client.options.ask_timeout
        try:
            return alone(await sole.call("registrar.query", body, sole.link.known.answer, limit))
        except LinkError as error:
            await anyio.lowlevel.checkpoint()  # as `each` does
            raise client.asking.failed(sole.link, error) from None

    async def ask() -> Found:
        return await _until_known(client, wanted, lambda: query_now(client, wanted))

    key = ("query", wanted.name, wanted.all, wanted.owner)
    return (await client.memory.or_remembered(key, wanted.max_age, ask)).result


async def query_now(client: Client, wanted: Wanted) -> Found:
    """Looks up a name."""
    hub, args = client.hub, wanted.args()

    def ask(at: int) -> Awaitable[Reply[Answer] | RegistrarFailure | None]:
        return hub.ask(at, "registrar.query", args, hub.links[at].known.answer)

    return merged(hub, await client.asking.each(ask))


async def find(client: Client, wanted: Wanted) -> Connection:
    """Connects to the nearest ready instance of a name."""
    wanted.check(client)
    if wanted.owner is not None:
        wanted = await wanted.read()
    hub = client.hub

    def locate_at(at: int) -> Awaitable[Reply[Located] | RegistrarFailure | None]:
        return hub.ask(at, "registrar.find", wanted.args(), hub.links[at].known.located)

    async def locate() -> Found:
        return located(hub, await client.asking.each(locate_at))

    async def ask() -> Found:
        return await _until_known(client, wanted, locate)

    key = ("find", wanted.name, wanted.all, wanted.owner)
    found = await client.memory.or_remembered(key, wanted.max_age, ask)
    # A state that this version does not know is not one to dial.
    records = [it for it in found.result.complete().records if it.state == "ready"]
    if not records and found.result.age is not None:
        # A remembered absence says nothing about now.
        raise Unreachable(found.result.unanswered)
    if not records:
        raise await _not_ready(client, wanted)
    connection = await connect_nearest(
        records,
        found.tickets,
        client.options,
        client.hub.credentials,
        lambda candidate, evidence: _report(client, found, candidate, evidence),
    )
    connection.unanswered = found.result.unanswered
    connection.age = found.result.age
    return connection


async def _until_known(
    client: Client, wanted: Wanted, ask: Callable[[], Awaitable[Found]]
) -> Found:
    """Asks, and asks again while there are none and the registrars that answer are settling: when
    the name appears, and when they have settled."""
    patience = client.options.patience
    deadline: float | None = None
    while True:
        found = await ask()
        if wanted.owner is not None:
            # An earlier registrar does not filter by owner.
            mine = tuple(filter(wanted.wants, found.result.records))
            found.result = replace(found.result, records=mine)
        if found.result.records or found.settles_at is None:
            return found
        now = anyio.current_time()
        if deadline is None:
            deadline = now + (SETTLING_MAX if patience is None else patience)
        if now >= deadline:
            return found
        with anyio.CancelScope(deadline=min(deadline, found.settles_at)):
            async with client.watch(wanted.name) as watch:
                async for change in watch:
                    record = change.record
                    if record is None or not wanted.wants(record):
                        continue
                    if wanted.all or record.state == "ready":
                        break


async def _not_ready(client: Client, wanted: Wanted) -> NotFound:
    """Says why there is no ready instance of a name."""
    name = wanted.name
    there = (await query(client, Wanted(name, True))).complete().records
    others = list(filter(wanted.wants, there))
    if there and not others:
        whose = next((it.owner for it in there if it.owner is not None), None)
        what = f"no instance of `{name}` belongs to {await in_words(wanted.owner)}"
        return NotFound(f"{what}: {await in_words(whose)} registered what is there")
    if unready := states(others):
        return NotFound(f"no instance of `{name}` is ready: it has {unready}")
    asked = [str(it) for it in client.registrars]
    where = f" {asked[0]}" if len(asked) == 1 else "".join(f"\n  {it}" for it in asked)
    return NotFound(f"no actor `{name}` is registered at{where}")


def _report(client: Client, found: Found, candidate: Candidate, evidence: str) -> None:
    """Reports evidence against an instance to each registrar that knows it."""
    uuid = candidate.record.uuid
    for at, records in found.told:
        connection = client.hub.links[at].connection
        epoch = next((it.epoch for it in records if it.uuid == uuid), None)
        if connection is not None and epoch is not None:
            report = {
                "uuid": uuid.bytes,
                "epoch": epoch,
                "endpoint": str(candidate.endpoint),
                "evidence": evidence,
            }
            connection.portal.notify("registrar.report", pack(report))
