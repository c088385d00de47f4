"""Registrars that are away, stopped, young, or several."""

from __future__ import annotations

import gc
import os
import random
import signal
import socket
import warnings
from contextlib import suppress
from typing import Any

import anyio
import pytest
from conftest import LIMIT, Node, Room, actor, listen
from test_tls import authority, node_at

import callsign
from callsign.connector import Connector
from callsign.fields import pack
from callsign.portal import CALLS_MAX
from callsign.sockets import dial

pytestmark = pytest.mark.anyio


async def test_a_registrar_that_may_be_busy_is_given_more_and_more_time(room: Room) -> None:
    place = room.unix("busy.sock")
    listener = await listen(place)
    attempts, enough = 0, anyio.Event()

    async def says_nothing(stream: anyio.abc.ByteStream) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 5:
            enough.set()
        async with stream:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while await stream.receive():
                    pass

    options = callsign.Options(handshake_timeout=0.02, backoff=(0.001, 0.002))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, says_nothing)
        async with callsign.open(place, options=options) as client:
            (link,) = client.hub.links
            with anyio.fail_after(LIMIT):
                await enough.wait()
            assert link.patience == 8
        tasks.cancel_scope.cancel()
    await listener.aclose()


async def test_a_call_ends_the_pause_before_the_next_attempt(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    dials = 0

    async def counted(*args: Any) -> socket.socket:
        nonlocal dials
        dials += 1
        return await dial(*args)

    monkeypatch.setattr(callsign.connector, "dial", counted)
    monkeypatch.setattr(random, "uniform", lambda _, bound: bound)
    first = 0.05
    place = room.unix("pause.sock")
    options = callsign.Options(backoff=(first, 3600.0))
    async with callsign.open(place, options=options) as client:
        (link,) = client.hub.links
        with anyio.fail_after(LIMIT):
            began = anyio.current_time()
            # The pause doubles with each attempt, and is longer than the limit in the end.
            while dials < 12:
                with pytest.raises(callsign.Unreachable):
                    await client.query("feed")
            # A loop of calls dials no more often than the shortest pause allows.
            assert anyio.current_time() - began > 10 * first
            node = room.node(place)
            while not link.may_come:
                await anyio.sleep(0.005)
            found: list[callsign.LookupResult] = []

            async def query() -> None:
                found.append(await client.query("feed"))

            async with anyio.create_task_group() as tasks:
                for _ in range(50):
                    tasks.start_soon(query)
            assert (dials, len(found)) == (13, 50)
            # So does a registration.
            node.kill()
            while link.connection is not None or not link.may_come:
                await anyio.sleep(0.005)
            node.start()
            async with client.register("feed", room.abstract("feed")):
                assert not link.is_tried
        node.stop()


async def test_a_pause_for_a_busy_registrar_is_left_as_it_is(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "uniform", lambda *_: 3600.0)
    place = room.unix("busy.sock")
    listener = await listen(place)
    options = callsign.Options(handshake_timeout=0.02)
    async with callsign.open(place, options=options) as client:
        (link,) = client.hub.links
        with anyio.fail_after(LIMIT):
            await link.changed.until(lambda: link.patience == 2)
            await anyio.sleep(0.6)
            with pytest.raises(callsign.Unreachable, match=r"within 20ms \([0-9.]+ m?s ago\)"):
                await client.query("feed")
            assert link.patience == 2
    await listener.aclose()


async def test_no_registrar_is_not_an_absent_name(room: Room) -> None:
    place = room.unix("nobody.sock")
    why = f"no registrar can be reached:\n  {place}: there is no such socket file"
    with pytest.raises(callsign.Unreachable) as unreachable:
        async with callsign.connect(place):
            pass
    assert str(unreachable.value) == why
    hint = f"hint: start one here: `callsign registrar --listen {place}`"
    assert unreachable.value.__notes__ == [hint]
    async with callsign.open(place) as client:
        for ask in (client.query, client.find, client.list):
            with pytest.raises(callsign.Unreachable) as unreachable:
                await ask("feed")
            assert str(unreachable.value) == why
        with pytest.raises(callsign.Unreachable) as unknown:
            await client.wait("feed", timeout=0.1)
        assert str(unknown.value) == f"whether `feed` is there is not known after 100ms: {why}"
        ((_, whoami),) = await client.whoami()
        assert isinstance(whoami, callsign.RegistrarFailure)
        with pytest.raises(callsign.Unreachable):
            async with client.register("feed", "/unix/@feed"):
                pass
        # What lasts goes on when a registrar comes.
        async with client.watch("feed") as watch:
            kinds = [(await anext(watch)).kind for _ in range(2)]
            async with client.register_patiently("feed", room.abstract("feed")) as feed:
                assert len(feed.missing) == 1
                node = room.node(place)
                with anyio.fail_after(LIMIT):
                    await feed.accepted()
                    assert not feed.missing
                    assert (await client.wait("feed")).uuid == feed.uuid
                    while kinds[-1] != "add":
                        kinds.append((await anext(watch)).kind)
        assert kinds in (["reset", "stale", "synced", "add"], ["reset", "stale", "add"])
        node.stop()


async def test_an_actor_comes_back_after_a_restart_of_its_registrar(room: Room) -> None:
    node = room.node(CALLSIGN_SETTLE_TIME="60s")
    async with callsign.connect(node.endpoint, patience=0.0) as client:
        async with client.watch("feed") as watch, actor(client, "feed", room.unix("feed")) as feed:
            kinds = []
            with anyio.fail_after(LIMIT):
                while "add" not in kinds:
                    kinds.append((await anext(watch)).kind)
                for _ in range(3):
                    node.restart()
                    async with callsign.connect(node.endpoint) as other:
                        # It is not known yet, and a look-up waits for it.
                        async with await other.find("feed") as found:
                            assert found.record.uuid == feed.uuid
                            assert found.assurance is callsign.Assurance.PROVED
                            assert await found.receive() == b"hello"
            node.signal(signal.SIGTERM)
        # Nothing was reported as gone.
        assert "remove" not in kinds


async def test_a_watch_over_a_restart_keeps_what_may_come_back(room: Room) -> None:
    node = room.node(CALLSIGN_SETTLE_TIME="1s")
    async with callsign.connect(node.endpoint) as client, client.watch("*") as watch:
        kinds: list[str] = []

        async def until(kind: str) -> callsign.Change:
            while True:
                change = await anext(watch)
                kinds.append(change.kind)
                if change.kind == kind:
                    return change

        with anyio.fail_after(LIMIT):
            await until("synced")
            async with client.register("stays", room.abstract("stays")):
                await until("add")
                other = callsign.connect(node.endpoint)
                async with other:
                    async with other.register("goes", room.abstract("goes")) as goes:
                        await until("add")
                        node.kill()
                        await until("stale")
                        goes.leave()
                node.start()
                kinds.clear()
                change = await until("remove")
                assert (change.instance, change.reason) == (goes.instance, "missed")
                await until("synced")
                assert kinds == ["update", "remove", "synced"]


async def test_a_young_registrar_does_not_say_no(room: Room) -> None:
    node = room.node(CALLSIGN_SETTLE_TIME="60s")
    async with callsign.connect(node.endpoint) as client:
        found = await client.list("feed")
        assert found.records == () and found.settling is not None and found.settling > 30
        async with anyio.create_task_group() as tasks:
            names = []

            async def look() -> None:
                names.append((await client.query("feed")).records[0].name)

            tasks.start_soon(look)
            with anyio.move_on_after(0.2):
                await client.query("other")
                raise AssertionError("a young registrar said no")
            async with client.register("feed", room.abstract("feed")):
                with anyio.fail_after(LIMIT):
                    while not names:
                        await anyio.sleep(0.005)
    async with callsign.connect(node.endpoint, patience=0.0) as hasty:
        with pytest.raises(callsign.NotFound):
            await hasty.find("feed")


async def test_a_stopped_registrar_is_out_of_reach_and_nothing_is_gone(
    room: Room, node: Node
) -> None:
    async with (
        callsign.connect(node.endpoint, ask_timeout=0.5) as client,
        client.watch("feed") as watch,
        actor(client, "feed", room.unix("feed")) as feed,
    ):
        kinds = []
        with anyio.fail_after(LIMIT):
            while "add" not in kinds:
                kinds.append((await anext(watch)).kind)
            node.signal(signal.SIGSTOP)
            with pytest.raises(callsign.Unreachable, match=r"within 500ms|given no sign of life"):
                await client.query("feed")
            kinds.clear()
            while "stale" not in kinds:
                kinds.append((await anext(watch)).kind)
            node.signal(signal.SIGCONT)
            while "synced" not in kinds:
                kinds.append((await anext(watch)).kind)
            assert "remove" not in kinds and "add" not in kinds
            await feed.accepted()
            async with await client.find("feed") as found:
                assert found.record.uuid == feed.uuid


async def test_a_silent_registrar_is_told_from_one_that_is_gone(room: Room, node: Node) -> None:
    beat = callsign.Heartbeat(interval=0.1, misses=3)
    async with callsign.connect(node.endpoint, heartbeat=beat) as client:
        async with client.register("feed", room.abstract("feed")) as feed:
            node.signal(signal.SIGSTOP)
            with anyio.fail_after(LIMIT):
                while not feed.missing:
                    await anyio.sleep(0.01)
            assert "it has given no sign of life for" in str(feed.missing[0])
            # It is known at once, without waiting for an answer.
            with pytest.raises(callsign.Unreachable, match="given no sign of life"):
                await client.query("feed")
            node.signal(signal.SIGCONT)
            with anyio.fail_after(LIMIT):
                while feed.missing:
                    await anyio.sleep(0.01)
            assert (await client.query("feed")).records[0].uuid == feed.uuid


async def test_the_successor_of_a_silent_registrar_is_found(room: Room, node: Node) -> None:
    beat = callsign.Heartbeat(interval=0.05, misses=3)
    async with (
        callsign.connect(node.endpoint, heartbeat=beat) as client,
        actor(client, "feed", room.unix("feed")) as feed,
    ):
        link = client.hub.links[0]
        silent = link.connection
        assert silent is not None
        node.signal(signal.SIGSTOP)
        with anyio.fail_after(LIMIT):
            await link.changed.until(lambda: link.silence is not None)
        # It may only be busy, and has its socket: nobody dials it.
        connector = Connector(client.hub, link)
        assert await connector._reach_instead_of(silent) is None
        assert connector._number == 0
        # It gives its place up without closing a connection.
        place = node.endpoint.removeprefix("/unix")
        os.remove(place)
        os.remove(f"{place}.lock")
        successor = room.node(node.endpoint)
        with anyio.fail_after(LIMIT):
            await link.up(silent.number)
            while "ready" not in await successor.run("find", "feed", check=False):
                pass
            async with await client.find("feed") as found:
                assert found.record.uuid == feed.uuid


async def test_a_silent_peer_over_tcp_is_given_up(room: Room) -> None:
    node = room.node("/ip4/127.0.0.1/tcp/0")
    beat = callsign.Heartbeat(interval=0.1, misses=3)
    async with callsign.connect(node.endpoint, heartbeat=beat, ask_timeout=30.0) as client:
        ((_, whoami),) = await client.whoami()
        assert isinstance(whoami, callsign.Whoami)
        assert (whoami.transport, whoami.owner) == ("tcp", f"user:{os.geteuid()}")
        await anyio.sleep(0.5)  # pings keep it
        node.signal(signal.SIGSTOP)
        with anyio.fail_after(LIMIT), pytest.raises(callsign.Unreachable, match="was silent for"):
            await client.query("feed")
        node.signal(signal.SIGCONT)
        async with client.register_patiently("feed", room.abstract("feed")):
            with anyio.fail_after(LIMIT):
                assert (await client.wait("feed")).name == "feed"


async def test_to_wait_ones_turn_behind_many_others_is_no_silence(node: Node) -> None:
    """Ten thousand tasks that ask at once are not to end their own connection."""
    async with callsign.connect(node.endpoint, ask_timeout=0.5) as client:
        connection = client.hub.links[0].connection
        assert connection is not None
        portal = connection.portal
        for _ in range(CALLS_MAX):
            portal._room.acquire_nowait()
        found: list[callsign.LookupResult] = []

        async def ask() -> None:
            found.append(await client.query("feed"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            for _ in range(4):
                await anyio.sleep(0.3)
                portal.notify("registrar.whoami", pack(None))  # another has its turn
            assert found == []
            portal._room.release()
        assert found[0].records == ()
        portal._room.acquire_nowait()
        with pytest.raises(callsign.Unreachable, match="no answer within 500ms"):
            await client.query("feed")


async def test_several_registrars_back_each_other(room: Room) -> None:
    one, two = room.node(), room.node()
    async with callsign.connect(one.endpoint, two.endpoint, ask_timeout=5.0) as client:
        async with actor(client, "feed", room.unix("feed")) as feed:
            with anyio.fail_after(LIMIT):
                while feed.missing:
                    await anyio.sleep(0.005)
            (record,) = (await client.query("feed")).records
            one.kill()
            with anyio.fail_after(LIMIT):
                while not (found := await client.query("feed")).unanswered:
                    await anyio.sleep(0.005)
            assert [it.uuid for it in found.records] == [record.uuid]
            assert [str(it.registrar) for it in found.unanswered] == [one.endpoint]
            async with await client.find("feed") as connection:
                assert connection.assurance is callsign.Assurance.PROVED
                assert [str(it.registrar) for it in connection.unanswered] == [one.endpoint]
            # One that does not know it is no answer: the other may.
            with pytest.raises(callsign.Incomplete, match="a registrar that did not answer"):
                await client.find("nobody")
            with pytest.raises(callsign.Incomplete, match="was not ready within 100ms"):
                await client.wait("nobody", timeout=0.1)
            with pytest.raises(callsign.Incomplete):
                (await client.query("nobody")).complete()
            # A change stays made where it was made, and the error says where it was not.
            await two.run("register", "job", "/unix/@job", "--ttl", "1h")
            job = (await client.query("job")).records[0]
            with pytest.raises(callsign.Partly, match=r"registrar0\.sock"):
                await client.renew(job.uuid)
            one.start()
            with anyio.fail_after(LIMIT):
                while feed.missing:
                    await anyio.sleep(0.005)
            async with callsign.connect(one.endpoint) as other:
                assert (await other.query("feed")).records[0].uuid == feed.uuid


async def test_two_addresses_of_one_registrar_are_one(room: Room, node: Node) -> None:
    path = node.endpoint.removeprefix("/unix")
    (room.path / "folder").symlink_to(room.path)
    other = f"/unix{room.path}/folder/{os.path.basename(path)}"
    async with callsign.connect(node.endpoint, other) as client:
        async with client.register("feed", room.abstract("feed")):
            # The registrar may yet have to notice that the second connection has been given up.
            with anyio.fail_after(LIMIT):
                while True:
                    told = [it for _, it in await client.status()]
                    if [isinstance(it, callsign.Status) and it.sessions for it in told] == [1]:
                        break
                    await anyio.sleep(0.01)
            assert len((await client.query("feed")).records) == 1


async def test_what_is_cancelled_leaves_nothing_behind(room: Room, node: Node) -> None:
    chance = random.Random(7)
    async with callsign.connect(node.endpoint) as client:
        async with actor(client, "feed", room.unix("feed")):

            async def once(what: int) -> None:
                match what:
                    case 0:
                        async with await client.find("feed") as feed:
                            await feed.receive()
                    case 1:
                        await client.wait("nobody")
                    case 2:
                        async with client.watch("*") as watch:
                            async for _ in watch:
                                pass
                    case 3:
                        async with client.register("brief", room.abstract("brief")):
                            await anyio.sleep_forever()
                    case 4:
                        await client.list("*")
                    case _:
                        async with callsign.connect(node.endpoint) as other:
                            await other.query("feed")

            await anyio.sleep(0.01)
            before = len(os.listdir("/proc/self/fd"))
            for at in range(90):
                with anyio.move_on_after(chance.choice([0.0, 0.0005, 0.001, 0.002, 0.01])):
                    await once(at % 6)
            with anyio.fail_after(LIMIT):
                while True:
                    ((_, status),) = await client.status()
                    assert isinstance(status, callsign.Status)
                    counts = (status.sessions, status.instances)
                    if (*counts, status.waiters, status.watchers) == (1, 1, 0, 0):
                        break
                    await anyio.sleep(0.01)
                # The actor's ends of the connections close by themselves.
                while len(os.listdir("/proc/self/fd")) > before:
                    await anyio.sleep(0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()


@pytest.mark.parametrize("transport", ["unix", "tls"])
async def test_kills_of_a_registrar_leave_no_socket_and_no_task(room: Room, transport: str) -> None:
    """`CALLSIGN_SOAK_ROUNDS=1000` makes it a thousand."""
    kills = int(os.environ.get("CALLSIGN_SOAK_ROUNDS", "4"))
    tls = authority(room) if transport == "tls" else None
    node = room.node() if tls is None else node_at(room)

    def held() -> tuple[int, int]:
        gc.collect()
        return len(os.listdir("/proc/self/fd")), len(anyio.get_running_tasks())

    async def look(watch: callsign.Watch) -> None:
        async for _ in watch:
            pass

    options = callsign.Options(backoff=(0.01, 0.02), tls=tls)
    async with (
        anyio.create_task_group() as tasks,
        callsign.connect(node.endpoint, options=options) as client,
        actor(client, "feed", room.unix("feed")),
        client.watch("*") as watch,
    ):
        tasks.start_soon(look, watch)
        counts: list[tuple[int, int]] = []
        for _ in range(kills):
            node.restart()
            with anyio.fail_after(LIMIT):
                async with callsign.connect(node.endpoint, tls=tls) as other:
                    await other.wait("feed")
                    async with await other.find("feed") as feed:
                        assert feed.assurance is callsign.Assurance.PROVED
            counts.append(held())
        with anyio.fail_after(LIMIT):
            # The actor's ends of the connections close by themselves.
            while held() > min(counts):
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()


async def test_a_client_ends_while_its_registrar_restarts(room: Room, node: Node) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for at in range(10):
        async with callsign.connect(node.endpoint) as client:
            async with client.register("feed", room.abstract(f"feed-{at}")):
                node.restart()
    assert len(os.listdir("/proc/self/fd")) == before
