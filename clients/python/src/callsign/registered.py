"""The handle of an actor that is kept registered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import anyio
import anyio.abc

from .closed import Listening, listening
from .desired import Details, Entry, check_metadata, check_state, make_entry
from .endpoint import Endpoint
from .errors import LinkError, Lost, NotOpen, RegistrarFailure, registrars_error
from .fields import pack
from .link import Dialing, Down, Standby, Up, log
from .locality import Stamp, Stamped
from .messages import Hello, Instance, State
from .places import Place, may_move, present, stamped_all
from .secure import Channel
from .serving import Serving
from .wildcards import follow

if TYPE_CHECKING:
    from .client import Client

S = TypeVar("S", bound=anyio.abc.ByteStream)


class Registered:
    """An actor that is kept registered: with all registrars, and with those that come back."""

    def __init__(self, client: Client, entry: Entry) -> None:
        self._client = client
        self._entry = entry
        #: The task that follows the addresses of wildcards, if there is one.
        self._following = anyio.CancelScope()
        #: Whether it is `starting` because the program has closed its listeners.
        self._is_closed = False

    @property
    def instance(self) -> Instance:
        """Which instance is registered."""
        return self._entry.instance

    @property
    def name(self) -> str:
        return self._entry.instance.name

    @property
    def uuid(self) -> UUID:
        return self._entry.instance.uuid

    @property
    def endpoints(self) -> tuple[Stamped, ...]:
        """Where it is registered to listen, as it was stamped."""
        return self._entry.wanted.endpoints

    @property
    def state(self) -> State:
        """The latest state set by this program, or by another authorised one."""
        return self._entry.wanted.state

    @property
    def token(self) -> int | None:
        """For an exclusive name, the latest number by which it holds the name."""
        tokens = [it.number for it in self._entry.tokens if it is not None]
        return max(tokens, default=None)

    @property
    def also(self) -> tuple[Instance, ...]:
        """Other instances of the same owner at one of its endpoints."""
        return tuple(self._entry.also)

    async def accept(self, stream: Channel) -> Hello:
        """Answers a caller: introduces this actor, and proves its identity if asked. After that
        the bytes are the application's. It is for actors that are registered with `proves=True`."""
        return await self._entry.identity.accept(stream, agent=self._client.options.agent)

    async def serve(
        self, listener: anyio.abc.Listener[S], handler: Callable[[S], Awaitable[object]]
    ) -> None:
        """Accepts callers, answers each as `accept` does, hands it to `handler`, and closes it.
        Those that do not complete the handshake, or go away, are dropped. A handler that fails is
        logged, and ends with its caller; so does a want of descriptors end nothing: it is logged,
        and callers that say nothing make room for others."""
        await Serving(self, handler).run(listener)

    async def set_state(self, state: State) -> None:
        """Changes its state, and waits until a registrar has it; those that are away catch up."""
        await self._changed(state=check_state(state))

    async def update_endpoints(self, endpoints: Sequence[Place]) -> None:
        """Replaces its endpoints. One that was bound again has another stamp. The addresses of
        this host are not followed any more."""
        changes: dict[str, Any] = {"endpoints": self._entry.stamped(stamped_all(endpoints))}
        self._look_for_closed(listening(endpoints))
        if self._is_closed and self.state == "starting":
            changes["state"] = "ready"
        self._following.cancel()
        self._is_closed = False
        await self._changed(**changes)

    async def update_metadata(self, metadata: Mapping[str, str]) -> None:
        """Replaces its metadata."""
        await self._changed(metadata=check_metadata(metadata))

    async def drained(self) -> None:
        """Waits until it is draining, by whichever program's request: it should finish its work."""
        await self._entry.changed.until(lambda: self.state == "draining")

    async def lost(self) -> Lost:
        """Waits until it has lost its entry, or an endpoint of it: by another's doing, or since its
        own program has closed the listener."""
        await self._entry.changed.until(lambda: self._entry.lost is not None)
        assert self._entry.lost is not None
        return self._entry.lost

    async def losses(self) -> AsyncIterator[Lost]:
        """Tells its losses one after the other; an intended one is the last."""
        told = 0
        while True:
            await self._entry.changed.until(lambda told=told: self._entry.losses > told)  # type: ignore[misc]
            told = self._entry.losses
            if (lost := self._entry.lost) is not None:
                yield lost
                if lost.is_final:
                    return

    @property
    def missing(self) -> tuple[RegistrarFailure, ...]:
        """The registrars that do not have it as it is now, each with its reason."""
        entry = self._entry
        failures = []
        for link, progress in zip(self._client.hub.links, entry.progress, strict=True):
            error: LinkError | None
            if entry.final_loss is not None:
                error = LinkError("lost", str(entry.final_loss))
            elif isinstance(link.state, Down):
                error = link.state.error
            elif isinstance(link.state, Standby) or (
                progress.kind == "here" and progress.version == entry.wanted.version
            ):
                error = None
            elif progress.kind == "refused":
                error = progress.error
            elif progress.kind == "in-line":
                error = LinkError("in-line", _in_line(progress.ahead))
            else:
                error = LinkError("not-yet", "it has not answered yet")
            if error is not None:
                failures.append(link.failure(error))
        return tuple(failures)

    async def accepted(self) -> None:
        """Waits until a registrar has it as it is now, however long none is within reach; one that
        waits in line is awaited until it has the name."""
        entry, version = self._entry, self._entry.wanted.version
        while True:
            if entry.final_loss is not None:
                raise entry.final_loss
            here = [it for it in entry.progress if it.kind == "here" and it.version >= version]
            under_way = [it for it in entry.progress if it.kind in ("in-line", "under-way")]
            refusals = [
                link.failure(it.error)
                for link, it in zip(self._client.hub.links, entry.progress, strict=True)
                if it.kind == "refused" and it.error is not None
            ]
            if here and not (entry.waits and under_way):
                return
            if refusals and not under_way and not here:
                raise registrars_error("no registrar accepts it", refusals)
            await entry.changed.changed()

    async def accepted_first(self, version: int = 1) -> None:
        """Waits until one registrar has accepted a version, or none is left that might."""
        entry, hub = self._entry, self._client.hub
        if not any(it.connection for it in hub.links):
            async with anyio.create_task_group() as attempts:
                for link in hub.links:
                    if hub.is_tried_again(link):
                        attempts.start_soon(link.tried_again, hub.options.ask_timeout)
        deadline = anyio.current_time() + hub.options.ask_timeout
        while True:
            if entry.final_loss is not None:
                raise entry.final_loss
            failures, is_pending, is_dialing = [], False, False
            for link, progress in zip(hub.links, entry.progress, strict=True):
                if progress.kind == "in-line":
                    return
                if progress.kind == "here" and progress.version >= version:
                    return
                if progress.kind == "refused" and progress.version >= version:
                    assert progress.error is not None
                    failures.append(link.failure(progress.error))
                elif isinstance(link.state, Down):
                    failures.append(link.failure(link.state.error))
                elif isinstance(link.state, Dialing):
                    is_dialing = True
                    error = LinkError("not-yet", "it has not answered yet")
                    failures.append(link.failure(error))
                elif not isinstance(link.state, Standby):
                    is_pending = True
            is_late = anyio.current_time() >= deadline
            if not is_pending and (not is_dialing or is_late):
                raise registrars_error("no registrar accepts it", failures)
            with anyio.CancelScope(deadline=float("inf") if is_late else deadline):
                await entry.changed.changed()

    async def unregister(self) -> None:
        """Takes it out of the registry, and waits until all registrars within reach did so."""
        hub, entry = self._client.hub, self._entry
        hub.leaving.add(entry)
        try:
            self._client.take_off(entry)
            await entry.changed.until(
                lambda: all(
                    progress.kind in ("absent", "refused") or not isinstance(link.state, Up)
                    for link, progress in zip(hub.links, entry.progress, strict=True)
                )
            )
        finally:
            hub.leaving.discard(entry)

    async def _withdraw(self) -> None:
        """Takes it out of the registry for a caller that is cancelled, and waits no longer than a
        moment: the rest goes on in a task of the client.

        The registrars are told at once, ahead of what they have yet to answer: one that is busy, or
        stopped, takes it out before it reads what is sent later.
        """
        client, body = self._client, pack({"uuid": self.uuid.bytes})
        client.take_off(self._entry)
        if client.hub.is_shut is not None:
            return
        for link, progress in zip(client.hub.links, self._entry.progress, strict=True):
            if link.connection is not None and progress.kind != "absent":
                link.connection.portal.notify("registrar.unregister", body)
        is_out = anyio.Event()

        async def unregister() -> None:
            try:
                await self.unregister()
            finally:
                is_out.set()

        client.start(unregister)
        with anyio.move_on_after(_CANCELLED_LIMIT, shield=True):
            await is_out.wait()

    def leave(self) -> Instance:
        """Stops keeping it, and leaves it in the registry: until its lease expires, or else until
        the client is closed. Any program that knows its UUID may renew it."""
        self._entry.is_left = True
        self._client.take_off(self._entry)
        return self.instance

    async def _follow(self, places: Sequence[Place]) -> None:
        """Keeps the endpoints at the present addresses of wildcards, and withholds those whose
        address this host does not have."""
        were_here: dict[Endpoint, Stamp] = {}

        def publish() -> None:
            found = stamped_all(places)
            # What was stamped here is not elsewhere when its address has gone.
            were_here.update({it.endpoint: it.stamp for it in found if it.stamp != Stamp()})
            found = [Stamped(it.endpoint, were_here.get(it.endpoint, it.stamp)) for it in found]
            endpoints = self._entry.stamped(present(found))
            before = self._entry.wanted.endpoints
            if self._entry.is_wanted and endpoints != before:
                if gone := {it.endpoint for it in before} - {it.endpoint for it in endpoints}:
                    what = "%s is not found at %s, whose address this host has lost"
                    log.warning(what, self.instance, ", ".join(sorted(map(str, gone))))
                self._entry.change(endpoints=endpoints)

        with self._following:
            await follow(publish)

    def _look_for_closed(self, found: list[Listening]) -> None:
        """Withholds the endpoints of listeners that the program closes from now on."""
        lookout = self._client.lookout
        lookout.watch(self, found, self._withhold)
        if found and not lookout.is_running:
            lookout.is_running = True
            self._client.start(lookout.run)

    def _withhold(self, closed: Listening) -> None:
        """Publishes an actor no more at a listener that is closed: with none left, it starts."""
        entry = self._entry
        before = entry.wanted.endpoints
        gone = [it for it in before if closed.has(it)]
        if not gone or not entry.is_wanted:
            return
        endpoints = tuple(it for it in before if it not in gone)
        where = ", ".join(str(it.endpoint) for it in gone)
        log.warning("%s is not found at %s: its program has closed that", self.instance, where)
        self._is_closed = not endpoints and self.state == "ready"
        entry.change(endpoints=endpoints, **({"state": "starting"} if self._is_closed else {}))
        entry.lose(Lost(None, "closed", str(gone[0].endpoint), None))

    async def _changed(self, **changes: object) -> None:
        entry = self._entry
        self._client.hub.check_open()
        if entry.final_loss is None and not entry.is_wanted:
            raise NotOpen("this registration has ended, and can only be made anew")
        version = entry.change(**changes)
        await self.accepted_first(version)


