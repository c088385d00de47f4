"""From a name to a connection: ranking, proof of identity, and what is there instead."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any
from uuid import UUID

import anyio
import pytest
from conftest import LIMIT, Node, Room, actor, listen

import callsign
from callsign.identity import Identity
from callsign.kernel import Interface, SocketId
from callsign.locality import Here, OutOfReach, Stamp, Stamped, locate
from callsign.places import published

pytestmark = pytest.mark.anyio

TCP = "/ip4/127.0.0.1/tcp/0"


async def test_the_nearest_proved_transport_is_taken(room: Room, node: Node) -> None:
    places = [TCP, room.abstract("feed"), room.unix("feed")]
    # On a busy machine the nearest may take longer than its head start.
    async with (
        callsign.connect(node.endpoint, stagger_within_host=LIMIT) as client,
        actor(client, "feed", *places),
    ):
        async with await client.find("feed") as feed:
            assert feed.locality is callsign.Locality.UNIX_SOCKET
            assert feed.assurance is callsign.Assurance.PROVED
            assert str(feed.endpoint) == room.abstract("feed")
            assert await feed.receive() == b"hello"
            ranks = [it.verdict for it in feed.explanation.candidates]
            assert ranks == [1, 1, 2]
            assert feed.explanation.candidates[2].took is None, "it was not needed"
        # The command of Rust proves it as well, at every endpoint.
        said = await node.run("resolve", "feed", "--explain", "--probe")
        assert said.count("proved") >= 3, said


async def test_a_rust_caller_talks_to_a_python_actor(room: Room, node: Node) -> None:
    async with callsign.connect(node.endpoint) as client:
        async with actor(client, "feed", room.unix("feed")):
            assert "hello" in await node.run("connect", "feed")


async def test_a_program_that_knows_nothing_of_the_protocol_is_unproved(
    room: Room, node: Node
) -> None:
    async with callsign.connect(node.endpoint) as client:
        async with actor(client, "feed", room.unix("feed"), proves=False):
            async with await client.find("feed") as feed:
                assert feed.assurance is callsign.Assurance.UNPROVED
                assert feed.peer is None
                assert await feed.receive() == b"hello"


async def test_an_impostor_at_the_path_is_not_reached(room: Room, node: Node) -> None:
    path = room.path / "feed"
    async with callsign.connect(node.endpoint) as client:
        async with actor(client, "feed", f"/unix{path}", proves=False):
            path.unlink()
            with socket.socket(socket.AF_UNIX) as impostor:
                impostor.bind(str(path))
                impostor.listen()
                with pytest.raises(callsign.NoneAnswered) as none:
                    await client.find("feed")
                what = "the path leads to another socket than the one registered"
                assert str(none.value) == (
                    "`feed` is registered, and cannot be reached from here:\n"
                    f"  /unix{path} (left out): {what}"
                )
                impostor.setblocking(False)
                with pytest.raises(BlockingIOError):
                    impostor.accept()


@pytest.mark.parametrize("impostor", ["mute", "http", "other", "same"])
async def test_an_impostor_at_the_port_proves_nothing(
    room: Room, node: Node, impostor: str
) -> None:
    got: list[bytes] = []
    limit = 0.3 if impostor == "mute" else 30.0
    async with callsign.connect(node.endpoint, actor_timeout=limit) as client:
        listener = await listen(TCP)
        sock = listener.sock
        async with client.register("feed", sock, proves=True) as feed:
            words = {
                "mute": "the peer did not complete the handshake within",
                "http": "the peer does not speak callsign's protocol",
                "other": "is there, not the actor that was meant",
                "same": "claims to be the actor that was meant, and cannot prove it",
            }

            async def answer(stream: anyio.abc.ByteStream) -> None:
                async with stream:
                    try:
                        if impostor == "http":
                            await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                        elif impostor != "mute":
                            instance = feed.instance
                            if impostor == "other":
                                instance = callsign.Instance("feed", UUID(int=7))
                            await Identity(instance).accept(stream)
                        async for data in stream:
                            got.append(data)
                    except (callsign.HandshakeError, anyio.BrokenResourceError):
                        pass

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listener.serve, answer)
                with pytest.raises(callsign.NoneAnswered, match=words[impostor]):
                    await client.find("feed")
                tasks.cancel_scope.cancel()
            assert b"secret" not in b"".join(got)
        await listener.aclose()


async def test_the_next_is_dialed_when_one_fails_or_hangs(room: Room, node: Node) -> None:
    async with callsign.connect(node.endpoint) as client:
        with socket.socket(socket.AF_UNIX) as hangs:
            hangs.bind(f"\0{room.path.name}-hangs")
            hangs.listen()
            async with client.register("feed", hangs, proves=True):
                async with actor(client, "feed", TCP):
                    async with await client.find("feed") as feed:
                        assert feed.locality is callsign.Locality.LOOPBACK
                        assert await feed.receive() == b"hello"
                    first = feed.explanation.candidates[0]
                    assert str(first).endswith("ms") and "given up after" in str(first)


async def test_an_actor_that_is_dead_is_reported_and_removed(room: Room, node: Node) -> None:
    async with callsign.connect(node.endpoint) as client:
        listener = await listen(room.unix("feed"))
        await node.run("register", "dead", room.unix("feed"), "--ttl", "1h")
        async with actor(client, "dead", TCP):
            await listener.aclose()  # the file is gone with it
            (room.path / "feed").unlink(missing_ok=True)
            async with client.watch("dead") as watch:
                kinds = [(await anext(watch)).kind for _ in range(4)]
                assert kinds == ["reset", "add", "add", "synced"]
                async with await client.find("dead") as found:
                    assert found.locality is callsign.Locality.LOOPBACK
                with anyio.fail_after(LIMIT):
                    async for change in watch:
                        if change.kind == "remove":
                            assert change.reason == "found-dead"
                            break


async def test_a_busy_actor_is_dialed_again_until_it_has_room(room: Room, node: Node) -> None:
    path = str(room.path / "busy")
    async with callsign.connect(node.endpoint, actor_timeout=0.3) as client:
        with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as other:
            busy.bind(path)
            busy.listen(0)
            other.connect(path)
            async with client.register("busy", busy):
                with pytest.raises(callsign.NoneAnswered, match="its queue of new connections is"):
                    await client.find("busy")

                async def make_room() -> None:
                    await anyio.sleep(0.05)
                    accepted, _ = busy.accept()
                    accepted.close()

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(make_room)
                    async with await client.find("busy") as found:
                        assert found.assurance is callsign.Assurance.UNPROVED


async def test_a_long_path_is_reached(room: Room, node: Node) -> None:
    folder = room.path / "/".join(["folder"] * 20)
    folder.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        import os

        descriptor = os.open(folder, os.O_PATH)
        listener.bind(f"/proc/self/fd/{descriptor}/feed")
        os.close(descriptor)
        listener.listen()
        async with callsign.connect(node.endpoint) as client:
            async with client.register("feed", f"/unix{folder}/feed"):
                async with await client.find("feed") as feed:
                    assert feed.locality is callsign.Locality.UNIX_SOCKET


async def test_a_bare_socket_can_be_taken_out(room: Room, node: Node) -> None:
    async with callsign.connect(node.endpoint) as client:
        async with actor(client, "feed", room.unix("feed")):
            feed = await client.find("feed")
            with feed.detach() as bare:
                await anyio.wait_readable(bare)
                assert bare.recv(16) == b"hello"
            with pytest.raises(anyio.ClosedResourceError):
                await feed.receive()


async def test_a_wait_within_reach_waits_for_the_socket(room: Room, node: Node) -> None:
    path = room.path / "feed"
    async with callsign.connect(node.endpoint) as client:
        listener = await listen(f"/unix{path}")
        (hidden := room.path / "hidden").write_text("")
        async with client.register("feed", f"/unix{path}"):
            path.rename(moved := room.path / "moved")
            hidden.unlink()
            assert (await client.wait("feed")).name == "feed"
            with pytest.raises(callsign.TimedOut, match="was not within reach after 100ms"):
                await client.wait_within_reach("feed", timeout=0.1)
            moved.rename(path)
            with anyio.fail_after(LIMIT):
                assert (await client.wait_within_reach("feed")).name == "feed"
        await listener.aclose()


def test_locality_is_judged_by_stamps() -> None:
    lo = Interface("lo", ip_address("127.0.0.1"), 8)
    eth = Interface("eth0", ip_address("10.0.0.7"), 24)
    link = Interface("eth0", ip_address("fe80::7"), 64)
    here = Here(kernel=1, netns=2, process=3, interfaces=(lo, eth, link))
    own, socket_id = Stamp(1, 2), SocketId(1, 2, 3)

    def look(path: callsign.UnixPath) -> SocketId | OutOfReach:
        if path.path == "/gone":
            return OutOfReach("missing", "no such socket")
        return socket_id

    for text, stamp, expected in [
        ("/unix/a", Stamp(1, 9, socket=socket_id), "unix socket"),
        ("/unix/a", Stamp(1, 2, socket=SocketId(1, 2)), "unix socket"),
        ("/unix/a", Stamp(1, 2, socket=SocketId(1, 2, 4)), "the path leads to another socket"),
        ("/unix/gone", Stamp(1, 2, socket=socket_id), "no such socket"),
        ("/unix/a", Stamp(1, 2), "no socket was seen there when it was registered"),
        ("/unix/a", Stamp(9, 2, socket=socket_id), "it is on another host"),
        ("/unix/a", Stamp(), "its registrant did not say where it is"),
        ("/unix/a", Stamp(netns=2), "could not learn which kernel it runs on"),
        ("/unix/@a", own, "unix socket"),
        ("/unix/@a", Stamp(1, 9), "it is in another network namespace of this host"),
        ("/unix/@a", Stamp(1), "its registrant could not tell its network namespace"),
        ("/ip4/127.0.0.1/tcp/1", own, "loopback"),
        ("/ip6/::ffff:127.0.0.1/tcp/1", own, "loopback"),
        ("/dns/localhost/tcp/1", own, "loopback"),
        ("/ip4/127.0.0.1/tcp/1", Stamp(), "its registrant did not say where it is"),
        ("/ip4/127.9.9.9/tcp/1", Stamp(1, 9), "it is in another network namespace"),
        ("/ip4/10.0.0.7/tcp/1", own, "this host"),
        ("/ip4/10.0.0.7/tcp/1", Stamp(), "this host"),
        ("/ip4/10.0.0.7/tcp/1", Stamp(9, 2), "its address is one of this host's own"),
        ("/ip4/10.0.0.7/tcp/1", Stamp(1, 9), "its address is one of this host's own"),
        ("/ip4/10.0.0.9/tcp/1", Stamp(1, 9), "this host"),
        ("/ip4/10.0.0.9/tcp/1", Stamp(9, 9), "same subnet"),
        ("/ip4/10.0.1.9/tcp/1", Stamp(), "remote"),
        ("/dns/market.example/tcp/1", Stamp(), "remote"),
        ("/dns/market.example/tcp/1", own, "this host"),
        ("/ip6/fe80::9/tcp/1", own, "it is a link-local address"),
        ("/ip6zone/eth0/ip6/fe80::9/tcp/1", own, "this host"),
        ("/ip6zone/eth0/ip6/fe80::9/tcp/1", Stamp(), "same subnet"),
        ("/ip6zone/eth1/ip6/fe80::9/tcp/1", Stamp(), "its zone `eth1` is a link of another"),
        ("/memory/7", Stamp(1, 2, 3), "in process"),
        ("/memory/7", Stamp(1, 2, 4), "it is in another process"),
        ("/ip4/0.0.0.0/tcp/1", own, "a wildcard address or port 0 can be bound"),
    ]:
        verdict = locate(Stamped(callsign.endpoint(text), stamp), here, look)
        assert str(verdict).startswith(expected) or expected in str(verdict), (text, verdict)


def test_a_wildcard_is_published_as_the_addresses_of_this_host() -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener:
        port = listener.getsockname()[1]
        places = [str(it.endpoint) for it in published(listener)]
        assert f"/ip4/127.0.0.1/tcp/{port}" in places
        assert all("0.0.0.0" not in it for it in places)


@contextmanager
def server_of(user: int, port: int = 0) -> Iterator[int]:
    """Starts a server of another user at a port of the loopback, and returns that."""
    program = """if True:
        import os, socket, sys
        os.setuid(int(sys.argv[2]))
        server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
        print(server.getsockname()[1], flush=True)
        while True:
            server.accept()[0].sendall(b"hello")
    """
    command = [sys.executable, "-c", program, str(port), str(user)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        try:
            yield int(running.stdout.readline())
        finally:
            running.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start programs of other users")
async def test_a_lease_does_not_lead_to_another_users_program(room: Room, node: Node) -> None:
    async with callsign.connect(node.endpoint) as client:
        with server_of(4001) as port:
            place = f"/ip4/127.0.0.1/tcp/{port}"
            async with client.register("web", place, lease=600) as web:
                kept = web.leave()
            (record,) = (await client.query("web")).records
            assert [it.stamp.user for it in record.endpoints] == [4001]
            async with await client.find("web") as found:
                assert await found.receive() == b"hello"
        with server_of(4002, port):
            with pytest.raises(callsign.NoneAnswered, match="user 4002's program listens there"):
                await client.find("web")
        # Root listens for others.
        async with client.register("web", place, lease=600, uuid=kept.uuid):
            with server_of(0, port):
                async with await client.find("web") as found:
                    assert await found.receive() == b"hello"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start programs of other users")
async def test_a_lease_at_an_abstract_name_keeps_its_user(room: Room, node: Node) -> None:
    name = f"callsign-lease-{os.getpid()}-{room.path.name}"
    place = f"/unix/@{name}"

    @contextmanager
    def named(user: int) -> Iterator[None]:
        program = """if True:
            import os, socket, sys
            os.setuid(int(sys.argv[2]))
            server = socket.socket(socket.AF_UNIX)
            server.bind("\\0" + sys.argv[1])
            server.listen()
            print("up", flush=True)
            while True:
                server.accept()[0].sendall(b"hello")
        """
        command = [sys.executable, "-c", program, name, str(user)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
            assert running.stdout is not None
            try:
                assert running.stdout.readline() == b"up\n"
                yield
            finally:
                running.kill()

    async with callsign.connect(node.endpoint) as client:
        with named(4001):
            web = await client.register("web", place, lease=600).__aenter__()
            assert [it.stamp.user for it in web.endpoints] == [4001]
        with named(4002):
            with pytest.raises(callsign.NoneAnswered, match="user 4002's program listens there"):
                await client.find("web")
            # Who says the same place again does not mean another server.
            await web.update_endpoints([place])
            assert [it.stamp.user for it in web.endpoints] == [4001]
        with named(4001):
            async with await client.find("web") as found:
                assert await found.receive() == b"hello"


async def test_a_lease_says_whose_the_listener_is(room: Room, node: Node) -> None:
    async with callsign.connect(node.endpoint) as client:
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_server(("::", 0), family=socket.AF_INET6) as dual,
        ):
            port = dual.getsockname()[1]
            places: list[Any] = [server, f"/ip4/127.0.0.1/tcp/{port}", f"/ip6/::1/tcp/{port}"]

            async def users(**details: Any) -> list[int | None]:
                async with client.register("web", *places, **details) as web:
                    return [it.stamp.user for it in web.endpoints]

            user = os.geteuid()
            assert await users(lease=60.0) == [user] * 3
            # It says itself who it is, or is followed.
            assert await users(lease=60.0, proves=True) == [None] * 3
            assert await users() == [None] * 3
