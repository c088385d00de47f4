"""The keeper: reconciles a registrar with the desired state while its link is up.

A task of its own makes the calls for each instance, one at a time, so that they cannot overtake
each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import anyio

from .desired import Entry, Progress, token_of
from .errors import LinkError, Lost
from .fields import of_answer, pack, read_nothing
from .hub import Hub
from .identity import Key
from .link import WAITS_MAX, Link, LinkConnection, log
from .messages import Registered
from .reading import read_registered

T = TypeVar("T")

#: The concurrent calls: a thousand instances are registered in a few round trips.
_CALLS_MAX = 64

#: A lease survives the loss of two renewals.
_RENEWALS_PER_LEASE = 3

#: The pause before a refused registration is tried again: the registrar may have room by then.
_REFUSED_PAUSE = 5.0

#: The same within a cluster: the others have the instance for as long as the lease of its last node
#: lasts, some seconds.
_MOVING_PAUSE = 1.0

#: The pause before a registrar is asked again for the place in a line that it decides about.
_UNDECIDED_PAUSE = 0.2


class Keeper:
    """Keeps the wanted instances registered over one connection."""

    def __init__(self, hub: Hub, link: Link, connection: LinkConnection) -> None:
        self._hub = hub
        self._link = link
        self._connection = connection
        self._room = anyio.Semaphore(_CALLS_MAX, fast_acquire=True)

    async def run(self) -> None:
        """Runs until it is cancelled."""
        kept: set[Entry] = set()

        async def keep(entry: Entry) -> None:
            try:
                await _Keeping(self, entry).run()
            finally:
                entry.set_progress(self._link.index, Progress())
                kept.discard(entry)

        async with anyio.create_task_group() as tasks:
            while True:
                for entry in list(self._hub.entries.values()):
                    if entry.is_wanted and entry not in kept:
                        kept.add(entry)
                        entry.set_progress(self._link.index, Progress("under-way"))
                        tasks.start_soon(keep, entry)
                await self._hub.entries_changed.changed()

    async def call(self, method: str, args: dict[str, Any], read: Callable[[bytes], T]) -> T:
        async with self._room:
            limit, asked = self._hub.options.ask_timeout, anyio.current_time()
            patient = limit * self._link.patience
            answer = await self._connection.call(method, pack(args), read, patient)
            if anyio.current_time() - asked < limit:
                self._link.patience = 1
            return answer


class _Keeping:
    """The keeping of one instance."""

    def __init__(self, keeper: Keeper, entry: Entry) -> None:
        self._keeper = keeper
        self._entry = entry
        self._link = keeper._link
        self._connection = keeper._connection
        #: The version that the registrar has.
        self._theirs: int | None = None
        #: The version that it refused, and when it is asked again.
        self._refused: tuple[int, float] | None = None
        self._renew_at: float | None = None

    async def run(self) -> None:
        while self._entry.is_wanted:
            version, now = self._entry.wanted.version, anyio.current_time()
            refused = self._refused
            waits = refused is not None and refused[0] == version and now < refused[1]
            if self._theirs is None and not waits:
                await self._try("register", self._register)
            elif self._theirs is not None and self._theirs != version and not waits:
                await self._try("update", self._update)
            elif self._renew_at is not None and self._renew_at <= now:
                await self._try("renew", self._renew)
            else:
                until = [it for it in (self._renew_at,) if it is not None]
                until += [refused[1]] if waits and refused is not None else []
                with anyio.CancelScope(deadline=min(until, default=float("inf"))):
                    await self._entry.changed.changed()
        # The same instance may have been registered again meanwhile.
        present = self._keeper._hub.entries.get(self._entry.instance.uuid, self._entry)
        is_left = self._entry.is_left or present is not self._entry
        if self._theirs is not None and not is_left:
            await self._unregister()

    async def _try(self, what: str, step: Callable[[], Any]) -> None:
        version, now = self._entry.wanted.version, anyio.current_time()
        try:
            await step()
        except LinkError as error:
            await self._failed(what, version, error)
            return
        except Lost as lost:
            self._theirs = None
            log.info("%s: %s", self._entry.instance, lost)
            self._entry.lose(lost)
            if not lost.is_final:
                # It is registered again when its endpoints have changed.
                pause = float("inf")
                self._refused = (version, pause)
                why = LinkError("lost", str(lost))
                self._note(Progress("refused", version, why))
            return
        if self._entry.lease is not None:
            self._renew_at = now + self._entry.lease / _RENEWALS_PER_LEASE

    async def _failed(self, what: str, version: int, error: LinkError) -> None:
        now = anyio.current_time()
        kind = error.remote.kind if error.remote is not None else ""
        if error.kind in ("closed", "no-answer"):
            await anyio.sleep_forever()  # the connection is about to end
        elif kind == "not-found":
            self._theirs = None  # it has been removed meanwhile, and is registered again
        elif what == "renew":
            log.debug("%s is not renewed: %s", self._entry.instance, error)
            lease = self._entry.lease or 0.0
            self._renew_at = now + lease / _RENEWALS_PER_LEASE
        elif kind == "unsettled":
            # The former holder of the name may still return: that is no answer.
            settles_at = self._connection.settles_at
            self._refused = (version, now + _REFUSED_PAUSE if settles_at is None else settles_at)
        else:
            log.info("%s is refused: %s", self._entry.instance, error)
            pause = _MOVING_PAUSE if self._connection.is_of_cluster else _REFUSED_PAUSE
            self._refused = (version, now + pause)
            self._note(Progress("refused", version, error))

    async def _register(self) -> None:
        registrar = self._connection.registrar
        version, args = self._entry.to_register(self._link.index, registrar)
        if self._entry.waits:
            answer = await self._stand(args)
            if answer is None:
                return
        else:
            answer = await self._keeper.call("registrar.register", args, read_registered)
        if answer.lost is not None:
            lost = answer.lost
            raise Lost(self._link.registrar, lost.cause, lost.endpoint, lost.by)
        self._entry.add_also(answer.also)
        if answer.key is not None:
            self._entry.identity.insert(Key(registrar, answer.epoch, answer.key))
        token = token_of(answer.token, answer.resume)
        self._entry.set_token(self._link.index, answer.epoch, token)
        self._here(version)

    async def _stand(self, args: dict[str, Any]) -> Registered | None:
        """Registers, and waits in line if necessary, for as long as it is wanted."""
        if self._link.waits >= WAITS_MAX:
            raise LinkError("too-many-waits", _TOO_MANY)
        self._link.waits += 1
        answer: Registered | None = None
        failure: LinkError | None = None

        async def register() -> None:
            nonlocal answer, failure
            try:
                answer = await self._connection.call(
                    "registrar.register", pack(args), read_registered, None
                )
            except LinkError as error:
                failure = error
            tasks.cancel_scope.cancel()

        async def tell() -> None:
            ask = {"name": self._entry.instance.name, "uuid": self._entry.instance.uuid.bytes}
            ahead: int | None = None
            while ahead is None:
                try:
                    ahead = await self._keeper.call(
                        "registrar.line", ask, of_answer(lambda it: it.optional_number("ahead"))
                    )
                except LinkError:
                    return  # an earlier registrar refuses a registration that would have to wait
                if ahead is None:
                    # While a cluster decides, it has no place in line.
                    await anyio.sleep(_UNDECIDED_PAUSE)
            if answer is None:
                self._note(Progress("in-line", ahead=ahead))

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(register)
                tasks.start_soon(tell)
                await self._entry.changed.until(lambda: not self._entry.is_wanted)
                tasks.cancel_scope.cancel()
        finally:
            self._link.waits -= 1
        if failure is not None:
            raise failure
        if answer is None:
            await self._unregister()  # the answer may be on its way already
        return answer

    async def _update(self) -> None:
        version, args = self._entry.to_update(self._theirs or 0)
        await self._keeper.call("registrar.update", args, read_nothing)
        self._here(version)

    async def _renew(self) -> None:
        args = {"uuid": self._entry.instance.uuid.bytes}
        await self._keeper.call("registrar.renew", args, read_nothing)

    async def _unregister(self) -> None:
        args = {"uuid": self._entry.instance.uuid.bytes}
        try:
            await self._keeper.call("registrar.unregister", args, read_nothing)
        except LinkError as error:
            log.debug("%s is not taken out: %s", self._entry.instance, error)

    def _here(self, version: int) -> None:
        self._theirs, self._refused = version, None
        self._entry.recover()
        self._note(Progress("here", version))

    def _note(self, progress: Progress) -> None:
        self._entry.set_progress(self._link.index, progress)


_TOO_MANY = f"too many names are awaited at once: at most {WAITS_MAX}"