class Registering:
    """`async with client.register(…) as registered`: registers, keeps it, and takes it out."""

    def __init__(
        self,
        client: Client,
        name: str,
        endpoints: Sequence[Place],
        details: Details,
        *,
        patiently: bool = False,
    ) -> None:
        if unknown := details.keys() - Details.__annotations__.keys():
            what = "register() got an unexpected keyword argument"
            raise TypeError(f"{what} {min(unknown)!r}")
        self._client = client
        self._name = name
        self._endpoints = endpoints
        self._details = details
        self._patiently = patiently
        self._registered: Registered | None = None

    async def __aenter__(self) -> Registered:
        self._client.hub.check_open()
        links = len(self._client.hub.links)
        found = stamped_all(self._endpoints)
        endpoints = present(found)
        # Before anything is awaited: the program may close them meanwhile.
        own, moves = listening(self._endpoints), may_move(self._endpoints, found)
        entry = make_entry(self._name, endpoints, self._details, links)
        if any(it.stamp != Stamp() and it.stamp.kernel is None for it in endpoints):
            log.warning(_UNKNOWN_KERNEL)
        self._registered = registered = Registered(self._client, entry)
        self._client.put(entry)
        try:
            try:
                await registered.accepted_first()
            except Exception as error:
                if not self._patiently or not getattr(error, "may_pass", False):
                    raise
            if entry.waits and not self._patiently:
                await registered.accepted()
        except BaseException as error:
            await self._end(error)
            raise
        registered._look_for_closed(own)
        if moves:
            self._client.start(registered._follow, self._endpoints)
        return registered

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        await self._end(error)

    async def _end(self, error: BaseException | None) -> None:
        registered = self._registered
        if registered is None:
            return
        registered._following.cancel()
        self._client.lookout.forget(registered)
        if not registered._entry.is_wanted or not self._client.hub.is_here:
            return
        # A cancelled program takes its actors out too.
        if _is_cancelled(error):
            await registered._withdraw()
        else:
            with anyio.CancelScope(shield=True):
                await registered.unregister()


#: For how long one that is cancelled waits until it is taken out: a registrar answers in
#: milliseconds, and listeners are closed after that.
_CANCELLED_LIMIT = 0.1


def _is_cancelled(error: BaseException | None) -> bool:
    """Tells whether an error is a cancellation, or made of nothing else."""
    cancelled = anyio.get_cancelled_exc_class()
    if isinstance(error, BaseExceptionGroup):
        return error.split(cancelled)[1] is None
    return isinstance(error, cancelled)


_UNKNOWN_KERNEL = (
    "cannot learn which kernel this is (/proc/sys/kernel/random/boot_id): others on this host will "
    "not reach it; `[host] id` of the settings says it instead"
)


def _in_line(ahead: int) -> str:
    behind = {0: " as the next", 1: " behind one other"}.get(ahead, f" behind {ahead} others")
    return f"another instance has the name, and this one waits in line{behind}"
