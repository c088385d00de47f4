"""Looking up and registering, with a real registrar."""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections.abc import Callable
from contextlib import suppress

import anyio
import msgpack
import pytest
from conftest import LIMIT, Node, Room, actor

import callsign

pytestmark = pytest.mark.anyio


async def test_a_registrar_says_who_one_is_and_how_it_is(node: Node) -> None:
    async with callsign.connect(node.endpoint) as client:
        ((place, whoami),) = await client.whoami()
        assert str(place) == node.endpoint
        assert isinstance(whoami, callsign.Whoami)
        assert whoami.owner == f"user:{os.geteuid()}"
        assert (whoami.transport, whoami.locality) == ("unix", "unix-socket")
        assert whoami.uses["sessions"][0] == 1
        ((_, status),) = await client.status()
        assert isinstance(status, callsign.Status)
        assert status.endpoints == (node.endpoint,)
        assert status.sessions == 1


async def test_an_absent_name_is_an_answer(node: Node) -> None:
    async with callsign.connect(node.endpoint) as client:
        assert (await client.query("feed")).complete().records == ()
        assert (await client.list("*")).records == ()
        with pytest.raises(callsign.NotFound) as absent:
            await client.find("feed")
        assert str(absent.value) == f"no actor `feed` is registered at {node.endpoint}"
        with pytest.raises(callsign.TimedOut) as late:
            await client.wait("feed", timeout=0.2)
        what = "`feed` was not ready within 200ms: no such actor is registered"
        assert str(late.value) == what
        for request in (client.renew, client.drain, client.unregister):
            with pytest.raises(callsign.NotFound, match="no registrar has such an instance"):
                await request(uuid.uuid4())
        with pytest.raises(callsign.InvalidName, match="a name cannot have a space in it"):
            await client.query("two words")


async def test_an_actor_is_there_while_the_block_lasts(room: Room, node: Node) -> None:
    async with callsign.connect(node.endpoint) as client, callsign.connect(node.endpoint) as other:
        async with actor(client, "feed", room.unix("feed"), metadata={"desk": "rates"}) as feed:
            (record,) = (await other.query("feed")).records
            assert record.instance == feed.instance
            assert record.metadata == {"desk": "rates"}
            assert record.user == os.geteuid()
            # The stamps are those that the Rust library writes.
            said = json.loads(await node.run("resolve", "feed", "--json"))
            text = json.dumps(said)
            assert "unix-socket" in text and "left" not in text.replace('"left_out": null', "")
            assert await other.wait("feed") == record
            await feed.set_state("starting")
            assert (await other.query("feed")).records == ()
            assert [it.state for it in (await other.query("feed", all=True)).records] == [
                "starting"
            ]
            await feed.set_state("ready")
            await feed.update_metadata({})
            assert (await other.query("feed")).records[0].metadata == {}
            assert (await other.query("feed", owner="user:4000000000")).records == ()
        assert (await other.query("feed")).records == ()


async def test_a_list_has_all_pages(node: Node) -> None:
    async with callsign.connect(node.endpoint) as client:
        async with anyio.create_task_group() as tasks:
            kept = anyio.Event()
            registered = []

            async def keep(at: int) -> None:
                async with client.register(f"many.{at:03}", f"/unix/@many-{at}") as one:
                    registered.append(one)
                    await kept.wait()

            for at in range(300):
                tasks.start_soon(keep, at)
            with anyio.fail_after(LIMIT):
                while len(registered) < 300:
                    await client.wait(f"many.{len(registered):03}")
            found = (await client.list("many.*")).records
            assert [it.name for it in found] == [f"many.{it:03}" for it in range(300)]
            kept.set()
        assert (await client.list("*")).records == ()


