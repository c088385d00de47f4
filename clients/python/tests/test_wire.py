"""The bytes of docs/wire.md; and bytes of a peer that mean harm, or nothing."""

from __future__ import annotations

import random
import re
import socket
import tomllib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import anyio
import msgpack
import pytest
from conftest import LIMIT, Room, listen

import callsign
from callsign import frames, messages, reading, writing
from callsign.fields import Fields, pack
from callsign.known import Known

pytestmark = pytest.mark.anyio

REGISTRAR = UUID("d0d1d2d3-d4d5-4677-8899-aabbccddeeff")


def test_the_example_of_the_document_is_read_and_written() -> None:
    document = (Path(__file__).parents[3] / "docs/wire.md").read_text()
    blocks = re.findall(r"```hex\n(.*?)```", document, re.DOTALL)
    told = [
        bytes.fromhex("".join(line.partition("#")[0] for line in it.splitlines())) for it in blocks
    ]
    opening, theirs, asking, answering = told
    hello = writing.write_hello(messages.Hello(agent="demo/1"))
    assert frames.PREFACE + frames.encode("hello", hello) == opening
    body = pack({"name": "feed", "all": False})
    call = {"id": 0, "method": "registrar.query", "body": body}
    assert frames.encode("call", call) == asking

    assert theirs.startswith(frames.PREFACE)
    kind, fields = frames.decode(theirs[len(frames.PREFACE) + 4 :])
    assert (kind, reading.read_hello(fields).registrar) == ("hello", REGISTRAR)
    kind, fields = frames.decode(answering[4:])
    answer = Known().answer(fields.binary("body"))
    (record,) = answer.records
    assert (kind, fields.number("id"), answer.total) == ("return", 0, 1)
    assert (record.name, record.state, record.lifetime) == ("feed", "ready", "session")
    (stamped,) = record.endpoints
    assert (str(stamped.endpoint), stamped.stamp.netns) == ("/unix/@feed", 1)
    assert stamped.stamp.kernel == 0x0123456789ABCDEF


def test_later_versions_are_read() -> None:
    record = {
        "name": "feed",
        "uuid": uuid4().bytes,
        "epoch": 7,
        "endpoints": [
            {"endpoint": "/carrier-pigeon/7"},
            {"endpoint": "/unix/@feed", "stamp": {"kernel": None, "moon": 1}, "colour": "red"},
        ],
        "state": "dreaming",
        "lifetime": {"replica": {"of": ["a"]}},
        "since_ms": 1,
        "metadata": None,
        "owner": "planet:mars",
        "more": {"deep": [1, {"er": None}]},
    }
    found = reading.read_record(Fields(record, "a record"))
    assert found is not None
    assert (found.state, found.lifetime, found.owner) == ("unknown", "unknown", "planet:mars")
    assert [str(it.endpoint) for it in found.endpoints] == ["/unix/@feed"]
    assert reading.read_record(Fields({**record, "name": "a b"}, "a record")) is None


def hello() -> bytes:
    fields = {"agent": "test", "registrar": REGISTRAR.bytes}
    return frames.PREFACE + frames.encode("hello", fields)


def returned(number: int, body: Any) -> bytes:
    return frames.encode("return", {"id": number, "body": msgpack.packb(body)})


EMPTY = {"revision": 1, "now_ms": 1, "total": 0, "records": []}


Answer = Callable[[bytes], bytes | list[bytes]]


