"""Look-ups: asking all registrars together, and merging their answers into one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

import anyio
import anyio.lowlevel

from .dial import Ticket
from .errors import (
    Incomplete,
    LinkError,
    RegistrarFailure,
    RegistrarsError,
    registrars_error,
)
from .fields import pack
from .hub import Hub, Reply
from .link import Dialing, Down, Link, Up
from .messages import Answer, Challenge, Located, Page, Record
from .options import Trust
from .reading import read_page
from .view import newest_first

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LookupResult:
    """The merged answer of the registrars."""

    #: The instances, each once: live ones before declared ones, the newest first.
    records: tuple[Record, ...]
    #: The least number of instances in any state: a registrar answers with the first 256.
    total: int = 0
    #: The registrars' clock, in milliseconds since 1970.
    now_ms: int = 0
    #: The registrars that did not answer, though they count: an empty answer proves nothing then.
    unanswered: tuple[RegistrarFailure, ...] = ()
    #: For how many seconds others may still come back, if a registrar has begun a moment ago.
    settling: float | None = None
    #: How many seconds old a remembered answer is, if no registrar could be asked.
    age: float | None = None

    def complete(self) -> LookupResult:
        """Returns it, unless it is a "no" that only some registrars gave: then `Incomplete`."""
        if not self.records and self.unanswered:
            raise Incomplete(self.unanswered)
        return self


#: The records that each link told, by its index.
Told = list[tuple[int, tuple[Record, ...]]]


@dataclass(slots=True)
class Found:
    """The merged instances, with what each link told of them."""

    result: LookupResult
    told: Told
    tickets: dict[tuple[UUID, int], Ticket] = field(default_factory=dict)
    settles_at: float | None = None


class Asking:
    """Asks all registrars of a client."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def gather(
        self, method: str, body: bytes, read: Callable[[Any], T]
    ) -> Sequence[Reply[T] | RegistrarFailure | None]:
        return await self.each(lambda at: self._hub.ask(at, method, body, read))

    async def each(
        self,
        ask: Callable[[int], Awaitable[Reply[T] | RegistrarFailure | None]],
        is_answer: Callable[[Reply[T] | RegistrarFailure | None], bool] | None = None,
    ) -> Sequence[Reply[T] | RegistrarFailure | None]:
        """Asks all registrars together. After the first answer, patience with the others ends."""
        links = self._hub.links
        if sum(self._is_awaited(it) for it in links) <= 1:
            told = await self._one(ask)
            if not any(isinstance(it, Reply) for it in told):
                # Nothing may have been waited for, and whoever asks again stops no other task.
                await anyio.lowlevel.checkpoint()
            return told
        late = LinkError("not-yet", "it has not answered yet")
        answers: dict[int, Reply[T] | RegistrarFailure | None] = {}
        patience = self._hub.options.patience

        async def one(at: int) -> None:
            answers[at] = answer = await ask(at)
            counts = isinstance(answer, Reply) if is_answer is None else is_answer(answer)
            if counts and patience is not None:
                until = anyio.current_time() + patience
                asking.cancel_scope.deadline = min(asking.cancel_scope.deadline, until)

        async with anyio.create_task_group() as asking:
            for at in range(len(links)):
                asking.start_soon(one, at)
        return [answers.get(link.index, link.failure(late)) for link in links]

    async def _one(
        self, ask: Callable[[int], Awaitable[Reply[T] | RegistrarFailure | None]]
    ) -> Sequence[Reply[T] | RegistrarFailure | None]:
        """Asks all registrars, of which at most one is waited for: no task of its own is needed."""
        links = self._hub.links
        # First those whose links say at once that they cannot be asked, and may soon be up.
        order = sorted(links, key=self._is_awaited)
        answers = {link.index: await ask(link.index) for link in order}
        return [answers[link.index] for link in links]

    def _is_awaited(self, link: Link) -> bool:
        return isinstance(link.state, Up | Dialing) or self._hub.is_tried_again(link)

    def failed(self, link: Link, error: LinkError) -> RegistrarsError:
        """Makes the error of a look-up of a failure of the only registrar that could be asked."""
        failures = []
        for it in self._hub.links:
            if it is link:
                failures.append(it.failure(error))
            elif isinstance(it.state, Down):
                failures.append(it.failure(it.state.error))
        return registrars_error("no registrar answers", failures)

    async def list_of(self, at: int, pattern: str) -> Reply[Answer] | RegistrarFailure | None:
        records: list[Record] = []
        after = 0
        while True:
            body = pack({"pattern": pattern, "after": after})
            page: Reply[Page] | RegistrarFailure | None = await self._hub.ask(
                at, "registrar.list", body, read_page
            )
            if not isinstance(page, Reply):
                return page
            records += page.value.records
            # Only a broken registrar would send a list round in circles.
            if page.value.next is None or page.value.next <= after:
                answer = Answer(page.value.now_ms, len(records), tuple(records))
                return Reply(answer, page.settles_at)
            after = page.value.next