async def test_a_watch_tells_what_comes_and_goes(room: Room, node: Node) -> None:
    async with callsign.connect(node.endpoint) as client, callsign.connect(node.endpoint) as other:
        async with client.watch("feed*") as watch:
            assert [(await anext(watch)).kind for _ in range(2)] == ["reset", "synced"]
            async with other.register("feed.a", room.abstract("a")) as feed:
                change = await anext(watch)
                assert (change.kind, change.record and change.record.uuid) == ("add", feed.uuid)
                async with other.register("chart", room.abstract("b")):
                    pass
                await feed.set_state("draining")
                change = await anext(watch)
                assert (change.kind, change.record and change.record.state) == (
                    "update",
                    "draining",
                )
            change = await anext(watch)
            assert (change.kind, change.instance) == ("remove", feed.instance)
            assert change.reason == "unregistered"
            # A cancelled wait loses nothing.
            with anyio.move_on_after(0.01):
                await anext(watch)
            async with other.register("feed.c", room.abstract("c")):
                assert (await anext(watch)).kind == "add"


async def test_an_actor_that_is_drained_finishes_its_work(room: Room, node: Node) -> None:
    async with callsign.connect(node.endpoint) as client:
        async with actor(client, "feed", room.unix("feed")) as feed:
            await node.run("drain", "feed")
            with anyio.fail_after(LIMIT):
                await feed.drained()
            assert feed.state == "draining"
            with pytest.raises(callsign.NotFound) as drained:
                await client.find("feed")
            what = "no instance of `feed` is ready: it has 1 draining"
            assert str(drained.value) == what
            with pytest.raises(callsign.TimedOut, match="1 draining and none ready"):
                await client.wait("feed", timeout=0.1)


async def test_an_actor_that_is_taken_out_stays_out(room: Room, node: Node) -> None:
    async with (
        callsign.connect(node.endpoint) as client,
        client.register("feed", room.abstract("feed")) as feed,
        client.register("witness", room.abstract("witness")),
    ):
        await node.run("unregister", "feed")
        with anyio.fail_after(LIMIT):
            lost = await feed.lost()
        assert lost.is_final and lost.cause == "unregistered"
        assert "has taken it out of the registry" in str(lost)
        assert "taken it out" in str(feed.missing[0])
        node.restart()
        async with callsign.connect(node.endpoint) as other:
            with anyio.fail_after(LIMIT):
                await other.wait("witness")
            assert (await other.query("feed", all=True)).records == ()


async def test_a_lease_outlives_its_registrant_and_runs_out(room: Room, node: Node) -> None:
    async with callsign.connect(node.endpoint) as watcher, watcher.watch("job") as watch:
        kinds = [(await anext(watch)).kind for _ in range(2)]
        async with callsign.connect(node.endpoint) as client:
            async with client.register("job", room.abstract("job"), lease=0.4) as job:
                (record,) = (await watcher.query("job")).records
                assert (record.lifetime, record.ttl_ms) == ("lease", 400)
                # It is renewed: twice its time later it is still there.
                await anyio.sleep(0.8)
                assert (await watcher.query("job")).records
                await watcher.renew(job.uuid)
                assert job.leave() == record.instance
        with anyio.fail_after(LIMIT):
            async for change in watch:
                kinds.append(change.kind)
                if change.kind == "remove":
                    assert change.reason == "lease-expired"
                    break
        assert kinds == ["reset", "synced", "add", "remove"]


async def test_an_exclusive_name_is_waited_for_in_line(room: Room) -> None:
    settings = room.path / "market.toml"
    settings.write_text('[names]\n"leader" = { exclusive = true }\n')
    node = room.node(CALLSIGN_CONFIG=str(settings))
    async with callsign.connect(node.endpoint) as client, callsign.connect(node.endpoint) as other:
        order = []
        async with anyio.create_task_group() as tasks:
            async with client.register("leader", room.abstract("one")) as first:
                with pytest.raises(callsign.Refused, match="no registrar accepts it"):
                    async with other.register("leader", room.abstract("two")):
                        pass

                async def stand() -> None:
                    place = room.abstract("two")
                    async with other.register("leader", place, wait_in_line=True) as second:
                        order.append("second")
                        assert first.token is not None and second.token is not None
                        assert second.token > first.token

                tasks.start_soon(stand)
                with anyio.fail_after(LIMIT):
                    while (await client.query("leader")).records[0].waiting == 0:
                        await anyio.sleep(0.01)
                # A wait that is cancelled leaves the line.
                with anyio.move_on_after(0.1):
                    place = room.abstract("three")
                    async with client.register("leader", place, wait_in_line=True):
                        raise AssertionError("it is held")
                order.append("first")
        assert order == ["first", "second"]


