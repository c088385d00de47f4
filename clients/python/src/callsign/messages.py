"""The messages of the protocol as values: records, answers, changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from .locality import Stamped

State = Literal["starting", "ready", "draining", "unknown"]

LostReason = Literal["unregistered", "replaced", "found-dead", "name-lost", "closed"]


@dataclass(frozen=True, slots=True)
class Instance:
    """One run of an actor."""

    name: str
    uuid: UUID

    def __str__(self) -> str:
        return f"{self.name}[{self.uuid}]"


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Evidence against an instance that the registrar could not settle."""

    reports: int
    since_ms: int
    silent: bool = False
    #: Whether the registrar is cut off from the node of its cluster that keeps it.
    cut_off: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """A registrar's description of an instance."""

    name: str
    uuid: UUID
    epoch: int
    endpoints: tuple[Stamped, ...]
    state: State
    #: `session`, `lease`, `declared`, `foreign`, or `unknown` to this version.
    lifetime: str
    since_ms: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    ttl_ms: int | None = None
    proves: bool = False
    #: As in `user:1000`, or another owner; `None` from a registrar that does not report owners.
    owner: str | None = None
    token: int | None = None
    waiting: int = 0
    suspicion: Suspicion | None = None
    #: The node of the registrar's cluster that keeps it; `None` if that is the one that was asked.
    node: str | None = None

    @property
    def instance(self) -> Instance:
        """Which instance this is."""
        return Instance(self.name, self.uuid)

    @property
    def is_cut_off(self) -> bool:
        """Whether the registrar is cut off from the node that keeps it, so that it may be gone."""
        return self.suspicion is not None and self.suspicion.cut_off

    @property
    def is_there(self) -> bool:
        """Whether whoever waits for its name need not wait on."""
        has_registered = self.lifetime != "declared"
        return self.state == "ready" and has_registered and not self.is_cut_off

    @property
    def user(self) -> int | None:
        """The user whose it is, if it is a user's."""
        kind, _, number = (self.owner or "").partition(":")
        return int(number) if kind == "user" and number.isdigit() else None


@dataclass(slots=True)  # not frozen, since that makes it five times as slow
class Answer:
    """A registrar's answer to a look-up."""

    now_ms: int
    total: int
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list."""

    now_ms: int
    next: int | None
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Located:
    """An answer with a challenge for each instance, and the proof that it owes."""

    answer: Answer
    nonce: UUID
    #: The registrar in whose name each is challenged, the proof, and what it is made of over TLS if
    #: the instance listens there.
    owed: Mapping[tuple[UUID, int], tuple[UUID, bytes, bytes | None]]


@dataclass(frozen=True, slots=True)
class Whoami:
    """The caller's identity and rights, as a registrar sees them."""

    owner: str
    is_trusted: bool
    may_change_all: bool
    names: str
    names_place: str
    transport: str | None = None
    locality: str | None = None
    groups: tuple[int, ...] | None = None
    #: The rules of names that apply, each as the protocol has it.
    rules: tuple[Mapping[str, Any], ...] = ()
    #: The use of each quota: its amount, and the limit if there is one.
    uses: Mapping[str, tuple[int, int | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Status:
    """A registrar's report of itself."""

    registrar: UUID
    agent: str
    revision: int
    uptime_ms: int
    sessions: int
    instances: int
    waiters: int
    watchers: int
    endpoints: tuple[str, ...]
    in_line: int = 0
    #: The time within which clients of an earlier run may return; `None` once it is over.
    settling_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """A registrar's answer to a registration."""

    epoch: int
    key: bytes | None
    token: int | None
    resume: bytes | None
    lost: LostMessage | None
    also: tuple[Instance, ...]


@dataclass(frozen=True, slots=True)
class LostMessage:
    """A registrar's word that an instance has lost its entry, or an endpoint of it."""

    uuid: UUID
    cause: LostReason
    endpoint: str | None
    by: str | None


@dataclass(frozen=True, slots=True)
class Item:
    """A change that a registrar reports to a watch."""

    kind: Literal["reset", "synced", "add", "update", "remove"]
    revision: int = 0
    record: Record | None = None
    instance: Instance | None = None
    reason: str | None = None
    #: Of a removal: the registration that has ended.
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Hello:
    """The introduction of a peer."""

    agent: str = ""
    registrar: UUID | None = None
    settling_ms: int | None = None
    #: Where the other registrars of its cluster are, and the number that all of them share.
    cluster: tuple[Stamped, ...] = ()
    cluster_number: int | None = None
    instance: Instance | None = None
    wanted: Instance | None = None
    challenge: Challenge | None = None
    proof: bytes | None = None


@dataclass(frozen=True, slots=True)
class Challenge:
    """A registrar's challenge to the holder of a registration."""

    registrar: UUID
    epoch: int
    nonce: UUID
