"""Reading endpoints, which are written as multiaddrs.

The package reads them by itself: libraries of multiaddrs take the two spellings of a Unix path for
two addresses, and one of them cannot be connected to.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import unquote_to_bytes

from .endpoint import (
    FILE_NAME_BYTES_MAX,
    PATH_BYTES_MAX,
    SUN_PATH_BYTES_MAX,
    Endpoint,
    Memory,
    Tcp,
    UnixAbstract,
    UnixPath,
)
from .errors import EndpointError
from .meant import advice, advice_on_parts
from .text import is_plain, kind_of, plain, quoted


def endpoint(text: str | Endpoint) -> Endpoint:
    """Reads an endpoint. Two spellings of one endpoint are equal values.

    >>> endpoint("/unix/%2Frun%2Ffeed.sock") == endpoint("/unix/run/feed.sock")
    True
    """
    if isinstance(text, str):
        try:
            return _read(text)
        except EndpointError as fault:
            raise _advised(fault) from None
    if isinstance(text, Endpoint):
        if _read(str(text)) != text:
            raise EndpointError("", f"no endpoint can be written for {text!r}")
        return text
    fault = f"an endpoint is a text, not {kind_of(text)}"
    match text:
        case (str(host), int(port), *_):  # as a socket's `getsockname` returns it
            kind = "ip6" if ":" in host else "ip4" if host[-1:].isdigit() else "dns"
            fault += f": write `{plain(f'/{kind}/{host}/tcp/{port}')}`"
    raise EndpointError("", fault, help=_EXAMPLES)


def _advised(fault: EndpointError) -> EndpointError:
    """Returns a fault with the endpoint that was probably meant, if there is one."""
    text = fault.text
    found = advice_on_parts(text) if text.startswith("/") else advice(text)
    if found is None:
        return fault
    meant, words = found
    try:
        words = words.format(f"`{_read(meant)}`") if meant else words
    except EndpointError:
        return fault
    return EndpointError(text, fault.fault, quotes=text.startswith("/") is False, help=words)


@lru_cache(maxsize=1024)
def _read(text: str) -> Endpoint:
    """Reads the text of an endpoint. The same ones stand in answer after answer."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _fault(text, "bytes that are not UTF-8") from None
    if not text:
        raise EndpointError("", "an endpoint cannot be empty", help=_EXAMPLES)
    if not text.startswith("/"):
        fault = f"no `/` at the beginning of {quoted(text)}"
        raise EndpointError(text, fault, quotes=True, help=_EXAMPLES)
    if _has_several(text):
        raise _fault(text, "more than one endpoint", "write them separately")
    for part in text.split("/"):
        value = part.removeprefix("@")
        if value and (_is_blank(value[0]) or _is_blank(value[-1])):
            what = f"a blank at the start or end of {quoted(part)}"
            raise _fault(text, what, "leave it out; write an intended blank as %20")
    if text.startswith("/unix/") and len(text) > len("/unix/"):
        return _unix(text, text.removeprefix("/unix/"))
    return _assemble(text)


def of_path(path: str) -> UnixPath:
    """Makes the endpoint of a socket's absolute path."""
    if not path.startswith("/"):
        raise EndpointError(path, f"a relative path {quoted(path)}", quotes=True)
    return _absolute(path, path)


def _fault(text: str, what: str, help: str = "") -> EndpointError:
    return EndpointError(text, what, help=help)


def _unix(text: str, value: str) -> UnixPath | UnixAbstract:
    try:
        decoded = unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        raise _fault(text, "bytes that are not UTF-8") from None
    if decoded.startswith("@"):
        length = len(decoded.encode()) - 1
        if not 1 <= length <= SUN_PATH_BYTES_MAX:
            what = (
                f"an abstract name of {length} bytes, where Linux takes 1 to {SUN_PATH_BYTES_MAX}"
            )
            raise _fault(text, what)
        return UnixAbstract(decoded[1:])
    # One segment with an encoded slash is the specification's spelling, which says whether the
    # path is absolute. Anything else is the greedy form, which omits the slash.
    first, slash, rest = value.partition("/")
    if b"/" not in unquote_to_bytes(first):
        return _absolute(text, f"/{decoded}")
    if slash:
        raise _trailing(text, f"/{rest}")
    if not decoded.startswith("/"):
        raise _fault(text, f"a relative path {quoted(decoded)}")
    return _absolute(text, decoded)


