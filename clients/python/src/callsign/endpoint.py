"""Endpoints: where an actor listens, as values that print as multiaddrs."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote

from .text import is_plain

#: The most bytes of a path that fits `sun_path` with its closing NUL.
SUN_PATH_BYTES_MAX = 107

#: The most bytes of the last part of a longer path, which is reached as `/proc/self/fd/N/<part>`.
FILE_NAME_BYTES_MAX = SUN_PATH_BYTES_MAX - len("/proc/self/fd/1234567/")

#: Linux's `PATH_MAX`, less the closing NUL.
PATH_BYTES_MAX = 4095

#: Not escaped in the one segment of the specification's spelling.
_UNESCAPED = "!\"#$&'()*+,-.:;<=>?@[\\]^_`{|}~"


@dataclass(frozen=True, slots=True)
class UnixPath:
    """A Unix socket at a path."""

    path: str

    def __str__(self) -> str:
        segments = self.path[1:]
        if segments.startswith("@"):
            # Without its slash, this path would be read as an abstract name.
            return f"/unix/{quote(self.path, safe=_UNESCAPED)}"
        return f"/unix/{_greedy(segments)}"

    @property
    def is_bind_only(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class UnixAbstract:
    """A Unix socket with a name and without a file, known within one network namespace."""

    name: str

    def __str__(self) -> str:
        return f"/unix/{_greedy('@' + self.name)}"

    @property
    def is_bind_only(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Tcp:
    """A TCP port of a host: an address, one within a zone, or a name (`dns`, `dns4`, `dns6`)."""

    host: IPv4Address | IPv6Address | str
    port: int
    zone: str | None = None
    family: str | None = None
    tls: bool = False

    def __str__(self) -> str:
        if isinstance(self.host, str):
            host = f"/{self.family or 'dns'}/{self.host}"
        elif isinstance(self.host, IPv4Address):
            host = f"/ip4/{self.host}"
        else:
            mapped = self.host.ipv4_mapped
            text = f"::ffff:{mapped}" if mapped is not None else str(self.host)
            zone = "" if self.zone is None else f"/ip6zone/{self.zone}"
            host = f"{zone}/ip6/{text}"
        return f"{host}/tcp/{self.port}{'/tls' if self.tls else ''}"

    @property
    def ip(self) -> IPv4Address | IPv6Address | None:
        """The address, unless the host is given by name; an IPv4 address in IPv6 form as IPv4."""
        if isinstance(self.host, str):
            return None
        if isinstance(self.host, IPv6Address) and self.host.ipv4_mapped is not None:
            return self.host.ipv4_mapped
        return self.host

    @property
    def is_loopback(self) -> bool:
        """Tells whether the address stays within its reader's network namespace."""
        if isinstance(self.host, str):
            name = self.host.removesuffix(".")
            return name == "localhost" or name.endswith(".localhost")
        ip = self.ip
        return ip is not None and ip.is_loopback

    @property
    def is_bind_only(self) -> bool:
        ip = self.ip
        return self.port == 0 or (ip is not None and ip.is_unspecified)

    @property
    def nowhere(self) -> str | None:
        """Why nobody can be reached there, wherever the caller is."""
        ip = self.ip
        if ip is None:
            return None
        if ip.is_multicast:
            return f"{ip} is a multicast address; TCP connects to one host only"
        if isinstance(ip, IPv4Address):
            if ip == IPv4Address("255.255.255.255"):
                return f"{ip} is the broadcast address; TCP connects to one host only"
            if ip.packed[0] == 0 and not ip.is_unspecified:
                return f"{ip} is not the address of a host: none begins with 0"
        elif ip.is_link_local and self.zone is None:
            return f"{ip} is a link-local address, which needs its interface"
        return None


@dataclass(frozen=True, slots=True)
class Memory:
    """A place within one process of the Rust library. A Python program has none, and dials none."""

    number: int

    def __str__(self) -> str:
        return f"/memory/{self.number}"

    @property
    def is_bind_only(self) -> bool:
        return self.number == 0


Endpoint = UnixPath | UnixAbstract | Tcp | Memory


def _greedy(value: str) -> str:
    """Escapes only what would not survive in a line of text, or would be invisible there."""
    written = []
    for at, character in enumerate(value):
        # Before a slash, a separator may be taken for the end of the endpoint.
        separates = character in ",;|" and value[at + 1 : at + 2] == "/"
        if character in "% " or separates or not is_plain(character):
            written.append("".join(f"%{byte:02X}" for byte in character.encode()))
        else:
            written.append(character)
    return "".join(written)
