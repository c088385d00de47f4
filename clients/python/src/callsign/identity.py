"""Proof of identity: an actor's keys, and its answers to callers."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from uuid import UUID

import anyio

from .errors import HandshakeError
from .frames import HANDSHAKE_TIMEOUT, answer
from .messages import Challenge, Hello, Instance
from .options import AGENT
from .secure import Channel, binding_of
from .signal import Signal

#: Registrations with several registrars, and some earlier ones with each.
_KEYS_MAX = 32

#: The wait for a key in transit: a hundred times the usual delay.
_KEY_TIMEOUT = 1.0


@dataclass(frozen=True, slots=True)
class Key:
    """The key of one registration."""

    registrar: UUID
    epoch: int
    key: bytes

    def prove(self, instance: Instance, challenge: Challenge, binding: bytes | None) -> bytes:
        """Returns the response to a challenge on one connection; over TLS `binding` is what only
        its ends know."""
        if binding is None:
            return self._proof(b"callsign: proof", instance, challenge)
        return bound(self._proof(b"callsign: proof over TLS", instance, challenge), binding)

    def _proof(self, use: bytes, instance: Instance, challenge: Challenge) -> bytes:
        text = b"".join(
            (
                use,
                challenge.registrar.bytes,
                challenge.epoch.to_bytes(8, "big"),
                challenge.nonce.bytes,
                instance.uuid.bytes,
                instance.name.encode(),
            )
        )
        return hmac.new(self.key, text, hashlib.sha256).digest()[:16]


def bound(proof: bytes, binding: bytes) -> bytes:
    """Ties a proof to a connection over TLS."""
    return hmac.new(proof, b"callsign: channel" + binding, hashlib.sha256).digest()[:16]


class Identity:
    """The identity of an actor, and the keys that prove it."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self._keys: list[Key] = []
        self._changed = Signal()

    def insert(self, key: Key) -> None:
        """Takes the key of one registration; those of the latest are kept."""
        same = (key.registrar, key.epoch)
        kept = [it for it in self._keys if (it.registrar, it.epoch) != same]
        self._keys = [*kept[-_KEYS_MAX + 1 :], key]
        self._changed.notify()

    def latest_epoch(self, registrar: UUID) -> int | None:
        """Returns the epoch of the latest registration with a registrar."""
        epochs = (it.epoch for it in reversed(self._keys) if it.registrar == registrar)
        return next(epochs, None)

    async def accept(
        self, stream: Channel, *, agent: str = AGENT, limit: float = HANDSHAKE_TIMEOUT
    ) -> Hello:
        """Introduces this actor on an accepted connection, proves its identity if asked, and
        returns the caller's introduction. It reads no byte beyond the handshake.

        `stream` is any stream of bytes of anyio, or a socket that does not block.
        """
        other: list[Instance] = []

        async def answering(caller: Hello) -> Hello:
            proof = None
            if caller.wanted is not None and caller.wanted != self.instance:
                other.append(caller.wanted)
            elif caller.challenge is not None:
                proof = await self._prove(caller.challenge, binding_of(stream))
            return Hello(agent=agent, instance=self.instance, proof=proof)

        caller = await answer(stream, answering, limit)
        if other:
            raise HandshakeError("meant-for-another", f"the peer means {other[0]}")
        return caller

    async def _prove(self, challenge: Challenge, binding: bytes | None) -> bytes | None:
        with anyio.move_on_after(_KEY_TIMEOUT):
            await self._changed.until(lambda: self._meant(challenge) is not None)
        key = self._meant(challenge)
        return None if key is None else key.prove(self.instance, challenge, binding)

    def _meant(self, challenge: Challenge) -> Key | None:
        meant = (challenge.registrar, challenge.epoch)
        return next((it for it in self._keys if (it.registrar, it.epoch) == meant), None)