async def test_a_name_that_becomes_exclusive_gives_its_holder_a_token(room: Room) -> None:
    settings = room.path / "market.toml"
    settings.write_text("[names]\n")
    node = room.node(CALLSIGN_CONFIG=str(settings), CALLSIGN_SETTLE_TIME="60s")

    async def until(has: Callable[[], bool]) -> None:
        with anyio.fail_after(LIMIT):
            while not has():
                await anyio.sleep(0.01)

    async with callsign.connect(node.endpoint) as client, callsign.connect(node.endpoint) as other:
        async with client.register("leader", room.abstract("one")) as first:

            def is_written() -> bool:
                for file in (room.path / "callsign").glob(f"tokens-{'?' * 36}"):
                    return bool(msgpack.unpackb(file.read_bytes())["tokens"])
                return False

            async def rule(rules: str) -> None:
                settings.write_text(f"[names]\n{rules}\n")
                node.signal(signal.SIGHUP)
                await until(lambda: (first.token is None) == (not rules))

            assert first.token is None
            await rule("leader = { exclusive = true }")
            token = first.token
            # A registrar that is killed at once may not have written it down yet.
            await until(is_written)
            # Only the holder has it back at once.
            node.restart()
            records: tuple[callsign.Record, ...] = ()
            with anyio.fail_after(LIMIT):
                while not records:
                    with suppress(callsign.Unreachable):
                        records = tuple((await other.query("leader")).records)
                    await anyio.sleep(0.01)
            assert records[0].token == token
            await rule("")
            await rule('"lead*" = { exclusive = true }')
            assert first.token == token, "nobody else has had the name"


async def test_what_cannot_be_registered_is_refused_with_a_reason(node: Node) -> None:
    async with callsign.connect(node.endpoint) as client:
        for places, more, words in [
            (["/ip4/0.0.0.0/tcp/80"], {}, "can be bound, not dialed"),
            (["/ip4/224.0.0.1/tcp/80"], {}, "224.0.0.1 is a multicast address"),
            (["/ip6/fe80::1/tcp/80"], {}, "fe80::1 is a link-local address"),
            (
                [f"/ip4/10.0.0.1/tcp/{it}" for it in range(1, 66)],
                {},
                "at most 64 endpoints, not 65",
            ),
            ([], {"metadata": {"note": "x" * 16384}}, "at most 16384 bytes, not 16388"),
            ([], {"lease": 0.05}, "a lease lasts from 100ms to 24h, not 50ms"),
            ([], {"lease": 172800.0}, "a lease lasts from 100ms to 24h, not 172800s"),
            ([], {"state": "asleep"}, "`asleep` is no state"),
        ]:
            with pytest.raises(callsign.InvalidRegistration, match=words):
                async with client.register("feed", *places, **more):  # type: ignore[arg-type]
                    pass
        with pytest.raises(callsign.EndpointError, match="no `/` at the beginning"):
            async with client.register("feed", "feed.sock"):
                pass


async def test_an_error_in_the_block_is_not_wrapped(room: Room, node: Node) -> None:
    with pytest.raises(ZeroDivisionError):
        async with callsign.connect(node.endpoint) as client:
            async with client.register("feed", room.abstract("feed")), client.watch("*") as watch:
                await anext(watch)
                raise ZeroDivisionError


async def test_what_was_found_dead_returns_when_its_socket_is_in_its_place_again(
    room: Room, node: Node
) -> None:
    here, away = room.path / "here", room.path / "away"
    os.mkdir(here)
    async with callsign.connect(node.endpoint) as client:
        async with actor(client, "feed", f"/unix{here}/feed.sock") as feed:
            for _round in range(2):
                os.rename(here, away)
                with pytest.raises(callsign.Error):
                    await client.find("feed")
                lost = await feed.lost()
                assert (lost.cause, lost.is_final) == ("found-dead", False)
                os.rename(away, here)
                with anyio.fail_after(LIMIT):
                    await client.wait("feed")
                    async with await client.find("feed") as found:
                        assert found.record.instance == feed.instance