@asynccontextmanager
async def registrar(room: Room, answer: Answer, name: str = "bad") -> AsyncIterator[str]:
    """A registrar that says `answer(b"")` first, and then `answer(frame)` to each frame; a list is
    said in these pieces, and is the last word if it ends with an empty one."""

    async def say(stream: anyio.abc.ByteStream, said: bytes | list[bytes]) -> bool:
        for piece in said if isinstance(said, list) else [said]:
            if not piece and isinstance(said, list):
                return False
            await stream.send(piece)
            await anyio.lowlevel.checkpoint()
        return True

    async def converse(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            try:
                await stream.receive()
                if not await say(stream, answer(b"")):
                    return
                async for frame in stream:
                    if not await say(stream, answer(frame)):
                        return
            except anyio.BrokenResourceError:
                pass

    place = room.unix(name)
    listener = await listen(place)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, converse)
            yield place
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await listener.aclose()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", "did not complete the handshake within"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak callsign's protocol"),
        (b"\x15\x03\x03\x00\x02\x02\x32\x00", "does the endpoint lack `/tls`?"),
        (b"\xc5SGN\n\x01\x00\x00", "does not speak callsign's protocol"),
        (frames.MAGIC + b"\x02\x00", "speaks version 2 of callsign's protocol"),
        (frames.PREFACE + b"\xff\xff\xff\xff", "a first frame of 4294967295 bytes"),
        (frames.PREFACE + b"\x01\x10\x00\x00", "a first frame of 4097 bytes"),
        (frames.PREFACE + b"\x01\x00\x00\x00\xc1", "no MessagePack document"),
        (frames.PREFACE + b"\x05\x00\x00\x00\xdd\xff\xff\xff\xff", "no MessagePack document"),
        (frames.PREFACE + b"\xb8\x0b\x00\x00" + b"\x91" * 3000, "no MessagePack document"),
        (frames.PREFACE + frames.encode("ping", {"nonce": 1}), "the first frame is no hello"),
        (frames.PREFACE + frames.encode("hello", {"agent": 7}), "a wrong `agent`"),
        (frames.PREFACE + frames.encode("hello", {"registrar": b"x"}), "a wrong `registrar`"),
        (frames.PREFACE + frames.encode("hello", {"agent": "\x1b[2J"}), r"\\u\{1b\}\[2J"),
        (frames.PREFACE + frames.encode("goodbye", {"reason": "full"}), "the connection: full"),
        (
            frames.PREFACE
            + frames.encode(
                "goodbye",
                {"reason": "x", "error": {"kind": "quota-exceeded", "message": "close some"}},
            ),
            "it refused: close some",
        ),
    ],
)
async def test_a_bad_beginning_is_an_error_that_says_so(
    room: Room, said: bytes, words: str
) -> None:
    with anyio.fail_after(LIMIT):
        async with registrar(room, lambda _: said) as place:
            with pytest.raises(callsign.Unreachable, match=words):
                async with callsign.connect(place, ask_timeout=0.3 if not said else 30.0):
                    pass


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"\xff\xff\xff\x7f", "a frame of 2147483647 bytes"),
        (b"\x01\x00\x00\x00\xc1", "no MessagePack document"),
        (frames.encode("hello", {"agent": ""}), "an unknown frame `hello`"),
        (frames.encode("dance", {}), "an unknown frame `dance`"),
        (frames.encode("return", {"id": 0}), "without `body`"),
        (frames.encode("return", {"id": -1, "body": b""}), "a wrong `id`"),
        (frames.encode("return", {"id": "0", "body": b""}), "a wrong `id`"),
        (frames.encode("item", {"id": 0, "body": b""}), "of a call that has no items"),
        (frames.encode("error", {"id": 0, "error": 7}), "that is not a map"),
        (returned(0, {**EMPTY, "records": 7}), "its answer cannot be read"),
        (returned(0, {**EMPTY, "records": [{"name": "x"}]}), "its answer cannot be read"),
        (returned(0, ["nothing"]), "its answer cannot be read"),
        (
            frames.encode("error", {"id": 0, "error": {"kind": "new", "message": "a\x07b"}}),
            r"it refused: a\\u\{7\}b",
        ),
        (frames.encode("goodbye", {"reason": "tea"}), "closed the connection: tea"),
        (frames.encode("ping", {"nonce": 1}) * 5_000 + returned(0, ["no"]), "no registrar"),
    ],
)
async def test_a_bad_answer_is_an_error_that_says_so(room: Room, answer: bytes, words: str) -> None:
    with anyio.fail_after(LIMIT):
        async with registrar(room, lambda asked: answer if asked else hello()) as place:
            async with callsign.connect(place, ask_timeout=5.0) as client:
                with pytest.raises(callsign.RegistrarsError, match=words):
                    await client.query("feed")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 50, 111, 112, 200])
async def test_frames_come_in_pieces_of_any_size(room: Room, size: int) -> None:
    def answer(asked: bytes) -> bytes | list[bytes]:
        if not asked:
            return hello()
        # Pongs come too, and all may come together.
        at = asked.rfind(b"\x81\xa4call")
        if at < 0:
            return b""
        length = int.from_bytes(asked[at - 4 : at], "little")
        number = frames.decode(asked[at : at + length])[1].number("id")
        ping, late = frames.encode("ping", {"nonce": 1}), returned(number + 1000, EMPTY)
        said = ping + late + returned(number, EMPTY) + ping + frames.encode("ping", {"nonce": 300})
        return [said[at : at + size] for at in range(0, len(said), size)]

    with anyio.fail_after(LIMIT):
        async with registrar(room, answer) as place, callsign.connect(place) as client:
            for _ in range(3):
                assert (await client.query("feed")).records == ()


