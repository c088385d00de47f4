"""From records to a connection: ranking, explaining and racing candidates."""

from __future__ import annotations

import enum
import hmac
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import anyio

from . import kernel
from .credentials import Credentials
from .endpoint import Endpoint
from .errors import (
    DialError,
    HandshakeError,
    IdentityError,
    LinkError,
    NoneAnswered,
    RegistrarFailure,
)
from .frames import handshake
from .identity import bound
from .locality import Locality, Look, OutOfReach, Stamped, Verdict, here_for, locate, look
from .messages import Challenge, Hello, Instance, Record
from .options import Options
from .secure import binding_of
from .signal import Signal
from .sockets import dial
from .strangers import is_stranger, meant_user, stranger_at
from .streams import SocketStream
from .text import brief, plain

#: An instance that is not reached by so many dials will hardly be reached by more.
_DIALS_MAX = 32


class Assurance(enum.Enum):
    """How certain it is that the right instance answers."""

    #: Only its endpoint was stamped: its program does not know the protocol.
    UNPROVED = "unproved"
    #: It claims to be the intended instance; there was no challenge for it.
    CLAIMED = "claimed"
    #: It has answered a registrar's challenge.
    PROVED = "proved"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Ticket:
    """A registrar's challenge for one instance, and the proof that the instance owes."""

    challenge: Challenge
    proof: bytes
    #: What the proof over TLS is made of, if it listens there.
    over_tls: bytes | None = None

    def expected(self, binding: bytes | None) -> bytes:
        """Returns the proof on one connection, of which `binding` is what only its ends know."""
        if binding is None:
            return self.proof
        if self.over_tls is None:
            # A proof that does not cover the connection proves nothing there.
            raise _unproved()
        return bound(self.over_tls, binding)


Tickets = Mapping[tuple[UUID, int], Ticket]


@dataclass(slots=True)
class Candidate:
    """One endpoint of one instance, and what came of dialing it."""

    record: Record
    stamped: Stamped
    #: Its locality, or why it is left out.
    verdict: Verdict
    assurance: Assurance | None = None
    error: LinkError | None = None
    took: float | None = None

    @property
    def endpoint(self) -> Endpoint:
        return self.stamped.endpoint

    @property
    def is_within_reach(self) -> bool:
        """Tells whether it may be dialed from here."""
        return isinstance(self.verdict, Locality)

    def __str__(self) -> str:
        if not self.is_within_reach:
            return f"{self.endpoint} (left out): {self.verdict}"
        return f"{self.endpoint} ({self.verdict}): {self._outcome()}"

    def _outcome(self) -> str:
        if self.took is None:
            return "not dialed"
        if self.error is not None:
            return f"{plain(str(self.error))} ({brief(self.took)})"
        if self.assurance is not None:
            return f"connected in {brief(self.took)}, {self.assurance}"
        return f"given up after {brief(self.took)}"

    @property
    def evidence(self) -> str | None:
        """What it tells against its instance, for a registrar to examine."""
        if isinstance(self.verdict, OutOfReach):
            return _LEFT_OUT.get(self.verdict.kind)
        return None if self.error is None else _evidence(self.error)


@dataclass(slots=True)
class Explanation:
    """Every candidate in the order of dialing, with what came of it; those left out come last."""

    candidates: list[Candidate] = field(default_factory=list)

    def __str__(self) -> str:
        instances = {it.record.uuid for it in self.candidates}
        several = len(instances) > 1
        lines = (f"{it.record.instance} at {it}" if several else str(it) for it in self.candidates)
        return "\n".join(f"  {line}" for line in lines)

    def why_none(self) -> str:
        """Says why none of them was reached."""
        if not self.candidates:
            return "the actor is registered without an endpoint"
        name = self.candidates[0].record.name
        within = any(it.is_within_reach for it in self.candidates)
        what = "does not answer" if within else "cannot be reached from here"
        joint = ", and"
        return f"`{name}` is registered{joint} {what}:\n{self}"


def explain(records: Sequence[Record], look: Look = look) -> Explanation:
    """Judges every endpoint as seen from here, in the order in which they would be dialed.

    The nearest come first, and within a tier the order of the records stays. Suspect instances come
    behind all others, however near: one that hangs is connected to as fast as one that is well.
    """
    here = here_for(it.endpoint for record in records for it in record.endpoints)
    candidates = [
        Candidate(record, stamped, _judge(record, stamped, locate(stamped, here, look)))
        for record in records
        for stamped in record.endpoints
    ]

    def rank(it: Candidate) -> tuple[bool, bool, int]:
        near = int(it.verdict) if isinstance(it.verdict, Locality) else 0
        return (not it.is_within_reach, it.record.suspicion is not None, near)

    return Explanation(sorted(candidates, key=rank))


