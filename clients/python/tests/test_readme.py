"""The programs of the README, run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import LIMIT, Node, Room
from test_tls import authority, keys, node_at

import callsign
import callsign.sync


def program(name: str) -> str:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    found = re.search(rf"```python\n# {re.escape(name)}\n(.*?)```", readme, re.DOTALL)
    assert found, f"the README has no program {name}"
    return found[1]


@contextmanager
def running(node: Node, name: str) -> Iterator[None]:
    """Runs a program of the README in the room until the block ends."""
    command = [sys.executable, "-c", program(name)]
    process = subprocess.Popen(command, env=environment(node), cwd=node.room.path)
    try:
        yield
    finally:
        process.terminate()
        process.wait(LIMIT)


def run(node: Node, name: str) -> str:
    """Runs a program of the README in the room, and returns what it prints."""
    ended = subprocess.run(
        [sys.executable, "-c", program(name)],
        env=environment(node),
        cwd=node.room.path,
        timeout=LIMIT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def environment(node: Node) -> dict[str, str]:
    more = {"CALLSIGN_REGISTRAR": node.endpoint, "PYTHONPATH": ":".join(sys.path)}
    return {**node.room.environment, **more}


@pytest.fixture
def client(node: Node) -> Iterator[callsign.sync.Client]:
    with callsign.sync.connect(node.endpoint) as client:
        yield client


def test_aiohttp_is_found_by_its_name(node: Node, client: callsign.sync.Client) -> None:
    pytest.importorskip("aiohttp")
    for _ in range(2):
        with running(node, "web_server.py"):
            client.wait("web", timeout=LIMIT)
            assert run(node, "web_client.py") == "hello by name\n"
        gone(client, "web")


def test_uvicorn_is_found_by_its_name(node: Node, client: callsign.sync.Client) -> None:
    pytest.importorskip("uvicorn")
    with running(node, "asgi_server.py"):
        client.wait("asgi", timeout=LIMIT)
        with client.find("asgi") as found:
            found.socket.sendall(b"GET / HTTP/1.1\r\nHost: asgi\r\nConnection: close\r\n\r\n")
            said = b"".join(iter(lambda: found.socket.recv(4096), b""))
            assert b"hello from uvicorn" in said, said
    gone(client, "asgi")


def test_a_trio_service_proves_who_it_is(
    room: Room, node: Node, client: callsign.sync.Client
) -> None:
    with running(node, "clock.py"):
        client.wait("clock", timeout=LIMIT)
        with client.find("clock") as clock:
            assert clock.assurance is callsign.Assurance.PROVED
            assert clock.socket.recv(100) == b"high time"
        said = run(node, "script.py")
        assert said == f"clock ready {room.unix('clock.sock')}\nhigh time\n"
    gone(client, "clock")


def test_an_actor_over_tls_proves_who_it_is(room: Room) -> None:
    client_files = authority(room)
    keys(room, "issue", "keys", "desk", "--host", "127.0.0.1")
    node = node_at(room)
    with (
        running(node, "desk.py"),
        callsign.sync.connect(node.endpoint, tls=client_files) as client,
    ):
        client.wait("desk", timeout=LIMIT)
        owner = "tls:spiffe://callsign.internal/desk"
        with client.find("desk", owner=owner) as desk:
            assert desk.assurance is callsign.Assurance.PROVED
            assert desk.socket.recv(100) == b"hello over TLS"


def gone(client: callsign.sync.Client, name: str) -> None:
    """Waits until the registrar has noticed the end of a program."""
    with client.watch(name) as watch:
        for change in watch:
            if change.kind in ("synced", "remove") and not client.query(name, all=True).records:
                return
