"""Answers of one registrar that were read before, and are not read again.

Of a name that is looked up again, most answers differ in the registrar's clock alone, and most
records are the same. Comparing them is much faster than reading them.
"""

from __future__ import annotations

from typing import Any, TypeVar

from .errors import WireError
from .fields import Fields, of_answer
from .messages import Answer, Located, Record
from .reading import read_answer, read_located, read_record

T = TypeVar("T")

#: The beginning of a registrar's answer to a look-up: the registry's revision, and its clock, each
#: with a number of eight bytes.
_REVISION, _NOW_MS = b"\x84\xa8revision\xcf", b"\xa6now_ms\xcf"
_NOW_MS_AT = len(_REVISION) + 8
_CLOCK_AT = _NOW_MS_AT + len(_NOW_MS)
_REST_AT = _CLOCK_AT + 8

#: As many records as one answer has.
_RECORDS_MAX = 256

#: The answers, and the bytes of the longest: of several records each is compared by itself.
_ANSWERS_MAX = 256
_BYTES_MAX = 1024


class Known:
    """The latest answers of one registrar, and the records in them."""

    def __init__(self) -> None:
        #: Each record, with the map that it was read from.
        self._records: dict[bytes, tuple[dict[Any, Any], Record | None]] = {}
        #: Each answer, by its bytes but for the beginning.
        self._answers: dict[bytes, Answer] = {}

    def answer(self, body: bytes) -> Answer:
        """Reads an answer to `registrar.query`."""
        is_usual = body.startswith(_REVISION) and body.startswith(_NOW_MS, _NOW_MS_AT)
        if not is_usual or not _REST_AT < len(body) <= _BYTES_MAX:
            return self._read_answer(body)
        now_ms, rest = int.from_bytes(body[_CLOCK_AT:_REST_AT], "big"), body[_REST_AT:]
        known = self._answers.get(rest)
        if known is not None:
            return Answer(now_ms, known.total, known.records)
        answer = self._read_answer(body)
        if answer.now_ms == now_ms:  # else there are two clocks in it
            _keep(self._answers, rest, answer, _ANSWERS_MAX)
        return answer

    def located(self, body: bytes) -> Located:
        """Reads an answer to `registrar.find`."""
        return of_answer(lambda it: read_located(it, self._record))(body)

    def _read_answer(self, body: bytes) -> Answer:
        return of_answer(lambda it: read_answer(it, self._record))(body)

    def _record(self, value: Any) -> Record | None:
        uuid = value.get("uuid") if isinstance(value, dict) else None
        if not isinstance(uuid, bytes):
            raise WireError("a record without `uuid`")
        known = self._records.get(uuid)
        if known is not None and known[0] == value:
            return known[1]
        record = read_record(Fields(value, "a record"))
        _keep(self._records, uuid, (value, record), _RECORDS_MAX)
        return record


def _keep(kept: dict[bytes, T], key: bytes, value: T, most: int) -> None:
    """Keeps a value instead of an earlier one, or of the oldest."""
    if key not in kept and len(kept) >= most:
        del kept[next(iter(kept))]
    kept[key] = value
