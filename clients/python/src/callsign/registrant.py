"""What a registrar may ask of its client, and tell it."""

from __future__ import annotations

from uuid import UUID

from .desired import Entry, token_of
from .errors import (
    LinkError,
    Lost,
    RemoteError,
)
from .fields import Fields, pack, unpack
from .hub import Hub
from .link import Down, Link, LinkState, Up, log
from .locality import is_there
from .reading import read_lost, read_others
from .text import plain


class Registrant:
    """Answers a registrar by the desired state."""

    def __init__(self, hub: Hub, link: Link) -> None:
        self._hub = hub
        self._link = link
        self._before: LinkState | None = None

    def call(self, method: str, body: bytes) -> bytes:
        match method:
            case "registrant.confirm":
                return self._confirm(Fields(unpack(body), "a question"))
            case "registrant.set-state":
                return self._set_state(Fields(unpack(body), "a change"))
            case "registrant.set-token":
                told = Fields(unpack(body), "a token")
                self._entry(told.uuid("uuid")).tell_token(
                    self._link.index,
                    told.number("epoch"),
                    token_of(told.optional_number("token"), told.optional_binary("resume", 16)),
                )
                return pack(None)
            case "registrant.cluster":
                self._link.others = read_others(Fields(unpack(body), "the others"))
                return pack(None)
            case "registrant.lost":
                lost = read_lost(Fields(unpack(body), "a loss"))
                entry = self._entry(lost.uuid)
                entry.lose(Lost(self._link.registrar, lost.cause, lost.endpoint, lost.by))
                log.info("%s: %s", entry.instance, entry.lost)
                return pack(None)
        raise RemoteError("no-such-method", f"there is no method `{plain(method[:64])}` here")

    def fell_silent(self, silence: float) -> None:
        """Marks the link as down, though its connection lasts: the registrar is stopped, or busy,
        and its entries are there when it continues."""
        if isinstance(self._link.state, Up):
            self._before = self._link.state
            what = f"it has given no sign of life for {silence:.1f}s"
            self._link.set(Down(LinkError("silent", what)))

    def heard_again(self) -> None:
        if self._before is not None:
            before, self._before = self._before, None
            self._link.set(before)

    def _confirm(self, fields: Fields) -> bytes:
        entry, place = self._entry(fields.uuid("uuid")), fields.text("endpoint")
        wanted = entry.wanted.endpoints
        stamped = next((it for it in wanted if str(it.endpoint) == place), None)
        answer: dict[str, bool] = {"is_wanted": stamped is not None}
        is_own = None if stamped is None else is_there(stamped)
        if is_own is not None:
            answer["is_own_socket"] = is_own
        return pack(answer)

    def _set_state(self, fields: Fields) -> bytes:
        entry, state = self._entry(fields.uuid("uuid")), fields.text("state")
        if state not in ("starting", "ready", "draining"):
            raise RemoteError("invalid", "this version does not know that state")
        if entry.wanted.state != state:
            entry.change(state=state)
        return pack(None)

    def _entry(self, uuid: UUID) -> Entry:
        entry = self._hub.entries.get(uuid)
        if entry is None or not entry.is_wanted:
            raise RemoteError("not-found", "no such instance is kept registered here")
        return entry
