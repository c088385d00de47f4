"""Reading the messages of the protocol.

A peer's bytes are untrusted: whatever they hold, reading them gives a value or a `WireError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import zip_longest
from typing import Any
from uuid import UUID

from .errors import EndpointError, RemoteError, WireError
from .fields import Fields, of_answer, unpack
from .kernel import SocketId
from .locality import Stamp, Stamped
from .messages import (
    Answer,
    Challenge,
    Hello,
    Instance,
    Item,
    Located,
    LostMessage,
    LostReason,
    Page,
    Record,
    Registered,
    State,
    Status,
    Suspicion,
    Whoami,
)
from .multiaddr import endpoint
from .names import is_name

#: The most other registrars of a cluster that are kept.
_OTHERS_MAX = 32

#: Reads a record as it stands in an answer; `None` for one that is left out.
ReadRecord = Callable[[Any], Record | None]


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
        node=fields.optional_text("node"),
    )
    return record if is_name(name) else None


def _read_state(word: str) -> State:
    match word:
        case "starting" | "ready" | "draining":
            return word
    return "unknown"


def _read_suspicion(fields: Fields) -> Suspicion:
    silent = fields.truth("silent", False)
    cut_off = fields.truth("cut_off", False)
    return Suspicion(fields.number("reports"), fields.number("since_ms"), silent, cut_off)


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
        user=fields.optional_number("user"),
    )


def _read_socket(fields: Fields) -> SocketId:
    born_ns = fields.optional_number("born_ns")
    return SocketId(fields.number("dev"), fields.number("ino"), born_ns)


def read_answer(fields: Fields, read: ReadRecord) -> Answer:
    records = map(read, fields.items("records"))
    kept = tuple(it for it in records if it is not None)
    return Answer(fields.number("now_ms"), fields.number("total"), kept)


@of_answer
def read_page(fields: Fields) -> Page:
    records = [read_record(Fields(it, "a record")) for it in fields.items("records")]
    kept = tuple(it for it in records if it is not None)
    return Page(fields.number("now_ms"), fields.optional_number("next"), kept)


def read_located(fields: Fields, read: ReadRecord) -> Located:
    answer = fields.map("answer")
    # The proofs belong to the records as they stand there, those included that are left out.
    records = [read(it) for it in answer.items("records")]
    owed: dict[tuple[UUID, int], tuple[UUID, bytes, bytes | None]] = {}
    registrar = fields.uuid("registrar")
    proofs, over_tls = fields.items("proofs"), fields.items("over_tls", is_optional=True)
    # An instance of another node of a cluster holds the key that it was given there.
    homes = fields.items("homes", is_optional=True)
    for record, proof, tls, home in zip_longest(records, proofs, over_tls, homes):
        if not all(isinstance(it, bytes | None) for it in (proof, tls, home)):
            raise WireError("a proof that is not binary")
        if home is not None and len(home) != 16:
            raise WireError("a registrar that is no UUID")
        if record is not None and proof is not None:
            challenger = registrar if home is None else UUID(bytes=home)
            owed[record.uuid, record.epoch] = challenger, proof, tls
    kept = tuple(it for it in records if it is not None)
    found = Answer(answer.number("now_ms"), answer.number("total"), kept)
    return Located(found, fields.uuid("nonce"), owed)


@of_answer
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


@of_answer
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
        settling_ms=fields.optional_number("settling_ms"),
    )


@of_answer
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
        case "name-lost":
            cause = "name-lost"
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
                epoch = change.optional_number("epoch") or 0
                return Item(kind, revision, instance=instance, reason=reason, epoch=epoch)
    raise WireError("an unknown change")


def read_hello(fields: Fields) -> Hello:
    instance, wanted = fields.optional_map("instance"), fields.optional_map("wanted")
    meant = None if wanted is None else read_instance(wanted.map("instance"))
    challenge = None if wanted is None else wanted.optional_map("challenge")
    return Hello(
        agent=fields.optional_text("agent") or "",
        registrar=fields.optional_uuid("registrar"),
        settling_ms=fields.optional_number("settling_ms"),
        cluster=read_others(fields),
        cluster_number=fields.optional_number("cluster_number"),
        instance=None if instance is None else read_instance(instance),
        wanted=meant,
        challenge=None if challenge is None else _read_challenge(challenge),
        proof=fields.optional_binary("proof"),
    )


def read_others(fields: Fields) -> tuple[Stamped, ...]:
    """Reads where the other registrars of a cluster are."""
    return _read_endpoints(fields.items("cluster", is_optional=True)[:_OTHERS_MAX])


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