@pytest.mark.parametrize("kept", [1, 3, 4, 5, 30, -1])
async def test_a_registrar_that_goes_in_the_middle_of_a_frame_is_lost(
    room: Room, kept: int
) -> None:
    said = returned(0, EMPTY)[:kept]
    with anyio.fail_after(LIMIT):
        async with registrar(room, lambda asked: [said, b""] if asked else hello()) as place:
            async with callsign.connect(place) as client:
                with pytest.raises(callsign.Unreachable, match="closed the connection"):
                    await client.query("feed")


@pytest.mark.parametrize("more", [0, 1])
async def test_a_frame_of_the_greatest_length_is_read_and_a_greater_one_is_not(
    room: Room, more: int
) -> None:
    """In as many pieces as the kernel makes of it, and in a time that grows with its length."""
    short = len(returned(0, {**EMPTY, "later": bytes(70_000)})) - 70_000 - 4
    later = bytes(frames.FRAME_BYTES_MAX - short + more)
    body = msgpack.packb({"return": {"id": 0, "body": msgpack.packb({**EMPTY, "later": later})}})
    assert len(body) == frames.FRAME_BYTES_MAX + more
    said = len(body).to_bytes(4, "little") + body
    with anyio.fail_after(LIMIT):
        async with registrar(room, lambda asked: said if asked else hello()) as place:
            async with callsign.connect(place, ask_timeout=LIMIT) as client:
                if more == 0:
                    assert (await client.query("feed")).records == ()
                else:
                    with pytest.raises(callsign.Unreachable, match="a frame of 16777217 bytes"):
                        await client.query("feed")


async def test_unknown_fields_and_a_big_answer_are_read(room: Room) -> None:
    def record(at: int) -> dict[str, Any]:
        return {
            "name": "feed",
            "uuid": at.to_bytes(16, "big"),
            "epoch": at,
            "endpoints": [],
            "state": "ready",
            "lifetime": "session",
            "since_ms": at,
            "metadata": {"text": "x" * 16_000},
            "later": {"fields": [1, 2, 3]},
        }

    big = returned(0, {**EMPTY, "total": 256, "records": [record(it) for it in range(256)]})
    stray = returned(998, EMPTY) + frames.encode("item", {"id": 996, "body": b""})
    with anyio.fail_after(LIMIT):
        async with registrar(room, lambda asked: stray + big if asked else hello()) as place:
            async with callsign.connect(place) as client:
                found = await client.query("feed")
    assert len(found.records) == 256
    assert found.records[0].epoch == 255


async def test_a_watch_without_credit_ends_the_connection(room: Room) -> None:
    reset = pack("reset")
    started = {"revision": 1, "now_ms": 1, "resumed": False}
    flood = frames.encode("started", {"id": 0, "body": pack(started)})
    flood += frames.encode("item", {"id": 0, "body": reset}) * 4000
    with anyio.fail_after(LIMIT):
        async with registrar(room, lambda asked: flood if asked else hello()) as place:
            async with callsign.connect(place) as client, client.watch("*") as watch:
                async for change in watch:
                    if change.kind == "stale":
                        assert "an item without credit" in str(change.failures[0])
                        break


def test_who_is_of_another_node_is_challenged_in_the_name_of_its_registrar() -> None:
    here, there = uuid4(), uuid4()
    records: list[dict[str, Any]] = [
        {
            "name": "feed",
            "uuid": uuid4().bytes,
            "epoch": epoch,
            "endpoints": [],
            "state": "ready",
            "lifetime": "session",
            "since_ms": 1,
        }
        for epoch in (1, 2, 3)
    ]
    located = {
        "answer": {**EMPTY, "total": 3, "records": records},
        "registrar": here.bytes,
        "nonce": bytes(16),
        "proofs": [bytes(16)] * 3,
        "homes": [there.bytes, None],
    }
    owed = Known().located(pack(located)).owed
    assert [it[0] for it in owed.values()] == [there, here, here]
    with pytest.raises(callsign.WireError):
        Known().located(pack({**located, "homes": [bytes(15)]}))


