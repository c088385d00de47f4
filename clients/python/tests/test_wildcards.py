"""The addresses of a wildcard, followed as they change."""

from __future__ import annotations

import subprocess
import sys

import anyio
import pytest
from conftest import LIMIT, Node

import callsign

#: A service in a network namespace of its own, in which it adds and removes addresses.
SERVICE = """
import asyncio, socket, subprocess, sys
import callsign

def ip(*words):
    subprocess.run(["ip", *words], check=True)

async def main():
    ip("link", "set", "lo", "up")
    listener = socket.create_server((sys.argv[2], 0), family=int(sys.argv[3]))
    async with callsign.connect(sys.argv[1]) as client, client.register("web", listener):
        ip("link", "add", "one", "type", "veth", "peer", "name", "other")
        ip("link", "set", "one", "up")
        ip("link", "set", "other", "up")
        # The client follows while this waits for the next line.
        while line := await asyncio.to_thread(sys.stdin.readline):
            ip("address", *line.split(), "dev", "one")

asyncio.run(main())
"""


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("wildcard", "family", "address", "place"),
    [
        ("0.0.0.0", 2, "10.9.8.7/24", "/ip4/10.9.8.7/"),
        ("::", 10, "fd00:9:8::7/64", "/ip6/fd00:9:8::7/"),
    ],
)
async def test_a_registration_follows_the_addresses_of_its_host(
    node: Node, wildcard: str, family: int, address: str, place: str
) -> None:
    service = start(node, wildcard, str(family))
    assert service.stdin is not None
    try:
        with anyio.fail_after(LIMIT):
            async with callsign.connect(node.endpoint) as client, client.watch("web") as watch:
                await has(watch, place, is_there=False)
                service.stdin.write(f"add {address}\n")
                service.stdin.flush()
                await has(watch, place, is_there=True)
                service.stdin.write(f"del {address}\n")
                service.stdin.flush()
                await has(watch, place, is_there=False)
    finally:
        service.kill()
        service.stdin.close()
        service.wait(LIMIT)


#: A service at a fixed address, which is not there at first, as a listener and as a text.
FIXED = """
import asyncio, socket, subprocess, sys
import callsign

def ip(*words):
    subprocess.run(["ip", *words], check=True)

async def main():
    ip("link", "set", "lo", "up")
    ip("link", "add", "one", "type", "veth", "peer", "name", "other")
    ip("link", "set", "one", "up")
    ip("link", "set", "other", "up")
    listener = socket.socket()
    listener.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND
    listener.bind(("10.9.8.7", 0))
    listener.listen()
    async with callsign.connect(sys.argv[1]) as client, client.register("web", listener):
        await asyncio.to_thread(sys.stdin.readline)
        ip("address", "add", "10.9.8.7/24", "dev", "one")
        text = f"/ip4/10.9.8.7/tcp/{listener.getsockname()[1]}"
        remote = "/ip4/10.9.8.9/tcp/80"
        async with client.register("text", text, remote):
            while line := await asyncio.to_thread(sys.stdin.readline):
                ip("address", *line.split(), "dev", "one")

asyncio.run(main())
"""


@pytest.mark.anyio
async def test_an_address_that_the_host_does_not_have_is_withheld(node: Node) -> None:
    service = start(node, script=FIXED)
    assert service.stdin is not None
    place = "/ip4/10.9.8.7/"
    try:
        with anyio.fail_after(LIMIT):
            async with (
                callsign.connect(node.endpoint) as client,
                client.watch("web") as web,
                client.watch("text") as text,
            ):
                await has(web, place, is_there=False)
                for line in ("come", "del 10.9.8.7/24", "add 10.9.8.7/24"):
                    service.stdin.write(f"{line}\n")
                    service.stdin.flush()
                    is_there = not line.startswith("del")
                    await has(web, place, is_there=is_there)
                    record = await has(text, place, is_there=is_there)
                    # Another host's stays as it was said.
                    assert any("10.9.8.9" in str(it.endpoint) for it in record.endpoints)
    finally:
        service.kill()
        service.stdin.close()
        service.wait(LIMIT)


def start(node: Node, *args: str, script: str = SERVICE) -> subprocess.Popen[str]:
    """Starts the service in a network namespace of its own, if that can be made."""
    unshare = ["unshare", "--net"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no network namespace can be made here")
    return subprocess.Popen(
        [*unshare, sys.executable, "-c", script, node.endpoint, *args],
        env={**node.room.environment, "PYTHONPATH": ":".join(sys.path)},
        stdin=subprocess.PIPE,
        text=True,
    )


async def has(watch: callsign.Watch, place: str, *, is_there: bool) -> callsign.Record:
    """Waits for a record that has an endpoint, or that has it no more."""
    async for change in watch:
        if change.record is not None:
            endpoints = [str(it.endpoint) for it in change.record.endpoints]
            if any(it.startswith(place) for it in endpoints) == is_there:
                return change.record
    raise AssertionError("the watch has ended")
