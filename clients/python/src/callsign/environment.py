"""The registrars that the environment of the process names, as the commands read it."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from .credentials import Tls
from .endpoint import Endpoint, Tcp
from .errors import EndpointError, SettingsError
from .multiaddr import endpoint, of_path
from .options import Trust
from .settings import CONFIG_VARIABLE, CREDENTIALS_VARIABLE, read_settings, read_tls, table
from .text import kind_of, quoted, system

#: Names the registrars to ask, with commas or spaces between them.
REGISTRARS_VARIABLE = "CALLSIGN_REGISTRAR"

#: Names the folder of the registrar of the whole system; there is none if it is empty.
SYSTEM_DIR_VARIABLE = "CALLSIGN_SYSTEM_DIR"

#: The port of the loopback at which a registrar is asked that may be any user's.
DEFAULT_PORT = 1616

_SYSTEM_DIR = "/run/callsign"

log: logging.Logger = logging.getLogger("callsign")


@dataclass(frozen=True, slots=True)
class Environment:
    """What the environment of a process says."""

    registrars: list[Endpoint]
    trust: Trust
    #: The certificate of the settings file, and whether it trusts the network.
    tls: Tls | None
    insecure: bool


def read(environment: Mapping[str, str], *, is_patient: bool) -> Environment:
    """Reads an environment: the registrars are those of `CALLSIGN_REGISTRAR`, else that of the
    settings file in `CALLSIGN_CONFIG`, else those at the usual places.

    Whoever is patient also asks the system's registrar, whose folder may yet be made.
    """
    settings = read_settings(environment.get(CONFIG_VARIABLE) or "")
    tls = read_tls(settings, environment.get(CREDENTIALS_VARIABLE))
    insecure = table(settings, "registrar", "the settings").get("insecure", False)
    if not isinstance(insecure, bool):
        raise SettingsError(f"[registrar] insecure: {kind_of(insecure)}, is not true or false")
    registrars, trust = _registrars(environment, settings, is_patient=is_patient)
    return Environment(registrars, trust, tls, insecure)


def _registrars(
    environment: Mapping[str, str], settings: dict[str, Any], *, is_patient: bool
) -> tuple[list[Endpoint], Trust]:
    named = environment.get(REGISTRARS_VARIABLE, "")
    if named.strip():
        return read_list(named), Trust.NAMED
    listen = _listen(settings)
    if listen:
        return listen, Trust.ADDRESSES
    usual: list[Endpoint] = []
    own = _own_folder(environment)
    if own is not None:
        usual.append(of_path(str(own / "registrar.sock")))
    system_dir = environment.get(SYSTEM_DIR_VARIABLE, _SYSTEM_DIR)
    if system_dir.startswith("/") and ((is_there := Path(system_dir).is_dir()) or is_patient):
        # Root has no session of its own: what it starts is for the whole system.
        if is_there and os.geteuid() == 0 and not environment.get("XDG_RUNTIME_DIR"):
            usual.clear()
        usual.append(of_path(str(Path(system_dir) / "registrar.sock")))
    usual.append(Tcp(IPv4Address("127.0.0.1"), DEFAULT_PORT))
    return usual, Trust.USUAL


def read_list(text: str) -> list[Endpoint]:
    """Reads the endpoints of registrars, with commas or spaces between them."""
    try:
        read = [endpoint(it) for it in re.split(r"[,\s]+", text) if it]
    except EndpointError as error:
        raise SettingsError(f"{REGISTRARS_VARIABLE}: {error}") from error
    if not_dialed := next((it for it in read if it.is_bind_only), None):
        what = "a wildcard address or port 0 can be bound, not dialed"
        raise SettingsError(f"{REGISTRARS_VARIABLE}: `{not_dialed}`: {what}")
    return list(dict.fromkeys(read))


def _listen(settings: dict[str, Any]) -> list[Endpoint]:
    """Returns where the registrar of the settings listens, as it is dialed from here."""
    listen = table(settings, "registrar", "the settings").get("listen", [])
    values = listen if _is_list_of_endpoints(listen) else [listen]
    dialed: list[Endpoint] = []
    for value in values:
        try:
            place = _listened(value)
        except EndpointError as error:
            raise SettingsError(f"[registrar] listen: {error}") from error
        if isinstance(place, Tcp) and place.ip is not None and place.ip.is_unspecified:
            loopback = IPv4Address("127.0.0.1") if place.ip.version == 4 else IPv6Address("::1")
            place = Tcp(loopback, place.port, tls=place.tls)
        if not place.is_bind_only:
            dialed.append(place)
    if values and not dialed:
        raise SettingsError(
            "the registrar of the settings file listens only at ports that are not known in "
            f"advance: say where it is, in {REGISTRARS_VARIABLE}"
        )
    return list(dict.fromkeys(dialed))


def _is_list_of_endpoints(value: Any) -> bool:
    """Tells a list from the pair of a host and a port."""
    is_pair = isinstance(value, list) and len(value) == 2 and isinstance(value[1], int)
    return isinstance(value, list) and not is_pair


def _listened(value: Any) -> Endpoint:
    if isinstance(value, str):
        return endpoint(value)
    match value:
        case [str(host), int(port)]:
            for kind in ("ip4", "ip6", "dns"):
                try:
                    return endpoint(f"/{kind}/{host}/tcp/{port}")
                except EndpointError:
                    continue
            what = f"{quoted(host)} is not an IP address or a host name"
            raise EndpointError(host, what, quotes=True)
    raise SettingsError("[registrar] listen: an endpoint is a text, or a host and a port")


def _own_folder(environment: Mapping[str, str]) -> Path | None:
    """Returns the folder of this user's sockets, which it makes as the commands do; `None` if that
    cannot be, or it cannot be trusted."""
    user = os.geteuid()
    base = environment.get("XDG_RUNTIME_DIR", "")
    try:
        if base.startswith("/"):
            folder = Path(base) / "callsign"
            _check_base("XDG_RUNTIME_DIR", base, {user})
        else:
            base = environment.get("TMPDIR") or "/tmp"
            folder = Path(base) / f"callsign-{user}"
            if not folder.is_absolute():
                raise _Unusable(f"TMPDIR is {quoted(base)}, which is no absolute path")
            # A shared folder is the system's, or protects its contents by the sticky bit.
            if os.path.isdir(base) and not os.stat(base).st_mode & stat.S_ISVTX:
                _check_base("TMPDIR", base, {user, 0})
        _make(folder, user)
    except _Unusable as error:
        log.warning("this user's own registrar is not asked: %s", error)
        return None
    return folder


class _Unusable(Exception):
    """Why there is no folder for this user's sockets."""