def _judge(record: Record, stamped: Stamped, verdict: Verdict) -> Verdict:
    """Leaves out where another user's program has the place of one that cannot prove who it is."""
    if record.proves or isinstance(verdict, OutOfReach):
        return verdict
    user = stranger_at(stamped, record.user)
    if user is None:
        return verdict
    what = f"user {user}'s program listens there, and another user's was registered"
    return OutOfReach("other-user", what)


class Connection(SocketStream):
    """A connection to an actor: a stream of bytes, all of which are the application's."""

    def __init__(
        self, sock: socket.socket, won: Candidate, peer: Hello | None, explanation: Explanation
    ) -> None:
        assert isinstance(won.verdict, Locality) and won.assurance is not None
        super().__init__(sock)
        #: The instance that was dialed.
        self.record: Record = won.record
        #: The endpoint that answered, its locality, and how certain its identity is.
        self.endpoint: Endpoint = won.endpoint
        self.locality: Locality = won.verdict
        self.assurance: Assurance = won.assurance
        #: The actor's introduction, if it speaks the protocol.
        self.peer = peer
        #: Every candidate, and what came of it.
        self.explanation = explanation
        #: The registrars that did not answer: they may know a nearer instance, or a newer one.
        self.unanswered: tuple[RegistrarFailure, ...] = ()
        #: How many seconds old the look-up's answer was, if it was a remembered one.
        self.age: float | None = None


Report = Callable[[Candidate, str], None]


async def connect_nearest(
    records: Sequence[Record],
    tickets: Tickets,
    options: Options,
    credentials: Credentials | None,
    report: Report,
) -> Connection:
    """Connects to the nearest instance that answers and is the one meant.

    The next candidate is dialed once one has failed, or has taken a while; the others are dropped
    when one succeeds. What speaks against an instance is reported.
    """
    explanation = explain(records)
    dialing = _Dialing(tickets, options, credentials)
    won = await _race(explanation.candidates, dialing)
    reached = None if won is None else won[0].record.uuid
    for candidate in explanation.candidates:
        evidence = candidate.evidence
        # That one of its endpoints does not answer says nothing against an instance that answers
        # at another; that somebody else has the place does.
        is_silence = evidence in ("refused", "timed-out", "no-permission", "other")
        if evidence is not None and not (is_silence and candidate.record.uuid == reached):
            report(candidate, evidence)
    if won is None:
        raise NoneAnswered(explanation)
    candidate, sock, peer = won
    return Connection(sock, candidate, peer, explanation)


@dataclass(frozen=True, slots=True)
class _Dialing:
    """What all dials share."""

    tickets: Tickets
    options: Options
    credentials: Credentials | None


_Won = tuple[Candidate, socket.socket, Hello | None]


async def _race(candidates: Sequence[Candidate], dialing: _Dialing) -> _Won | None:
    within = [(it, it.verdict) for it in candidates if isinstance(it.verdict, Locality)]
    if len(within) == 1:  # as mostly: that needs no task of its own
        won = await _attempt(within[0][0], dialing)
        return None if won is None else _win(*won)
    options = dialing.options
    winner: list[_Won] = []
    failed, under_way, failures = Signal(), 0, 0

    async def attempt(candidate: Candidate) -> None:
        nonlocal under_way, failures
        try:
            won = await _attempt(candidate, dialing)
            if won is not None and winner:
                won[1].close()
            elif won is not None:
                winner.append(_win(*won))
                dials.cancel_scope.cancel()
        finally:
            under_way, failures = under_way - 1, failures + 1
            failed.notify()

    def has_room() -> bool:
        return under_way < _DIALS_MAX

    try:
        async with anyio.create_task_group() as dials:
            for candidate, locality in within:
                await failed.until(has_room)
                before, under_way = failures, under_way + 1
                dials.start_soon(attempt, candidate)
                pause = (
                    options.stagger_within_host
                    if locality.is_within_host
                    else options.stagger_beyond
                )
                with anyio.move_on_after(pause):
                    await failed.until(lambda before=before: failures > before)  # type: ignore[misc]
    except BaseException:
        for _, sock, _ in winner:
            sock.close()
        raise
    return winner[0] if winner else None


