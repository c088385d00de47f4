"""Serving callers: accepting them, answering each as the actor that it means, and handing it on."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio
import anyio.abc
from anyio.streams.stapled import MultiListener

from .errors import HandshakeError
from .link import log
from .text import system

if TYPE_CHECKING:
    from .registered import Registered

S = TypeVar("S", bound=anyio.abc.ByteStream)

#: Callers that have not said who they mean yet.
_HANDSHAKES_MAX = 1024

#: The errors of an accept for want of descriptors or memory, which pass.
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

#: Those that are the fault of one caller, or of the network that it comes by (accept(2)).
_OF_CALLER = frozenset(
    {
        errno.ECONNABORTED,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENONET,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EPROTO,
    }
)

#: The pause after an accept that failed, and between two warnings of that.
_PAUSE = 0.05
_WARNING_PAUSE = 60.0

#: How it shows in a handler that its caller has gone.
_GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


class Serving(Generic[S]):
    """The callers of an actor."""

    def __init__(self, registered: Registered, handler: Callable[[S], Awaitable[object]]) -> None:
        self._registered = registered
        self._handler = handler
        self._handshakes = anyio.Semaphore(_HANDSHAKES_MAX)
        #: The scopes of the handshakes under way, the oldest first.
        self._under_way: dict[anyio.CancelScope, None] = {}
        self._warned_at = float("-inf")

    async def run(self, listener: anyio.abc.Listener[S]) -> None:
        """Accepts callers until it is cancelled, or the listener is closed."""
        async with anyio.create_task_group() as tasks:
            for each in _listeners(listener):
                tasks.start_soon(self._accept, each, tasks)

    async def _accept(self, listener: anyio.abc.Listener[S], tasks: anyio.abc.TaskGroup) -> None:
        while True:
            try:
                await listener.serve(self._greet, tasks)
                return
            except (OSError, anyio.BrokenResourceError) as error:
                cause = error if isinstance(error, OSError) else error.__cause__
                number = cause.errno if isinstance(cause, OSError) else None
                if not isinstance(cause, OSError) or number not in _SHORT | _OF_CALLER:
                    raise
            if number in _SHORT:
                self._make_room(cause)
            await anyio.sleep(_PAUSE)

    def _make_room(self, cause: OSError) -> None:
        """Drops the caller that has said nothing for the longest time: anybody can connect, and
        wait."""
        for oldest in list(self._under_way)[:1]:
            oldest.cancel()
        now = anyio.current_time()
        if now - self._warned_at >= _WARNING_PAUSE:
            self._warned_at = now
            what = "callers of %s cannot be accepted, and those who say nothing are dropped: %s"
            log.warning(what, self._registered.instance, system(cause))

    async def _greet(self, stream: S) -> None:
        with anyio.CancelScope() as scope:
            self._under_way[scope] = None
            is_greeted = False
            try:
                async with self._handshakes:
                    await self._registered.accept(stream)
                is_greeted = True
            except HandshakeError as error:
                log.debug("a caller of %s is dropped: %s", self._registered.instance, error)
            finally:
                del self._under_way[scope]
                if not is_greeted:
                    with contextlib.suppress(Exception):
                        await anyio.aclose_forcefully(stream)
            if is_greeted:
                await self._handle(stream)

    async def _handle(self, stream: S) -> None:
        """Hands a caller on. What goes wrong with one is no concern of the others."""
        try:
            async with stream:
                await self._handler(stream)
        except Exception as error:
            left = _without(error, _GONE)
            if left is None:
                log.debug("a caller of %s has gone: %r", self._registered.instance, error)
            else:
                log.error(
                    "the handler of a caller of %s failed", self._registered.instance, exc_info=left
                )


def _without(error: Exception, kinds: tuple[type[Exception], ...]) -> Exception | None:
    """Returns what is left of an error, or of those of a task group, without those of some
    kinds."""
    if isinstance(error, ExceptionGroup):
        return error.split(kinds)[1]
    return None if isinstance(error, kinds) else error


def _listeners(listener: anyio.abc.Listener[Any]) -> Iterable[anyio.abc.Listener[Any]]:
    """Returns the listeners of which one is made, so that a fault of one ends no other."""
    return listener.listeners if isinstance(listener, MultiListener) else [listener]
