"""Finds actors by name, and connects to them over the nearest transport that provably reaches them.

    import callsign

    async with callsign.connect() as client:
        async with await client.find("feed") as feed:
            print(await feed.receive())

It works on asyncio and on trio alike. `callsign.sync` is a small face of it for scripts.
"""

from .client import Client, connect, open
from .credentials import Tls
from .dial import Assurance, Candidate, Connection, Explanation
from .endpoint import Endpoint, Memory, Tcp, UnixAbstract, UnixPath
from .errors import (
    Closed,
    DialError,
    EndpointError,
    Error,
    HandshakeError,
    IdentityError,
    Incomplete,
    InvalidArgument,
    InvalidName,
    InvalidRegistration,
    LinkError,
    Lost,
    NoneAnswered,
    NotFound,
    NotOpen,
    Partly,
    Refused,
    RegistrarFailure,
    RegistrarsError,
    RemoteError,
    SettingsError,
    TimedOut,
    TlsError,
    Unreachable,
    WireError,
)
from .hosts import host, name_of
from .identity import Identity
from .locality import Locality, OutOfReach, Stamp, Stamped
from .lookup import LookupResult
from .messages import Hello, Instance, Record, Status, Suspicion, Whoami
from .multiaddr import endpoint
from .options import VERSION as __version__
from .options import Options
from .pulse import Heartbeat
from .registered import Registered
from .secure import TlsListener
from .view import Change
from .watch import Watch

__all__ = [
    "Assurance",
    "Candidate",
    "Change",
    "Client",
    "Closed",
    "Connection",
    "DialError",
    "Endpoint",
    "EndpointError",
    "Error",
    "Explanation",
    "HandshakeError",
    "Heartbeat",
    "Hello",
    "Identity",
    "IdentityError",
    "Incomplete",
    "Instance",
    "InvalidArgument",
    "InvalidName",
    "InvalidRegistration",
    "LinkError",
    "Locality",
    "LookupResult",
    "Lost",
    "Memory",
    "NoneAnswered",
    "NotFound",
    "NotOpen",
    "Options",
    "OutOfReach",
    "Partly",
    "Record",
    "Refused",
    "Registered",
    "RegistrarFailure",
    "RegistrarsError",
    "RemoteError",
    "SettingsError",
    "Stamp",
    "Stamped",
    "Status",
    "Suspicion",
    "Tcp",
    "TimedOut",
    "Tls",
    "TlsError",
    "TlsListener",
    "UnixAbstract",
    "UnixPath",
    "Unreachable",
    "Watch",
    "Whoami",
    "WireError",
    "__version__",
    "connect",
    "endpoint",
    "host",
    "name_of",
    "open",
]
