"""Calls that are cancelled at each of the points where they wait."""

from __future__ import annotations

import gc
import os
import signal
import types
import uuid
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from conftest import LIMIT, Node, Room, actor

import callsign

pytestmark = pytest.mark.anyio

#: No call waits more often before it is done, or before it waits for what does not come.
POINTS_MAX = 200


@types.coroutine
def up_to(
    call: Coroutine[Any, Any, None], point: int, cancel: Callable[[], None]
) -> Generator[Any, Any, bool]:
    """Makes a call, and cancels it as it waits for the nth time. Returns whether it had ended."""
    waits, said = 0, None
    failure: BaseException | None = None
    while True:
        try:
            waiting = call.send(said) if failure is None else call.throw(failure)
        except StopIteration:
            return waits < point
        waits += 1
        if waits == point:
            cancel()
        said = failure = None
        try:
            said = yield waiting
        except BaseException as error:
            failure = error


Once = Callable[[callsign.Client, Room, str], Coroutine[Any, Any, None]]


async def query(client: callsign.Client, _: Room, __: str) -> None:
    await client.query("feed")


async def query_of_an_owner(client: callsign.Client, _: Room, __: str) -> None:
    await client.query("feed", owner="nobody", max_age=1, all=True)


async def query_of_nobody(client: callsign.Client, _: Room, __: str) -> None:
    await client.query("nobody")


async def find(client: callsign.Client, _: Room, __: str) -> None:
    async with await client.find("feed") as feed:
        assert await feed.receive() == b"hello"
        await feed.send(b"hello")


async def find_nobody(client: callsign.Client, _: Room, __: str) -> None:
    with pytest.raises(callsign.NotFound):
        await client.find("nobody")


async def lists(client: callsign.Client, _: Room, __: str) -> None:
    await client.list("*")
    await client.status()
    await client.whoami()


async def wait(client: callsign.Client, _: Room, __: str) -> None:
    await client.wait("feed")
    await client.wait_within_reach("feed", timeout=LIMIT)
    with pytest.raises(callsign.TimedOut):
        await client.wait("nobody", timeout=0)


async def wait_for_nobody(client: callsign.Client, _: Room, __: str) -> None:
    await client.wait("nobody")


async def wait_for_nobody_within_reach(client: callsign.Client, _: Room, __: str) -> None:
    await client.wait_within_reach("nobody", timeout=LIMIT)


async def watch(client: callsign.Client, _: Room, __: str) -> None:
    async with client.watch("*") as watch:
        async for change in watch:
            if change.kind == "synced":
                break


async def register(client: callsign.Client, room: Room, _: str) -> None:
    async with client.register("brief", room.abstract("brief"), lease=5) as brief:
        await brief.set_state("draining")
        await brief.update_metadata({"at": "last"})
        await brief.update_endpoints([room.abstract("other")])
        await client.renew(brief.uuid)
        await client.set_state(brief.uuid, "ready")
        await brief.accepted()
        await client.unregister(brief.uuid)


async def register_patiently(client: callsign.Client, room: Room, _: str) -> None:
    async with client.register_patiently("brief", room.abstract("brief")) as brief:
        await brief.accepted()


async def connect(client: callsign.Client, room: Room, node: str) -> None:
    async with callsign.connect(node) as other:
        async with other.register("brief", room.abstract("brief")):
            await other.query("brief")


async def connect_to_several(client: callsign.Client, room: Room, node: str) -> None:
    async with callsign.connect(node, room.unix("none"), room.abstract("none")) as other:
        await other.query("feed")
        async with await other.find("feed") as feed:
            assert await feed.receive() == b"hello"


@pytest.mark.parametrize(
    "once",
    [
        query,
        query_of_an_owner,
        query_of_nobody,
        find,
        find_nobody,
        lists,
        wait,
        wait_for_nobody,
        wait_for_nobody_within_reach,
        watch,
        register,
        register_patiently,
        connect,
        connect_to_several,
    ],
)
@pytest.mark.parametrize("where", ["at its nth wait", "in the nth turn"])
async def test_wherever_it_is_cancelled_the_client_goes_on(
    room: Room, node: Node, once: Once, where: str
) -> None:
    cancelled_at = at_its_nth_wait if where == "at its nth wait" else in_the_nth_turn
    with anyio.fail_after(LIMIT):
        async with callsign.connect(node.endpoint) as client:
            async with actor(client, "feed", room.unix("feed")):
                await until_idle(client)
                before = held()
                for point in range(1, POINTS_MAX):
                    call = once(client, room, node.endpoint)
                    is_over = await cancelled_at(point, call, once in ENDLESS)
                    assert len((await client.query("feed")).records) == 1
                    if is_over:
                        break
                else:
                    # The slower the registrar, the more turns pass until it has answered.
                    assert where == "in the nth turn", "it has no end"
                await until_idle(client)
                while held() > before:
                    await anyio.sleep(0.005)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()


