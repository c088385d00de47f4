"""The registrars that the environment of the process names, as the commands read it."""

from __future__ import annotations

import os
import re
import stat
import tempfile
import tomllib
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from . import kernel
from .endpoint import Endpoint, Tcp, endpoint, of_path
from .errors import EndpointError, SettingsError
from .options import Trust
from .text import quoted, system

#: Names the registrars to ask, with commas or spaces between them.
REGISTRARS_VARIABLE = "CALLSIGN_REGISTRAR"

#: Names the settings file.
CONFIG_VARIABLE = "CALLSIGN_CONFIG"

#: Names the folder of the registrar of the whole system; there is none if it is empty.
SYSTEM_DIR_VARIABLE = "CALLSIGN_SYSTEM_DIR"

#: The port of the loopback at which a registrar is asked that may be any user's.
DEFAULT_PORT = 1616

_SYSTEM_DIR = "/run/callsign"


def registrars(environment: Mapping[str, str], *, is_patient: bool) -> tuple[list[Endpoint], Trust]:
    """Returns the registrars of an environment: those of `CALLSIGN_REGISTRAR`, else that of the
    settings file in `CALLSIGN_CONFIG`, else those at the usual places.

    Whoever is patient also asks the system's registrar, whose folder may yet be made.
    """
    settings = _settings(environment.get(CONFIG_VARIABLE) or "")
    named = environment.get(REGISTRARS_VARIABLE, "")
    if named.strip():
        return read_list(named), Trust.NAMED
    listen = _listen(settings)
    if listen:
        return listen, Trust.ADDRESSES
    usual: list[Endpoint] = []
    own = _runtime_dir(environment)
    if own is not None:
        usual.append(of_path(str(own / "registrar.sock")))
    system_dir = environment.get(SYSTEM_DIR_VARIABLE, _SYSTEM_DIR)
    if system_dir.startswith("/") and (is_patient or Path(system_dir).is_dir()):
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


def _settings(path: str) -> dict[str, Any]:
    if not path:
        return {}
    try:
        settings = tomllib.loads(Path(path).read_text())
    except OSError as error:
        what = f"cannot read the settings file `{path}`, which {CONFIG_VARIABLE} names"
        raise SettingsError(f"{what}: {system(error)}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from None
    host_id = _table(settings, "host", path).get("id")
    if isinstance(host_id, str) and not kernel.set_host_id(host_id):
        raise SettingsError("the host id of this process is already set, and cannot change")
    return settings


def _table(settings: dict[str, Any], name: str, path: str) -> dict[str, Any]:
    table = settings.get(name, {})
    if not isinstance(table, dict):
        raise SettingsError(f"{path}: `{name}` is a table")
    return table


def _listen(settings: dict[str, Any]) -> list[Endpoint]:
    """Returns where the registrar of the settings listens, as it is dialed from here."""
    listen = _table(settings, "registrar", "the settings").get("listen", [])
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


def _runtime_dir(environment: Mapping[str, str]) -> Path | None:
    """Returns the folder of this user's sockets, unless it cannot be trusted."""
    base = environment.get("XDG_RUNTIME_DIR", "")
    try:
        if base.startswith("/"):
            if Path(base).stat().st_uid != os.geteuid():
                return None
            folder = Path(base) / "callsign"
        else:
            folder = Path(tempfile.gettempdir()) / f"callsign-{os.geteuid()}"
        status = folder.lstat()
    except FileNotFoundError:
        # Whoever makes it later is the user: the folder above is the user's, or the system's.
        return folder if Path(folder).parent.is_dir() else None
    except OSError:
        return None
    is_own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    return folder if is_own and not status.st_mode & 0o077 else None
