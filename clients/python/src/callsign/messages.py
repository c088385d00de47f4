"""The messages of the protocol as values: records, answers, changes; reading and writing them.

A peer's bytes are untrusted: whatever they hold, reading them gives a value or a `WireError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Literal, TypeVar
from uuid import UUID

import msgpack

from .endpoint import endpoint
from .errors import EndpointError, RemoteError, WireError
from .kernel import SocketId
from .locality import Stamp, Stamped
from .names import is_name
from .text import plain

T = TypeVar("T")

State = Literal["starting", "ready", "draining", "unknown"]
LostReason = Literal["unregistered", "replaced", "found-dead"]

#: The longest list that any message has, with room for later versions. A longer one in a few bytes
#: is not worth its memory.
_ITEMS_MAX = 1 << 17


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

    @property
    def instance(self) -> Instance:
        """Which instance this is."""
        return Instance(self.name, self.uuid)

    @property
    def user(self) -> int | None:
        """The user whose it is, if it is a user's."""
        kind, _, number = (self.owner or "").partition(":")
        return int(number) if kind == "user" and number.isdigit() else None


@dataclass(frozen=True, slots=True)
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
    registrar: UUID
    nonce: UUID
    #: The proof, and what it is made of over TLS if the instance listens there.
    owed: Mapping[tuple[UUID, int], tuple[bytes, bytes | None]]


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


@dataclass(frozen=True, slots=True)
class Hello:
    """The introduction of a peer."""

    agent: str = ""
    registrar: UUID | None = None
    settling_ms: int | None = None
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


# Reading.


def unpack(data: bytes | bytearray | memoryview) -> Any:
    """Reads one MessagePack document."""
    try:
        return msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=False,
            max_array_len=min(len(data), _ITEMS_MAX),
            max_map_len=min(len(data), _ITEMS_MAX),
        )
    except Exception as error:  # the library raises a dozen kinds, and RecursionError
        raise WireError(f"bytes that are no MessagePack document: {plain(str(error))}") from None


def pack(value: Any) -> bytes:
    """Writes one MessagePack document."""
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


class Fields:
    """The fields of a map, each read with its type. Unknown ones are ignored."""

    __slots__ = ("_map", "_what")

    def __init__(self, value: Any, what: str) -> None:
        if not isinstance(value, dict):
            raise WireError(f"{what} that is not a map")
        self._map = value
        self._what = what

    def number(self, name: str) -> int:
        return self._of(name, self.optional_number(name))

    def optional_number(self, name: str) -> int | None:
        value = self._map.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**64:
            raise self._fault(name)
        return value

    def text(self, name: str) -> str:
        return self._of(name, self.optional_text(name))

    def optional_text(self, name: str) -> str | None:
        return self._typed(name, str)

    def binary(self, name: str) -> bytes:
        return self._of(name, self.optional_binary(name))

    def optional_binary(self, name: str, length: int | None = None) -> bytes | None:
        value = self._typed(name, bytes)
        if value is not None and length is not None and len(value) != length:
            raise self._fault(name)
        return value

    def truth(self, name: str, default: bool | None = None) -> bool:
        value = self._typed(name, bool)
        return self._of(name, default if value is None else value)

    def uuid(self, name: str) -> UUID:
        return self._of(name, self.optional_uuid(name))

    def optional_uuid(self, name: str) -> UUID | None:
        value = self.optional_binary(name, 16)
        return None if value is None else UUID(bytes=value)

    def items(self, name: str, *, is_optional: bool = False) -> list[Any]:
        value = self._typed(name, list)
        return self._of(name, [] if value is None and is_optional else value)

    def map(self, name: str) -> Fields:
        return Fields(self._of(name, self._map.get(name)), f"`{name}`")

    def optional_map(self, name: str) -> Fields | None:
        value = self._map.get(name)
        return None if value is None else Fields(value, f"`{name}`")

    def raw(self, name: str) -> Any:
        return self._map.get(name)

    def pairs(self) -> Iterable[tuple[Any, Any]]:
        return self._map.items()

    def _typed(self, name: str, kind: type[T]) -> T | None:
        value = self._map.get(name)
        if value is None or isinstance(value, kind):
            return value
        raise self._fault(name)

    def _of(self, name: str, value: T | None) -> T:
        if value is None:
            raise WireError(f"{self._what} without `{name}`")
        return value

    def _fault(self, name: str) -> WireError:
        return WireError(f"{self._what} with a wrong `{name}`")


