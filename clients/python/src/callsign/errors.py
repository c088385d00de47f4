"""The errors of this package. Every one is an `Error`, and says what the command line would.

| error | meaning |
|---|---|
| `EndpointError`, `InvalidName`, `InvalidRegistration` | it cannot be done as written |
| `InvalidArgument` | neither can another argument: an owner, a UUID, a time |
| `NotOpen` | the client has not been entered, or is closed |
| `SettingsError` | the environment cannot be followed |
| `Unreachable` | no registrar answers: nothing is known |
| `Incomplete` | those that answer know nothing of it, and another did not answer |
| `NotFound` | nobody has it, and every registrar says so |
| `NoneAnswered` | it is registered, and cannot be reached |
| `Refused` | a registrar refuses, and none does it |
| `Partly` | a registrar did it, and another did not |
| `TimedOut` | it did not come in time, and a registrar says so |
| `Lost` | somebody else has taken it out of the registry |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from .alerts import NO_CERTIFICATE
from .text import brief, plain, quoted

if TYPE_CHECKING:
    from .dial import Explanation
    from .endpoint import Endpoint
    from .messages import LostReason


class Error(Exception):
    """Any error of this package."""


class EndpointError(Error, ValueError):
    """A text that is not an endpoint: the fault, and its place."""

    def __init__(self, text: str, fault: str, *, quotes: bool = False, help: str = "") -> None:
        self.text = text
        self.fault = fault
        self.help = help
        super().__init__(fault if quotes or not text else f"{fault} in {quoted(text)}")
        if help:
            self.add_note(f"hint: {help}")


class InvalidName(Error, ValueError):
    """A text that is not a name or a pattern: the rule that it breaks."""


class InvalidRegistration(Error, ValueError):
    """A registration that no registrar would accept."""


class InvalidArgument(Error, ValueError):
    """An owner, a UUID or a time that is none."""


class SettingsError(Error):
    """The environment names no registrar that could be asked, or a certificate cannot be used."""


class NotOpen(Error, RuntimeError):
    """A client that was not entered, or has been closed; or a registration that has ended."""


NOT_ENTERED = "the client has not been entered: `async with callsign.connect() as client`"
CLOSED = "this client is closed"
OTHER_THREAD = "this client was opened in another thread, with a loop of its own: open one here"
OTHER_PROCESS = (
    "this client was opened in another process, of which this one is a fork: open one here"
)


class WireError(Error):
    """Bytes of a peer that cannot be read, or a message that cannot be sent."""


class RemoteError(Error):
    """An error that the other side answered."""

    def __init__(self, kind: str, message: str, payload: tuple[str, bytes] | None = None) -> None:
        self.kind = kind
        self.message = message
        self.payload = payload
        super().__init__(plain(message))


class Closed(Error):
    """The connection has ended, or was ended, and why."""


class LinkError(Error):
    """Why a registrar gave no answer, or a peer is not taken for the one that was meant.

    `kind` is for programs; the text is for people.
    """

    def __init__(self, kind: str, message: str, remote: RemoteError | None = None) -> None:
        self.kind = kind
        self.remote = remote
        super().__init__(message)

    @property
    def is_absence(self) -> bool:
        """Tells whether nobody listens there."""
        return self.kind in ("connection-refused", "missing")

    @property
    def is_refusal(self) -> bool:
        """Tells whether the registrar was reached, and refused."""
        return self.kind in ("refused", "quota-exceeded", "too-many-waits")

    @property
    def is_answer(self) -> bool:
        """Tells whether the registrar was reached, and said why it does not serve this client."""
        return self.is_refusal or self.kind in ("handshake-refused", "denied", "other-version")

    @property
    def may_pass(self) -> bool:
        """Tells whether it may pass by itself: a registrar may start, come, or continue."""
        if self.kind == "quota-exceeded":
            quota = getattr(self, "quota", None)
            return quota in ("sessions", "cpu")
        return self.kind in _PASSING


#: Whatever else there is needs a remedy.
_PASSING = frozenset(
    {
        "connection-refused",
        "missing",
        "other-socket",
        "busy",
        "timed-out",
        "no-route",
        "no-such-host",
        "io",
        "handshake-timed-out",
        "handshake-closed",
        "handshake-refused",
        "no-answer",
        "silent",
        "closed",
        "ended",
        "not-yet",
        "others-port",
        "in-line",
        "panicked",
        "tls-ended",
    }
)


class DialError(LinkError):
    """Why an endpoint could not be dialed."""


class TlsError(DialError):
    """Why there is no connection over TLS: what is wrong with a certificate, as a rule."""


def no_certificate() -> TlsError:
    """Makes the error of a program that has no certificate."""
    error = TlsError("no-certificate", NO_CERTIFICATE)
    error.add_note(f"hint: {_NAME_A_CERTIFICATE}")
    return error


class HandshakeError(LinkError):
    """Why a conversation did not begin."""


class IdentityError(HandshakeError):
    """Another program is at the endpoint, or it does not prove that it is the one meant."""


@dataclass(frozen=True, slots=True)
class RegistrarFailure:
    """A registrar that gave no answer, and why."""

    registrar: Endpoint
    error: LinkError
    #: How many seconds ago that was, if it has not been tried again since.
    age: float = field(default=0.0, compare=False)

    def __str__(self) -> str:
        ago = f" ({brief(self.age)} ago)" if self.age >= _NEWS else ""
        return f"{self.registrar}: {plain(str(self.error))}{ago}"


#: A failure that is younger is one of now.
_NEWS = 0.5


_NAME_A_CERTIFICATE = (
    "name one by `tls=callsign.Tls(…)`, or in `[tls]` of the settings; `callsign keys` makes them"
)

#: What to do about registrars beyond the loopback.
_HINTS = {
    "insecure": (
        "encrypt: let it listen with `/tls`, name it so, and name a certificate in `tls`, or in "
        "`[tls]` of the settings",
        "or trust the network: `insecure=True`, or `insecure = true` in `[registrar]`",
    ),
    "no-certificate": (_NAME_A_CERTIFICATE,),
}


class RegistrarsError(Error):
    """An error made of those of the registrars, of which it prints one a line."""

    def __init__(self, what: str, failures: Sequence[RegistrarFailure]) -> None:
        self.failures: tuple[RegistrarFailure, ...] = tuple(failures)
        super().__init__("\n  ".join([f"{what}:", *map(str, self.failures)]))
        for hint in dict.fromkeys(
            hint for it in failures for hint in _HINTS.get(it.error.kind, ())
        ):
            self.add_note(f"hint: {hint}")

    def with_context(self, context: str) -> Self:
        """Returns the same error with what it came of before it."""
        error = type(self).__new__(type(self))
        error.__dict__.update(self.__dict__)
        error.args = (f"{context}: {self}",)
        return error

    @property
    def may_pass(self) -> bool:
        """Tells whether one of them may pass by itself."""
        return any(it.error.may_pass for it in self.failures)


class Unreachable(RegistrarsError):
    """No registrar can be reached: whether anything is registered is unknown."""

    def __init__(self, failures: Sequence[RegistrarFailure]) -> None:
        have_answer = any(it.error.is_answer for it in failures)
        if not have_answer:
            what = "no registrar can be reached"
        elif len(failures) == 1:
            what = "the registrar was reached, and refused"
        else:
            what = "a registrar was reached, and refused; no other answered"
        super().__init__(what, failures)


class Refused(RegistrarsError):
    """A registrar refused, and none did it."""


class Incomplete(RegistrarsError):
    """The registrars that answered know nothing of it, and these did not answer."""

    def __init__(self, failures: Sequence[RegistrarFailure]) -> None:
        super().__init__("it may be known to a registrar that did not answer", failures)


class Partly(RegistrarsError):
    """A registrar carried it out, and these did not."""

    def __init__(self, failures: Sequence[RegistrarFailure]) -> None:
        super().__init__("not every registrar carried it out", failures)


class NotFound(Error, LookupError):
    """No registrar has it, and all have said so."""


class TimedOut(Error, TimeoutError):
    """A wait has run out of time, and a registrar says that what it waited for is not there."""


class NoneAnswered(Error):
    """It is registered, and none of its endpoints answers."""

    def __init__(self, explanation: Explanation) -> None:
        self.explanation = explanation
        super().__init__(explanation.why_none())


class Lost(Error):
    """An actor has lost its entry, or an endpoint of it: by another's doing, or since its program
    has closed the listener."""

    def __init__(
        self, registrar: Endpoint | None, cause: LostReason, endpoint: str | None, by: str | None
    ) -> None:
        #: Who reports it; `None` if its own client has noticed it.
        self.registrar = registrar
        self.cause = cause
        self.endpoint = endpoint
        self.by = by
        super().__init__(self._words())

    @property
    def is_final(self) -> bool:
        """Tells whether it was intended: then the actor is registered nowhere any more."""
        return self.cause in ("unregistered", "replaced", "name-lost")

    def _words(self) -> str:
        by = None if self.by is None else plain(self.by)
        if self.cause == "unregistered":
            return f"{by or 'somebody else'} has taken it out of the registry"
        if self.cause == "replaced":
            return f"{by or 'somebody else'} has registered it from elsewhere"
        if self.cause == "name-lost":
            return "its node of the cluster has lost the right to its exclusive name"
        if self.cause == "closed":
            return f"its program has closed {plain(self.endpoint or 'its listener')}"
        if self.endpoint is None:
            return "the registrar has taken it out"
        why = f"it is the place of {by}" if by else "it is not there"
        return f"the registrar has taken {plain(self.endpoint)} out: {why}"


def registrars_error(what: str, failures: Sequence[RegistrarFailure]) -> RegistrarsError:
    """Makes `Refused` with the words of the operation if one refused, else `Unreachable`."""
    if any(it.error.is_refusal for it in failures):
        return Refused(what, failures)
    return Unreachable(failures)
