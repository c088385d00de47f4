"""The settings file that the environment names, as the commands read it."""

from __future__ import annotations

import os
import stat
import tomllib
from typing import Any

from . import kernel
from .credentials import Tls
from .errors import SettingsError
from .text import kind_of, system

#: Names the settings file.
CONFIG_VARIABLE = "CALLSIGN_CONFIG"

#: Names the folder of a service's credentials, as systemd sets it.
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"

_BYTES_MAX = 4 << 20

#: A device without a byte in it, which stands for no settings.
_NULL_DEVICE = os.makedev(1, 3)


def read_settings(path: str) -> dict[str, Any]:
    """Reads the settings file at a path, of which this process takes the host's identity."""
    if not path:
        return {}
    try:
        settings = tomllib.loads(_text(path))
    except OSError as error:
        raise _unreadable(path, system(error)) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: {error}") from None
    host_id = table(settings, "host", path).get("id")
    if isinstance(host_id, str) and not kernel.set_host_id(host_id):
        raise SettingsError("the host id of this process is already set, and cannot change")
    return settings


def _text(path: str) -> str:
    status = os.stat(path)
    if why := _other_kind(status):
        raise _unreadable(path, why)
    # Opening a pipe that replaces the file meanwhile returns immediately.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        data = file.read(_BYTES_MAX + 1)
    if len(data) > _BYTES_MAX:
        raise _unreadable(path, "it is larger than 4 MiB, the most that settings may have")
    try:
        return data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise _unreadable(path, "it is not text in UTF-8") from None


def _other_kind(status: os.stat_result) -> str | None:
    """Says what it is, if it is no file."""
    mode = status.st_mode
    if stat.S_ISREG(mode) or (stat.S_ISCHR(mode) and status.st_rdev == _NULL_DEVICE):
        return None
    if stat.S_ISFIFO(mode):
        return "it is a pipe, which is not read twice"
    if stat.S_ISDIR(mode):
        return "it is a folder"
    return "it is a socket" if stat.S_ISSOCK(mode) else "it is a device"


def _unreadable(path: str, why: str) -> SettingsError:
    what = f"cannot read the settings file `{path}`, which {CONFIG_VARIABLE} names"
    return SettingsError(f"{what}: {why}")


def read_tls(settings: dict[str, Any], credentials: str | None) -> Tls | None:
    """Returns the files of the table `[tls]`, if there is one. A path may begin with the folder of
    a service's credentials."""
    if "tls" not in settings:
        return None
    given = table(settings, "tls", "the settings")
    for key in ("ca", "certificate", "key"):
        if key not in given:
            error = SettingsError(f"`[tls]` has no `{key}`")
            error.add_note(
                "hint: it takes `ca`, `certificate` and `key`, as `callsign keys` makes them"
            )
            raise error
        if not isinstance(given[key], str) or not given[key] or "\0" in given[key]:
            raise SettingsError(f"[tls] {key}: {kind_of(given[key])}, is not a path")

    def path(key: str) -> str:
        written: str = given[key]
        folder, slash, rest = written.partition("/")
        if folder != f"${CREDENTIALS_VARIABLE}":
            return written
        if credentials is None:
            error = SettingsError(f"[tls] {key}: {folder} is not set")
            error.add_note("hint: systemd sets it for a service with `LoadCredential=` in its unit")
            raise error
        return os.path.join(credentials, rest) if slash else credentials

    return Tls(path("ca"), path("certificate"), path("key"))


def table(settings: dict[str, Any], name: str, path: str) -> dict[str, Any]:
    """Returns a table of the settings, which is empty if it is not there."""
    found = settings.get(name, {})
    if not isinstance(found, dict):
        raise SettingsError(f"{path}: `{name}` is a table")
    return found