def read(read: Callable[[Fields], T], body: bytes, what: str) -> T:
    """Reads a body by a function."""
    return read(Fields(unpack(body), what))


def read_nothing(_: Fields) -> None:
    """Reads an answer of which nothing is needed."""


def read_instance(fields: Fields) -> Instance:
    return Instance(fields.text("name"), fields.uuid("uuid"))


def read_record(fields: Fields) -> Record | None:
    """Reads a record; `None` for one with an invalid name, which is left out."""
    name = fields.text("name")
    lifetime, ttl_ms = _read_lifetime(fields.raw("lifetime"))
    state = fields.text("state")
    user, owner = fields.optional_number("user"), fields.optional_text("owner")
    suspicion = fields.optional_map("suspicion")
    record = Record(
        name=name,
        uuid=fields.uuid("uuid"),
        epoch=fields.number("epoch"),
        endpoints=_read_endpoints(fields.items("endpoints")),
        state=_read_state(state),
        lifetime=lifetime,
        since_ms=fields.number("since_ms"),
        metadata=_read_texts(fields.optional_map("metadata")),
        ttl_ms=ttl_ms,
        proves=fields.truth("proves", False),
        owner=f"user:{user}" if user is not None else owner,
        token=fields.optional_number("token"),
        waiting=fields.optional_number("waiting") or 0,
        suspicion=None if suspicion is None else _read_suspicion(suspicion),
    )
    return record if is_name(name) else None


def _read_state(word: str) -> State:
    match word:
        case "starting" | "ready" | "draining":
            return word
    return "unknown"


def _read_suspicion(fields: Fields) -> Suspicion:
    silent = fields.truth("silent", False)
    return Suspicion(fields.number("reports"), fields.number("since_ms"), silent)


def _read_lifetime(value: Any) -> tuple[str, int | None]:
    if isinstance(value, str):
        return (value if value in ("session", "declared", "foreign") else "unknown"), None
    fields = Fields(value, "a lifetime")
    lease = fields.optional_map("lease")
    return ("unknown", None) if lease is None else ("lease", lease.number("ttl_ms"))


def _read_texts(fields: Fields | None) -> Mapping[str, str]:
    texts: dict[str, str] = {}
    for key, value in fields.pairs() if fields is not None else ():
        if not isinstance(key, str) or not isinstance(value, str):
            raise WireError("metadata that is not text")
        texts[key] = value
    return texts


def _read_endpoints(values: list[Any]) -> tuple[Stamped, ...]:
    read = (_read_stamped(Fields(value, "an endpoint")) for value in values)
    return tuple(it for it in read if it is not None)


def _read_stamped(fields: Fields) -> Stamped | None:
    text = fields.text("endpoint")
    stamp = fields.optional_map("stamp")
    try:
        place = endpoint(text)
    except EndpointError:
        return None  # of an unknown kind: the others count
    return Stamped(place, Stamp() if stamp is None else _read_stamp(stamp))


def _read_stamp(fields: Fields) -> Stamp:
    socket = fields.optional_map("socket")
    return Stamp(
        kernel=fields.optional_number("kernel"),
        netns=fields.optional_number("netns"),
        process=fields.optional_number("process"),
        socket=None if socket is None else _read_socket(socket),
        root=fields.optional_number("root"),
    )


def _read_socket(fields: Fields) -> SocketId:
    born_ns = fields.optional_number("born_ns")
    return SocketId(fields.number("dev"), fields.number("ino"), born_ns)


def _read_records(values: list[Any]) -> list[Record | None]:
    return [read_record(Fields(value, "a record")) for value in values]


