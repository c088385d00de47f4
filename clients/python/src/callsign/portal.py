"""A conversation with one peer: calls, streams of items, signs of life.

Portal.call ──▶ frames ──▶ socket       the reader ──▶ answers, items, the peer's calls
                 └─ what does not fit is written by the writer
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from struct import Struct
from typing import Any

import anyio
import anyio.lowlevel

from .call import Call, Overdue, maker
from .errors import Closed, RemoteError, WireError
from .fields import Fields
from .frames import FRAME_BYTES_MAX, decode, encode
from .items import WINDOW, Items
from .loops import asyncio_loop
from .pulse import Heartbeat, Pulse, Service
from .reading import read_error
from .signal import Signal
from .streams import NOT_NOW, READ_BYTES
from .text import plain, system

#: The calls of one portal: enough to keep any link busy.
CALLS_MAX = 1024

#: What waits to be written before a call waits too.
_OUTPUT_MAX = 256 << 10

#: Replies that the peer does not read: it asks without end, or is broken.
_REPLIES_MAX = 1 << 20

#: Reads in a row before the other tasks run.
_READS_MAX = 16

_LENGTH = Struct("<I")

#: For how long a peer that no longer receives is read: it may have closed only its half.
_LAST_WORDS = 5.0


class Portal:
    """A conversation on a connection that this side dialed. `run` drives it."""

    def __init__(
        self,
        sock: socket.socket,
        service: Service,
        heartbeat: Heartbeat | None,
        *,
        ends_on_silence: bool,
    ) -> None:
        self._sock = sock
        self._service = service
        self._heartbeat = heartbeat
        self._calls: dict[int, Call] = {}
        self._next_id = 0
        self._room = anyio.Semaphore(CALLS_MAX, fast_acquire=True)
        self._output = bytearray()
        self._output_changed = Signal()
        #: Notified of calls with a deadline.
        self._timed = Signal()
        #: asyncio's loop, if that runs this; and its clock, for callbacks too.
        self._loop = asyncio_loop()
        self._clock = anyio.current_time if self._loop is None else self._loop.time
        self._ended = maker(self._loop)
        #: Calls whose ends have been read, and whose callers are to be woken.
        self._answered: deque[Call] = deque()
        #: The beginning of a frame whose rest has yet to come.
        self._begun = bytearray()
        self._pulse = Pulse(service, self._clock, ends_on_silence=ends_on_silence)
        #: Why it has ended.
        self.closed: Closed | None = None

    # What tasks call.

    async def call(self, method: str, body: bytes) -> bytes:
        """Calls a method, and returns the body of the answer. A cancelled call is withdrawn."""
        async with self._room:
            return await self._call(method, body)

    async def call_within(self, limit: float, method: str, body: bytes) -> bytes:
        """Calls a method as `call` does; `Overdue` if there is no answer within so many seconds."""
        if self._room.value == 0 or len(self._output) >= _OUTPUT_MAX:
            # It has to wait before it can be sent.
            await self._acquire_within(limit)
            try:
                with anyio.move_on_after(limit) as scope:
                    return await self._call(method, body)
                raise Overdue(self._clock() - scope.deadline)
            finally:
                self._room.release()
        self._room.acquire_nowait()
        try:
            number, call = self._begin(method, body, None)
            # One task watches all deadlines, which costs a call less than a scope of its own. The
            # limits are those of one client, so that a later call has a later deadline.
            call.deadline = self._clock() + limit
            self._timed.notify()
            try:
                await call.ended
            finally:
                self.forget(number)
            return call.result()
        finally:
            self._room.release()

    async def _call(self, method: str, body: bytes) -> bytes:
        await self._can_write()
        number, call = self._begin(method, body, None)
        try:
            await call.ended
        finally:
            self.forget(number)
        return call.result()

    async def _acquire_within(self, limit: float) -> None:
        """Waits its turn. That others had theirs is no silence of the peer, however many they are:
        `Overdue` if none began within so many seconds."""
        began = -1
        while began < self._next_id:
            began = self._next_id
            with anyio.move_on_after(limit) as scope:
                await self._room.acquire()
                return
        raise Overdue(self._clock() - scope.deadline)

    def notify(self, method: str, body: bytes) -> None:
        """Calls a method, and does not wait: whatever is sent later is read later. It is left out
        if too much waits to be written."""
        if self.closed is None and len(self._output) < _OUTPUT_MAX:
            self.send("call", {"id": self._number(), "method": method, "body": body})

    async def stream(self, method: str, body: bytes) -> tuple[bytes, Items]:
        """Calls a method that answers with items; returns its first value."""
        items = Items(self)
        await self._can_write()
        number, call = self._begin(method, body, items)
        items.number = number
        try:
            self.send("credit", {"id": number, "items": WINDOW})
            await items.begun()
        except BaseException:
            self.forget(number)
            raise
        if items.started is None:
            self.forget(number)
            call.result()
            raise Closed("the peer ended a stream that had not begun")
        return items.started, items

    def goodbye(self, reason: str, *, returns: bool = False) -> None:
        """Says goodbye, if that can be sent at once. `returns`: another connection follows."""
        fields: dict[str, Any] = {"reason": reason}
        if returns:
            fields["returns"] = True
        self.send("goodbye", fields)

    def part(self, reason: str) -> None:
        """Says goodbye, and closes a connection that nothing drives."""
        self.goodbye(reason)
        self._finish(Closed("the connection was closed on this side"))

    async def run(self) -> Closed:
        """Drives the conversation to its end, closes the socket, and returns why it ended."""
        closed = Closed("the connection was closed on this side")
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._write, tasks.cancel_scope)
                tasks.start_soon(self._end_overdue)
                if self._heartbeat is not None:
                    tasks.start_soon(self._beat, self._heartbeat, tasks.cancel_scope)
                closed = await self._read()
                tasks.cancel_scope.cancel()
            closed = self.closed or closed
        finally:
            self._finish(self.closed or closed)
        return self.closed or closed

    # Reading.

    async def _read(self) -> Closed:
        if self._loop is not None:
            return await self._read_by(self._loop)
        reads = 0
        while True:
            # First, since a record of TLS that began with the handshake is not to be waited for.
            closed = self._read_once()
            self._wake_answered()
            if closed:
                return closed
            await anyio.wait_readable(self._sock)
            reads += 1
            if reads % _READS_MAX == 0:
                await anyio.lowlevel.checkpoint()

    async def _read_by(self, loop: asyncio.AbstractEventLoop) -> Closed:
        """Reads by callbacks of asyncio's loop: a task that waits for the socket would take another
        turn of the loop, and three system calls, for each answer."""
        ended: asyncio.Future[Closed] = loop.create_future()

        def read() -> None:
            if ended.done():
                return
            try:
                if closed := self._read_once():
                    ended.set_result(closed)
            except Exception as error:
                ended.set_exception(error)
            self._wake_answered()

        loop.add_reader(self._sock, read)
        try:
            loop.call_soon(read)  # as above
            return await ended
        finally:
            loop.remove_reader(self._sock)

    def _wake_answered(self) -> None:
        """Wakes the callers whose calls have ended. On asyncio they run at once, so that this is
        the last step of reading."""
        while self._answered:
            self._answered.popleft().wake()

    def _read_once(self) -> Closed | None:
        """Reads what is there, and takes the frames that are complete."""
        try:
            part = self._sock.recv(READ_BYTES)
        except NOT_NOW:
            return None
        except (ConnectionResetError, BrokenPipeError):
            return Closed("the peer closed the connection")
        except OSError as error:
            return Closed(f"the connection broke: {system(error)}")
        if not part:
            return Closed("the peer closed the connection")
        self._pulse.heard(len(part))
        try:
            if not self._begun:
                return self._take_all(part)
            self._begun += part
            return self._take_all(self._begun)
        except WireError as error:
            self.goodbye(f"the peer broke the protocol: {error}"[:512])
            return Closed(f"the peer broke the protocol: {error}")

    def _take_all(self, data: bytes | bytearray) -> Closed | None:
        """Takes the frames that are complete, and keeps what follows them."""
        at, end = 0, len(data)
        while end - at >= 4:
            (length,) = _LENGTH.unpack_from(data, at)
            if length > FRAME_BYTES_MAX:
                raise WireError(f"a frame of {length} bytes, of at most {FRAME_BYTES_MAX}")
            if end - at - 4 < length:
                break
            kind, fields = decode(data[at + 4 : at + 4 + length])
            at += 4 + length
            if goodbye := self._take(kind, fields):
                return goodbye
        if data is self._begun:
            del self._begun[:at]
        elif at < end:
            self._begun += data[at:]
        return None

    def _take(self, kind: str, fields: Fields) -> Closed | None:
        match kind:
            case "return":
                number, body = fields.number("id"), fields.binary("body")
                if call := self._calls.pop(number, None):
                    call.answer = body
                    self._answered.append(call)
            case "error":
                number, error = fields.number("id"), read_error(fields.map("error"))
                if call := self._calls.pop(number, None):
                    call.error = error
                    self._answered.append(call)
            case "started" | "item":
                body = fields.binary("body")
                call = self._calls.get(fields.number("id"))
                if call is not None:
                    if call.items is None:
                        raise WireError(f"`{kind}` of a call that has no items")
                    call.items.take(kind, body)
            case "call":
                self._reply(fields)
            case "ping":
                self.send("pong", {"nonce": fields.number("nonce")}, is_reply=True)
            case "pong":
                self._pulse.pong(fields.number("nonce"))
            case "goodbye":
                how = "gave the connection up for now" if fields.truth("returns", False) else None
                reason = plain(fields.text("reason"))
                return Closed(f"the peer {how or 'closed the connection'}: {reason}")
            case "credit" | "end" | "cancel":
                fields.number("id")  # this side sends no items, and answers at once
            case _:
                raise WireError(f"an unknown frame `{plain(kind[:32])}`")
        return None

    def _reply(self, fields: Fields) -> None:
        number, method, body = fields.number("id"), fields.text("method"), fields.binary("body")
        try:
            answer = self._service.call(method, body)
        except RemoteError as error:
            said = {"kind": error.kind, "message": error.message}
            self.send("error", {"id": number, "error": said}, is_reply=True)
        except WireError as error:
            said = {"kind": "invalid", "message": str(error)}
            self.send("error", {"id": number, "error": said}, is_reply=True)
        else:
            self.send("return", {"id": number, "body": answer}, is_reply=True)

    # Writing.

    async def _can_write(self) -> None:
        """Waits while too much waits to be written."""
        while len(self._output) >= _OUTPUT_MAX and self.closed is None:
            await self._output_changed.changed()

    def _begin(self, method: str, body: bytes, items: Items | None) -> tuple[int, Call]:
        if self.closed is not None:
            raise self.closed
        number = self._number()
        # First of all, since the peer works on it meanwhile. Its answer is read after this step.
        self._write_frame(encode("call", {"id": number, "method": method, "body": body}))
        self._calls[number] = call = Call(self._ended(), items)
        return number, call

    def _number(self) -> int:
        number, self._next_id = self._next_id, self._next_id + 2
        return number

    def forget(self, number: int) -> None:
        """Withdraws a call, unless it has ended."""
        if self._calls.pop(number, None) is not None:
            self.send("cancel", {"id": number})

    def send(self, kind: str, fields: dict[str, Any], *, is_reply: bool = False) -> None:
        if self.closed is not None:
            return
        frame = encode(kind, fields)
        if is_reply and len(self._output) + len(frame) > _REPLIES_MAX:
            raise WireError("the peer asks, and does not read the answers")
        self._write_frame(frame)

    def _write_frame(self, frame: bytes) -> None:
        """Writes a frame at once, or leaves what does not fit to the writer."""
        written = 0
        if not self._output:
            try:
                written = self._sock.send(frame)
            except OSError:
                written = 0  # the writer meets the same error, and deals with it
        if written < len(frame):
            self._output += frame[written:]
            self._output_changed.notify()

    async def _write(self, scope: anyio.CancelScope) -> None:
        """Writes what could not be written at once."""
        while True:
            await self._output_changed.until(lambda: bool(self._output))
            try:
                await anyio.wait_writable(self._sock)
                written = self._sock.send(memoryview(bytes(self._output[:_OUTPUT_MAX])))
            except NOT_NOW:
                continue
            except OSError as error:
                await anyio.sleep(_LAST_WORDS)
                self.closed = Closed(f"the connection broke: {system(error)}")
                scope.cancel()
                return
            del self._output[:written]
            self._pulse.moved()
            self._output_changed.notify()

    async def _end_overdue(self) -> None:
        """Gives calls up at their deadlines."""
        while True:
            timed = [it for it in self._calls.values() if it.deadline is not None]
            if not timed:
                await self._timed.changed()
                continue
            now = self._clock()
            for call in timed:
                assert call.deadline is not None
                if call.deadline <= now:
                    call.error, call.deadline = Overdue(now - call.deadline), None
                    call.end()
            due = min((it.deadline for it in timed if it.deadline is not None), default=now)
            await anyio.sleep_until(due)

    async def _beat(self, heartbeat: Heartbeat, scope: anyio.CancelScope) -> None:
        """Asks for signs of life, and gives a peer up that gives none."""
        self.closed = await self._pulse.beat(
            heartbeat,
            lambda nonce: self.send("ping", {"nonce": nonce}),
            lambda: bool(self._output),
        )
        scope.cancel()

    def _finish(self, closed: Closed) -> None:
        self.closed = closed
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.error = closed
            call.end()
        for call in self._answered:
            call.end()
        self._output.clear()
        self._begun.clear()
        self._output_changed.notify()
        self._sock.close()
