"""Look-ups: asking all registrars together, and merging their answers into one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

import anyio

from .dial import Ticket
from .errors import Incomplete, LinkError, RegistrarFailure, registrars_error
from .fields import pack
from .hub import Hub, Reply
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


@dataclass(slots=True)
class Found:
    """The merged instances, with the epoch of each at every link that knows it."""

    result: LookupResult
    epochs: dict[UUID, list[tuple[int, int]]] = field(default_factory=dict)
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
        if len(links) == 1:
            return [await ask(0)]
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


def merged(hub: Hub, answers: Sequence[Reply[Answer] | RegistrarFailure | None]) -> Found:
    """Merges the answers: each instance once, by its newest record."""
    failures = [it for it in answers if isinstance(it, RegistrarFailure)]
    parts = [(at, it) for at, it in enumerate(answers) if isinstance(it, Reply)]
    if not parts:
        raise registrars_error("no registrar answers", failures)
    newest: dict[UUID, Record] = {}
    epochs: dict[UUID, list[tuple[int, int]]] = {}
    known: set[str] = set()
    for at, part in parts:
        records = part.value.records
        if hub.trust is Trust.USUAL:
            # The first registrar that knows a name is the one that is believed.
            records = tuple(it for it in records if it.name not in known)
            known.update(it.name for it in records)
        for record in records:
            epochs.setdefault(record.uuid, []).append((at, record.epoch))
            best = newest.get(record.uuid)
            if best is None or newest_first(record) < newest_first(best):
                newest[record.uuid] = record
    settles = [it.settles_at for _, it in parts if it.settles_at is not None]
    settles_at = max(settles, default=None)
    ordered = tuple(sorted(newest.values(), key=newest_first))
    left = None if settles_at is None else settles_at - anyio.current_time()
    result = LookupResult(
        records=ordered,
        total=max([len(ordered), *(it.value.total for _, it in parts)]),
        now_ms=max(it.value.now_ms for _, it in parts),
        unanswered=tuple(it for it in failures if hub.misses(it)),
        settling=left,
    )
    return Found(result, epochs, settles_at=settles_at)