#: The records last read in answers, each with the map that it was read from. Of a name that is
#: looked up again, most are the same, and comparing a map is much faster than reading it.
_known: dict[bytes, tuple[dict[Any, Any], Record | None]] = {}

#: As many as one answer has.
_KNOWN_MAX = 256


def _read_known(values: list[Any]) -> list[Record | None]:
    records = []
    for value in values:
        uuid = value.get("uuid") if isinstance(value, dict) else None
        known = _known.get(uuid) if isinstance(uuid, bytes) else None
        if known is not None and known[0] == value:
            records.append(known[1])
            continue
        record = read_record(Fields(value, "a record"))
        records.append(record)
        while len(_known) >= _KNOWN_MAX:
            del _known[next(iter(_known))]
        _known[value["uuid"]] = value, record
    return records


def read_answer(fields: Fields) -> Answer:
    records = _read_known(fields.items("records"))
    kept = tuple(it for it in records if it is not None)
    return Answer(fields.number("now_ms"), fields.number("total"), kept)


def read_page(fields: Fields) -> Page:
    records = _read_records(fields.items("records"))
    kept = tuple(it for it in records if it is not None)
    return Page(fields.number("now_ms"), fields.optional_number("next"), kept)


def read_located(fields: Fields) -> Located:
    answer = fields.map("answer")
    # The proofs belong to the records as they stand there, those included that are left out.
    records = _read_known(answer.items("records"))
    owed: dict[tuple[UUID, int], tuple[bytes, bytes | None]] = {}
    proofs, over_tls = fields.items("proofs"), fields.items("over_tls", is_optional=True)
    for record, proof, tls in zip_longest(records, proofs, over_tls):
        if not isinstance(proof, bytes | None) or not isinstance(tls, bytes | None):
            raise WireError("a proof that is not binary")
        if record is not None and proof is not None:
            owed[record.uuid, record.epoch] = proof, tls
    kept = tuple(it for it in records if it is not None)
    found = Answer(answer.number("now_ms"), answer.number("total"), kept)
    return Located(found, fields.uuid("registrar"), fields.uuid("nonce"), owed)


def read_whoami(fields: Fields) -> Whoami:
    groups = fields.raw("groups")
    rules = fields.items("rules")
    if not all(isinstance(it, dict) for it in rules):
        raise WireError("a rule that is not a map")
    uses: dict[str, tuple[int, int | None]] = {}
    given = fields.optional_map("uses")
    for quota, use in given.pairs() if given is not None else ():
        if isinstance(quota, str) and isinstance(use, dict):
            of = Fields(use, "a use")
            uses[quota] = (of.number("used"), of.optional_number("quota"))
    return Whoami(
        owner=fields.text("owner"),
        is_trusted=fields.truth("is_trusted"),
        may_change_all=fields.truth("may_change_all"),
        names=fields.text("names"),
        names_place=fields.text("names_place"),
        transport=fields.optional_text("transport"),
        locality=fields.optional_text("locality"),
        groups=tuple(groups) if isinstance(groups, list) else None,
        rules=tuple(rules),
        uses=uses,
    )


def read_status(fields: Fields) -> Status:
    return Status(
        registrar=fields.uuid("registrar"),
        agent=fields.text("agent"),
        revision=fields.number("revision"),
        uptime_ms=fields.number("uptime_ms"),
        sessions=fields.number("sessions"),
        instances=fields.number("instances"),
        waiters=fields.number("waiters"),
        watchers=fields.number("watchers"),
        endpoints=tuple(it for it in fields.items("endpoints") if isinstance(it, str)),
        in_line=fields.optional_number("in_line") or 0,
    )


def read_registered(fields: Fields) -> Registered:
    lost = fields.optional_map("lost")
    also = fields.items("also", is_optional=True)[:8]
    return Registered(
        epoch=fields.number("epoch"),
        key=fields.optional_binary("key", 32),
        token=fields.optional_number("token"),
        resume=fields.optional_binary("resume", 16),
        lost=None if lost is None else read_lost(lost),
        also=tuple(read_instance(Fields(it, "an instance")) for it in also),
    )


