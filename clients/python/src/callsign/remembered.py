"""The last good answers, for when no registrar can be reached.

A remembered answer never passes for a present one: only callers that say how old it may be get it,
only if no registrar can be asked, and with its age.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio

from .errors import Unreachable
from .lookup import Found

#: A look-up: its method, the name, whether any state is included, and the owner.
Key = tuple[str, str, bool, str | None]

#: The most remembered records, counting an answer as one too.
_SIZE_MAX = 4096


class Memory:
    """The last good answers, the oldest first."""

    def __init__(self) -> None:
        self._answers: dict[Key, tuple[Found, float]] = {}
        self._size = 0

    async def or_remembered(
        self, key: Key, max_age: float | None, ask: Callable[[], Awaitable[Found]]
    ) -> Found:
        """Asks. If nobody answers who may know it, and a remembered answer is no older than
        `max_age` seconds, returns that one, with its age."""
        if max_age is None:
            return await ask()
        try:
            found = await ask()
        except Unreachable as error:
            last = self._recall(key, max_age)
            if last is None:
                raise
            return replace(last, result=replace(last.result, unanswered=error.failures))
        # A "no" from only some registrars does not replace a remembered answer.
        if not found.result.records and found.result.unanswered:
            last = self._recall(key, max_age)
            if last is None:
                return found
            return replace(last, result=replace(last.result, unanswered=found.result.unanswered))
        self._keep(key, found)
        return found

    def _keep(self, key: Key, found: Found) -> None:
        self._forget(key)
        self._answers[key] = found, anyio.current_time()
        self._size += _size(found)
        while self._size > _SIZE_MAX and len(self._answers) > 1:
            self._forget(next(iter(self._answers)))

    def _forget(self, key: Key) -> None:
        earlier = self._answers.pop(key, None)
        if earlier is not None:
            self._size -= _size(earlier[0])

    def _recall(self, key: Key, max_age: float) -> Found | None:
        if key not in self._answers:
            return None
        found, since = self._answers[key]
        age = anyio.current_time() - since
        return replace(found, result=replace(found.result, age=age)) if age <= max_age else None


def _size(found: Found) -> int:
    return len(found.result.records) + 1
