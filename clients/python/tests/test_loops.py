"""Loops of events in several threads, and what ends them."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from uuid import uuid4

import anyio
import anyio.to_thread
import pytest
from conftest import LIMIT, Node, Room

import callsign

pytestmark = pytest.mark.anyio


async def test_another_threads_loop_opens_its_own_client(
    node: Node, room: Room, anyio_backend: str
) -> None:
    asked: list[str] = []

    async def use(client: callsign.Client) -> None:
        for call in (
            lambda: client.query("feed"),
            lambda: client.wait("feed"),
            lambda: client.list(),
            lambda: client.watch("*").__anext__(),
            lambda: client.watch("*").__aenter__(),
            lambda: client.register("feed", "/unix/@feed").__aenter__(),
            lambda: client.register_patiently("feed", "/unix/@feed").__aenter__(),
        ):
            with pytest.raises(callsign.NotOpen, match="opened in another thread"):
                await call()
        async with callsign.connect(node.endpoint) as own:
            asked.extend(it.name for it in (await own.query("feed")).records)

    async with callsign.connect(node.endpoint) as client:
        async with client.register("feed", room.abstract("feed")):
            await anyio.to_thread.run_sync(lambda: anyio.run(use, client, backend=anyio_backend))
            assert asked == ["feed"]
            assert len((await client.query("feed")).records) == 1


def test_clients_of_several_threads_do_not_meet(node: Node, anyio_backend: str) -> None:
    """Each sees its own changes at once, while the others' are read too."""
    failures: list[BaseException] = []

    async def use(number: int) -> None:
        async with callsign.connect(node.endpoint) as client:
            for at in range(20):
                name = f"feed-{number}"
                async with client.register(name, f"/unix/@feed-{at}"):
                    (record,) = (await client.query(name)).records
                    assert str(record.endpoints[0].endpoint) == f"/unix/@feed-{at}"
                    await client.query(f"feed-{(number + 1) % 4}")
                    await client.list()

    def run(number: int) -> None:
        try:
            anyio.run(use, number, backend=anyio_backend)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert failures == []


async def test_a_watch_that_nobody_has_any_more_ends(node: Node) -> None:
    async with callsign.connect(node.endpoint) as client:
        before = len(anyio.get_running_tasks())
        for _ in range(20):
            async for change in client.watch("*"):
                if change.kind == "synced":
                    break
        assert (await anext(client.watch("*"))).kind in ("reset", "synced")
        with anyio.fail_after(LIMIT):
            while True:
                ((_, status),) = await client.status()
                assert isinstance(status, callsign.Status)
                if status.watchers == 0 and len(anyio.get_running_tasks()) == before:
                    break
                await anyio.sleep(0.005)
        kept = client.watch("*")
        await anext(kept)
    with pytest.raises(StopAsyncIteration):
        await anext(kept)


@pytest.mark.parametrize("places", [1, 2])
async def test_who_asks_in_vain_again_and_again_stops_no_other_task(
    room: Room, node: Node, places: int
) -> None:
    others = [room.unix("none")][: places - 1]
    async with callsign.connect(node.endpoint, *others) as client:
        asks: list[Callable[[], Awaitable[object]]] = [
            lambda: client.query("feed"),
            lambda: client.find("feed"),
            lambda: client.list(),
            lambda: client.drain(uuid4()),
            lambda: client.wait("feed", timeout=0),
        ]
        for ask in asks:
            node.kill()
            is_down, failures = True, 0
            with anyio.fail_after(LIMIT):
                while is_down:  # without a pause: the connector has to have its turns
                    try:
                        await ask()
                        is_down = False
                    except callsign.Unreachable:
                        failures += 1
                        if failures == 50:
                            node.start()
                    except callsign.Error:
                        is_down = False


BUSY = """
import sys
import anyio
import callsign

async def main():
    async with callsign.connect(sys.argv[1]) as client:
        async with client.register("busy", "/unix/@busy"):
            print("busy", flush=True)
            while True:
                await client.query("busy")

anyio.run(main, backend=sys.argv[2])
"""


def test_ctrl_c_ends_a_program_as_it_ends_one_without_a_client(
    node: Node, anyio_backend: str
) -> None:
    """Wherever it is just then. On trio that may be a task of the client."""
    for _ in range(6):
        command = [sys.executable, "-c", BUSY, node.endpoint, anyio_backend]
        busy = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert busy.stdout is not None
        busy.stdout.readline()
        busy.send_signal(signal.SIGINT)
        _, said = busy.communicate(timeout=LIMIT)
        assert busy.returncode == -signal.SIGINT, said.decode()
        assert said.endswith(b"KeyboardInterrupt\n") and b"ExceptionGroup" not in said


async def test_a_client_is_entered_once(node: Node) -> None:
    async with callsign.connect(node.endpoint) as client:
        with pytest.raises(callsign.NotOpen, match="entered once"):
            async with client:
                raise AssertionError("it is open")
        assert (await client.query("feed")).records == ()
        async with callsign.connect(node.endpoint) as other:
            assert (await other.query("feed")).records == ()
    for closed in (client, other):
        with pytest.raises(callsign.NotOpen, match="this client is closed"):
            await closed.query("feed")
