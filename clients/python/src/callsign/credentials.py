"""The files of a program's certificate, their faults, and what the standard library makes of them.

The files are read again when they change. Connections that are open stay; files that cannot be used
are logged, and the former certificate stays in use.
"""

from __future__ import annotations

import logging
import os
import ssl
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .alerts import words
from .binding import KeyLog
from .errors import SettingsError
from .text import quoted, system

log: logging.Logger = logging.getLogger("callsign")

#: The most bytes of a file: a thousand authorities.
_BYTES_MAX = 4 << 20

#: The time between two looks at the files: a rotation takes effect within it.
_LOOK_INTERVAL = 0.5

_DAY = 24 * 3600.0

#: How long before its end a certificate is warned of: enough to find who issues another.
_WARNED_BEFORE = 14 * _DAY


@dataclass(frozen=True, slots=True)
class Tls:
    """The files of a program's certificate, all in PEM, as `callsign keys` makes them."""

    #: The authorities that sign the certificates of peers: a file, or a folder of files.
    ca: str | os.PathLike[str]
    #: The certificate of this program, and those between it and the authority.
    certificate: str | os.PathLike[str]
    #: Its private key, which nobody else may read.
    key: str | os.PathLike[str]


class Credentials:
    """The certificate of a program, followed as its files change. One thread uses it."""

    def __init__(self, files: Tls) -> None:
        self.keylog: KeyLog = KeyLog()
        self._files = files
        self._seen = _seen(files)
        self._looked_at = time.monotonic()
        self._warned_at = float("-inf")
        self._contexts = self._read()

    @property
    def dialing(self) -> ssl.SSLContext:
        """The context of connections that this side dials, as the files are now."""
        return self._follow().client

    @property
    def accepting(self) -> ssl.SSLContext:
        """That of connections that this side accepts."""
        return self._follow().server

    def _follow(self) -> _Contexts:
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_INTERVAL:
            self._looked_at = now
            seen = _seen(self._files)
            if seen != self._seen:
                # Of several files some may be new already and others not: the rest is another
                # change.
                self._seen = seen
                try:
                    self._contexts = self._read()
                except SettingsError as error:
                    log.warning("the former certificate stays in use: %s", error)
                else:
                    log.info("%s: read anew", self._files.certificate)
            else:
                self._warn_of_end(self._contexts.ends_at)
        return self._contexts

    def _read(self) -> _Contexts:
        contexts = _read(self._files)
        for context in (contexts.client, contexts.server):
            self.keylog.follow(context)
        self._warned_at = float("-inf")
        self._warn_of_end(contexts.ends_at)
        return contexts

    def _warn_of_end(self, ends_at: float) -> None:
        """Warns once a day of a certificate that expires soon."""
        left, now = ends_at - time.time(), time.monotonic()
        if left > _WARNED_BEFORE or now - self._warned_at < _DAY:
            return
        self._warned_at = now
        days = int(left // _DAY)
        when = {0: "expires in less than a day", 1: "expires in a day"}
        said = when.get(days, f"expires in {days} days") if left > 0 else "has expired"
        log.warning("the certificate %s %s", self._files.certificate, said)


@dataclass(frozen=True, slots=True)
class _Contexts:
    client: ssl.SSLContext
    server: ssl.SSLContext
    #: When the certificate expires, in seconds since 1970.
    ends_at: float


def _read(files: Tls) -> _Contexts:
    """Reads the files, and checks that they belong together now."""
    ca, certificate, key = (Path(it) for it in (files.ca, files.certificate, files.key))
    authorities = _authorities(ca)
    _certificates(certificate, _text(certificate))
    if "PRIVATE KEY-----" not in _text(key, is_secret=True):
        raise _fault(key, "holds no private key in PEM")
    client, server = _contexts(ca, authorities, certificate, key)
    client.hostname_checks_common_name = False  # only alternative names are names of hosts
    server.num_tickets = 0  # this client resumes nothing, and others can do without
    return _Contexts(client, server, _check(ca, certificate, key, client, server))


def _contexts(
    ca: Path, authorities: str, certificate: Path, key: Path
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Makes the contexts of those who dial and of those who accept."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for context in (client, server):
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        # An authority may itself be signed by another, which is not trusted here.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        try:
            context.load_verify_locations(cadata=authorities)
        except ssl.SSLError:
            raise _fault(ca, "holds a certificate that cannot be read") from None
        _load(context, certificate, key)
    return client, server


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    def no_password() -> str:
        raise _fault(key, "holds a private key that cannot be read")

    try:
        context.load_cert_chain(certificate, key, no_password)
    except ssl.SSLError as error:
        match error.reason:
            case "KEY_VALUES_MISMATCH" | "KEY_TYPE_MISMATCH":
                raise _fault(key, "is not the key of the certificate") from None
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certificate)
        except ssl.SSLError:
            raise _fault(certificate, "holds a certificate that cannot be read") from None
        raise _fault(key, "holds a private key that cannot be read") from None
    except OSError as error:
        raise _fault(key, f"cannot be read: {system(error)}") from None


def _check(
    ca: Path, certificate: Path, key: Path, client: ssl.SSLContext, server: ssl.SSLContext
) -> float:
    """Returns when the certificate expires, which is checked as a peer would."""
    try:
        held = _shaken(client, server)
    except ssl.SSLError as error:
        if _code(error) == _EXPIRED and not _has_expired(certificate, key):
            raise _fault(
                ca, "has the authority that signed the certificate, and that one has expired"
            ) from None
        raise _fault(
            certificate, _OWN.get(_code(error), f"cannot be used: {words(error)}")
        ) from None
    end = held.get("notAfter") if held else None
    return ssl.cert_time_to_seconds(end) if isinstance(end, str) else float("inf")


def _has_expired(certificate: Path, key: Path) -> bool:
    """Tells whether a certificate has expired, whatever its authority has."""
    try:
        _shaken(*_contexts(certificate, _text(certificate), certificate, key))
    except ssl.SSLError as error:
        return _code(error) == _EXPIRED
    return False


def _shaken(client: ssl.SSLContext, server: ssl.SSLContext) -> dict[str, Any] | None:
    """Lets both contexts shake hands with each other. Returns what the first has seen."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client.check_hostname = False
    near = client.wrap_bio(to_client, to_server)
    far = server.wrap_bio(to_server, to_client, server_side=True)
    try:
        # Each step of one lets the other go on.
        for each in (near, far) * 3:
            with suppress(ssl.SSLWantReadError):
                each.do_handshake()
        return near.getpeercert()
    finally:
        client.check_hostname = True


def _code(error: ssl.SSLError) -> int:
    return error.verify_code if isinstance(error, ssl.SSLCertVerificationError) else 0


#: OpenSSL's code of a certificate that has expired.
_EXPIRED = 10

#: What OpenSSL's codes say of one's own certificate.
_OWN = {
    2: "is not signed by an authority of `ca`",
    9: "is not valid yet: check the clock",
    _EXPIRED: "has expired",
    18: "is not signed by an authority of `ca`",
    19: "is not signed by an authority of `ca`",
    20: "is not signed by an authority of `ca`",
    21: "is not signed by an authority of `ca`",
    26: "is not for TLS servers and clients",
}


def _authorities(path: Path) -> str:
    """Reads the authorities of a file, or of all files of a folder."""
    if not path.is_dir():
        return _certificates(path, _text(path))
    try:
        within = sorted(path.iterdir())
    except OSError as error:
        raise _fault(path, f"cannot be read: {system(error)}") from None
    # Other files may lie beside them, and hidden ones are not meant.
    meant = [it for it in within if it.suffix in (".pem", ".crt") and it.name[0] != "."]
    if not meant:
        raise _fault(path, "is a folder without a certificate")
    return "\n".join(_certificates(it, _text(it)) for it in meant)


def _certificates(path: Path, text: str) -> str:
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise _fault(path, "holds no certificate in PEM")
    return text


def _text(path: Path, *, is_secret: bool = False) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise _fault(path, "is not a regular file")
        with path.open("rb") as file:
            if is_secret:
                _check_access(path, os.fstat(file.fileno()))
            data = file.read(_BYTES_MAX + 1)
    except OSError as error:
        raise _fault(path, f"cannot be read: {system(error)}") from None
    if len(data) > _BYTES_MAX:
        raise _fault(path, "is larger than 4 MiB")
    if not data.strip():
        raise _fault(path, "is empty")
    return data.decode("ascii", "replace")


def _check_access(path: Path, status: os.stat_result) -> None:
    """Checks that nobody else reads a key: it is this user's alone, or root's and of a group.
    Service managers pass credentials in the latter form too."""
    owner, user = status.st_uid, os.geteuid()
    if owner not in (0, user):
        raise _fault(path, f"belongs to user {owner}, and this is user {user}")
    mode = stat.S_IMODE(status.st_mode)
    if mode & (0o037 if owner == 0 else 0o077):
        error = _fault(path, f"can be read by others (mode {mode:04o})")
        error.add_note("hint: give it mode 0600")
        raise error


def _fault(path: Path, what: str) -> SettingsError:
    return SettingsError(f"{quoted(str(path))} {what}")


def _seen(files: Tls) -> list[tuple[int, ...]]:
    """What identifies the contents of files, without reading them."""
    paths = [Path(files.certificate), Path(files.key), Path(files.ca)]
    with suppress(OSError):  # if it is one file
        paths += sorted(paths[-1].iterdir())
    seen: list[tuple[int, ...]] = []
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            seen.append(())
        else:
            # A change of its permissions changes the second time alone.
            times = (status.st_mtime_ns, status.st_ctime_ns)
            seen.append((status.st_ino, *times, status.st_size))
    return seen
