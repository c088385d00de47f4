"""What only the two ends of one connection over TLS know: the exporter of RFC 9266.

Python's `ssl` has no exporter. It tells the secret of which that is made in the log of keys that
`SSLContext.keylog_filename` names, whose format is a standard (RFC 9850), and the rest is
arithmetic (RFC 8446, section 7.5). The log is a file in memory without a name, and is wiped after
each step of a handshake. Only this user's processes could look into it meanwhile, which can read
the key of the certificate too.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import ssl
import weakref
from contextlib import suppress

#: The label of the exporter `tls-exporter`.
_LABEL = b"EXPORTER-Channel-Binding"

_LENGTH = 32


class KeyLog:
    """The log of keys of some contexts, all of which one thread uses."""

    def __init__(self) -> None:
        self._file = os.memfd_create("callsign-tls", os.MFD_CLOEXEC)
        weakref.finalize(self, os.close, self._file)

    def follow(self, context: ssl.SSLContext) -> None:
        """Has a context write into the log. Without `/proc`, or such a log, nothing is told."""
        with suppress(OSError, AttributeError):
            context.keylog_filename = f"/proc/self/fd/{self._file}"
        self.take()

    def take(self) -> bytes | None:
        """Wipes the log, and returns the secret of the one connection that was in it, if any."""
        length = os.fstat(self._file).st_size
        if length == 0:
            return None
        lines = os.pread(self._file, length, 0).splitlines()
        os.ftruncate(self._file, 0)
        found = [it.split()[2] for it in lines if it.startswith(b"EXPORTER_SECRET ")]
        return bytes.fromhex(found[0].decode()) if len(found) == 1 else None


def exported(secret: bytes) -> bytes:
    """Returns the exporter of a connection, of which this is the secret."""
    # The only hashes of TLS 1.3 tell themselves by their length.
    algorithm = {32: "sha256", 48: "sha384"}[len(secret)]
    empty = hashlib.new(algorithm).digest()
    derived = _expand(algorithm, secret, _LABEL, empty, len(empty))
    return _expand(algorithm, derived, b"exporter", empty, _LENGTH)


def _expand(algorithm: str, secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
    """HKDF-Expand-Label of RFC 8446, of at most one block."""
    label = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes([len(label)]) + label
    info += bytes([len(context)]) + context
    return hmac.new(secret, info + b"\1", algorithm).digest()[:length]
