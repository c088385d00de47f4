"""The thread of a client for code that blocks, and what runs in it for callers in other threads.

caller ──post──▶ Worker, a loop of events ──▶ Work, a task each
caller ◀──────────── it has begun, or ended ───────┘

Whatever interrupts a caller (Ctrl-C, `SystemExit`, an exception of a signal's handler) cancels what
it waits for, and goes on when that has ended.
"""

from __future__ import annotations

import _thread
import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from typing import Generic, TypeVar

import anyio
import anyio.abc

from .errors import CLOSED, OTHER_PROCESS, NotOpen

T = TypeVar("T")

#: What the thread does next.
Step = Callable[[anyio.abc.TaskGroup], None]


class Latch:
    """An event that one thread waits for. Unlike `threading.Event`, which is written in Python, it
    stays whole when a waiter is interrupted."""

    def __init__(self) -> None:
        self.is_set: bool = False
        self._lock = _thread.allocate_lock()
        self._lock.acquire()

    def set(self) -> None:
        self.is_set = True
        with suppress(RuntimeError):  # it was set before
            self._lock.release()

    def wait(self) -> None:
        while not self.is_set:
            self._lock.acquire()


class Worker:
    """A thread with a loop of events."""

    def __init__(self) -> None:
        self._process = os.getpid()
        # A lock would be held for ever by a caller whose signal's handler calls in its turn.
        self._posted: deque[tuple[Step, Latch]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._is_stopped = self._is_over = False
        #: Who came first: the thread, which runs then, or whoever stopped it before.
        self._claims: dict[None, str] = {}
        self._ended = Latch()

    @property
    def is_here(self) -> bool:
        """Tells whether the thread is of this process: a forked one has no other threads."""
        return self._process == os.getpid()

    def start(self) -> None:
        """Starts the thread."""
        # At once: `Thread.start` waits for the thread, and cannot be interrupted without harm.
        _thread.start_new_thread(self._run, ())

    def stop(self) -> None:
        """Cancels what runs, and waits until the thread has ended."""

        def end() -> None:
            self._is_stopped = True
            self._wake_up()
            if self._claims.setdefault(None, "stopped") == "running":
                self._ended.wait()

        if self.is_here:
            _patiently(end, end)

    def abandon(self) -> None:
        """Has the thread end, and does not wait for that."""
        if self.is_here:
            self._is_stopped = True
            self._wake_up()

    def call(self, ask: Callable[[], Awaitable[T]], undo: Callable[[T], object] | None = None) -> T:
        """Makes an asynchronous call. `undo` is for a value that an interrupted caller does not
        get."""
        work = Work(self, ask)
        try:
            work.run_to(work.ended, work.start)
        except BaseException:
            if undo is not None:
                for value in work.values:
                    undo(value)
            raise
        return work.value()

    def post(self, step: Step, event: Latch) -> None:
        """Has a step taken in the thread, which leads to an event."""
        self._posted.append((step, event))
        self._wake_up()
        if self._is_over:
            self._drop()

    def _wake_up(self) -> None:
        loop, wake = self._loop, self._wake
        if loop is not None and wake is not None:
            with suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(wake.set)

    def _run(self) -> None:
        if self._claims.setdefault(None, "running") != "running":
            return
        try:
            anyio.run(self._serve)
        finally:
            self._is_over = True
            self._drop()
            self._ended.set()

    async def _serve(self) -> None:
        self._wake, self._loop = asyncio.Event(), asyncio.get_running_loop()
        async with anyio.create_task_group() as tasks:
            while not self._is_stopped:
                self._wake.clear()
                while self._posted:
                    step, _ = self._posted.popleft()
                    step(tasks)
                if not self._is_stopped:
                    await self._wake.wait()
            tasks.cancel_scope.cancel()

    def _drop(self) -> None:
        """Ends what has come too late."""
        with suppress(IndexError):
            while True:
                _, event = self._posted.popleft()
                event.set()


class Work(Generic[T]):
    """A call that runs in the thread of a worker for a caller in another."""

    def __init__(
        self, worker: Worker, ask: Callable[[], Awaitable[T]], begun: Latch | None = None
    ) -> None:
        self._worker = worker
        self._ask = ask
        #: What the call sets on its way, and its end if it fails before.
        self._begun = begun
        self._scope: anyio.CancelScope | None = None
        self._error: Exception | None = None
        self.ended: Latch = Latch()
        #: Its value, once it has one.
        self.values: list[T] = []

    def run_to(self, event: Latch, step: Step) -> None:
        """Has a step of it taken, and waits for an event. An interrupted caller cancels it, and
        waits until it has ended."""
        if not self._worker.is_here:
            raise NotOpen(OTHER_PROCESS)

        def run(step: Step, event: Latch) -> None:
            self._worker.post(step, event)
            event.wait()

        _patiently(partial(run, step, event), partial(run, self.cancel, self.ended))

    def value(self) -> T:
        """Returns its value, or raises its error, once it has ended."""
        if self._error is not None:
            raise self._error
        if not self.values:
            raise NotOpen(CLOSED)
        return self.values[0]

    def start(self, tasks: anyio.abc.TaskGroup) -> None:
        """The step that starts it."""
        self._scope = anyio.CancelScope()
        tasks.start_soon(self._run, self._scope)

    def cancel(self, _: anyio.abc.TaskGroup) -> None:
        """The step that cancels it."""
        if self._scope is None:
            self.ended.set()  # its caller was interrupted before it was started
        else:
            self._scope.cancel()

    async def _run(self, scope: anyio.CancelScope) -> None:
        try:
            with scope:
                self.values.append(await self._ask())
        except Exception as error:
            self._error = error
        finally:
            self.ended.set()
            if self._begun is not None:
                self._begun.set()


class Block(Generic[T]):
    """An asynchronous context that is open in the thread of a worker while a block lasts."""

    def __init__(self, worker: Worker, context: AbstractAsyncContextManager[T]) -> None:
        self._worker = worker
        self._context = context
        self._has_begun = Latch()
        self._work = Work(worker, self._stay, self._has_begun)
        self._entered: list[T] = []
        self._left: anyio.Event | None = None

    def enter(self) -> T:
        """Opens it. An interrupted caller leaves it closed."""
        self._work.run_to(self._has_begun, self._work.start)
        if not self._entered:
            self._work.value()
            raise NotOpen(CLOSED)
        return self._entered[0]

    def leave(self) -> None:
        """Closes it, and waits until that is done."""
        with suppress(NotOpen):  # it is not open any more
            self._work.run_to(self._work.ended, self._leave)
            self._work.value()

    def abandon(self) -> None:
        """Has it closed, and does not wait for that."""
        if self._worker.is_here:
            self._worker.post(self._work.cancel, self._work.ended)

    def _leave(self, _: anyio.abc.TaskGroup) -> None:
        if self._left is not None:
            self._left.set()

    async def _stay(self) -> None:
        self._left = anyio.Event()
        async with self._context as entered:
            self._entered.append(entered)
            self._has_begun.set()
            await self._left.wait()


def _patiently(wait: Callable[[], None], give_up: Callable[[], None]) -> None:
    """Waits. When that is interrupted, it gives up what it waits for, however often that is
    interrupted in its turn, and then raises the latest interruption."""
    try:
        wait()
        return
    except BaseException as error:
        interruption = error
    is_given_up = False
    while not is_given_up:
        # Python looks for signals wherever a loop begins anew: so there is one within another.
        try:
            while not is_given_up:
                try:
                    give_up()
                    is_given_up = True
                except BaseException as error:
                    interruption = error
        except BaseException as error:
            interruption = error
    raise interruption
