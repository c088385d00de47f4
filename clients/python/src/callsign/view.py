"""The view of a watch: the merged state of all registrars.

It is pure: events come in with the time, and changes come out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal
from uuid import UUID

from .endpoint import Endpoint
from .errors import RegistrarFailure
from .messages import Instance, Item, Record

#: For how long an absent registrar's instances are kept while others are present: it may be
#: restarting, and its clients with it.
GRACE = 5.0

#: For how long the end of a registration is remembered, and of how many: a node of a cluster that
#: dies tells its own watchers first, and to the others they are there until its lease ends.
_ENDED_FOR, _ENDED_MAX = 5.0, 256


@dataclass(frozen=True, slots=True)
class Change:
    """An event of a watch.

    | kind | meaning |
    |---|---|
    | `reset` | forget everything: the present state follows |
    | `synced` | every instance has been reported |
    | `add`, `update` | an instance is there, or is different: `record` |
    | `remove` | an instance is gone: `instance`, and `reason` if it is known |
    | `stale` | no registrar is within reach: `failures` |
    | `partial` | these registrars are out of reach, while others are not: `failures` |
    """

    kind: Literal["reset", "synced", "add", "update", "remove", "stale", "partial"]
    record: Record | None = None
    instance: Instance | None = None
    reason: str | None = None
    failures: tuple[RegistrarFailure, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """The place where a watch of a registrar stands."""

    registrar: UUID
    revision: int


@dataclass(slots=True)
class _Feed:
    """The part of one registrar."""

    state: Literal["unknown", "standby", "syncing", "current", "lost", "away"] = "unknown"
    failure: RegistrarFailure | None = None
    until: float = 0.0
    seen: Seen | None = None
    #: Its registrar, once its snapshot has been complete.
    registrar: UUID | None = None
    settles_at: float | None = None

    @property
    def is_out(self) -> bool:
        return self.state in ("lost", "away")


@dataclass(slots=True)
class _Told:
    """What a feed knows of an instance."""

    feed: int
    record: Record
    #: Whether a former registrar told it, and the present one has not heard of the instance yet.
    is_former: bool = False


class View:
    """The merged state of all registrars."""

    def __init__(self, feeds: int, misses: Callable[[RegistrarFailure], bool]) -> None:
        self._feeds = [_Feed() for _ in range(feeds)]
        #: What is told of each instance, the newest first.
        self._instances: dict[UUID, list[_Told]] = {}
        self._untold: deque[Change] = deque([Change("reset")])
        self._told: Literal["reset", "synced", "stale"] = "reset"
        self._missed: list[Endpoint] = []
        self._misses = misses
        #: What registrars have removed of late, with its last epoch.
        self._ended: deque[tuple[UUID, int, float]] = deque()

    def pop(self) -> Change | None:
        """Returns the next change to report."""
        return self._untold.popleft() if self._untold else None

    def seen(self, feed: int) -> Seen | None:
        """Returns the position of a feed, if it can resume from there."""
        return self._feeds[feed].seen

    def has_another(self, feed: int, registrar: UUID) -> bool:
        """Tells whether what a feed knows comes from another registrar than that."""
        known = self._feeds[feed].registrar
        return known is not None and known != registrar

    def begun(self, feed: int, *, is_resumed: bool, settles_at: float | None) -> None:
        """A feed begins; either where it left off, or with a reset."""
        of = self._feeds[feed]
        of.settles_at, of.state = settles_at, "current" if is_resumed else "syncing"
        if not is_resumed:
            of.seen = None
        self._conclude()

    def standby(self, feed: int) -> None:
        """Another feed has the registrar of this one."""
        self._feeds[feed].state = "standby"
        self._conclude()

    def lost(self, feed: int, failure: RegistrarFailure, now: float) -> None:
        """A feed is lost."""
        of = self._feeds[feed]
        of.failure = failure
        if not of.is_out:
            of.state = "away" if of.registrar is None else "lost"
            of.until = now + GRACE
        self._conclude()

    def next_deadline(self) -> float | None:
        """Returns when `tick` has something to do."""
        times = [it.until for it in self._feeds if it.state == "lost"]
        times += [it.settles_at for it in self._feeds if it.settles_at is not None]
        return min(times, default=None)

    def tick(self, now: float) -> None:
        """Gives up feeds lost for long, and instances that have not returned in time."""
        for at, feed in enumerate(self._feeds):
            if feed.state == "lost" and feed.until <= now:
                feed.state = "away"
            if feed.settles_at is not None and feed.settles_at <= now:
                feed.settles_at = None
                self._drop_former(at)
        self._conclude()

    def change(self, feed: int, registrar: UUID, item: Item, now: float) -> None:
        """A feed reports a change."""
        if item.kind == "reset":
            self._reset(feed, registrar)
            return
        if item.kind == "synced":
            self._synced(feed, Seen(registrar, item.revision))
            return
        if item.record is not None:
            self._put(feed, item.record)
        elif item.instance is not None:
            if item.reason not in _NOT_THE_END:
                self._end(item.instance.uuid, item.epoch, now)
            self._take(feed, item.instance.uuid, item.reason)
        # In the middle of a snapshot there is no position to resume from. Several changes may share
        # a revision, and this need not be the last of them; reading one twice does no harm.
        if self._feeds[feed].state == "current":
            self._feeds[feed].seen = Seen(registrar, max(0, item.revision - 1))

    def _reset(self, feed: int, registrar: UUID) -> None:
        """Forgets the instances of a feed, unless another registrar has started in its place, to
        which all of them may still return."""
        of = self._feeds[feed]
        of.state, of.seen = "syncing", None
        is_another = of.registrar is not None and of.registrar != registrar
        if is_another and of.settles_at is not None:
            for tellings in self._instances.values():
                for told in tellings:
                    told.is_former = told.is_former or told.feed == feed
            return
        if not any(it.feed == feed for tellings in self._instances.values() for it in tellings):
            return
        for uuid in list(self._instances):
            self._forget(uuid, feed)
            if not self._instances[uuid]:
                del self._instances[uuid]
        # Unreported changes are part of the new report.
        self._untold.clear()
        self._untold.append(Change("reset"))
        self._told = "reset"
        self._untold.extend(Change("add", it[0].record) for it in self._instances.values())

    def _synced(self, feed: int, seen: Seen) -> None:
        for other in self._feeds:
            # What an earlier feed knew of this registrar, before it was lost, is out of date now.
            if other.registrar == seen.registrar and other.is_out:
                other.state = "standby"
        of = self._feeds[feed]
        of.state, of.registrar, of.seen = "current", seen.registrar, seen
        if of.settles_at is None:
            self._drop_former(feed)
        self._conclude()

    def _end(self, uuid: UUID, epoch: int, now: float) -> None:
        """Remembers for a while that a registration has ended."""
        while self._ended and (
            len(self._ended) >= _ENDED_MAX or now - self._ended[0][2] > _ENDED_FOR
        ):
            self._ended.popleft()
        self._ended.append((uuid, epoch, now))

    def _put(self, feed: int, record: Record) -> None:
        if record.node is not None and any(
            uuid == record.uuid and record.epoch <= epoch for uuid, epoch, _ in self._ended
        ):
            return
        known = self._instances.get(record.uuid)
        if known is None:
            self._untold.append(Change("add", record))
            self._instances[record.uuid] = [_Told(feed, record)]
            return
        teller, before = known[0].feed, known[0].record
        was_former = any(it.feed == feed and it.is_former for it in known)
        self._forget(record.uuid, feed)
        known.append(_Told(feed, record))
        known.sort(key=lambda it: newest_first(it.record))
        after = known[0].record
        if was_former:
            # The same registration, seen from another node of a cluster, is known.
            is_news = replace(after, node=None) != replace(before, node=None)
        elif known[0].feed == teller:
            is_news = after != before
        else:
            is_news = not _is_same(after, before)
        if is_news:
            self._untold.append(Change("update", after))
        if was_former:
            self._conclude()

    def _take(self, feed: int, uuid: UUID, reason: str | None) -> None:
        known = self._instances.get(uuid)
        if known is None:
            return
        before = known[0].record
        self._forget(uuid, feed)
        if not known:
            del self._instances[uuid]
            self._untold.append(Change("remove", instance=before.instance, reason=reason))
        elif not _is_same(known[0].record, before):
            self._untold.append(Change("update", known[0].record))

    def _forget(self, uuid: UUID, feed: int) -> None:
        known = self._instances[uuid]
        known[:] = [it for it in known if it.feed != feed]

    def _conclude(self) -> None:
        """Reports the overall state, if it has changed."""
        states = {it.state for it in self._feeds}
        is_pending = bool(states & {"unknown", "syncing"})
        is_current = "current" in states
        if is_current and not is_pending:
            current = [it for it in self._feeds if it.state == "current"]
            is_settled = any(it.settles_at is None for it in current)
            if is_settled:
                self._drop_those_away()
            was_synced = self._told == "synced"
            if was_synced or is_settled or not self._has_unconfirmed():
                self._tell_of_the_missed()
                self._told = "synced"
                if not was_synced:
                    self._untold.append(Change("synced"))
        elif not is_current and not is_pending and self._told != "stale":
            failures = self._failures()
            if failures:  # else one of those on standby is about to take over
                self._missed = []
                self._told = "stale"
                self._untold.append(Change("stale", failures=failures))

    def _tell_of_the_missed(self) -> None:
        failures = tuple(it for it in self._failures() if self._misses(it))
        missed = [it.registrar for it in failures]
        if missed != self._missed:
            self._missed = missed
            self._untold.append(Change("partial", failures=failures))

    def _failures(self) -> tuple[RegistrarFailure, ...]:
        return tuple(it.failure for it in self._feeds if it.is_out and it.failure is not None)

    def _drop_those_away(self) -> None:
        """Removes instances that only feeds know which have been away for long."""
        for at, feed in enumerate(self._feeds):
            if feed.state not in ("away", "standby"):
                continue
            feed.seen = None  # without them, there is no position to resume from
            held = [u for u, it in self._instances.items() if any(t.feed == at for t in it)]
            for uuid in held:
                self._take(at, uuid, None)

    def _drop_former(self, feed: int) -> None:
        """Removes a feed's instances of a former registrar."""
        if self._feeds[feed].state != "current":
            return
        held = [
            uuid
            for uuid, tellings in self._instances.items()
            if any(it.feed == feed and it.is_former for it in tellings)
        ]
        for uuid in held:
            self._take(feed, uuid, "missed")

    def _has_unconfirmed(self) -> bool:
        """Tells whether there are instances that no registrar within reach knows, or not yet."""

        def is_confirmed(it: _Told) -> bool:
            return not it.is_former and self._feeds[it.feed].state in ("current", "syncing")

        return not all(any(map(is_confirmed, it)) for it in self._instances.values())


def newest_first(record: Record) -> tuple[bool, int, int, bytes]:
    """The sort key of records: live ones before declared ones, the newest first."""
    is_declared = record.lifetime == "declared"
    return (is_declared, -record.since_ms, -record.epoch, record.uuid.bytes)


def _is_same(one: Record, other: Record) -> bool:
    """Tells whether two records of an instance say the same, whichever registrar has them."""
    return one == replace(
        other,
        epoch=one.epoch,
        since_ms=one.since_ms,
        owner=one.owner,
        token=one.token,
        node=one.node,
    )


#: The reasons that do not say that a registration has ended.
_NOT_THE_END = (None, "missed", "node-lost")