def test_answers_that_were_read_before_are_those_that_came() -> None:
    def body(now_ms: int, epoch: int = 1, **more: Any) -> bytes:
        record = {
            "name": "feed",
            "uuid": bytes(16),
            "epoch": epoch,
            "endpoints": [{"endpoint": "/unix/@feed"}],
            "state": "ready",
            "lifetime": "session",
            "since_ms": 1,
        }
        start = {"revision": 2**50 + now_ms, "now_ms": 2**40 + now_ms}
        return pack({**start, "total": 1, "records": [record], **more})

    known = Known()
    first, second = known.answer(body(1)), known.answer(body(2))
    assert (first.now_ms, second.now_ms) == (2**40 + 1, 2**40 + 2)
    assert second.records is first.records and first.total == 1
    other = known.answer(body(3, epoch=2))
    assert other.records[0].epoch == 2
    assert known.answer(body(4)).records[0].epoch == 1

    # Whatever a peer sends is read as one would read it who has read nothing before.
    chance = random.Random(7)
    for at in range(3000):
        bad = bytearray(body(at, epoch=chance.randrange(3)))
        for _ in range(chance.randrange(3)):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        if chance.randrange(4) == 0:  # the last of two clocks counts
            bad[0] += 1
            bad += b"\xa6now_ms" + pack(chance.randrange(2**41))
        assert answered(known, bytes(bad)) == answered(Known(), bytes(bad))


def answered(known: Known, body: bytes) -> messages.Answer | str:
    try:
        return known.answer(body)
    except callsign.WireError as error:
        return str(error)


@pytest.mark.parametrize("seed", range(4))
async def test_random_bytes_raise_nothing_but_errors_of_the_package(room: Room, seed: int) -> None:
    chance = random.Random(seed)
    record = {
        "name": "feed",
        "uuid": uuid4().bytes,
        "epoch": 1,
        "endpoints": [{"endpoint": "/unix/@feed", "stamp": {"kernel": 1, "netns": 2}}],
        "state": "ready",
        "lifetime": {"lease": {"ttl_ms": 7}},
        "since_ms": 1,
    }
    answer = {**EMPTY, "total": 1, "records": [record]}
    located = {"answer": answer, "registrar": bytes(16), "nonce": bytes(16), "proofs": [bytes(16)]}
    good = hello() + returned(0, located) + frames.encode("ping", {"nonce": 1})
    good += frames.encode("call", {"id": 1, "method": "registrant.confirm", "body": b"\xc0"})

    def mutated() -> bytes:
        bad = bytearray(good)
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(bad))
            match chance.randrange(3):
                case 0:
                    bad[at] = chance.randrange(256)
                case 1:
                    del bad[at : at + chance.randrange(1, 8)]
                case 2:
                    bad[at:at] = chance.randbytes(chance.randrange(1, 8))
        return bytes(bad)

    with anyio.fail_after(LIMIT):
        async with registrar(room, lambda asked: b"" if asked else mutated()) as place:
            for _ in range(40):
                try:
                    async with callsign.connect(
                        place, ask_timeout=0.05, dial_timeout=5.0, actor_timeout=0.05
                    ) as client:
                        await client.find("feed")
                except callsign.Error:
                    pass


async def test_a_peer_that_reads_nothing_holds_nobody_up(room: Room) -> None:
    """Its kernel takes some hundred kilobytes; then calls wait, and run out of time."""
    name = str(room.path / "deaf")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen()
        with anyio.fail_after(LIMIT):
            async with callsign.open(f"/unix{name}", ask_timeout=0.3) as client:
                accepted, _ = await anyio.to_thread.run_sync(listener.accept)
                with accepted:
                    accepted.sendall(hello())
                    failures: list[str] = []

                    async def ask() -> None:
                        try:
                            await client.list("x" * 250)
                        except callsign.Unreachable as error:
                            failures.append(str(error))

                    async with anyio.create_task_group() as tasks:
                        for _ in range(1000):
                            tasks.start_soon(ask)
                    assert len(failures) == 1000


def test_the_version_is_the_projects() -> None:
    project = Path(__file__).parents[1] / "pyproject.toml"
    assert tomllib.loads(project.read_text())["project"]["version"] == callsign.__version__
