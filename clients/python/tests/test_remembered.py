"""Answers that are remembered for when no registrar can be asked."""

from __future__ import annotations

import anyio
import pytest
from conftest import Node, Room

import callsign

pytestmark = pytest.mark.anyio


async def test_a_remembered_answer_is_given_only_to_who_asks_for_it(room: Room, node: Node) -> None:
    async with callsign.connect(node.endpoint) as client, callsign.connect(node.endpoint) as other:
        async with other.register("feed", room.abstract("feed")):
            assert (await client.query("feed", max_age=60)).age is None
            assert (await client.query("nobody", max_age=60)).records == ()
            assert (await client.query("unasked")).records == ()
            node.kill()
            last = await client.query("feed", max_age=60)
            assert [it.name for it in last.records] == ["feed"]
            assert last.age is not None and last.age >= 0
            assert [it.registrar for it in last.unanswered] == list(client.registrars)
            assert (await client.query("nobody", max_age=60)).records == ()
            with pytest.raises(callsign.Unreachable):
                await client.query("feed")
            with pytest.raises(callsign.Unreachable):
                await client.query("feed", max_age=0)
            with pytest.raises(callsign.Unreachable):
                await client.query("feed", all=True, max_age=60)
            with pytest.raises(callsign.Unreachable):
                await client.query("unasked", max_age=60)
            node.start()


async def test_a_remembered_instance_is_connected_to_and_proves_its_identity(
    room: Room, node: Node
) -> None:
    async def greet(caller: anyio.abc.ByteStream) -> None:
        await caller.send(b"hello")

    async with callsign.connect(node.endpoint) as client:
        listener = await anyio.create_unix_listener(room.path / "feed.sock")
        async with client.register("feed", listener, proves=True) as feed:
            async with anyio.create_task_group() as serving:
                serving.start_soon(feed.serve, listener, greet)
                async with await client.find("feed", max_age=60) as connection:
                    assert connection.age is None
                node.kill()
                async with await client.find("feed", max_age=60) as connection:
                    assert connection.age is not None
                    assert connection.assurance is callsign.Assurance.PROVED
                    assert await connection.receive() == b"hello"
                with pytest.raises(callsign.Unreachable):
                    await client.find("feed")
                node.start()
                serving.cancel_scope.cancel()
        await listener.aclose()
