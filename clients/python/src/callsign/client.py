"""The client: looks up, waits, watches, connects, and keeps actors registered."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar, Unpack
from uuid import UUID

import anyio
import anyio.abc

from . import environment, finding
from .closed import Lookout
from .connector import Connector
from .desired import Details, Entry, check_state
from .dial import Connection
from .endpoint import Endpoint, Tcp
from .errors import (
    CLOSED,
    LinkError,
    NotOpen,
    Partly,
    RegistrarFailure,
    SettingsError,
    Unreachable,
    no_certificate,
)
from .fields import pack
from .finding import Wanted
from .hub import Hub, Reply
from .link import Dialing, Down, Link
from .lookup import Asking, LookupResult, merged
from .messages import Record, State, Status, Whoami
from .multiaddr import endpoint
from .names import check_name, check_pattern
from .options import Options, Trust
from .places import Place
from .reading import read_status, read_whoami
from .registered import Registering
from .remembered import Memory
from .requests import request
from .returns import bring_back
from .secure import TlsListener
from .waiting import wait, wait_within_reach
from .watch import Watch

T = TypeVar("T")


class Client:
    """A client of one registrar or several, made by `connect` or `open`."""

    def __init__(
        self, registrars: Sequence[Endpoint], options: Options, trust: Trust, *, waits: bool
    ) -> None:
        self.options = options
        self.hub: Hub = Hub(registrars, options, trust)
        self.asking: Asking = Asking(self.hub)
        self.memory: Memory = Memory()
        self.lookout: Lookout = Lookout()
        self._waits = waits
        self._tasks: anyio.abc.TaskGroup | None = None

    async def __aenter__(self) -> Client:
        if self._tasks is not None:
            raise NotOpen("a client is entered once")
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self.hub.open()
        try:
            for link in self.hub.links:
                self._tasks.start_soon(Connector(self.hub, link).run)
            if self._waits:
                await self._first_up()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def _close(self) -> None:
        """Ends all tasks. What goes wrong in the block that it was open for passes as it is, and is
        not wrapped into a group."""
        assert self._tasks is not None
        self.hub.close()
        error = LinkError("client-closed", CLOSED)
        for link in self.hub.links:
            if link.connection is not None and self.hub.is_here:
                link.connection.portal.goodbye("the client is done")
            link.set(Down(error))
        self._tasks.cancel_scope.cancel()
        try:
            await self._tasks.__aexit__(None, None, None)
        except BaseExceptionGroup as group:
            # trio interrupts whichever task runs as somebody presses Ctrl-C.
            found, _ = group.split(KeyboardInterrupt)
            if found is None:
                raise
            raise KeyboardInterrupt from None

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
            error = Unreachable(sorted(failures, key=lambda it: order.index(it.registrar)))
            is_absent, place = all(it.error.is_absence for it in failures), order[0]
            is_near = not isinstance(place, Tcp) or place.is_loopback
            if is_absent and self.hub.trust is not Trust.USUAL and len(order) == 1 and is_near:
                error.add_note(f"hint: start one here: `callsign registrar --listen {place}`")
            if is_absent and self.hub.trust is Trust.USUAL:
                error.add_note("hint: start one here: `callsign registrar`")
                error.add_note(
                    "hint: or say where it is: `callsign.connect(ENDPOINT)`, or CALLSIGN_REGISTRAR"
                )
            raise error

    @property
    def registrars(self) -> tuple[Endpoint, ...]:
        """The addresses of the registrars, in the order given."""
        return tuple(link.registrar for link in self.hub.links)

    # Looking up.

    async def query(
        self,
        name: str,
        *,
        all: bool = False,
        owner: str | None = None,
        max_age: float | None = None,
    ) -> LookupResult:
        """Looks up the ready instances of a name; with `all`, starting and draining ones too; and
        with `owner`, as in `user:1000`, only those of one owner.

        A name without instances has no records. A registrar that has just started, and does not
        know the name, is waited for until its clients should be back. If no registrar can be asked,
        the last answer to the same question with a `max_age` will do that is no more than so many
        seconds old: `age` says how old it is.
        """
        return await finding.query(self, Wanted(name, bool(all), owner, max_age))

    async def query_now(self, name: str) -> LookupResult:
        """Looks up the instances of a name in all states, as `query` does, and waits for no
        registrar that has just started."""
        return (await finding.query_now(self, Wanted(check_name(name), True))).result

    async def list(self, pattern: str = "*") -> LookupResult:
        """Lists the instances of all names that match a pattern, by name: `*` stands for any run of
        characters, `?` for any one."""
        check_pattern(pattern)
        answers = await self.asking.each(lambda at: self.asking.list_of(at, pattern))
        found = merged(self.hub, answers).result
        records = tuple(sorted(found.records, key=lambda it: it.name.encode()))
        return LookupResult(records, found.total, found.now_ms, found.unanswered, found.settling)

    async def find(
        self, name: str, *, owner: str | None = None, max_age: float | None = None
    ) -> Connection:
        """Connects to the nearest ready instance of a name.

        An instance that speaks the protocol has to prove its identity before a byte is sent.
        Candidates that do not answer are reported to the registrars, which check for themselves.
        `NotFound` if there is none, and every registrar says so; `NoneAnswered` if there is one
        that cannot be reached. `max_age` is as for `query`; a remembered instance has to prove its
        identity as well.
        """
        return await finding.find(self, Wanted(name, False, owner, max_age))

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

    def register(self, name: str, *endpoints: Place, **details: Unpack[Details]) -> Registering:
        """Registers an actor with all registrars, and keeps it registered while the block lasts:
        `async with client.register("feed", "/unix/run/feed.sock") as registered: …`

        An endpoint is a text, a value, or a listening socket, whose present addresses count. The
        actor has to listen there already. `details` are those of `Details`, as in `lease=30`.
        """
        return Registering(self, name, endpoints, details)

    def register_patiently(
        self, name: str, *endpoints: Place, **details: Unpack[Details]
    ) -> Registering:
        """Registers as `register` does, for a program that may start before its registrar: where
        none is within reach, it is registered as soon as one is."""
        return Registering(self, name, endpoints, details, patiently=True)

    def tls_listener(self, listener: socket.socket) -> TlsListener:
        """Lets the callers of a listening socket of TCP speak TLS, with this client's certificate:
        to be registered, and served by `Registered.serve` or its own `serve`.

        `TlsError` if this client has no certificate.
        """
        if self.hub.credentials is None:
            raise no_certificate()
        return TlsListener(listener, self.hub.credentials)

    # Requests about an instance, whoever registered it.

    async def unregister(self, uuid: UUID) -> None:
        """Takes an instance out of the registry."""
        await request(self, "registrar.unregister", uuid)

    async def renew(self, uuid: UUID) -> None:
        """Renews the lease of an instance."""
        await request(self, "registrar.renew", uuid)

    async def drain(self, uuid: UUID) -> None:
        """Drains an instance: it finishes its work, and only look-ups for all states find it."""
        await self.set_state(uuid, "draining")

    async def set_state(self, uuid: UUID, state: State) -> None:
        """Changes the state of an instance. Its program is notified, and keeps that state."""
        check_state(state)
        own = self.hub.entries.get(uuid)
        if own is not None:
            own.change(state=state)  # a registrar does not report a client's own changes to it
        try:
            await request(self, "registrar.update", uuid, state=state)
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
        answers = await self.asking.gather(method, pack(None), read)
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
        self.hub.check_open()
        assert self._tasks is not None
        self._tasks.start_soon(task, *args)

    def put(self, entry: Entry) -> None:
        """Adds a registration to the desired state; it replaces one of the same instance."""
        self.hub.check_open()
        earlier = self.hub.entries.get(entry.instance.uuid)
        if earlier is not None:
            earlier.is_wanted, earlier.is_left = False, True
            earlier.changed.notify()
        self.hub.entries[entry.instance.uuid] = entry
        self.hub.entries_changed.notify()
        self.start(bring_back, entry)

    def take_off(self, entry: Entry) -> None:
        """Takes a registration out of the desired state."""
        entry.is_wanted = False
        if self.hub.entries.get(entry.instance.uuid) is entry:
            del self.hub.entries[entry.instance.uuid]
        entry.changed.notify()
        self.hub.entries_changed.notify()


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
    if unknown := more.keys() - {it.name for it in fields(Options)}:
        called = "connect" if waits else "open"
        raise TypeError(f"{called}() got an unexpected keyword argument {min(unknown)!r}")
    chosen = replace(options or Options(), **more)
    if given:
        registrars = list(dict.fromkeys(endpoint(it) for it in given))
        return Client(registrars, chosen, Trust.NAMED, waits=waits)
    found = environment.read(os.environ, is_patient=not waits)
    if not found.registrars:
        raise SettingsError("no registrar is configured")
    chosen = replace(
        chosen, tls=chosen.tls or found.tls, insecure=chosen.insecure or found.insecure
    )
    return Client(found.registrars, chosen, found.trust, waits=waits)
