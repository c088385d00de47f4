"""The programs of the README, run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import LIMIT, Node, Room, binary
from test_tls import authority, keys, node_at

import callsign
import callsign.sync

README = (Path(__file__).parents[1] / "README.md").read_text()
PROGRAMS: dict[str, str] = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", README, re.DOTALL))


def program(name: str) -> str:
    assert name in PROGRAMS, f"the README has no program {name}"
    return PROGRAMS[name]


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


def test_the_programs_have_the_types_of_their_libraries(tmp_path: Path) -> None:
    for name in ("mypy", "aiohttp", "uvicorn"):
        pytest.importorskip(name)
    for name, text in PROGRAMS.items():
        (tmp_path / name).write_text(text)
    # Not every library has types, nor is each of them here.
    lenient = ["--ignore-missing-imports", "--disable-error-code=import-untyped"]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *lenient, *PROGRAMS],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(Path(__file__).parents[1] / "src")},
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_first_programs_meet(node: Node, client: callsign.sync.Client) -> None:
    with running(node, "greeter.py"):
        client.wait("greeter", timeout=LIMIT)
        said = run(node, "caller.py")
        assert re.fullmatch(r"/ip4/127.0.0.1/tcp/\d+, proved: b'hello'\n", said), said
    gone(client, "greeter")


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


#: Starts a node at tractor's default place, in a network namespace of its own, runs a program, and
#: waits until its registrations have gone with it.
TREE = """
ip link set lo up
"$1" registrar --listen /ip4/127.0.0.1/tcp/1616 --ready-fd 1 >ready & node=$!
until grep -q ready ready; do sleep 0.05; done
"$2" tree.py; code=$?
until [ "$("$1" ls --all --json)" = "[]" ]; do sleep 0.05; done
kill $node; wait $node
exit $code
"""


def test_a_tree_of_tractor_registers_with_the_node(room: Room) -> None:
    python = os.environ.get("CALLSIGN_TRACTOR_PYTHON", sys.executable)
    source = str(Path(callsign.__file__).parents[1])
    more = {"PYTHONPATH": source, "CALLSIGN_REGISTRAR": "/ip4/127.0.0.1/tcp/1616"}
    has = [python, "-c", "import callsign, tractor"]
    if subprocess.run(has, env={**room.environment, **more}, capture_output=True).returncode:
        pytest.skip("CALLSIGN_TRACTOR_PYTHON names no Python that has tractor")
    apart = ["unshare", "--net"]
    if subprocess.run([*apart, "true"], capture_output=True).returncode:
        pytest.skip("no network namespace can be made here")
    (room.path / "tree.py").write_text(program("tree.py"))
    ended = subprocess.run(
        [*apart, "sh", "-c", TREE, "sh", binary(), python],
        env={**room.environment, **more},
        cwd=room.path,
        timeout=LIMIT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("foreign /ip4/127.0.0.1/tcp/"), ended.stdout


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
