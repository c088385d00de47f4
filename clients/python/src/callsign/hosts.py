"""A name as the host of a URL, and back.

A host may have letters, digits, `-`, `.`, `_` and `~`. Every other byte of a name is written as in
the encoding quoted-printable: `=` and two hexadecimal digits. Capitals are escaped as well, since
most clients turn a host into small letters, and so is the beginning of a number at the end, which
browsers and Node take for an IPv4 address.
"""

from __future__ import annotations

import re

from .errors import InvalidName
from .names import check_name
from .text import quoted

_ESCAPED = re.compile(rb"[^a-z0-9._~-]")

#: What the last part of a host is to whoever takes it for an address.
_NUMBER = re.compile(rb"(?:^|(?<=\.))[0-9](?=[0-9]*\.?$|x[0-9a-f]*\.?$)")


def host(name: str) -> str:
    """Returns a name as the host of a URL: `market:feed` is `market=3afeed`."""

    def escape(found: re.Match[bytes]) -> bytes:
        return b"=%02x" % found[0][0]

    escaped = _ESCAPED.sub(escape, check_name(name).encode())
    return _NUMBER.sub(escape, escaped).decode()


def name_of(host: str | None) -> str:
    """Returns the name that the host of a URL stands for.

    `InvalidName` if it stands for none.
    """
    if not host:
        raise InvalidName("the URL names no actor; write `http://NAME/…`")
    first, *rest = host.encode().split(b"=")
    try:
        parts = [bytes([int(it[:2].decode(), 16)]) + it[2:] for it in rest if _is_escape(it)]
        if len(parts) == len(rest):
            return check_name((first + b"".join(parts)).decode())
    except UnicodeDecodeError:
        pass
    what = f"{quoted(host)} has a `=` without two hexadecimal digits of a byte behind it"
    raise InvalidName(f"{what}; `=` itself is written `=3d`")


def _is_escape(part: bytes) -> bool:
    return re.match(rb"[0-9A-Fa-f]{2}", part) is not None
