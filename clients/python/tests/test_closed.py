"""Listeners that a program closes while it is registered there."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest
from conftest import LIMIT, Node, Room

import callsign
from callsign.closed import LOOK_EVERY

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def watched(node: Node) -> AsyncIterator[tuple[callsign.Client, callsign.Watch]]:
    with anyio.fail_after(LIMIT):
        async with callsign.connect(node.endpoint) as client, client.watch("web") as watch:
            yield client, watch


async def until(watch: callsign.Watch, state: str, *places: str) -> None:
    """Waits for a record with a state, at places alone."""
    async for change in watch:
        record = change.record
        if record is not None and record.state == state:
            found = tuple(str(it.endpoint) for it in record.endpoints)
            if found == places:
                return
    raise AssertionError("the watch has ended")


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Takes the warnings that were logged."""
    found = [it.getMessage() for it in caplog.records if it.levelname == "WARNING"]
    caplog.clear()
    return found


@pytest.mark.parametrize("kind", ["tcp", "wildcard", "path", "abstract"])
async def test_a_listener_that_is_closed_is_withheld(
    room: Room, node: Node, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listening(room, kind)
    losses: list[callsign.Lost] = []

    async def follow(registered: callsign.Registered) -> None:
        async for lost in registered.losses():
            losses.append(lost)

    async with (
        watched(node) as (client, watch),
        client.register("web", listener) as web,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(follow, web)
        places = [str(it.endpoint) for it in web.endpoints]
        await until(watch, "ready", *places)
        listener.close()
        await until(watch, "starting")
        (lost,) = losses
        assert (lost.registrar, lost.cause, lost.is_final) == (None, "closed", False)
        assert str(lost) == f"its program has closed {places[0]}"
        what = f"{web.instance} is not found at {', '.join(places)}: its program has closed that"
        assert warnings(caplog) == [what]
        # It is ready again with the next one, which is followed too.
        with socket.create_server(("127.0.0.1", 0)) as other:
            await web.update_endpoints([other])
            await until(watch, "ready", str(web.endpoints[0].endpoint))
        await until(watch, "starting")
        assert len(warnings(caplog)) == 1
        tasks.cancel_scope.cancel()


async def test_what_is_left_stays_ready(
    room: Room, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    stays = room.abstract("stays")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with watched(node) as (client, watch):
            async with client.register("web", listener, stays):
                listener.close()
                await until(watch, "ready", stays)
                assert len(warnings(caplog)) == 1


async def test_a_listener_that_another_handle_keeps_open_stays(node: Node) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with listener.dup():
        async with watched(node) as (client, _), client.register("web", listener) as web:
            listener.close()
            await anyio.sleep(LOOK_EVERY * 1.5)
            (record,) = (await client.query("web")).records
            assert (record.state, record.endpoints) == ("ready", web.endpoints)


async def test_a_listener_may_be_closed_while_it_is_registered(
    room: Room, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listening(room, "wildcard")
    async with watched(node) as (client, watch), anyio.create_task_group() as tasks:

        async def register() -> None:
            async with client.register("web", listener):
                await anyio.sleep_forever()

        tasks.start_soon(register)
        while not client.hub.entries:
            await anyio.lowlevel.checkpoint()
        listener.close()
        await until(watch, "starting")
        assert len(warnings(caplog)) == 1
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_server_of_asyncio_that_is_closed_is_withheld(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    server = await asyncio.start_server(lambda _, __: None, "127.0.0.1", 0)
    async with watched(node) as (client, watch), client.register("web", server):
        server.close()
        await until(watch, "starting")
        assert len(warnings(caplog)) == 1


def listening(room: Room, kind: str) -> socket.socket:
    match kind:
        case "tcp":
            return socket.create_server(("127.0.0.1", 0))
        case "wildcard":
            return socket.create_server(("0.0.0.0", 0))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{room.path}/web" if kind == "path" else f"\0{os.path.basename(room.path)}-web")
    listener.listen()
    return listener
