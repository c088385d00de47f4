"""What cannot be asked is refused at once, in words of this package."""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
import trio
from conftest import Node, Room

import callsign
from callsign.arguments import read_owner

pytestmark = pytest.mark.anyio

#: The error and its words, and what is refused with it.
Case = tuple[type[Exception], str, Callable[[], Any]]


async def test_a_client_that_is_not_open_says_so(room: Room, node: Node) -> None:
    client = callsign.connect(node.endpoint, ask_timeout=1e6)
    asks: list[Callable[[], Awaitable[object]]] = [
        lambda: client.query("feed"),
        lambda: client.list(),
        lambda: client.find("feed"),
        lambda: client.wait("feed"),
        lambda: client.wait_within_reach("feed", timeout=0),
        lambda: client.unregister(uuid.uuid4()),
        client.status,
        lambda: client.register("feed", room.abstract("feed")).__aenter__(),
        lambda: client.watch("feed").__aenter__(),
        lambda: anext(client.watch("feed")),
    ]
    for ask in asks:
        with pytest.raises(callsign.NotOpen, match="has not been entered: `async with"):
            await ask()
    async with client:
        async with client.register("feed", room.abstract("feed")) as feed:
            pass
        for change in (feed.set_state("draining"), feed.update_metadata({})):
            with pytest.raises(callsign.NotOpen, match="this registration has ended"):
                await change
        with pytest.raises(callsign.NotOpen, match="entered once"):
            await client.__aenter__()
    for ask in asks:
        with pytest.raises(callsign.NotOpen, match="this client is closed"):
            await ask()
    with pytest.raises(callsign.NotOpen):
        await feed.set_state("ready")


async def test_a_socket_that_takes_no_connections_is_refused(room: Room, node: Node) -> None:
    def make(family: int, kind: int, at: Any, *, listens: bool) -> socket.socket:
        sock = socket.socket(family, kind)
        sock.bind(at)
        if listens:
            sock.listen()
        return sock

    inet, inet6, unix = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX
    stream, datagram = socket.SOCK_STREAM, socket.SOCK_DGRAM
    abstract = room.abstract("").removeprefix("/unix/@")
    moved = make(unix, stream, str(room.path / "moved"), listens=True)
    (room.path / "moved").rename(room.path / "elsewhere")
    pair = socket.socketpair()
    closed = socket.socket()
    closed.close()
    cases = [
        (make(inet, datagram, ("127.0.0.1", 0), listens=False), "it is a datagram socket"),
        (make(inet6, datagram, ("::1", 0), listens=False), "it is a datagram socket"),
        (make(unix, datagram, f"\0{abstract}d", listens=False), "it is a datagram socket"),
        (
            make(unix, socket.SOCK_SEQPACKET, f"\0{abstract}s", listens=True),
            "it is a seqpacket socket; only a stream socket can take connections",
        ),
        (make(inet, stream, ("127.0.0.1", 0), listens=False), "it does not listen: `listen`"),
        (make(unix, stream, str(room.path / "idle"), listens=False), "it does not listen"),
        (pair[0], "it is a connection, not a socket that takes"),
        (make(unix, stream, f"\0{abstract}\xff".encode("latin-1"), listens=True), "not UTF-8"),
        (moved, "does not lead to it from here"),
        (closed, "it cannot be looked at: Bad file descriptor"),
    ]
    async with callsign.connect(node.endpoint) as client:
        for sock, words in cases:
            with sock, pytest.raises(callsign.InvalidRegistration, match=words):
                async with client.register("feed", sock):
                    pass
        pair[1].close()
        assert (await client.list()).records == ()


async def test_a_listener_of_ipv6_alone_publishes_no_address_of_ipv4(node: Node) -> None:
    async with callsign.connect(node.endpoint) as client:
        for only, versions in ((True, {6}), (False, {4, 6})):
            with socket.create_server(
                ("::", 0), family=socket.AF_INET6, dualstack_ipv6=not only
            ) as listener:
                async with client.register("feed", listener) as feed:
                    places = [it.endpoint for it in feed.endpoints]
                    found = {
                        it.ip.version for it in places if isinstance(it, callsign.Tcp) and it.ip
                    }
                    assert found == versions


