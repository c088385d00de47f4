"""Futures that wake their task at once, on asyncio."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import anyio
import pytest

from callsign.call import Call, maker
from callsign.prompt import Prompt

pytestmark = pytest.mark.anyio

PLACE: ContextVar[str] = ContextVar("PLACE", default="outside")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def waiter(steps: list[Any], prompt: Prompt) -> asyncio.Task[None]:
    """Starts a task that awaits it."""

    async def wait() -> None:
        PLACE.set("inside")
        try:
            await prompt
            steps.append((PLACE.get(), asyncio.current_task() is task))
        except asyncio.CancelledError:
            steps.append("cancelled")
            raise
        finally:
            await asyncio.sleep(0)
            steps.append("over")

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    return task


async def test_its_task_runs_within_the_callback_that_wakes_it() -> None:
    steps: list[Any] = []
    prompt = Prompt()
    task = await waiter(steps, prompt)

    def wake() -> None:
        steps.append("before")
        prompt.wake()
        steps.append(("after", PLACE.get(), asyncio.current_task()))

    asyncio.get_running_loop().call_soon(wake)
    await task
    assert steps == ["before", ("inside", True), ("after", "outside", None), "over"]
    await prompt  # as often as anybody likes


async def test_a_task_ends_it_in_the_usual_way() -> None:
    steps: list[Any] = []
    prompt = Prompt()
    task = await waiter(steps, prompt)
    prompt.set_result(None)
    assert steps == []
    await task
    assert steps == [("inside", True), "over"]


@pytest.mark.parametrize("is_woken_too", [False, True])
async def test_its_task_can_be_cancelled(is_woken_too: bool) -> None:
    steps: list[Any] = []
    call = Call(prompt := Prompt(), None)
    task = await waiter(steps, prompt)
    task.cancel()
    assert prompt.cancelled() and steps == []
    if is_woken_too:
        call.wake()
        call.end()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["cancelled", "over"]


async def test_a_scope_and_a_limit_end_the_wait() -> None:
    make = maker(asyncio.get_running_loop())
    with anyio.move_on_after(0) as scope:
        await make()
    assert scope.cancelled_caught
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(make(), 0.001)
    first, second = Prompt(), Prompt()
    second.set_result(None)
    done, _ = await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
    assert done == {second}
