"""A synchronous face of the client, for scripts.

    import callsign.sync

    with callsign.sync.connect() as client:
        for record in client.query("feed").records:
            print(record.uuid)

The client runs in a thread of its own. Its methods are those of `callsign.Client`, without `await`;
`find` gives a connection with a bare socket that blocks. Whatever interrupts a call, such as
Ctrl-C, cancels it, and is raised when nothing of it is left.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar, Unpack
from uuid import UUID

from . import client as asynchronous
from .desired import Details
from .dial import Assurance, Explanation
from .dial import Connection as AsyncConnection
from .endpoint import Endpoint
from .errors import NOT_ENTERED, NotOpen, RegistrarFailure
from .locality import Locality
from .lookup import LookupResult
from .messages import Instance, Record, State, Status, Whoami
from .options import Options
from .places import Place
from .registered import Registered as AsyncRegistered
from .view import Change
from .watch import Watch as AsyncWatch
from .worker import Block, Worker

T = TypeVar("T")
F = TypeVar("F")


class Connection:
    """A connection to an actor: `with client.find("feed") as feed: feed.socket.recv(…)`"""

    def __init__(self, connection: AsyncConnection) -> None:
        #: The bare socket, which blocks.
        self.socket: socket.socket = connection.detach()
        self.socket.setblocking(True)
        self.record: Record = connection.record
        self.endpoint: Endpoint = connection.endpoint
        self.locality: Locality = connection.locality
        self.assurance: Assurance = connection.assurance
        self.explanation: Explanation = connection.explanation
        self.unanswered: tuple[RegistrarFailure, ...] = connection.unanswered
        self.age: float | None = connection.age

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self.socket.close()


class Registered:
    """An actor that is kept registered."""

    def __init__(self, worker: Worker, registered: AsyncRegistered) -> None:
        self._worker = worker
        self._registered = registered

    @property
    def instance(self) -> Instance:
        """Which instance is registered."""
        return self._registered.instance

    @property
    def state(self) -> State:
        """The latest state set by this program, or by another authorised one."""
        return self._registered.state

    @property
    def missing(self) -> tuple[RegistrarFailure, ...]:
        """The registrars that do not have it as it is now, each with its reason."""
        return self._registered.missing

    def set_state(self, state: State) -> None:
        """Changes its state."""
        self._worker.call(partial(self._registered.set_state, state))

    def update_metadata(self, metadata: Mapping[str, str]) -> None:
        """Replaces its metadata."""
        self._worker.call(partial(self._registered.update_metadata, metadata))

    def leave(self) -> Instance:
        """Stops keeping it, and leaves it in the registry."""

        async def leave() -> Instance:
            return self._registered.leave()

        return self._worker.call(leave)


class Watch:
    """A watch of a pattern: `for change in watch`. An interrupted wait loses no change."""

    def __init__(self, worker: Worker, watch: AsyncWatch) -> None:
        self._worker = worker
        self._watch = watch
        self._next: Change | None = None

    def __iter__(self) -> Watch:
        return self

    def __next__(self) -> Change:
        self._worker.call(self._look)
        change, self._next = self._next, None
        if change is None:
            raise StopIteration
        return change

    async def _look(self) -> None:
        # It is kept here, so that it is there for the next call when this one is interrupted.
        if self._next is None:
            self._next = await anext(self._watch, None)


class Client:
    """A client of one registrar or several, for code that blocks."""

    def __init__(self, client: asynchronous.Client) -> None:
        self._client = client
        self._worker: Worker | None = None
        self._block: Block[asynchronous.Client] | None = None

    def __enter__(self) -> Client:
        if self._worker is not None:
            raise NotOpen("a client is entered once")
        self._worker = Worker()
        self._block = Block(self._worker, self._client)
        try:
            self._worker.start()
            self._block.enter()
        except BaseException:
            self._worker.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._worker is not None and self._block is not None
        try:
            self._block.leave()
        finally:
            self._worker.stop()

    def __del__(self) -> None:
        # For a block whose end was interrupted before a line of `__exit__` had run.
        if self._worker is not None:
            self._worker.abandon()

    def query(
        self,
        name: str,
        *,
        all: bool = False,
        owner: str | None = None,
        max_age: float | None = None,
    ) -> LookupResult:
        """Looks up the ready instances of a name, or all of them."""
        ask = partial(self._client.query, name, all=all, owner=owner, max_age=max_age)
        return self._call(ask)

    def list(self, pattern: str = "*") -> LookupResult:
        """Lists the instances of all names that match a pattern."""
        return self._call(partial(self._client.list, pattern))

    def find(
        self, name: str, *, owner: str | None = None, max_age: float | None = None
    ) -> Connection:
        """Connects to the nearest ready instance of a name."""

        async def find() -> Connection:
            return Connection(await self._client.find(name, owner=owner, max_age=max_age))

        return self._open().call(find, Connection.close)

    def wait(self, name: str, *, timeout: float | None = None) -> Record:
        """Waits until an instance of a name is ready."""
        return self._call(partial(self._client.wait, name, timeout=timeout))

    def wait_within_reach(self, name: str, *, timeout: float | None = None) -> Record:
        """Waits until an instance is ready that can be reached from here."""
        return self._call(partial(self._client.wait_within_reach, name, timeout=timeout))

    def watch(self, pattern: str = "*") -> AbstractContextManager[Watch]:
        """Follows the instances of a name or a pattern: `with client.watch("feed") as watch`."""
        return _Mapped(self._open(), self._client.watch(pattern), Watch)

    def register(
        self, name: str, *endpoints: Place, **details: Unpack[Details]
    ) -> AbstractContextManager[Registered]:
        """Registers an actor while the block lasts, as `callsign.Client.register` does."""
        return _Mapped(self._open(), self._client.register(name, *endpoints, **details), Registered)

    def unregister(self, uuid: UUID) -> None:
        """Takes an instance out of the registry."""
        self._call(partial(self._client.unregister, uuid))

    def renew(self, uuid: UUID) -> None:
        """Renews the lease of an instance."""
        self._call(partial(self._client.renew, uuid))

    def drain(self, uuid: UUID) -> None:
        """Drains an instance."""
        self._call(partial(self._client.drain, uuid))

    def set_state(self, uuid: UUID, state: State) -> None:
        """Changes the state of an instance."""
        self._call(partial(self._client.set_state, uuid, state))

    def whoami(self) -> tuple[tuple[Endpoint, Whoami | RegistrarFailure], ...]:
        """Asks all registrars for this process's identity and rights."""
        return self._call(self._client.whoami)

    def status(self) -> tuple[tuple[Endpoint, Status | RegistrarFailure], ...]:
        """Asks all registrars how they are."""
        return self._call(self._client.status)

    def _open(self) -> Worker:
        if self._worker is None:
            raise NotOpen(NOT_ENTERED.replace("async with callsign", "with callsign.sync"))
        return self._worker

    def _call(self, ask: Callable[[], Awaitable[T]]) -> T:
        return self._open().call(ask)


class _Mapped(AbstractContextManager[F]):
    """An asynchronous context of the client's, entered in its thread."""

    def __init__(self, worker: Worker, context: Any, face: Callable[[Worker, Any], F]) -> None:
        self._worker = worker
        self._block: Block[Any] = Block(worker, context)
        self._face = face

    def __enter__(self) -> F:
        try:
            return self._face(self._worker, self._block.enter())
        except BaseException:
            self._block.leave()
            raise

    def __exit__(self, *_: object) -> None:
        self._block.leave()

    def __del__(self) -> None:
        self._block.abandon()


def connect(*registrars: str | Endpoint, options: Options | None = None, **more: Any) -> Client:
    """Connects to registrars, or to those of the environment, as `callsign.connect` does."""
    return Client(asynchronous.connect(*registrars, options=options, **more))