@pytest.mark.parametrize("where", ["while it registers", "in its block"])
@pytest.mark.parametrize("is_given_up", [False, True])
async def test_a_cancelled_registration_is_taken_out_by_the_client(
    room: Room, where: str, is_given_up: bool
) -> None:
    # For so long it lists what a client had that may return.
    node = room.node(CALLSIGN_SETTLE_TIME="60s")
    ask_timeout = 0.5 if is_given_up else 3600.0
    async with callsign.connect(node.endpoint, ask_timeout=ask_timeout) as client:
        (link,) = client.hub.links
        first = link.connection
        assert first is not None
        async with client.register("feed", room.abstract("feed")):
            entered = anyio.Event()

            async def register() -> None:
                async with client.register("brief", room.abstract("brief"), lease=3600):
                    entered.set()
                    await anyio.sleep_forever()

            with anyio.fail_after(LIMIT):
                async with anyio.create_task_group() as tasks:
                    if where == "in its block":
                        tasks.start_soon(register)
                        await entered.wait()
                        node.signal(signal.SIGSTOP)
                    else:
                        node.signal(signal.SIGSTOP)
                        tasks.start_soon(register)
                        entry = None
                        while entry is None:
                            await anyio.sleep(0.005)
                            entries = client.hub.entries.values()
                            found = (it for it in entries if it.instance.name == "brief")
                            entry = next(found, None)
                        await entry.changed.until(lambda: entry.progress[0].kind == "under-way")
                        await anyio.sleep(0.05)
                    tasks.cancel_scope.cancel()
                # It came back, though nobody has answered.
                if is_given_up:
                    await link.changed.until(lambda: link.connection is not first)
                else:
                    assert link.connection is first
                node.signal(signal.SIGCONT)
                if is_given_up:
                    await link.up(first.number)
                assert [it.name for it in (await client.list()).records] == ["feed"]
                while client.hub.leaving:
                    await anyio.sleep(0.005)


async def test_what_was_cancelled_can_be_registered_again_at_once(room: Room, node: Node) -> None:
    number = uuid.uuid4()
    async with callsign.connect(node.endpoint) as client:
        with anyio.fail_after(LIMIT):
            for turns in range(12):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(end_after, turns, tasks.cancel_scope)
                    async with client.register("brief", room.abstract("brief"), uuid=number):
                        await anyio.sleep_forever()
                async with client.register("brief", room.abstract("brief"), uuid=number):
                    await until_idle(client)
                    assert len((await client.query("brief")).records) == 1


#: Those that wait for what does not come, and after how many turns they do that for sure.
ENDLESS = (wait_for_nobody, wait_for_nobody_within_reach)
TURNS = 60


async def at_its_nth_wait(point: int, call: Coroutine[Any, Any, None], is_endless: bool) -> bool:
    """Returns whether it has ended before, or waits without an end."""
    is_reached = is_over = False

    def reach() -> None:
        nonlocal is_reached
        is_reached = True
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        if is_endless:
            tasks.start_soon(end_after, TURNS, tasks.cancel_scope)
        is_over = await cast(up_to(call, point, reach))
        tasks.cancel_scope.cancel()
    return is_over or not is_reached


async def in_the_nth_turn(point: int, call: Coroutine[Any, Any, None], is_endless: bool) -> bool:
    """Other tasks of the call may wait then."""
    is_over = False
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(end_after, point, tasks.cancel_scope)
        await call
        is_over = True
        tasks.cancel_scope.cancel()
    return is_over or (is_endless and point >= TURNS)


async def end_after(turns: int, scope: anyio.CancelScope) -> None:
    for _ in range(turns):
        await anyio.lowlevel.checkpoint()
    scope.cancel()


def cast(generator: Generator[Any, Any, bool]) -> Awaitable[bool]:
    return generator  # type: ignore[return-value]


async def until_idle(client: callsign.Client) -> None:
    """Waits until the registrar has nothing but the actor, of this client alone."""
    while True:
        ((_, status),) = await client.status()
        assert isinstance(status, callsign.Status)
        counts = status.sessions, status.instances, status.waiters, status.watchers
        if counts == (1, 1, 0, 0):
            return
        await anyio.sleep(0.005)


def held() -> tuple[int, int]:
    gc.collect()
    return len(os.listdir("/proc/self/fd")), len(anyio.get_running_tasks())
