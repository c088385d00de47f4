"""The client: looks up, waits, watches, connects, and keeps actors registered."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar
from uuid import UUID

import anyio
import anyio.abc
from anyio.abc import SocketAttribute
from anyio.streams.stapled import MultiListener

from . import environment
from .desired import Entry, make_entry
from .dial import Candidate, Connection, connect_nearest
from .endpoint import Endpoint, endpoint
from .errors import (
    Incomplete,
    LinkError,
    NotFound,
    Partly,
    Refused,
    RegistrarFailure,
    SettingsError,
    Unreachable,
)
from .link import (
    SETTLING_MAX,
    Connector,
    Dialing,
    Down,
    Hub,
    Link,
    Reply,
)
from .locality import Stamped, published, stamped
from .lookup import Asking, Found, LookupResult, located, merged
from .messages import (
    Record,
    State,
    Status,
    Whoami,
    pack,
    read_answer,
    read_located,
    read_nothing,
    read_status,
    read_whoami,
)
from .names import check_name, check_pattern
from .options import Options, Trust
from .registered import Registering
from .waiting import states, wait, wait_within_reach
from .watch import Watch

T = TypeVar("T")

#: An endpoint as it is given: its text, its value, with a stamp of its own, or a bound listener.
Place = str | Endpoint | Stamped | socket.socket | anyio.abc.Listener[Any]


class Client:
    """A client of one registrar or several, made by `connect` or `open`."""

    def __init__(
        self, registrars: Sequence[Endpoint], options: Options, trust: Trust, *, waits: bool
    ) -> None:
        self.options = options
        self.hub = Hub(registrars, options, trust)
        self._asking = Asking(self.hub)
        #: Whether it has been closed.
        self.is_closed = False
        self._waits = waits
        self._tasks: anyio.abc.TaskGroup | None = None

    async def __aenter__(self) -> Client:
        if self._tasks is not None:
            raise RuntimeError("a client is entered once")
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        try:
            for link in self.hub.links:
                self._tasks.start_soon(Connector(self.hub, link).run)
            if self._waits:
                await self._first_up()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        """Ends all tasks. What goes wrong in the block that it was open for passes as it is, and is
        not wrapped into a group."""
        assert self._tasks is not None
        self.is_closed = True
        error = LinkError("client-closed", "this client is closed")
        for link in self.hub.links:
            if link.connection is not None:
                link.connection.portal.goodbye("the client is done")
            link.set(Down(error))
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def _first_up(self) -> None:
        async def first(link: Link) -> LinkError | None:
            match await link.settled(self.options.dial_timeout + self.options.handshake_timeout):
                case Down(error):
                    return error
                case Dialing():
                    return LinkError("not-yet", "it has not answered yet")
                case _:
                    return None

        failures: list[RegistrarFailure] = []
        is_up = False

        async def look(link: Link) -> None:
            nonlocal is_up
            error = await first(link)
            if error is None:
                is_up = True
                looks.cancel_scope.cancel()
            else:
                failures.append(link.failure(error))

        async with anyio.create_task_group() as looks:
            for link in self.hub.links:
                looks.start_soon(look, link)
        if not is_up:
            order = [link.registrar for link in self.hub.links]
            raise Unreachable(sorted(failures, key=lambda it: order.index(it.registrar)))

    @property
    def registrars(self) -> tuple[Endpoint, ...]:
        """The addresses of the registrars, in the order given."""
        return tuple(link.registrar for link in self.hub.links)

    # Looking up.

    async def query(
        self, name: str, *, all: bool = False, owner: str | None = None
    ) -> LookupResult:
        """Looks up the ready instances of a name; with `all`, starting and draining ones too; and
        with `owner`, as in `user:1000`, only those of one owner.

        A name without instances has no records. A registrar that has just started, and does not
        know the name, is waited for until its clients should be back.
        """
        check_name(name)

        async def ask() -> Found:
            return await self._query(name, all, owner)

        return (await self._until_known(name, all, owner, ask)).result

    async def query_now(self, name: str) -> LookupResult:
        """Looks up the instances of a name in all states, as `query` does, and waits for no
        registrar that has just started."""
        check_name(name)
        return (await self._query(name, True, None)).result

    async def _query(self, name: str, all: bool, owner: str | None) -> Found:
        body = pack(_query_args(name, all, owner))
        return merged(self.hub, await self._asking.gather("registrar.query", body, read_answer))

    async def list(self, pattern: str = "*") -> LookupResult:
        """Lists the instances of all names that match a pattern, by name: `*` stands for any run of
        characters, `?` for any one."""
        check_pattern(pattern)
        answers = await self._asking.each(lambda at: self._asking.list_of(at, pattern))
        found = merged(self.hub, answers).result
        records = tuple(sorted(found.records, key=lambda it: it.name.encode()))
        return LookupResult(records, found.total, found.now_ms, found.unanswered, found.settling)

    async def find(self, name: str, *, owner: str | None = None) -> Connection:
        """Connects to the nearest ready instance of a name.

        An instance that speaks the protocol has to prove its identity before a byte is sent.
        Candidates that do not answer are reported to the registrars, which check for themselves.
        `NotFound` if there is none, and every registrar says so; `NoneAnswered` if there is one
        that cannot be reached.
        """
        check_name(name)

        async def ask() -> Found:
            body = pack(_query_args(name, False, owner))
            return located(
                self.hub, await self._asking.gather("registrar.find", body, read_located)
            )

        found = await self._until_known(name, False, owner, ask)
        # A state that this version does not know is not one to dial.
        records = [it for it in found.result.complete().records if it.state == "ready"]
        if not records:
            raise await self._not_ready(name, owner)
        connection = await connect_nearest(
            records,
            found.tickets,
            self.options,
            lambda candidate, evidence: self._report(found, candidate, evidence),
        )
        connection.unanswered = found.result.unanswered
        return connection

    async def wait(self, name: str, *, timeout: float | None = None) -> Record:
        """Waits until an instance of a name is ready, and returns the newest; a declared one does
        not count. It waits on all registrars together, also while one is lost and returns.

        `TimedOut` after the time, if there is one and a registrar says that it is not there; else
        `Unreachable` or `Incomplete`.
        """
        return await wait(self, name, timeout)

    async def wait_within_reach(self, name: str, *, timeout: float | None = None) -> Record:
        """Waits as `wait` does, until an instance can be reached from here as well, as far as that
        is visible without a connection."""
        return await wait_within_reach(self, name, timeout)

    def watch(self, pattern: str = "*") -> Watch:
        """Follows the instances of a name or a pattern, as all registrars together know them:
        `async with client.watch("feed.*") as watch: async for change in watch: …`"""
        return Watch(self, pattern)

    # Registering.

    def register(
        self,
        name: str,
        *endpoints: Place,
        metadata: Mapping[str, str] | None = None,
        state: State = "ready",
        lease: float | None = None,
        proves: bool = False,
        wait_in_line: bool = False,
        uuid: UUID | None = None,
    ) -> Registering:
        """Registers an actor with all registrars, and keeps it registered while the block lasts:
        `async with client.register("feed", "/unix/run/feed.sock") as registered: …`

        An endpoint is a text, a value, or a bound listening socket, whose present addresses count.
        The actor has to listen there already. `proves`: it answers callers by `Registered.accept`.
        `lease`: it lives for so many seconds after each renewal, and not only as long as the
        connection. `wait_in_line`: if another instance has an exclusive name, this waits for it.
        """
        return self._registering(
            False, name, endpoints, metadata, state, lease, proves, wait_in_line, uuid
        )

    def register_patiently(
        self,
        name: str,
        *endpoints: Place,
        metadata: Mapping[str, str] | None = None,
        state: State = "ready",
        lease: float | None = None,
        proves: bool = False,
        wait_in_line: bool = False,
        uuid: UUID | None = None,
    ) -> Registering:
        """Registers as `register` does, for a program that may start before its registrar: where
        none is within reach, it is registered as soon as one is."""
        return self._registering(
            True, name, endpoints, metadata, state, lease, proves, wait_in_line, uuid
        )

    def _registering(
        self,
        patiently: bool,
        name: str,
        endpoints: Sequence[Place],
        metadata: Mapping[str, str] | None,
        state: State,
        lease: float | None,
        proves: bool,
        waits: bool,
        uuid: UUID | None,
    ) -> Registering:
        def make() -> Entry:
            return make_entry(
                name,
                _stamped_all(endpoints),
                metadata=metadata or {},
                state=state,
                lease=lease,
                proves=proves,
                waits=waits,
                uuid=uuid,
                links=len(self.hub.links),
            )

        return Registering(self, make, patiently=patiently)

    # Requests about an instance, whoever registered it.

    async def unregister(self, uuid: UUID) -> None:
        """Takes an instance out of the registry."""
        await self._request("registrar.unregister", {"uuid": uuid.bytes})

    async def renew(self, uuid: UUID) -> None:
        """Renews the lease of an instance."""
        await self._request("registrar.renew", {"uuid": uuid.bytes})

    async def drain(self, uuid: UUID) -> None:
        """Drains an instance: it finishes its work, and only look-ups for all states find it."""
        await self.set_state(uuid, "draining")

    async def set_state(self, uuid: UUID, state: State) -> None:
        """Changes the state of an instance. Its program is notified, and keeps that state."""
        own = self.hub.entries.get(uuid)
        if own is not None:
            own.change(state=state)  # a registrar does not report a client's own changes to it
        try:
            await self._request("registrar.update", {"uuid": uuid.bytes, "state": state})
        except Partly as error:
            # The others learn of this client's own registrations when they answer again.
            if own is None or any(it.error.is_refusal for it in error.failures):
                raise

    # The registrars themselves.

    async def whoami(self) -> tuple[tuple[Endpoint, Whoami | RegistrarFailure], ...]:
        """Asks all registrars for this process's identity and rights."""
        return await self._ask_each("registrar.whoami", read_whoami)

    async def status(self) -> tuple[tuple[Endpoint, Status | RegistrarFailure], ...]:
        """Asks all registrars how they are. One that is found at several addresses answers once."""
        return await self._ask_each("registrar.status", read_status)

    async def _ask_each(
        self, method: str, read: Callable[[Any], T]
    ) -> tuple[tuple[Endpoint, T | RegistrarFailure], ...]:
        answers = await self._asking.gather(method, pack(None), read)
        told: list[tuple[Endpoint, T | RegistrarFailure]] = []
        for link, answer in zip(self.hub.links, answers, strict=True):
            if isinstance(answer, Reply):
                told.append((link.registrar, answer.value))
            elif answer is not None:
                told.append((link.registrar, answer))
        return tuple(told)

    # For the parts of this package.

    def start(self, task: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        """Starts a task that ends with the client."""
        if self._tasks is None:
            raise RuntimeError("the client has not been entered: `async with callsign.connect()`")
        self._tasks.start_soon(task, *args)

    def put(self, entry: Entry) -> None:
        """Adds a registration to the desired state; it replaces one of the same instance."""
        if self.is_closed or self._tasks is None:
            raise RuntimeError("the client is not open")
        earlier = self.hub.entries.get(entry.instance.uuid)
        if earlier is not None:
            earlier.is_wanted, earlier.is_left = False, True
            earlier.changed.notify()
        self.hub.entries[entry.instance.uuid] = entry
        self.hub.entries_changed.notify()

    def take_off(self, entry: Entry) -> None:
        """Takes a registration out of the desired state."""
        entry.is_wanted = False
        if self.hub.entries.get(entry.instance.uuid) is entry:
            del self.hub.entries[entry.instance.uuid]
        entry.changed.notify()
        self.hub.entries_changed.notify()

    async def _until_known(
        self, name: str, all: bool, owner: str | None, ask: Callable[[], Awaitable[Found]]
    ) -> Found:
        """Asks, and asks again while there are none and the registrars that answer are settling:
        when the name appears, and when they have settled."""
        patience = SETTLING_MAX if self.options.patience is None else self.options.patience
        deadline = anyio.current_time() + patience
        while True:
            found = await ask()
            if owner is not None:
                # An earlier registrar does not filter by owner.
                mine = tuple(it for it in found.result.records if it.owner == owner)
                result = found.result
                found.result = LookupResult(
                    mine, result.total, result.now_ms, result.unanswered, result.settling
                )
            is_empty = not found.result.records
            if not is_empty or found.settles_at is None or anyio.current_time() >= deadline:
                return found
            with anyio.CancelScope(deadline=min(deadline, found.settles_at)):
                async with self.watch(name) as watch:
                    async for change in watch:
                        record = change.record
                        if record is None or (owner is not None and record.owner != owner):
                            continue
                        if all or record.state == "ready":
                            break

    async def _not_ready(self, name: str, owner: str | None) -> NotFound:
        """Says why there is no ready instance of a name."""
        others = (await self.query(name, all=True)).complete().records
        if owner is not None and others:
            whose = next((it.owner for it in others if it.owner is not None), "somebody else")
            what = f"no instance of `{name}` belongs to {owner}"
            return NotFound(f"{what}: {whose} registered what is there")
        if unready := states(others):
            return NotFound(f"no instance of `{name}` is ready: it has {unready}")
        asked = [str(it) for it in self.registrars]
        where = f" {asked[0]}" if len(asked) == 1 else "".join(f"\n  {it}" for it in asked)
        return NotFound(f"no actor `{name}` is registered at{where}")

    async def _request(self, method: str, args: dict[str, Any]) -> None:
        body = pack(args)

        def is_answer(it: Any) -> bool:
            return isinstance(it, Reply) or (
                isinstance(it, RegistrarFailure) and it.error.is_refusal
            )

        answers = await self._asking.each(
            lambda at: self.hub.ask(at, method, body, read_nothing), is_answer
        )
        failures, is_done, is_answered = [], False, False
        for answer in answers:
            if isinstance(answer, Reply):
                is_done = True
            elif isinstance(answer, RegistrarFailure):
                remote = answer.error.remote
                if remote is not None and remote.kind == "not-found":
                    is_answered = True
                else:
                    failures.append(answer)
        if is_done or is_answered:
            failures = [it for it in failures if self.hub.misses(it)]
        if is_done and not failures:
            return
        if is_done:
            raise Partly(failures)
        if any(it.error.is_refusal for it in failures):
            raise Refused("no registrar carried it out", failures)
        if is_answered and not failures:
            raise NotFound("no registrar has such an instance")
        if is_answered:
            raise Incomplete(failures)
        raise Unreachable(failures)

    def _report(self, found: Found, candidate: Candidate, evidence: str) -> None:
        """Reports evidence against an instance to each registrar that knows it."""
        uuid = candidate.record.uuid
        for at, epoch in found.epochs.get(uuid, []):
            connection = self.hub.links[at].connection
            if connection is not None:
                report = {
                    "uuid": uuid.bytes,
                    "epoch": epoch,
                    "endpoint": str(candidate.endpoint),
                    "evidence": evidence,
                }
                connection.portal.notify("registrar.report", pack(report))


def connect(*registrars: str | Endpoint, options: Options | None = None, **more: Any) -> Client:
    """Connects to registrars, or to those of the environment, and waits until one answers:
    `async with callsign.connect() as client: …`

    `Unreachable` if none does. `more` are fields of `Options`, as in `agent="market/1.0"`.
    """
    return _client(registrars, options, more, waits=True)


def open(*registrars: str | Endpoint, options: Options | None = None, **more: Any) -> Client:
    """Begins to connect as `connect` does, and does not wait: for a program that may start before
    its registrar. `async with callsign.open() as client: await client.wait("feed")`"""
    return _client(registrars, options, more, waits=False)


def _client(
    given: Sequence[str | Endpoint],
    options: Options | None,
    more: Mapping[str, Any],
    *,
    waits: bool,
) -> Client:
    from dataclasses import replace

    trust = Trust.NAMED
    if given:
        registrars = list(dict.fromkeys(endpoint(it) for it in given))
    else:
        registrars, trust = environment.registrars(os.environ, is_patient=not waits)
    if not registrars:
        raise SettingsError("no registrar is configured")
    return Client(registrars, replace(options or Options(), **more), trust, waits=waits)


def _query_args(name: str, all: bool, owner: str | None) -> dict[str, Any]:
    query: dict[str, Any] = {"name": name, "all": all}
    return query if owner is None else {**query, "owner": owner}


def _stamped_all(endpoints: Iterable[Place]) -> list[Stamped]:
    found: list[Stamped] = []
    for place in endpoints:
        if isinstance(place, socket.socket):
            found += published(place)
        elif isinstance(place, MultiListener):
            found += _stamped_all(place.listeners)
        elif isinstance(place, anyio.abc.Listener):
            found += published(place.extra(SocketAttribute.raw_socket))
        else:
            found.append(stamped(place))
    return found
