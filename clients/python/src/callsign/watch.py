"""Following a name or a pattern."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

import anyio
import anyio.lowlevel

from .errors import Closed, LinkError, RemoteError, WireError
from .fields import of_answer, pack, unpack
from .items import Items
from .link import Dialing, Down, Link, LinkConnection, Up, of_refusal, read_body
from .loops import caller_soon
from .names import check_pattern
from .reading import read_item
from .signal import Signal
from .view import Change, View

if TYPE_CHECKING:
    from .client import Client

#: The pause before a registrar that refused a watch is asked again.
_REFUSED_PAUSE = 5.0

#: The time for an instance to come along to another node of a cluster, that had registered so late
#: that only the former node knew it: clients move within a second.
_MOVING_TIME = 2.0


class Watch:
    """A watch of a pattern: `async for change in watch`. Nothing piles up: a registrar resets a
    watcher that falls behind. It ends with its block, with `close`, or when nobody has it any
    more."""

    def __init__(self, client: Client, pattern: str) -> None:
        self._following = following = Following(client, check_pattern(pattern))
        # Its tasks have no part of this handle.
        weakref.finalize(self, following.abandon).atexit = False

    async def __aenter__(self) -> Watch:
        self._following.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> Watch:
        return self

    def close(self) -> None:
        """Ends the watch."""
        self._following.close()

    async def __anext__(self) -> Change:
        """Returns the next change. A cancelled wait loses none."""
        return await self._following.next()


class Following:
    """What the handle of a watch, and the feeds of its registrars, have in common."""

    def __init__(self, client: Client, pattern: str) -> None:
        self._client = client
        self.pattern = pattern
        self._view = View(len(client.hub.links), client.hub.misses)
        #: What a feed tells next; it waits until that is taken.
        self._step: tuple[str, tuple[Any, ...], dict[str, Any]] | None = None
        self._changed = Signal()
        self._scope: anyio.CancelScope | None = None
        self._call_soon: Callable[[Callable[[], None]], object] | None = None
        self._is_closed = False

    def close(self) -> None:
        """Ends it."""
        self._is_closed = True
        if self._scope is not None:
            self._scope.cancel()
        self._changed.notify()

    def abandon(self) -> None:
        """Has it ended, wherever this is called."""
        if self._call_soon is not None and not self._is_closed:
            with suppress(RuntimeError):  # its loop has ended
                self._call_soon(self.close)

    async def next(self) -> Change:
        """Returns the next change."""
        self.start()
        while not self._is_over:
            if (change := self._view.pop()) is not None:
                return change
            deadline = self._view.next_deadline()
            with anyio.CancelScope(deadline=float("inf") if deadline is None else deadline):
                await self._changed.until(lambda: self._step is not None or self._is_over)
            if self._step is not None:
                (step, args, named), self._step = self._step, None
                self._changed.notify()
                getattr(self._view, step)(*args, **named)
            else:
                self._view.tick(anyio.current_time())
        raise StopAsyncIteration

    async def tell(self, step: str, *args: Any, **named: Any) -> None:
        """Tells the view of a step, and waits until it is taken."""
        await self._changed.until(lambda: self._step is None)
        self._step = told = (step, args, named)
        self._changed.notify()
        await self._changed.until(lambda: self._step is not told)

    def seen(self, feed: int) -> dict[str, Any]:
        """Returns the place where a feed stands, as an argument of its call."""
        seen = self._view.seen(feed)
        if seen is None:
            return {}
        return {"seen": {"registrar": seen.registrar.bytes, "revision": seen.revision}}

    def has_another(self, feed: int, registrar: UUID) -> bool:
        """Tells whether what a feed knows comes from another registrar than that."""
        return self._view.has_another(feed, registrar)

    @property
    def _is_over(self) -> bool:
        return self._is_closed or self._client.hub.is_shut is not None

    def start(self) -> None:
        """Starts its feeds, unless that is done."""
        self._client.hub.check_here()
        if self._scope is None and not self._is_closed:
            scope, self._call_soon = anyio.CancelScope(), caller_soon()
            self._client.start(self._follow_all, scope)
            self._scope = scope

    async def _follow_all(self, scope: anyio.CancelScope) -> None:
        try:
            with scope:
                async with anyio.create_task_group() as feeds:
                    for link in self._client.hub.links:
                        feeds.start_soon(_Feed(self._client, link, self).run)
        finally:
            self._is_closed = True
            self._changed.notify()


class _Feed:
    """One registrar's part of a watch."""

    def __init__(self, client: Client, link: Link, watch: Following) -> None:
        self._client = client
        self._link = link
        self._watch = watch

    async def run(self) -> None:
        """Runs until it is cancelled, over as many connections as it takes."""
        link, after = self._link, 0
        match await link.settled(self._client.options.ask_timeout):
            case Down(error):
                await self._lost(error)
            case Dialing():
                await self._lost(LinkError("not-yet", "it has not answered yet"))
            case Up():
                pass
            case _:
                await self._watch.tell("standby", link.index)
        while True:
            connection = await link.up(after)
            error = await self._follow(connection)
            await self._lost(error)
            # A connection that has ended is followed by another one. One that was silent continues,
            # and a registrar that refused is asked again on the same one, after a while.
            is_over = error.kind in ("closed", "no-answer")
            after = connection.number if is_over else connection.number - 1
            if not is_over and error.kind != "silent":
                await anyio.sleep(_REFUSED_PAUSE)

    async def _lost(self, error: LinkError) -> None:
        failure = self._link.failure(error)
        await self._watch.tell("lost", self._link.index, failure, anyio.current_time())

    async def _follow(self, connection: LinkConnection) -> LinkError:
        """Follows the registrar until that ends, or it gives no sign of life."""
        link, failure = self._link, LinkError("ended", "it ended the watch")

        async def mind() -> None:
            nonlocal failure
            await link.changed.until(lambda: link.silence is not None)
            failure = link.silence or failure
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(mind)
            failure = await self._tell_all(connection)
            tasks.cancel_scope.cancel()
        return failure

    async def _tell_all(self, connection: LinkConnection) -> LinkError:
        items: Items | None = None
        try:
            args = {"pattern": self._watch.pattern, **self._watch.seen(self._link.index)}
            limit = self._client.options.ask_timeout
            begun: tuple[bytes, Items] | None = None
            with anyio.move_on_after(limit):
                begun = await connection.portal.stream("registrar.watch", pack(args))
            if begun is None:
                return connection.give_up(limit)
            started, items = begun
            resumed = read_body(started, of_answer(lambda it: it.truth("resumed")))
            settles_at, at = connection.settles_at, self._link.index
            moves = connection.is_of_cluster and self._watch.has_another(at, connection.registrar)
            if settles_at is None and moves:
                settles_at = anyio.current_time() + _MOVING_TIME
            await self._watch.tell("begun", at, is_resumed=resumed, settles_at=settles_at)
            while (body := await items.next()) is not None:
                try:
                    item = read_item(unpack(body))
                except WireError:
                    continue  # a later version may send such; only those are lost
                if item is not None:
                    now = anyio.current_time()
                    await self._watch.tell("change", at, connection.registrar, item, now)
            return LinkError("ended", "it ended the watch")
        except RemoteError as error:
            return of_refusal(error)
        except Closed as error:
            return LinkError("closed", str(error))
        except LinkError as error:
            return error
        finally:
            if items is not None:
                items.close()