def _check_base(variable: str, base: str, trusted: set[int]) -> None:
    remedy = "unset it, or set it to a folder of your own"
    try:
        owner = os.stat(base).st_uid
    except OSError as error:
        what = f"{variable} is {quoted(base)}, which cannot be used: {remedy}"
        raise _Unusable(f"{what}: {system(error)}") from None
    if owner not in trusted:
        what = f"which belongs to user {owner}, and this is user {os.geteuid()}: {remedy}"
        raise _Unusable(f"{variable} is {quoted(base)}, {what} (it was kept by sudo or su)")


def _make(folder: Path, user: int) -> None:
    shown, remedy = quoted(str(folder)), "set XDG_RUNTIME_DIR to a folder of your own"
    try:
        with suppress(FileExistsError):
            folder.mkdir(0o700)
        status = folder.lstat()
    except OSError as error:
        raise _Unusable(f"{shown} cannot be used; {remedy}: {system(error)}") from None
    if stat.S_ISLNK(status.st_mode):
        raise _Unusable(f"{shown} is a symbolic link, and may lead anywhere: {remedy}")
    if not stat.S_ISDIR(status.st_mode):
        raise _Unusable(f"{shown} is not a folder: {remedy}")
    if status.st_uid != user:
        what = f"belongs to user {status.st_uid}, and this is user {user}"
        raise _Unusable(f"{shown} {what}: {remedy}")
    if (mode := stat.S_IMODE(status.st_mode)) & 0o077:
        raise _Unusable(
            f"{shown} is open to other users (mode {mode & 0o777:04o}): give it mode 0700"
        )
