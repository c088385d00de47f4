"""The desired state: the registrations that a client wants, with the progress of each registrar.

Registered ──wants──▶ Entry ──changed──▶ a keeper of each link ──calls──▶ registrar
Registered ◀──progress── Entry ◀────────────┘
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypedDict
from uuid import UUID

from .arguments import check_seconds, check_uuid
from .errors import InvalidRegistration, LinkError, Lost
from .identity import Identity
from .locality import Stamped
from .messages import Instance, State
from .names import check_name
from .signal import Signal
from .strangers import stamp_users
from .text import duration, kind_of, quoted
from .writing import write_stamped

ENDPOINTS_MAX = 64
METADATA_BYTES_MAX = 16 * 1024
LEASE_MIN, LEASE_MAX = 0.1, 86_400.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A registration as it should be. `version` counts its changes, from 1."""

    version: int
    #: The version that brought the state.
    state_version: int
    endpoints: tuple[Stamped, ...]
    metadata: Mapping[str, str]
    state: State


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a link with a registration."""

    kind: Literal["absent", "under-way", "in-line", "here", "refused"] = "absent"
    version: int = 0
    error: LinkError | None = None
    ahead: int = 0


@dataclass(frozen=True, slots=True)
class Token:
    """A fencing token, and the proof for the registrar that issued it."""

    number: int
    resume: bytes | None


def token_of(number: int | None, resume: bytes | None) -> Token | None:
    """Returns what a registrar gave, if it gave a token."""
    return None if number is None else Token(number, resume)


@dataclass(slots=True, eq=False)
class Entry:
    """A registration that a client wants, until it is taken off."""

    instance: Instance
    secret: bytes | None
    lease: float | None
    proves: bool
    waits: bool
    wanted: Wanted
    links: int
    identity: Identity = field(init=False)
    changed: Signal = field(default_factory=Signal)
    is_wanted: bool = True
    #: Whether it stays registered once it is not wanted any more.
    is_left: bool = False
    lost: Lost | None = None
    #: Counts the losses, so that each can be reported.
    losses: int = 0
    also: list[Instance] = field(default_factory=list)
    progress: list[Progress] = field(init=False)
    tokens: list[Token | None] = field(init=False)
    #: Of which registration each registrar has told the token by a call of its own, which may
    #: overtake the answer to the registration.
    tokens_told: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.identity = Identity(self.instance)
        self.progress = [Progress()] * self.links
        self.tokens = [None] * self.links

    @property
    def final_loss(self) -> Lost | None:
        """What it has lost for good."""
        return self.lost if self.lost is not None and self.lost.is_final else None

    @property
    def is_found_dead(self) -> bool:
        """Tells whether a registrar has found it dead, and has not got it again."""
        return self.lost is not None and not self.lost.is_final

    def stamped(self, endpoints: Sequence[Stamped]) -> tuple[Stamped, ...]:
        """Checks endpoints, and says whose the listeners are if nothing else will: nobody follows a
        lease, and what proves nothing cannot tell itself from another."""
        is_unproved_lease = self.lease is not None and not self.proves
        if is_unproved_lease:
            endpoints = stamp_users(endpoints, self.wanted.endpoints)
        return check_endpoints(endpoints)

    def change(self, **changes: Any) -> int:
        """Changes what is wanted, and returns the new version."""
        version = self.wanted.version + 1
        new = replace(self.wanted, version=version, **changes)
        if new.state != self.wanted.state:
            new = replace(new, state_version=version)
        self.wanted = new
        self.changed.notify()
        return version

    def set_token(self, link: int, epoch: int, token: Token | None) -> None:
        """Records the token by which it has its name from a registration on."""
        if self.tokens_told.get(link) != epoch:
            self.tokens[link] = token

    def tell_token(self, link: int, epoch: int, token: Token | None) -> None:
        """Records the token by which it has its name since a change of the rules."""
        self.tokens[link] = token
        self.tokens_told[link] = epoch

    def set_progress(self, link: int, progress: Progress) -> None:
        """Records the progress of a link."""
        self.progress[link] = progress
        self.changed.notify()

    def lose(self, lost: Lost) -> None:
        """Records a loss. An intended one is final, with all registrars."""
        self.lost = lost
        self.losses += 1
        if lost.cause == "replaced":
            self.is_left = True  # the instance is there, and another's
        if lost.is_final:
            self.is_wanted = False
        self.changed.notify()

    def recover(self) -> None:
        """Records that a registrar has it as it is now."""
        if self.is_found_dead:
            self.lost = None

    def token(self, link: int) -> Token | None:
        """Returns the latest token of its name: that of a link's registrar, if known."""
        known = [it for it in self.tokens if it is not None]
        return self.tokens[link] or max(known, key=lambda it: it.number, default=None)

    def add_also(self, also: Sequence[Instance]) -> None:
        """Records the other instances that a registrar has at its places."""
        self.also += [it for it in also if it not in self.also][: 8 - len(self.also)]

    def to_register(self, link: int, registrar: UUID) -> tuple[int, dict[str, Any]]:
        """Returns the arguments of a registration, and the version that they have."""
        wanted, token = self.wanted, self.token(link)
        body: dict[str, Any] = {
            "name": self.instance.name,
            "uuid": self.instance.uuid.bytes,
            "endpoints": [write_stamped(it) for it in wanted.endpoints],
        }
        if wanted.metadata:
            body["metadata"] = dict(wanted.metadata)
        body["state"] = wanted.state
        if self.lease is not None:
            body["lease_ms"] = round(self.lease * 1000)
        if self.proves:
            body["proves"] = True
        if (again := self.identity.latest_epoch(registrar)) is not None:
            body["again"] = again
        if self.waits:
            body["wait"] = True
        if token is not None:
            body["token"] = token.number
            if token.resume is not None:
                body["resume"] = token.resume
        if self.secret is not None:
            body["secret"] = self.secret
        return wanted.version, body

    def to_update(self, earlier: int) -> tuple[int, dict[str, Any]]:
        """Returns the arguments that change an earlier version to the wanted one."""
        wanted = self.wanted
        body: dict[str, Any] = {
            "uuid": self.instance.uuid.bytes,
            "endpoints": [write_stamped(it) for it in wanted.endpoints],
            "metadata": dict(wanted.metadata),
        }
        # A state that another program has set, and this side has yet to learn, stays.
        if earlier < wanted.state_version:
            body["state"] = wanted.state
        return wanted.version, body


