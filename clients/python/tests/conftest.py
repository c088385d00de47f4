"""What the tests share: a room, and a registrar in it, which is the real program."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from anyio.abc import ByteStream

import callsign
from callsign.streams import SocketStream

#: A bound against hanging, and nothing else: it holds on a busy machine.
LIMIT = 60.0

# Under `nohup` or behind the `&` of a script one is ignored, and by every program started here too.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


def binary() -> str:
    """Returns the path of `callsign`, which the variable `CALLSIGN_BIN` names."""
    default = Path(__file__).parents[3] / "target/debug/callsign"
    path = os.environ.get("CALLSIGN_BIN", str(default))
    assert Path(path).exists(), f"there is no `{path}`: build it, or name it in CALLSIGN_BIN"
    return path


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(autouse=True)
def no_accidents(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A task that fails is restarted and logged; no test may pass over that."""
    yield
    accidents = [it for it in caplog.get_records("call") if it.levelno >= logging.WARNING]
    assert not accidents, accidents


class Node:
    """A registrar: the real program."""

    def __init__(self, room: Room, listen: str, **environment: str) -> None:
        self.room = room
        self.listen = listen
        self._environment = environment
        self.start()

    def start(self) -> None:
        """Starts it, and waits until it is ready."""
        command = [binary(), "registrar", "--ready-fd", "1", "--listen", self.listen]
        environment = {**self.room.environment, **self._environment}
        self._process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, cwd=self.room.path
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(b"listening on "):
                self.endpoint = line.split()[-1].decode()
            if line == b"ready\n":
                break
        else:
            raise AssertionError("the registrar did not become ready")
        self.listen = self.endpoint

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kills it without a warning."""
        self._process.kill()
        self._end()

    def restart(self) -> None:
        """Kills it, and starts another at the same place."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """Ends it."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
        self._end()

    def _end(self) -> None:
        self._process.wait(LIMIT)
        assert self._process.stdout is not None
        self._process.stdout.close()

    async def run(self, *args: str, check: bool = True) -> str:
        """Runs `callsign …` with this registrar, and returns what it prints."""
        command = [binary(), "--registrar", self.endpoint, *args]
        with anyio.fail_after(LIMIT):
            ended = await anyio.run_process(command, env=self.room.environment, check=False)
        said = ended.stdout.decode() + ended.stderr.decode()
        assert not check or ended.returncode == 0, said
        return said


class Room:
    """A fresh folder, and an environment in which nothing else is set."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="cs"))
        self.nodes: list[Node] = []
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path),
            "TMPDIR": str(self.path),
            "XDG_RUNTIME_DIR": str(self.path),
            "CALLSIGN_SYSTEM_DIR": "",
            "CALLSIGN_SETTLE_TIME": "0s",
            "NO_COLOR": "1",
        }

    def unix(self, name: str) -> str:
        """Returns a multiaddr of a socket in it."""
        return f"/unix{self.path}/{name}"

    def abstract(self, name: str) -> str:
        """Returns a multiaddr of an abstract socket that nobody else uses."""
        return f"/unix/@{self.path.name}-{name}"

    def node(self, listen: str | None = None, **environment: str) -> Node:
        """Starts a registrar."""
        place = listen or self.unix(f"registrar{len(self.nodes)}.sock")
        node = Node(self, place, **environment)
        self.nodes.append(node)
        return node

    def close(self) -> None:
        for node in self.nodes:
            node.stop()
        shutil.rmtree(self.path)


@pytest.fixture
def room() -> Iterator[Room]:
    room = Room()
    yield room
    room.close()


@pytest.fixture
def node(room: Room) -> Node:
    return room.node()


Handler = Callable[[ByteStream], Any]


async def greet(stream: ByteStream) -> None:
    """Says hello, and waits for the other to go."""
    await stream.send(b"hello")
    async for _ in stream:
        pass


@asynccontextmanager
async def actor(
    client: callsign.Client,
    name: str,
    *places: str,
    handler: Handler = greet,
    **more: Any,
) -> AsyncIterator[callsign.Registered]:
    """An actor that serves at places, and proves who it is."""
    more.setdefault("proves", True)
    listeners = [await listen(it) for it in places]
    try:
        sockets = [it.sock for it in listeners]
        async with (
            anyio.create_task_group() as tasks,
            client.register(name, *sockets, **more) as registered,
        ):
            for listener in listeners:
                if more["proves"]:
                    tasks.start_soon(registered.serve, listener, handler)
                else:
                    tasks.start_soon(_serve, listener, handler)
            yield registered
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            for listener in listeners:
                await listener.aclose()


async def _serve(listener: Listener, handler: Handler) -> None:
    async def handle(stream: ByteStream) -> None:
        async with stream:
            with suppress(anyio.BrokenResourceError):
                await handler(stream)

    await listener.serve(handle)


async def listen(place: str) -> Listener:
    """Listens at an endpoint."""
    read = callsign.endpoint(place)
    match read:
        case callsign.UnixPath():
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(read.path)
        case callsign.UnixAbstract():
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(f"\0{read.name}")
        case callsign.Tcp():
            sock = socket.socket(socket.AF_INET)
            sock.bind((str(read.host), read.port))
        case _:
            raise AssertionError(place)
    sock.setblocking(False)
    sock.listen(128)
    return Listener(sock)


class Listener(anyio.abc.Listener[SocketStream]):
    """A listener of which nothing is logged when it is cancelled as a caller comes, as of those of
    anyio 4.16 on asyncio."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    async def serve(self, handler: Callable[[SocketStream], Any], task_group: Any = None) -> None:
        async with anyio.create_task_group() as tasks:
            while True:
                await anyio.wait_readable(self.sock)
                try:
                    accepted, _ = self.sock.accept()
                except BlockingIOError:
                    continue
                accepted.setblocking(False)
                tasks.start_soon(handler, SocketStream(accepted))

    async def aclose(self) -> None:
        self.sock.close()
        await anyio.lowlevel.checkpoint()