def located(hub: Hub, answers: Sequence[Reply[Located] | RegistrarFailure | None]) -> Found:
    tickets = {}
    parts: list[Reply[Answer] | RegistrarFailure | None] = []
    for answer in answers:
        if not isinstance(answer, Reply):
            parts.append(answer)
            continue
        found = answer.value
        for (uuid, epoch), (registrar, proof, over_tls) in found.owed.items():
            challenge = Challenge(registrar, epoch, found.nonce)
            tickets[uuid, epoch] = Ticket(challenge, proof, over_tls)
        parts.append(Reply(found.answer, answer.settles_at))
    together = merged(hub, parts)
    together.tickets = tickets
    return together


def alone(answer: Answer) -> LookupResult:
    """Makes the result of the answer of the only registrar that counts."""
    records, total = answer.records, answer.total
    if len(records) > 1:
        records = _ordered([(0, records)])
    return LookupResult(records, total if total > len(records) else len(records), answer.now_ms)


def merged(hub: Hub, answers: Sequence[Reply[Answer] | RegistrarFailure | None]) -> Found:
    """Merges the answers: each instance once, by its newest record."""
    told: Told = []
    failures: list[RegistrarFailure] = []
    total, now_ms = 0, 0
    settles_at: float | None = None
    for at, answer in enumerate(answers):
        if isinstance(answer, Reply):
            value = answer.value
            told.append((at, value.records))
            total, now_ms = max(total, value.total), max(now_ms, value.now_ms)
            if answer.settles_at is not None:
                settles_at = max(settles_at or 0.0, answer.settles_at)
        elif answer is not None:
            failures.append(answer)
    if not told:
        raise registrars_error("no registrar answers", failures)
    records = told[0][1]
    if len(told) > 1 and hub.trust is Trust.USUAL:
        told = _believed(told)
    if len(told) > 1 or len(records) > 1:
        records = _ordered(told)
    missed = tuple(it for it in failures if hub.misses(it)) if failures else ()
    settling = None if settles_at is None else settles_at - anyio.current_time()
    result = LookupResult(records, max(len(records), total), now_ms, missed, settling)
    return Found(result, told, settles_at=settles_at)


def _believed(told: Told) -> Told:
    """Leaves out what a registrar says of a name that one before it knows."""
    known: set[str] = set()
    believed: Told = []
    for at, records in told:
        news = tuple(it for it in records if it.name not in known)
        known.update(it.name for it in news)
        believed.append((at, news))
    return believed


def _ordered(told: Told) -> tuple[Record, ...]:
    newest: dict[UUID, Record] = {}
    for _, records in told:
        for record in records:
            best = newest.get(record.uuid)
            if best is None or newest_first(record) < newest_first(best):
                newest[record.uuid] = record
    return tuple(sorted(newest.values(), key=newest_first))