class Details(TypedDict, total=False):
    """The details of a registration."""

    #: Whatever else there is to say of the actor, as texts.
    metadata: Mapping[str, str]
    #: `ready` unless it says so.
    state: State
    #: It lives for so many seconds after each renewal, and not only as long as the connection.
    lease: float | None
    #: It answers its callers by `Registered.accept`, and proves to them who it is.
    proves: bool
    #: If another instance has an exclusive name, this one waits for it.
    wait_in_line: bool
    #: The UUID of the instance, if it is not to be drawn.
    uuid: UUID | None


def make_entry(name: str, endpoints: Sequence[Stamped], details: Details, links: int) -> Entry:
    """Checks a registration, and takes it down."""
    check_name(name)
    metadata = check_metadata(details.get("metadata", {}))
    state = check_state(details.get("state", "ready"))
    lease, uuid = details.get("lease"), details.get("uuid")
    if lease is not None:
        lease = check_seconds("lease", lease)
        if not LEASE_MIN <= lease <= LEASE_MAX:
            raise InvalidRegistration(f"a lease lasts from 100ms to 24h, not {duration(lease)}")
    if uuid is not None:
        check_uuid(uuid)
    # Any program that reads a chosen UUID in a list can register it too, and keeps it then; nobody
    # else can register one that derives from a secret.
    secret = None if uuid is not None else secrets.token_bytes(16)
    instance = Instance(name, _derived(secret) if uuid is None else uuid)
    wanted = Wanted(1, 1, check_endpoints(endpoints), metadata, state)
    proves, waits = details.get("proves", False), details.get("wait_in_line", False)
    entry = Entry(instance, secret, lease, proves, waits, wanted, links)
    entry.wanted = replace(wanted, endpoints=entry.stamped(endpoints))
    return entry


def check_endpoints(endpoints: Sequence[Stamped]) -> tuple[Stamped, ...]:
    """Checks that endpoints can be dialed and are not too many, and keeps each once."""
    kept: dict[object, Stamped] = {}
    for stamped in endpoints:
        place = stamped.endpoint
        if place.is_bind_only:
            raise InvalidRegistration(
                f"`{place}` can be bound, not dialed: register the endpoints that the listener has "
                "got, with the real port and address"
            )
        if nowhere := getattr(place, "nowhere", None):
            raise InvalidRegistration(nowhere)
        kept.setdefault(place, stamped)
    if len(kept) > ENDPOINTS_MAX:
        what = f"an instance has at most {ENDPOINTS_MAX} endpoints, not {len(kept)}"
        raise InvalidRegistration(what)
    return tuple(kept.values())


def check_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Checks that metadata is text, and not too long, and copies it."""
    if not isinstance(metadata, Mapping):
        what = f"the metadata of an instance is a mapping, not {kind_of(metadata)}"
        raise InvalidRegistration(what)
    length = 0
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise InvalidRegistration("the metadata of an instance is text, key and value")
        try:
            length += len(key.encode()) + len(value.encode())
        except UnicodeEncodeError:
            raise InvalidRegistration("the metadata of an instance is UTF-8") from None
    if length > METADATA_BYTES_MAX:
        what = f"the metadata of an instance has at most {METADATA_BYTES_MAX} bytes, not {length}"
        raise InvalidRegistration(what)
    return dict(metadata)


def check_state(state: State) -> State:
    """Checks that a state is one that can be set."""
    if state not in ("starting", "ready", "draining"):
        what = quoted(state) if isinstance(state, str) else kind_of(state)
        raise InvalidRegistration(f"{what} is no state: `starting`, `ready` or `draining` is")
    return state


def _derived(secret: bytes | None) -> UUID:
    """Derives a UUID of version 8 (RFC 9562) from a secret."""
    digest = bytearray(hmac.new(secret or b"", b"callsign: instance", hashlib.sha256).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return UUID(bytes=bytes(digest))