async def test_the_servers_of_asyncio_and_trio_are_registered_as_they_are(
    room: Room, node: Node, anyio_backend: str
) -> None:
    path = str(room.path / "feed.sock")
    async with callsign.connect(node.endpoint) as client, AsyncExitStack() as stack:
        places: list[Any]
        if anyio_backend == "asyncio":
            tcp = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
            unix = await asyncio.start_unix_server(lambda *_: None, path)
            for server in (tcp, unix):
                await stack.enter_async_context(server)
            port = tcp.sockets[0].getsockname()[1]
            sockets = [*tcp.sockets, *unix.sockets]
            places = [[tcp, unix], sockets, [SimpleNamespace(sockets=sockets)]]  # as of uvloop
        else:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            own = trio.socket.socket(socket.AF_UNIX)
            await own.bind(path)
            own.listen()
            listeners.append(trio.SocketListener(own))
            for listener in listeners:
                await stack.enter_async_context(listener)
            port = listeners[0].socket.getsockname()[1]
            places = [listeners, [it.socket for it in listeners]]
        for given in places:
            async with client.register("feed", *given) as feed:
                found = [str(it.endpoint) for it in feed.endpoints]
                assert found == [f"/ip4/127.0.0.1/tcp/{port}", f"/unix{path}"]
                assert feed.endpoints[1].stamp.socket is not None
        await stack.aclose()
        for closed in places[0]:
            with pytest.raises(callsign.InvalidRegistration, match=r"look(s|ed) at|any more"):
                async with client.register("feed", closed):
                    pass


async def test_a_value_of_a_wrong_type_is_named(room: Room, node: Node) -> None:
    a: Any = callsign
    feed = room.abstract("feed")
    async with callsign.connect(node.endpoint) as client:
        c: Any = client
        cases: list[Case] = [
            (a.InvalidName, "not `b'x'`, which is of type `bytes`", lambda: c.query(b"x")),
            (a.InvalidName, "a name is a text, not `None`", lambda: c.find(None)),
            (a.InvalidName, "a name is a text", lambda: c.list(7)),
            (a.InvalidName, "a name is a text", lambda: c.wait(["x"], timeout=1)),
            (a.InvalidName, "a name is a text", lambda: c.query_now(b"x")),
            (a.InvalidName, "a name is a text", lambda: c.register(b"x", feed).__aenter__()),
            (
                a.EndpointError,
                "write `/ip4/127.0.0.1/tcp/80`",
                lambda: c.register("x", ("127.0.0.1", 80)).__aenter__(),
            ),
            (
                a.EndpointError,
                "write `/ip6/::1/tcp/80`",
                lambda: c.register("x", ("::1", 80, 0, 0)).__aenter__(),
            ),
            (a.EndpointError, "not `8080`", lambda: c.register("x", 8080).__aenter__()),
            (a.EndpointError, "not `None`", lambda: c.register("x", None).__aenter__()),
            (
                a.EndpointError,
                "no endpoint can be written",
                lambda: c.register("x", a.UnixPath("feed.sock")).__aenter__(),
            ),
            (a.InvalidArgument, "by its UUID", lambda: c.unregister(str(uuid.uuid4()))),
            (a.InvalidArgument, "by its UUID", lambda: c.renew(None)),
            (a.InvalidArgument, "by its UUID", lambda: c.drain(b"x" * 16)),
            (a.InvalidArgument, "not `'5'`", lambda: c.wait("x", timeout="5")),
            (a.InvalidArgument, "not nan", lambda: c.wait("x", timeout=float("nan"))),
            (a.InvalidArgument, "from 0 on, not -1", lambda: c.wait_within_reach("x", timeout=-1)),
            (a.InvalidArgument, "an owner is a text", lambda: c.query("x", owner=1000)),
            (
                a.InvalidRegistration,
                "`asleep` is no state",
                lambda: c.set_state(uuid.uuid4(), "asleep"),
            ),
            (a.InvalidRegistration, "is a mapping, not", lambda: registered(metadata=["a"])),
            (
                a.InvalidRegistration,
                "is text, key and value",
                lambda: registered(metadata={1: "x"}),
            ),
            (a.InvalidRegistration, "is no state", lambda: registered(state=None)),
            (a.InvalidArgument, "`lease` is a number", lambda: registered(lease=float("nan"))),
            (a.InvalidArgument, "`lease` is a number", lambda: registered(lease="1s")),
            (a.InvalidArgument, "by its UUID", lambda: registered(uuid="x")),
        ]

        def registered(**details: Any) -> Any:
            return c.register("feed", feed, **details).__aenter__()

        for kind, words, ask in cases:
            with pytest.raises(kind, match=words):
                await ask()
        async with client.register("feed", feed) as kept:
            k: Any = kept
            changes: list[Case] = [
                (a.EndpointError, "given as a list", lambda: k.update_endpoints(feed)),
                (a.EndpointError, "an endpoint is a text", lambda: k.update_endpoints([7])),
                (a.InvalidRegistration, "is no state", lambda: k.set_state("unknown")),
                (a.InvalidRegistration, "is a mapping", lambda: k.update_metadata("x")),
            ]
            for kind, words, change in changes:
                with pytest.raises(kind, match=words):
                    await change()
        with pytest.raises(TypeError, match=r"register\(\) got an unexpected .* 'leese'"):
            c.register("feed", feed, leese=1)
        with pytest.raises(a.InvalidName):
            c.watch(b"*")


