"""A client of one node of a cluster moves to another when that node dies."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from conftest import LIMIT, Node, Room, actor, binary

import callsign

pytestmark = pytest.mark.anyio


class Cluster:
    """An etcd of one member, and registrars that share through it."""

    def __init__(self, room: Room) -> None:
        self._room = room
        clients, peers = (f"http://127.0.0.1:{_free_port()}" for _ in range(2))
        self._endpoint = clients
        command = ["etcd", "--name", "n0", "--data-dir", str(room.path / "etcd")]
        command += ["--listen-client-urls", clients, "--advertise-client-urls", clients]
        command += ["--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers]
        command += ["--initial-cluster", f"n0={peers}", "--log-level", "error"]
        command += ["--logger", "zap", "--log-outputs", "/dev/null"]
        self._etcd = subprocess.Popen(command)

    def node(self, name: str) -> Node:
        """Starts a registrar, which waits for etcd by itself."""
        settings = self._room.path / f"{name}.toml"
        settings.write_text(
            f'[cluster]\nengine = "etcd"\nendpoints = ["{self._endpoint}"]\nnode = "{name}"\n'
        )
        place = self._room.unix(f"{name}.sock")
        return self._room.node(place, CALLSIGN_CONFIG=str(settings))

    def close(self) -> None:
        self._etcd.kill()
        self._etcd.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def cluster(room: Room) -> Iterator[Cluster]:
    try:
        subprocess.run(["etcd", "--version"], capture_output=True, check=True)
    except FileNotFoundError:
        pytest.skip("`etcd` cannot be started (on Debian: apt-get install etcd-server)")
    settings = Path(room.path / "probe.toml")
    settings.write_text('[cluster]\nengine = "etcd"\nendpoints = ["nowhere"]\n')
    probe = [binary(), "registrar", "--listen", room.unix("probe"), "--config", str(settings)]
    refused = subprocess.run(probe, env=room.environment, capture_output=True, check=False)
    if b"without the feature `etcd`" in refused.stderr:
        pytest.skip("`callsign` was built without the feature `etcd`")
    cluster = Cluster(room)
    yield cluster
    cluster.close()


async def _knows_another(node: Node, other: str) -> None:
    """Waits until a node knows another, and its clients where that is."""
    while f"{other}  " not in await node.run("status"):
        await anyio.sleep(0.02)


async def _moved(client: callsign.Client) -> None:
    """Waits until a client has a registrar again."""
    while not any(isinstance(it, callsign.Status) for _, it in await client.status()):
        await anyio.sleep(0.01)


@asynccontextmanager
async def _watching(client: callsign.Client) -> AsyncIterator[list[str]]:
    """Notes what a watch of all actors says."""
    said: list[str] = []

    async def note(watch: callsign.Watch) -> None:
        async for change in watch:
            name = change.record.name if change.record else None
            name = name or (change.instance.name if change.instance else "")
            said.append(f"{change.kind} {name}".strip())

    async with client.watch("*") as watch, anyio.create_task_group() as tasks:
        tasks.start_soon(note, watch)
        yield said
        tasks.cancel_scope.cancel()


async def _until(said: list[str], words: str) -> None:
    while words not in said:
        await anyio.sleep(0.01)


async def test_an_actor_and_a_watch_move_when_their_node_dies(room: Room, cluster: Cluster) -> None:
    rome, oslo = cluster.node("rome"), cluster.node("oslo")
    with anyio.fail_after(LIMIT):
        await _knows_another(rome, "oslo")
        async with (
            callsign.connect(rome.endpoint) as client,
            callsign.connect(oslo.endpoint) as other,
            _watching(other) as seen_there,
            _watching(client) as seen,
            actor(client, "feed", room.unix("feed")) as feed,
            actor(other, "clock", room.unix("clock")) as clock,
        ):
            for said in (seen, seen_there):
                for name in ("feed", "clock"):
                    await _until(said, f"add {name}")
            record = await other.wait("feed")
            assert (record.uuid, record.node) == (feed.uuid, "rome")
            seen.clear()
            seen_there.clear()
            rome.kill()
            # The same instance is there at once, and nobody has seen it go.
            await _until(seen_there, "update feed")
            record = await other.wait("feed")
            assert (record.uuid, record.node) == (feed.uuid, None)
            await feed.accepted()
            async with await client.find("clock") as connection:
                assert connection.record.uuid == clock.uuid
            # What comes later is seen, and what was there is not seen again.
            async with actor(other, "later", room.unix("later")):
                await _until(seen, "add later")
            await _until(seen, "remove later")
            assert not {"add clock", "add feed", "remove feed", "remove clock"} & set(seen), seen
            assert seen.count("add later") == 1, seen
            assert "remove feed" not in seen_there and "add feed" not in seen_there, seen_there


async def test_of_several_nodes_the_client_asks_one(cluster: Cluster) -> None:
    rome, oslo = cluster.node("rome"), cluster.node("oslo")
    with anyio.fail_after(LIMIT):
        await _knows_another(rome, "oslo")
        await _knows_another(oslo, "rome")
        async with callsign.connect(rome.endpoint, oslo.endpoint) as client:
            while len(told := await client.status()) != 1:
                await anyio.sleep(0.01)
            ((_, status),) = told
            assert isinstance(status, callsign.Status)
            assert (await client.query("feed")).complete().records == ()
            rome.kill()
            # The client keeps on, and a new one finds the other.
            while True:
                told = await client.status()
                ups = [it for _, it in told if isinstance(it, callsign.Status)]
                if [it.registrar for it in ups] != [status.registrar] and len(ups) == 1:
                    break
                await anyio.sleep(0.01)
            assert (await client.query("feed")).records == ()


async def test_what_ended_with_a_node_is_gone_for_a_client_that_moves(
    room: Room, cluster: Cluster
) -> None:
    """Its node has told it, and the other knows only when the lease of that node has ended."""
    rome, oslo = cluster.node("rome"), cluster.node("oslo")
    with anyio.fail_after(LIMIT):
        await _knows_another(rome, "oslo")
        async with (
            callsign.connect(rome.endpoint) as client,
            _watching(client) as seen,
        ):
            for turn in range(3):
                async with actor(client, f"feed{turn}", room.unix(f"feed{turn}")):
                    await oslo.run("wait", f"feed{turn}", "--timeout", "50s")
                    await _until(seen, f"add feed{turn}")
                await _until(seen, f"remove feed{turn}")
            rome.kill()
            await _moved(client)
            async with actor(client, "last", room.unix("last")):
                await oslo.run("wait", "last", "--timeout", "50s")
                await _until(seen, "add last")
            for turn in range(3):
                assert seen.count(f"add feed{turn}") == 1, seen
                assert seen.count(f"remove feed{turn}") == 1, seen
