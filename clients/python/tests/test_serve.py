"""Serving callers: what one of them does, or fails to do, is no concern of the others."""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

import anyio
import anyio.abc
import pytest
from conftest import LIMIT, Node, Room, actor, greet

import callsign

pytestmark = pytest.mark.anyio

#: An actor that may have few descriptors.
SHORT = """
import logging, resource, sys
import anyio, callsign

backend, registrar, *place = sys.argv[1:]
logging.basicConfig(format="%(message)s")
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))

async def tell(caller):
    await caller.send(b"hello")

async def main():
    async with callsign.connect(registrar) as client:
        if place:
            listener = await anyio.create_unix_listener(place[0])
        else:
            listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        async with client.register("feed", listener, proves=True) as feed:
            print(feed.endpoints[0].endpoint, flush=True)
            await feed.serve(listener, tell)

anyio.run(main, backend=backend)
"""


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SHORT, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.parametrize("transport", ["unix", "tcp"])
async def test_callers_who_say_nothing_make_room_for_others(
    room: Room, node: Node, anyio_backend: str, transport: str
) -> None:
    arguments = [anyio_backend, node.endpoint]
    arguments += [str(room.path / "feed.sock")] if transport == "unix" else []
    actor = start(*arguments)
    assert actor.stdout is not None and actor.stderr is not None
    place = callsign.endpoint(actor.stdout.readline().strip())
    with ExitStack() as idle:
        for _ in range(60):
            family = socket.AF_UNIX if transport == "unix" else socket.AF_INET
            caller = idle.enter_context(socket.socket(family))
            caller.settimeout(LIMIT)
            if isinstance(place, callsign.Tcp):
                caller.connect((str(place.host), place.port))
            else:
                caller.connect(str(room.path / "feed.sock"))
        async with callsign.connect(node.endpoint, actor_timeout=LIMIT) as client:
            with anyio.fail_after(LIMIT):
                for _ in range(3):
                    async with await client.find("feed") as feed:
                        assert feed.assurance is callsign.Assurance.PROVED
                        assert await feed.receive() == b"hello"
    assert actor.poll() is None
    actor.kill()
    said = actor.communicate()[1]
    assert said.count("cannot be accepted") == 1, said
    assert "those who say nothing are dropped: Too many open files" in said


Handler = Callable[[anyio.abc.ByteStream], Awaitable[None]]


async def talk(stream: anyio.abc.ByteStream) -> None:
    """Sends and receives concurrently, as programs of structured concurrency do."""

    async def tell() -> None:
        while True:
            await stream.send(b"hello")

    async def hear() -> None:
        while True:
            await stream.receive()

    async with anyio.create_task_group() as outer:
        async with anyio.create_task_group() as inner:
            inner.start_soon(tell)
            outer.start_soon(hear)


async def close_and_receive(stream: anyio.abc.ByteStream) -> None:
    await stream.send(b"hello")
    await stream.aclose()
    await stream.receive()


@pytest.mark.parametrize("handler", [talk, close_and_receive, greet])
async def test_a_caller_that_goes_ends_no_service(room: Room, node: Node, handler: Handler) -> None:
    async with callsign.connect(node.endpoint) as client:
        async with actor(client, "feed", room.unix("feed"), handler=handler):
            with anyio.fail_after(LIMIT):
                for _ in range(3):
                    async with await client.find("feed") as feed:
                        assert await feed.receive(5) == b"hello"


async def fail(stream: anyio.abc.ByteStream) -> None:
    await stream.send(b"hello")
    raise ZeroDivisionError


async def fail_as_the_caller_goes(stream: anyio.abc.ByteStream) -> None:
    async def hear() -> None:
        try:
            await stream.receive()
        finally:
            told.set()

    async def stumble() -> None:
        try:
            await told.wait()
        finally:
            raise ZeroDivisionError

    told = anyio.Event()
    await stream.send(b"hello")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hear)
        tasks.start_soon(stumble)


@pytest.mark.parametrize("handler", [fail, fail_as_the_caller_goes])
async def test_a_handler_that_fails_is_logged_and_ends_no_service(
    room: Room, node: Node, handler: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    async with callsign.connect(node.endpoint) as client:
        async with actor(client, "feed", room.unix("feed"), handler=handler) as kept:
            with anyio.fail_after(LIMIT):
                for _ in range(2):
                    async with await client.find("feed") as feed:
                        assert await feed.receive(5) == b"hello"
                while (
                    len(errors := [it for it in caplog.records if it.levelno >= logging.ERROR]) < 2
                ):
                    await anyio.sleep(0.005)
    for error in errors:
        assert error.getMessage() == f"the handler of a caller of {kept.instance} failed"
        assert error.exc_info is not None and error.exc_info[1] is not None
        found = error.exc_info[1]
        left = found.exceptions[0] if isinstance(found, ExceptionGroup) else found
        assert isinstance(left, ZeroDivisionError)
    caplog.clear()


async def test_a_registrar_that_is_given_up_is_so_for_everybody_at_once(
    room: Room, node: Node
) -> None:
    async with callsign.connect(node.endpoint, ask_timeout=0.3, heartbeat=None) as client:
        async with client.register("feed", room.abstract("feed")) as feed:
            node.signal(signal.SIGSTOP)
            with pytest.raises(callsign.Unreachable, match="no answer within 300ms"):
                await client.query("feed")
            (missing,) = feed.missing
            assert str(missing.error) == "no answer within 300ms"
            with pytest.raises(callsign.Unreachable, match="no answer within 300ms"):
                await client.query("feed")
            node.signal(signal.SIGCONT)
