"""Guesses: the endpoint that was probably meant by a text that is none.

Only what is written often is guessed, and only if it is one thing: no advice is better than a wrong
one. The commands guess more.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

#: A host beside its port, after a scheme or without one.
_HOST_AND_PORT = re.compile(
    r"(?:(?P<scheme>tcp|http|https|tls)(?:://|:))?"
    r"(?P<host>\[[^\[\]]+\]|[^\[\]:/@?#\s]*):(?P<port>\d{1,5})(?:/.*)?",
    re.IGNORECASE,
)

#: A path with the scheme of Unix sockets, or an abstract name.
_UNIX = re.compile(r"(?:unix:(?://)?)?(?P<name>@[^/\s]+)|unix:(?P<path>/.+)")

#: What can be said of the place of a socket.
_FROM_THE_ROOT = "write the path of a socket from the root: `/unix/<path>`"


def advice(text: str) -> tuple[str, str] | None:
    """Returns what may have been meant by a text that does not begin with a slash, and the words
    around it; or advice alone."""
    if found := _UNIX.fullmatch(text):
        return f"/unix/{(found['name'] or found['path']).lstrip('/')}", _MEANT
    if found := _HOST_AND_PORT.fullmatch(text):
        is_tls = (found["scheme"] or "").lower() in ("https", "tls")
        host = found["host"].removeprefix("[").removesuffix("]")
        return _tcp(host, found["port"], is_tls=is_tls), _MEANT
    if text.isdigit():
        return _tcp("", text), _MEANT
    if _address(text) is not None:
        return _tcp(text, "5555"), "add a port: {}"
    if re.fullmatch(r"unix:.*|(?:[~.\w-]+/)+[^/\s]+|[\w.-]+\.sock", text):
        return "", _FROM_THE_ROOT
    return None


def advice_on_parts(text: str) -> tuple[str, str] | None:
    """Returns the same of a text that begins with a slash."""
    if found := re.fullmatch(r"/tcp/(\d+)", text):
        return _tcp("", found[1]), "put a host before it: {}"
    if found := re.fullmatch(r"/ip6/([\da-fA-F:]+)", text):
        return _tcp(found[1], "5555"), "add a port: {}"
    # The protocol of the host is missing or another's, `tcp` is missing, or the port.
    if found := re.fullmatch(
        r"(/(?:ip4|ip6|dns[46]?))?/(?P<host>[^/]+?)(?:(?:/tcp/|/|:)(?P<port>\d+)|(?:/tcp)?)(?P<tls>/tls)?",
        text,
    ):
        host, port, is_tls = found["host"], found["port"], found["tls"] is not None
        is_host = found[1] is not None or host == "localhost" or _address(host) is not None
        if is_host and port is not None:
            return _tcp(host, port, is_tls=is_tls), _MEANT
        if is_host:
            return _tcp(host, "5555", is_tls=is_tls), "add a port: {}"
    if re.fullmatch(r"/.*/tcp/[a-z][a-z0-9-]*(?:/tls)?", text):
        return "", "a port is a number, as `/etc/services` has it of a service"
    if re.fullmatch(r"(?:/[^/@]+)*/[^/@]+\.sock(?:et)?", text):
        return f"/unix{text}", "a Unix socket is written {}"
    return None


_MEANT = "did you mean {}?"


def _tcp(host: str, port: str, *, is_tls: bool = False) -> str:
    tls = "/tls" if is_tls else ""
    return f"{_host(host)}/tcp/{int(port)}{tls}"


def _host(text: str) -> str:
    if text in ("", "*"):
        return "/ip4/0.0.0.0" if text else "/ip4/127.0.0.1"
    address = _address(text)
    if address is not None:
        return address
    bare, percent, zone = text.partition("%")
    inner = _address(bare)
    if percent and inner is not None and inner.startswith("/ip6/"):
        return f"/ip6zone/{zone}{inner}"
    return f"/dns/{text}"


def _address(text: str) -> str | None:
    try:
        return f"/ip4/{IPv4Address(text)}"
    except AddressValueError:
        pass
    try:
        return None if "%" in text else f"/ip6/{IPv6Address(text)}"
    except AddressValueError:
        return None