def _absolute(text: str, path: str) -> UnixPath:
    if "\0" in path:
        raise _fault(text, "a NUL")
    if path.endswith("/"):
        raise _fault(text, "a `/` with nothing after it")
    if any(part in ("", ".", "..") for part in path[1:].split("/")):
        help = "write the path without `..`" if ".." in path.split("/") else ""
        raise _fault(text, "a path with an empty part, `.` or `..`", help)
    length = len(path.encode())
    if length > PATH_BYTES_MAX:
        what = f"a path of {length} bytes, where Linux takes {PATH_BYTES_MAX}"
        raise _fault(text, what, "put the socket into a nearer folder")
    name = len(path.rpartition("/")[2].encode())
    if length > SUN_PATH_BYTES_MAX and name > FILE_NAME_BYTES_MAX:
        raise _fault(
            text,
            f"a file name of {name} bytes at the end of a path of over {SUN_PATH_BYTES_MAX}, "
            f"where {FILE_NAME_BYTES_MAX} can be reached",
            "give the socket a shorter name",
        )
    return UnixPath(path)


def _assemble(text: str) -> Endpoint:
    components = _components(text)
    first, value = next(components)
    if first == "memory":
        number = _number(text, value, 2**64 - 1, "a number (0 to 18446744073709551615)")
        _ends(text, components)
        return Memory(number)
    if first in ("tcp", "tls"):
        raise _fault(text, f"no host before `/{first}`")
    zone = family = None
    host: IPv4Address | IPv6Address | str
    if first == "ip4":
        host = _ip4(text, value)
    elif first == "ip6":
        host = _ip6(text, value)
    elif first == "ip6zone":
        zone = _zone(text, value)
        second, value = next(components, ("", ""))
        if second != "ip6":
            raise _fault(text, "no `/ip6/<address>` after `/ip6zone/<interface>`")
        host = _ip6(text, value)
    else:
        host, family = _host_name(text, value), first
    protocol, value = next(components, ("", ""))
    if protocol != "tcp":
        raise _fault(text, "no `/tcp/<port>` after the host")
    port = _number(text, value, 65535, "a port (0 to 65535)")
    protocol, value = next(components, ("", ""))
    tls = protocol == "tls"
    if protocol and not tls:
        raise _trailing(text, f"/{protocol}/{value}")
    _ends(text, components)
    return Tcp(host, port, zone, family, tls)


def _ends(text: str, components: _Components) -> None:
    protocol, value = next(components, ("", ""))
    if protocol:
        raise _trailing(text, f"/{protocol}/{value}" if value else f"/{protocol}")


def _trailing(text: str, component: str) -> EndpointError:
    return _fault(text, f"something after the end of the endpoint: {quoted(component)}")


