"""The beginning of a connection, and the frames that follow."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from .alerts import may_pass
from .errors import HandshakeError, RemoteError, WireError
from .fields import Fields, pack, unpack
from .messages import Hello
from .reading import read_error, read_hello
from .secure import Channel
from .streams import receive, receive_exactly, send_all
from .text import duration, plain, system
from .writing import write_hello

#: Six bytes that no other protocol begins with, and the version.
MAGIC = b"\xc5SGN\r\n"
VERSION = 1
PREFACE = MAGIC + VERSION.to_bytes(2, "little")

#: The longest frame, and the longest first one: an unknown peer's gets no more room than it needs.
FRAME_BYTES_MAX = 16 << 20
HELLO_BYTES_MAX = 4 << 10

#: What the frequent kinds are called in errors.
_CALLED = {it: f"a frame `{it}`" for it in ("return", "error", "item", "call", "ping", "pong")}

#: The time limit for a handshake.
HANDSHAKE_TIMEOUT = 5.0


def encode(kind: str, fields: dict[str, Any]) -> bytes:
    """Writes a frame."""
    body = pack({kind: fields})
    if len(body) > FRAME_BYTES_MAX:
        raise WireError(f"a frame of {len(body)} bytes, of at most {FRAME_BYTES_MAX}")
    return len(body).to_bytes(4, "little") + body


def decode(body: bytes | bytearray) -> tuple[str, Fields]:
    """Reads a frame: its kind and its fields."""
    value = unpack(body)
    if not isinstance(value, dict) or len(value) != 1:
        raise WireError("a frame that is not a map of one entry")
    ((kind, fields),) = value.items()
    if not isinstance(kind, str):
        raise WireError("a frame without a kind")
    return kind, Fields(fields, _CALLED.get(kind) or f"a frame `{plain(kind[:32])}`")


async def handshake(sock: socket.socket, hello: Hello, limit: float) -> Hello:
    """Introduces this side on a connection that it dialed, and returns the other's introduction.

    It reads no byte beyond the handshake.
    """
    with _failing(), anyio.move_on_after(limit):
        failure = None
        try:
            await send_all(sock, PREFACE + encode("hello", write_hello(hello)))
        except OSError as error:
            failure = error  # a peer that refuses may close first; its last bytes tell why
        try:
            return await _read_hello(sock)
        except HandshakeError as error:
            if failure is not None and error.kind == "handshake-closed":
                raise failure from None
            raise
    raise _late(limit)


Answering = Callable[[Hello], Awaitable[Hello]]


async def answer(sock: Channel, answering: Answering, limit: float) -> Hello:
    """Hears a caller's introduction on an accepted connection, and answers it."""
    with _failing(), anyio.move_on_after(limit):
        try:
            caller = await _read_hello(sock)
        except HandshakeError as error:
            if error.kind == "other-version":
                await _send(sock, PREFACE)
            raise
        own = await answering(caller)
        await _send(sock, PREFACE + encode("hello", write_hello(own)))
        return caller
    raise _late(limit)


async def _read_hello(sock: Channel) -> Hello:
    preface = b""
    while len(preface) < len(PREFACE):
        part = await _receive(sock, len(PREFACE) - len(preface))
        preface += part
        # Another protocol shows in its first bytes, however few they are.
        if not MAGIC.startswith(preface[: len(MAGIC)]):
            what = "the peer does not speak callsign's protocol"
            # The kind of a record of TLS, and the first part of its version.
            if preface[0] in range(20, 24) and preface[1:2] == b"\x03":
                what = "the peer speaks TLS, and this side does not: does the endpoint lack `/tls`?"
            raise HandshakeError("other-protocol", what)
        if not part:
            raise _closed()
    version = int.from_bytes(preface[len(MAGIC) :], "little")
    if version != VERSION:
        what = f"the peer speaks version {version} of callsign's protocol"
        raise HandshakeError("other-version", f"{what}, and this is version {VERSION}")
    length = int.from_bytes(await _exactly(sock, 4), "little")
    if length > HELLO_BYTES_MAX:
        raise _broken(f"a first frame of {length} bytes, of at most {HELLO_BYTES_MAX}")
    try:
        kind, fields = decode(await _exactly(sock, length))
        if kind == "hello":
            return read_hello(fields)
        if kind == "goodbye":
            denial = fields.optional_map("error")
            if denial is not None:
                raise _denied(read_error(denial))
            why = plain(fields.text("reason"))
            what = f"the peer refused the connection: {why}"
            raise HandshakeError("handshake-refused", what)
    except WireError as error:
        raise _broken(str(error)) from None
    raise _broken("the first frame is no hello")


async def _exactly(sock: Channel, length: int) -> bytes:
    if isinstance(sock, socket.socket):
        found = await receive_exactly(sock, length)
    else:
        found = b""
        while len(found) < length and (part := await _receive(sock, length - len(found))):
            found += part
    if len(found) < length:
        raise _closed()
    return found


async def _receive(sock: Channel, most: int) -> bytes:
    if isinstance(sock, socket.socket):
        return await receive(sock, most)
    try:
        return await sock.receive(most)
    except anyio.EndOfStream:
        return b""


async def _send(sock: Channel, data: bytes) -> None:
    if isinstance(sock, socket.socket):
        await send_all(sock, data)
    else:
        await sock.send(data)


class _failing:
    """Turns errors of the system into those of a handshake."""

    def __enter__(self) -> None: ...

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        cause = error.__cause__ if isinstance(error, anyio.BrokenResourceError) else error
        if isinstance(cause, (ConnectionResetError, BrokenPipeError)):
            raise _closed() from None
        if isinstance(error, (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError)):
            why = system(cause) if isinstance(cause, OSError) else "it was closed"
            what = f"the connection broke during the handshake: {why}"
            # A listener checks a certificate after its dialer has done with the handshake of TLS.
            is_final = isinstance(cause, ssl.SSLError) and not may_pass(cause)
            raise HandshakeError("tls" if is_final else "handshake-closed", what) from None


def _late(limit: float) -> HandshakeError:
    what = f"the peer did not complete the handshake within {duration(limit)}"
    return HandshakeError("handshake-timed-out", what)


def _closed() -> HandshakeError:
    what = "the peer closed the connection during the handshake"
    return HandshakeError("handshake-closed", what)


def _broken(what: str) -> HandshakeError:
    return HandshakeError("protocol", f"the peer broke the protocol: {what}")


def _denied(error: RemoteError) -> HandshakeError:
    what = f"the peer refused the connection: {error}"
    return HandshakeError("denied", what, error)