async def _attempt(
    candidate: Candidate, dialing: _Dialing
) -> tuple[Candidate, socket.socket, Hello | None, Assurance] | None:
    """Tries one candidate, and notes how long that took, and what went wrong."""
    began = anyio.current_time()
    try:
        return candidate, *await _reach(candidate, dialing)
    except LinkError as error:
        candidate.error = error
        return None
    finally:
        candidate.took = anyio.current_time() - began


def _win(
    candidate: Candidate, sock: socket.socket, peer: Hello | None, assurance: Assurance
) -> _Won:
    candidate.assurance = assurance
    return candidate, sock, peer


async def _reach(
    candidate: Candidate, dialing: _Dialing
) -> tuple[socket.socket, Hello | None, Assurance]:
    """Dials, and checks the identity. Until that is done, the application sends no byte."""
    options, record = dialing.options, candidate.record
    expected = candidate.stamped.stamp.socket
    began = anyio.current_time()
    sock = await dial(candidate.endpoint, options.actor_timeout, dialing.credentials, expected)
    try:
        if not record.proves:
            _check_user(sock, record.user, candidate.stamped)
            return sock, None, Assurance.UNPROVED
        ticket = dialing.tickets.get((record.uuid, record.epoch))
        challenge = None if ticket is None else ticket.challenge
        proof = None if ticket is None else ticket.expected(binding_of(sock))
        hello = Hello(agent=options.agent, wanted=record.instance, challenge=challenge)
        left = options.actor_timeout - (anyio.current_time() - began)
        try:
            peer = await handshake(sock, hello, max(left, 0.0))
        except HandshakeError as error:
            what = f"the peer does not say who it is: {error}"
            raise HandshakeError(error.kind, what) from None
        _check_identity(peer, record.instance, proof)
        return sock, peer, Assurance.CLAIMED if ticket is None else Assurance.PROVED
    except BaseException:
        sock.close()
        raise


def _check_identity(peer: Hello, meant: Instance, proof: bytes | None) -> None:
    if peer.instance is None:
        what = f'the peer is no actor: it calls itself "{plain(peer.agent)}"'
        raise IdentityError("other-identity", what)
    if peer.instance != meant:
        found = plain(str(peer.instance))
        what = f"{found} is there, not the actor that was meant"
        raise IdentityError("other-identity", what)
    if proof is not None and not hmac.compare_digest(peer.proof or b"", proof):
        raise _unproved()


def _unproved() -> IdentityError:
    what = "the peer claims to be the actor that was meant, and cannot prove it"
    return IdentityError("other-identity", what)


def _check_user(sock: socket.socket, registrant: int | None, stamped: Stamped) -> None:
    """Makes sure that the socket of a program that cannot prove who it is belongs to the user who
    registered it, or to the one in its stamp. Root may listen for others at boot; and a program
    that root registered may have changed its user since, for which only the socket's own inode can
    vouch."""
    if sock.family != socket.AF_UNIX:
        # The place may have passed to another since it was judged.
        if (user := stranger_at(stamped, registrant)) is not None:
            what = f"user {user} listens there, and it is user {stamped.stamp.user}'s"
            raise IdentityError("other-user", what)
        return
    found, has_inode = kernel.peer_user(sock), stamped.stamp.socket is not None
    if registrant is None:
        registrant = meant_user(stamped)
    if registrant is None or found is None or not is_stranger(found, stamped, registrant):
        return
    if registrant == 0 and has_inode:
        return
    if kernel.are_users_global():
        what = f"user {found} listens there, and user {registrant} registered it"
        raise IdentityError("other-user", what)


_LEFT_OUT = {
    "missing": "missing",
    "not-a-socket": "not-a-socket",
    "other-socket": "other-identity",
    "other-user": "other-identity",
}

_OF_DIAL = {
    "connection-refused": "refused",
    "missing": "missing",
    "not-a-socket": "not-a-socket",
    "other-socket": "other-identity",
    "timed-out": "timed-out",
    "no-permission": "no-permission",
}


def _evidence(error: LinkError) -> str | None:
    if isinstance(error, DialError):
        return _OF_DIAL.get(error.kind)
    if isinstance(error, IdentityError) or error.kind == "other-protocol":
        return "other-identity"
    if isinstance(error, HandshakeError) and error.kind == "handshake-timed-out":
        return "timed-out"
    # What this side cannot do says nothing against the other.
    return None if error.kind == "unbound" else "other"