def read_lost(fields: Fields) -> LostMessage:
    cause: LostReason = "found-dead"  # which an unknown cause counts as
    match fields.text("cause"):
        case "unregistered":
            cause = "unregistered"
        case "replaced":
            cause = "replaced"
    place, by = fields.optional_text("endpoint"), fields.optional_text("by")
    return LostMessage(fields.uuid("uuid"), cause, place, by)


def read_item(value: Any) -> Item | None:
    """Reads a change; `None` for one of a record that is left out."""
    if value == "reset":
        return Item("reset")
    fields = Fields(value, "a change")
    for kind, of in fields.pairs():
        match kind:
            case "synced":
                return Item("synced", Fields(of, "`synced`").number("revision"))
            case "add" | "update":
                change = Fields(of, "a change")
                record = read_record(change.map("record"))
                revision = change.number("revision")
                return None if record is None else Item(kind, revision, record)
            case "remove":
                change = Fields(of, "`remove`")
                instance = read_instance(change.map("instance"))
                revision, reason = change.number("revision"), change.text("reason")
                return Item(kind, revision, instance=instance, reason=reason)
    raise WireError("an unknown change")


def read_hello(fields: Fields) -> Hello:
    instance, wanted = fields.optional_map("instance"), fields.optional_map("wanted")
    meant = None if wanted is None else read_instance(wanted.map("instance"))
    challenge = None if wanted is None else wanted.optional_map("challenge")
    return Hello(
        agent=fields.optional_text("agent") or "",
        registrar=fields.optional_uuid("registrar"),
        settling_ms=fields.optional_number("settling_ms"),
        instance=None if instance is None else read_instance(instance),
        wanted=meant,
        challenge=None if challenge is None else _read_challenge(challenge),
        proof=fields.optional_binary("proof"),
    )


def _read_challenge(fields: Fields) -> Challenge:
    return Challenge(fields.uuid("registrar"), fields.number("epoch"), fields.uuid("nonce"))


def read_error(fields: Fields) -> RemoteError:
    details = fields.optional_map("details")
    payload = None if details is None else details.optional_map("payload")
    value = None if payload is None else (payload.text("type"), payload.binary("body"))
    return RemoteError(fields.text("kind"), fields.text("message"), value)


def quota_of(error: RemoteError) -> str | None:
    """Returns the quota that an error says was exceeded."""
    if error.payload is None or error.payload[0] != "callsign.QuotaExceeded":
        return None
    try:
        return Fields(unpack(error.payload[1]), "a quota").text("quota")
    except WireError:
        return None


# Writing.


def write_hello(hello: Hello) -> dict[str, Any]:
    fields: dict[str, Any] = {"agent": hello.agent}
    if hello.instance is not None:
        fields["instance"] = write_instance(hello.instance)
    if hello.wanted is not None:
        wanted: dict[str, Any] = {"instance": write_instance(hello.wanted)}
        if hello.challenge is not None:
            wanted["challenge"] = {
                "registrar": hello.challenge.registrar.bytes,
                "epoch": hello.challenge.epoch,
                "nonce": hello.challenge.nonce.bytes,
            }
        fields["wanted"] = wanted
    if hello.proof is not None:
        fields["proof"] = hello.proof
    return fields


def write_instance(instance: Instance) -> dict[str, Any]:
    return {"name": instance.name, "uuid": instance.uuid.bytes}


def write_stamped(stamped: Stamped) -> dict[str, Any]:
    stamp, fields = stamped.stamp, {}
    for name in ("kernel", "netns", "process", "root"):
        if (value := getattr(stamp, name)) is not None:
            fields[name] = value
    if stamp.socket is not None:
        socket = {"dev": stamp.socket.dev, "ino": stamp.socket.ino}
        if stamp.socket.born_ns is not None:
            socket["born_ns"] = stamp.socket.born_ns
        fields["socket"] = socket
    written: dict[str, Any] = {"endpoint": str(stamped.endpoint)}
    if fields:
        written["stamp"] = fields
    return written
