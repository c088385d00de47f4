"""MessagePack documents, and the fields of their maps, each read with its type.

A peer's bytes are untrusted: whatever they hold, reading them gives a value or a `WireError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from uuid import UUID

import msgpack

from .errors import WireError
from .text import plain

T = TypeVar("T")

#: The longest list that any message has, with room for later versions. A longer one in a few bytes
#: is not worth its memory.
_ITEMS_MAX = 1 << 17


def unpack(data: bytes | bytearray | memoryview) -> Any:
    """Reads one MessagePack document."""
    most = min(len(data), _ITEMS_MAX)
    try:
        return msgpack.unpackb(data, strict_map_key=False, max_array_len=most, max_map_len=most)
    except Exception as error:  # the library raises a dozen kinds, and RecursionError
        raise WireError(f"bytes that are no MessagePack document: {plain(str(error))}") from None


def pack(value: Any) -> bytes:
    """Writes one MessagePack document."""
    packed = msgpack.packb(value)
    assert isinstance(packed, bytes)
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
        value = self._map.get(name)
        if type(value) is int and 0 <= value < 2**64:
            return value
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
        value = self._map.get(name)
        if type(value) is bytes:
            return value
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


def of_answer(read: Callable[[Fields], T]) -> Callable[[bytes], T]:
    """Makes a reader of the bodies of answers of a reader of their fields."""

    def read_body(body: bytes) -> T:
        value = unpack(body)
        return read(Fields({} if value is None else value, "an answer"))

    return read_body


@of_answer
def read_nothing(_: Fields) -> None:
    """Reads an answer of which nothing is needed."""
