"""Signs of life: when a peer is asked for one, and when it is given up.

Over a Unix socket any bytes are one, and silence only marks. TCP can lose one direction alone, so
that only the answer to the latest question counts there, and silence ends the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import anyio

from .errors import Closed

#: The data behind which a pong may still come over TCP.
_PASSED_MAX = 64 << 20


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The interval of signs of life, and after how many of silence a peer is given up."""

    interval: float = 0.9
    misses: int = 3


class Service(Protocol):
    """What the other side may call, and is told of."""

    def call(self, method: str, body: bytes) -> bytes:
        """Answers a call, at once, or raises `RemoteError`."""
        raise NotImplementedError

    def fell_silent(self, silence: float) -> None:
        """The peer gives no sign of life, though its connection lasts."""

    def heard_again(self) -> None:
        """It does again."""


class Pulse:
    """The signs of life of a peer."""

    def __init__(
        self, service: Service, clock: Callable[[], float], *, ends_on_silence: bool
    ) -> None:
        self._service = service
        self._clock = clock
        self._ends_on_silence = ends_on_silence
        #: When it gave the last sign, and when bytes last moved in either direction.
        self._alive = self._moved = clock()
        #: The bytes that have come since it was asked.
        self._passed = 0
        self._latency = 0.0
        self._nonce = 0
        self._asked_at: float | None = None
        self._is_silent = False

    async def beat(
        self,
        heartbeat: Heartbeat,
        ping: Callable[[int], None],
        has_output: Callable[[], bool],
    ) -> Closed:
        """Asks for signs of life, until the peer is given up."""
        interval, misses = heartbeat.interval, heartbeat.misses
        due = self._clock() + interval
        while True:
            await anyio.sleep_until(due)
            now = self._clock()
            if now - due > interval:
                self._alive = now  # this process was stopped: the peer's time begins anew
            silence = now - self._alive
            if self._asked_at is None and silence >= interval * 0.99:
                self._nonce += 1
                self._asked_at = now
                ping(self._nonce)
            usual = interval * misses
            limit = usual
            if self._ends_on_silence and self._latency > interval:
                limit = min(max(usual, 3 * self._latency), 10 * usual)
            if silence >= limit and self._is_given_up(now, interval, silence, has_output()):
                return Closed(f"the peer was silent for {silence:.1f}s")
            left = limit - silence
            due = now + (min(interval, left) if left > 0 else interval)

    def heard(self, length: int) -> None:
        """Takes note of bytes that have come."""
        now = self._clock()
        if self._ends_on_silence:
            self._passed += length
            self._moved = now
        else:
            self._revive(now)

    def moved(self) -> None:
        """Takes note that bytes that waited have been written."""
        self._moved = self._clock()

    def pong(self, nonce: int) -> None:
        """Takes note of an answer."""
        if nonce == self._nonce and self._asked_at is not None:
            now = self._clock()
            self._latency = now - self._asked_at
            self._revive(now)

    def _is_given_up(self, now: float, interval: float, silence: float, has_output: bool) -> bool:
        if not self._ends_on_silence:
            if not self._is_silent:
                self._is_silent = True
                self._service.fell_silent(silence)
            return False
        # A ping that waits behind other data, or a pong that comes behind it, is no silence.
        is_on_the_way = has_output or 0 < self._passed < _PASSED_MAX
        return not (is_on_the_way and now - self._moved < 3 * interval)

    def _revive(self, now: float) -> None:
        self._alive, self._asked_at, self._passed = now, None, 0
        if self._is_silent:
            self._is_silent = False
            self._service.heard_again()
