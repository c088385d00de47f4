"""A synchronous face of the client, for scripts.

    import callsign.sync

    with callsign.sync.connect() as client:
        for record in client.query("feed").records:
            print(record.uuid)

The client runs in a thread of its own. Its methods are those of `callsign.Client`, without `await`;
`find` gives a connection with a bare socket that blocks.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from types import TracebackType
from typing import Any, TypeVar
from uuid import UUID

from anyio.from_thread import BlockingPortal, start_blocking_portal

from . import client as asynchronous
from .dial import Assurance, Explanation
from .dial import Connection as AsyncConnection
from .endpoint import Endpoint
from .errors import RegistrarFailure
from .locality import Locality
from .lookup import LookupResult
from .messages import Instance, Record, State, Status, Whoami
from .options import Options
from .registered import Registered as AsyncRegistered
from .view import Change
from .watch import Watch as AsyncWatch

T = TypeVar("T")


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

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self.socket.close()


class Registered:
    """An actor that is kept registered."""

    def __init__(self, portal: BlockingPortal, registered: AsyncRegistered) -> None:
        self._portal = portal
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
        self._portal.call(self._registered.set_state, state)

    def update_metadata(self, metadata: Mapping[str, str]) -> None:
        """Replaces its metadata."""
        self._portal.call(self._registered.update_metadata, metadata)

    def leave(self) -> Instance:
        """Stops keeping it, and leaves it in the registry."""
        self._portal.call(_as_coroutine, self._registered.leave)
        return self.instance


class Watch:
    """A watch of a pattern: `for change in watch`."""

    def __init__(self, portal: BlockingPortal, watch: AsyncWatch) -> None:
        self._portal = portal
        self._watch = watch

    def __iter__(self) -> Iterator[Change]:
        while True:
            change = self._portal.call(_next, self._watch)
            if change is None:
                return
            yield change


class Client:
    """A client of one registrar or several, for code that blocks."""

    def __init__(self, client: asynchronous.Client) -> None:
        self._client = client
        self._stack = ExitStack()
        self._portal: BlockingPortal | None = None

    def __enter__(self) -> Client:
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal())
            stack.enter_context(portal.wrap_async_context_manager(self._client))
            self._portal, self._stack = portal, stack.pop_all()
        return self

    def __exit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        self._stack.close()

    def query(self, name: str, *, all: bool = False, owner: str | None = None) -> LookupResult:
        """Looks up the ready instances of a name, or all of them."""
        return self._call(partial(self._client.query, name, all=all, owner=owner))

    def list(self, pattern: str = "*") -> LookupResult:
        """Lists the instances of all names that match a pattern."""
        return self._call(partial(self._client.list, pattern))

    def find(self, name: str, *, owner: str | None = None) -> Connection:
        """Connects to the nearest ready instance of a name."""
        return Connection(self._call(partial(self._client.find, name, owner=owner)))

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
        self, name: str, *endpoints: Any, **more: Any
    ) -> AbstractContextManager[Registered]:
        """Registers an actor while the block lasts, as `callsign.Client.register` does."""
        return _Mapped(self._open(), self._client.register(name, *endpoints, **more), Registered)

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

    def _open(self) -> BlockingPortal:
        if self._portal is None:
            raise RuntimeError("the client has not been entered: `with callsign.sync.connect()`")
        return self._portal

    def _call(self, ask: Callable[[], Awaitable[T]]) -> T:
        return self._open().call(ask)


class _Mapped(AbstractContextManager[T]):
    """An asynchronous context of the client's, entered in its thread."""

    def __init__(
        self, portal: BlockingPortal, context: Any, face: Callable[[BlockingPortal, Any], T]
    ) -> None:
        self._portal = portal
        self._context = portal.wrap_async_context_manager(context)
        self._face = face

    def __enter__(self) -> T:
        return self._face(self._portal, self._context.__enter__())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._context.__exit__(kind, error, trace)


def connect(*registrars: str | Endpoint, options: Options | None = None, **more: Any) -> Client:
    """Connects to registrars, or to those of the environment, as `callsign.connect` does."""
    return Client(asynchronous.connect(*registrars, options=options, **more))


async def _next(watch: AsyncWatch) -> Change | None:
    return await anext(watch, None)


async def _as_coroutine(function: Callable[[], T]) -> T:
    return function()
