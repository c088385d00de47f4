"""Options of a client."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from .arguments import check_seconds
from .credentials import Tls
from .errors import InvalidArgument
from .frames import HANDSHAKE_TIMEOUT
from .pulse import Heartbeat
from .text import kind_of

VERSION = "0.1.0"

AGENT = f"callsign-python/{VERSION}"

#: A thousand times what an answer usually takes, and no longer than a person would wait.
_ASK_TIMEOUT = 2.0


class Trust(enum.Enum):
    """The trust in registrars."""

    #: All of them, equally: they were configured.
    NAMED = enum.auto()
    #: They are the addresses of one registrar, of which one that answers suffices.
    ADDRESSES = enum.auto()
    #: They are the usual places, which nobody configured, and any program may listen at the port.
    USUAL = enum.auto()


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a client; times are in seconds."""

    #: The name of this side's software, for people.
    agent: str = AGENT
    #: The time limit for a dial of a registrar.
    dial_timeout: float = _ASK_TIMEOUT
    #: The time limit for the handshake with a registrar on another host.
    handshake_timeout: float = HANDSHAKE_TIMEOUT
    #: The time limit for a registrar's answer. One that takes longer counts as down.
    ask_timeout: float = _ASK_TIMEOUT
    #: For how long a look-up that one registrar has answered waits for the others, and for one that
    #: has just started and does not know the name yet. `None`: as long as they may take.
    patience: float | None = None
    #: The signs of life that registrars are asked for.
    heartbeat: Heartbeat | None = field(default_factory=Heartbeat)
    #: The pause before a registrar is dialed again is random, up to a bound that begins with the
    #: first and doubles up to the second.
    backoff: tuple[float, float] = (0.05, 2.0)
    #: The time limit for a dial of an actor, with its proof of identity.
    actor_timeout: float = 5.0
    #: After how long the next candidate is dialed too: within this host, where a dial takes some
    #: 0.1 ms, and beyond it (RFC 8305).
    stagger_within_host: float = 0.01
    stagger_beyond: float = 0.25
    #: The certificate with which it dials and listens at `…/tls`.
    tls: Tls | None = None
    #: Whether it talks to a registrar beyond the loopback without TLS: then whoever can read the
    #: network reads all of that, and can change it.
    insecure: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.agent, str):
            raise InvalidArgument(f"`agent` is a text, not {kind_of(self.agent)}")
        for name in ("dial", "handshake", "ask", "actor"):
            check_seconds(f"{name}_timeout", getattr(self, f"{name}_timeout"))
        for name in ("stagger_within_host", "stagger_beyond"):
            check_seconds(name, getattr(self, name))
        if self.patience is not None:
            check_seconds("patience", self.patience)
        if not isinstance(self.heartbeat, Heartbeat | None):
            what = f"`heartbeat` is a `callsign.Heartbeat`, not {kind_of(self.heartbeat)}"
            raise InvalidArgument(what)
        if not isinstance(self.tls, Tls | None):
            raise InvalidArgument(f"`tls` is a `callsign.Tls`, not {kind_of(self.tls)}")
        if not isinstance(self.insecure, bool):
            raise InvalidArgument(f"`insecure` is true or false, not {kind_of(self.insecure)}")
        match self.backoff:
            case (first, most):
                check_seconds("backoff", most, check_seconds("backoff", first))
            case other:
                what = f"`backoff` is the first and the longest pause, not {kind_of(other)}"
                raise InvalidArgument(what)