class _Components:
    """The components of a text that begins with a slash: each a protocol and its value."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._segments = iter(text.split("/")[1:])

    def __iter__(self) -> _Components:
        return self

    def __next__(self) -> tuple[str, str]:
        text, name = self._text, next(self._segments)
        if not name:
            help = _EXAMPLES if text == "/" else "leave out this slash"
            raise _fault(text, "a `/` with nothing after it", help)
        if name in _FOREIGN:
            raise _fault(text, f"unsupported protocol `{name}`", _SUPPORTED)
        if name not in _PROTOCOLS:
            raise _fault(text, f"unknown protocol {quoted(name)}", _SUPPORTED)
        if name == "tls":
            return name, ""
        value = next(self._segments, "")
        if not value:
            raise _fault(text, f"no value after `/{name}`")
        return name, value


def _components(text: str) -> _Components:
    return _Components(text)


def _number(text: str, value: str, most: int, expected: str) -> int:
    digits = value.lstrip("0") or "0"
    is_number = value.isascii() and value.isdigit() and len(digits) <= 20
    if not is_number or int(digits) > most:
        raise _fault(text, f"{quoted(value)} is not {expected}")
    return int(digits)


def _ip4(text: str, value: str) -> IPv4Address:
    try:
        return IPv4Address(value)
    except AddressValueError:
        raise _fault(text, f"{quoted(value)} is not an IPv4 address") from None


def _ip6(text: str, value: str) -> IPv6Address:
    try:
        if "%" not in value:
            return IPv6Address(value)
    except AddressValueError:
        pass
    raise _fault(text, f"{quoted(value)} is not an IPv6 address")


def _zone(text: str, value: str) -> str:
    length = len(value.encode())
    if not 1 <= length <= 15 or value in (".", "..") or not all(map(_is_of_zone, value)):
        raise _fault(text, f"{quoted(value)} is not the name of an interface")
    return value


def _is_of_zone(character: str) -> bool:
    return character not in " /:" and is_plain(character)


def _host_name(text: str, value: str) -> str:
    rule = _broken_rule(value.removesuffix("."))
    if rule:
        raise _fault(text, f"{quoted(value)} is not a host name", rule)
    return value.lower()


def _broken_rule(name: str) -> str | None:
    if not name.isascii():
        return "write letters beyond a to z in the form of DNS: xn--…"
    if len(name) > 253:
        return "a host name has at most 253 bytes"
    for label in name.split("."):
        if not label:
            return "no part of a host name is empty"
        if len(label) > 63:
            return "each part of a host name has at most 63 bytes"
        if not re.fullmatch(r"[A-Za-z0-9_-]+", label):
            return "a host name has letters, digits, - and dots"
        if label.lower() == "xn--":
            return "nothing follows xn--, which begins an encoded name"
        if label[0] == "-" or label[-1] == "-":
            return "each part of a host name begins and ends with a letter or a digit"
        if label[0] == "_":
            return "a part that begins with _ names a service, not a host"
    if name.rpartition(".")[2].isdigit():
        return "a host name cannot end in a number; an IPv4 address has four, up to 255"
    return None


def _is_blank(character: str) -> bool:
    return character.isspace() or character in "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"


def _has_several(text: str) -> bool:
    """Tells whether a list of endpoints was written as one text."""
    for found in re.finditer(r"[,;|\s]\s*/([^/]*)/", text):
        name = found[1].lower()
        if name in _PROTOCOLS and name not in ("tcp", "tls"):
            return True
    return False


_PROTOCOLS = frozenset(
    {"unix", "ip4", "ip6", "ip6zone", "dns", "dns4", "dns6", "tcp", "tls", "memory"}
)

#: Protocols that multiaddr has, and no endpoint uses.
_FOREIGN = frozenset(
    [
        "noise",
        "udp",
        "dccp",
        "dnsaddr",
        "sctp",
        "udt",
        "utp",
        "p2p",
        "ipfs",
        "http",
        "https",
        "onion",
        "onion3",
        "quic",
        "quic-v1",
        "webtransport",
        "ws",
        "wss",
        "x-parity-ws",
        "x-parity-wss",
        "p2p-websocket-star",
        "p2p-webrtc-star",
        "webrtc-direct",
        "certhash",
        "p2p-webrtc-direct",
        "p2p-circuit",
        "ipcidr",
        "garlic64",
        "garlic32",
        "sni",
        "p2p-stardust",
        "webrtc",
    ]
)

_EXAMPLES = "an endpoint is a multiaddr, such as `/ip4/127.0.0.1/tcp/5555` or `/unix/run/feed.sock`"

_SUPPORTED = (
    "supported are `/unix/<path>`, `/unix/@<name>`, "
    "`/ip4|ip6|dns|dns4|dns6/<host>/tcp/<port>`, "
    "`/ip6zone/<interface>/ip6/<address>/tcp/<port>`, "
    "each with TLS as `/tcp/<port>/tls`, and `/memory/<number>`"
)