async def test_options_of_a_wrong_type_are_named() -> None:
    connect: Any = callsign.connect
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("`ask_timeout` is a number of seconds from 0 on, not `'5'`", {"ask_timeout": "5"}),
        ("`patience` is a number", {"patience": -1}),
        ("`agent` is a text", {"agent": b"x"}),
        ("`heartbeat` is a `callsign.Heartbeat`", {"heartbeat": 1}),
        ("`backoff` is the first and the longest", {"backoff": 1.0}),
        ("`backoff` is a number of seconds from 2 on, not 1", {"backoff": (2.0, 1.0)}),
    ]
    for words, more in wrong:
        with pytest.raises(callsign.InvalidArgument, match=words):
            connect("/unix/@x", **more)
    for place in (7, None, ("127.0.0.1", 1616), b"/unix/@x"):
        with pytest.raises(callsign.EndpointError, match="an endpoint is a text"):
            connect(place)


async def test_an_owner_is_read_as_the_commands_read_it(room: Room, node: Node) -> None:
    import os
    import pwd

    own = os.geteuid()
    async with callsign.connect(node.endpoint) as client:
        async with client.register("feed", room.abstract("feed")):
            for owner in (pwd.getpwuid(own).pw_name, str(own), f"user:{own}"):
                assert len((await client.query("feed", owner=owner)).records) == 1, owner
            far = ("address:10.0.0.7", "tls:feed.example", "spiffe://callsign.internal/feed")
            for owner in ("nobody", "4711", "user:nobody", *far, "registrar"):
                assert (await client.query("feed", owner=owner)).records == (), owner
            for owner in ("no-such-user", "", "user:", "address:nowhere", "user:-1", "a\0b"):
                with pytest.raises(callsign.InvalidArgument, match="there is no user `") as error:
                    await client.query("feed", owner=owner)
                assert "write a user's name or number" in error.value.__notes__[0]
            said = await node.run("find", "feed", "--owner", "no-such-user", check=False)
            assert error.value.__notes__[0] in said
            feed = "tls:spiffe://callsign.internal/feed"
            assert await read_owner(feed.removeprefix("tls:")) == feed
            said = await node.run("find", "feed", "--owner", "nobody", check=False)
            with pytest.raises(callsign.NotFound) as missing:
                await client.find("feed", owner="nobody")
            assert str(missing.value) in said
        async with client.register("feed", room.abstract("feed"), state="starting"):
            with pytest.raises(callsign.NotFound, match="is ready: it has 1 starting"):
                await client.find("feed", owner=str(own))


async def test_a_cancelled_place_in_line_is_given_up_at_once(room: Room) -> None:
    settings = room.path / "settings.toml"
    settings.write_text("[names]\nleader = { exclusive = true }\n")
    node = room.node(CALLSIGN_CONFIG=str(settings))
    async with callsign.connect(node.endpoint) as client:
        async with client.register("leader", room.abstract("first")):
            async with anyio.create_task_group() as tasks:

                async def stand() -> None:
                    async with client.register("leader", room.abstract("b"), wait_in_line=True):
                        raise AssertionError("it is held")

                tasks.start_soon(stand)
                while (await in_line(client)) == 0:
                    await anyio.sleep(0.005)
                tasks.cancel_scope.cancel()
            assert await in_line(client) == 0


async def in_line(client: callsign.Client) -> int:
    ((_, found),) = await client.status()
    assert isinstance(found, callsign.Status)
    return found.in_line
