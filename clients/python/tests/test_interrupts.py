"""Callers of the synchronous face that are interrupted, and processes that are forked."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
import pytest
from conftest import LIMIT, Node, Room

import callsign
import callsign.sync
from callsign.worker import Block, Latch, Worker


class Alarm(Exception):
    """The exception of a signal's handler."""


@pytest.fixture(params=[KeyboardInterrupt, SystemExit, Alarm])
def interruption(request: pytest.FixtureRequest) -> Iterator[type[BaseException]]:
    """What `SIGUSR1` raises in this thread."""
    kind: type[BaseException] = request.param

    def handle(*_: object) -> None:
        raise kind

    before = signal.signal(signal.SIGUSR1, handle)
    yield kind
    signal.signal(signal.SIGUSR1, before)


@contextmanager
def interrupting(when: Callable[[], object]) -> Iterator[None]:
    """Interrupts this thread once another one has seen something."""
    here = threading.get_ident()

    def watch() -> None:
        when()
        signal.pthread_kill(here, signal.SIGUSR1)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        watching.join(LIMIT)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    def count() -> int:
        return len(os.listdir("/proc/self/task"))

    # A thread of the test before may end only now.
    before = count()
    yield
    until(lambda: count() <= before)


def status(client: callsign.sync.Client) -> callsign.Status:
    ((_, found),) = client.status()
    assert isinstance(found, callsign.Status)
    return found


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_an_interrupted_wait_is_withdrawn(node: Node, interruption: type[BaseException]) -> None:
    with (
        callsign.sync.connect(node.endpoint) as client,
        callsign.sync.connect(node.endpoint) as other,
    ):
        with interrupting(lambda: until(lambda: status(other).waiters == 1)):
            with pytest.raises(interruption):
                client.wait("feed")
        until(lambda: status(other).waiters == 0)
        assert client.query("feed").records == ()


def test_who_gives_up_in_line_does_not_take_the_name(
    room: Room, interruption: type[BaseException]
) -> None:
    settings = room.path / "settings.toml"
    settings.write_text("[names]\nleader = { exclusive = true }\n")
    node = room.node(CALLSIGN_CONFIG=str(settings))
    with (
        callsign.sync.connect(node.endpoint) as client,
        callsign.sync.connect(node.endpoint) as other,
    ):
        with other.register("leader", room.abstract("first")):
            with interrupting(lambda: until(lambda: status(other).in_line == 1)):
                with pytest.raises(interruption):
                    with client.register("leader", room.abstract("second"), wait_in_line=True):
                        raise AssertionError("it is held")
            assert status(client).in_line == 0
        assert client.list().records == ()


def test_an_interrupted_look_at_a_watch_loses_no_change(
    room: Room, node: Node, interruption: type[BaseException]
) -> None:
    with (
        callsign.sync.connect(node.endpoint) as client,
        callsign.sync.connect(node.endpoint) as other,
    ):
        with client.watch("feed") as watch:
            kinds: list[str] = []
            with interrupting(lambda: until(lambda: "synced" in kinds)):
                with pytest.raises(interruption):
                    for change in watch:
                        kinds.append(change.kind)
            with other.register("feed", room.abstract("feed")):
                assert next(watch).kind == "add"
            assert next(watch).kind == "remove"
        until(lambda: status(other).watchers == 0)


def test_an_interrupted_connect_leaves_nothing(
    room: Room, interruption: type[BaseException]
) -> None:
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(room.path / "mute.sock"))
        mute.listen()
        callers: list[socket.socket] = []
        with interrupting(lambda: callers.append(mute.accept()[0])):
            with pytest.raises(interruption):
                with callsign.sync.connect(room.unix("mute.sock"), ask_timeout=LIMIT):
                    raise AssertionError("it answers")
        assert_closed(callers[0])


def test_an_interrupted_find_leaves_no_connection(
    room: Room, node: Node, interruption: type[BaseException]
) -> None:
    with (
        callsign.sync.connect(node.endpoint, actor_timeout=LIMIT) as client,
        socket.socket(socket.AF_UNIX) as mute,
    ):
        mute.bind(str(room.path / "mute.sock"))
        mute.listen()
        callers: list[socket.socket] = []
        with client.register("feed", mute, proves=True):
            with interrupting(lambda: callers.append(mute.accept()[0])):
                with pytest.raises(interruption):
                    client.find("feed")
            assert_closed(callers[0])


def assert_closed(caller: socket.socket) -> None:
    """Awaits the end of what the other side says."""
    with caller:
        caller.settimeout(LIMIT)
        while caller.recv(4096):
            pass


def test_however_often_it_is_interrupted_a_block_ends_first() -> None:
    steps: list[str] = []
    is_leaving, may_end = threading.Event(), threading.Event()

    class Slow:
        async def __aenter__(self) -> str:
            return "open"

        async def __aexit__(self, *_: object) -> None:
            with anyio.CancelScope(shield=True):
                is_leaving.set()
                while not may_end.is_set():
                    await anyio.sleep(0.005)
            steps.append("closed")

    def handle(*_: object) -> None:
        steps.append("interrupted")
        raise Alarm(len(steps))

    def interrupt_thrice() -> None:
        is_leaving.wait(LIMIT)
        for count in range(1, 4):
            signal.pthread_kill(here, signal.SIGUSR1)
            until(lambda count=count: len(steps) == count)  # type: ignore[misc]
        may_end.set()

    here, before = threading.get_ident(), signal.signal(signal.SIGUSR1, handle)
    worker = Worker()
    worker.start()
    block = Block(worker, Slow())
    assert block.enter() == "open"
    interrupting = threading.Thread(target=interrupt_thrice)
    interrupting.start()
    with pytest.raises(Alarm) as raised:
        block.leave()
    assert steps == ["interrupted"] * 3 + ["closed"]
    assert raised.value.args == (3,)
    interrupting.join(LIMIT)
    worker.stop()
    signal.signal(signal.SIGUSR1, before)


def test_a_block_that_fails_has_its_error_before_its_caller_wakes() -> None:
    errors: list[Exception | None] = []

    class Fails:
        async def __aenter__(self) -> str:
            raise Alarm

        async def __aexit__(self, *_: object) -> None: ...

    class Watched(Latch):
        def set(self) -> None:
            errors.append(block._work._error)
            super().set()

    worker = Worker()
    worker.start()
    block = Block(worker, Fails())
    block._has_begun = block._work._begun = Watched()
    with pytest.raises(Alarm):
        block.enter()
    assert [type(it) for it in errors] == [Alarm]
    worker.stop()


#: Whatever is interrupted within a destructor is lost: that is reported to nobody but this process.
STORM = """
import random, signal, sys
import callsign.sync

class Alarm(Exception):
    pass

def handle(*_):
    if is_armed:
        raise Alarm

def once(what):
    match what:
        case 0:
            with callsign.sync.connect(sys.argv[1]) as other:
                other.query("feed")
        case 1:
            client.wait("feed")
        case 2:
            with client.watch("*") as watch:
                for _ in watch:
                    pass
        case 3:
            with client.register("brief", "/unix/@brief"):
                client.list()

signal.signal(signal.SIGALRM, handle)
chance, is_armed, heard = random.Random(7), False, 0
with callsign.sync.connect(sys.argv[1]) as client:
    for at in range(120):
        is_armed = True
        try:
            first, again = chance.uniform(0.0002, 0.02), chance.uniform(0.001, 0.004)
            signal.setitimer(signal.ITIMER_REAL, first, again)
            once(at % 4)
            is_armed = False
        except Alarm:
            is_armed = False
            heard += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    print("done", heard, flush=True)
    sys.stdin.read()
"""


def test_a_storm_of_signals_leaves_nothing_behind(room: Room, node: Node) -> None:
    """An alarm goes off wherever the caller is just then, and again and again until it is heard."""
    command = [sys.executable, "-c", STORM, node.endpoint]
    pipe = subprocess.PIPE
    storm = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
    assert storm.stdout is not None
    done, heard = storm.stdout.readline().split()
    assert done == b"done" and int(heard) >= 60
    with callsign.sync.connect(node.endpoint) as client:

        def counts() -> tuple[int, ...]:
            it = status(client)
            return it.sessions, it.instances, it.waiters, it.watchers

        until(lambda: counts() == (2, 0, 0, 0))
        storm.communicate(timeout=LIMIT)
        assert storm.returncode == 0
        until(lambda: counts() == (1, 0, 0, 0))


def test_a_closed_client_says_so(node: Node) -> None:
    client = callsign.sync.connect(node.endpoint)
    with pytest.raises(callsign.NotOpen, match=r"`with callsign\.sync\.connect"):
        client.query("feed")
    with client, client.watch() as watch:
        pass
    for ask in (client.whoami, lambda: client.query("feed"), client.__enter__, watch.__next__):
        with pytest.raises(callsign.NotOpen):
            ask()
    with pytest.raises(callsign.NotOpen, match="this client is closed"):
        client.find("feed")


def forked(run: Callable[[], object]) -> int:
    """Returns the status of a fork of this process that runs something."""
    with warnings.catch_warnings():
        # Python warns of forks of a process with several threads: that is what is tried here.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        signal.alarm(int(LIMIT))  # kills one that hangs
        try:
            run()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_fork_of_the_process_opens_its_own_client(room: Room, node: Node) -> None:
    def expect_not_open(call: Callable[[], object]) -> None:
        with pytest.raises(callsign.NotOpen, match="opened in another process"):
            call()

    with callsign.sync.connect(node.endpoint) as client:
        with client.register("feed", room.abstract("feed")) as feed, client.watch() as watch:

            def use() -> None:
                for call in (
                    lambda: client.query("feed"),
                    lambda: client.register("other", room.abstract("other")).__enter__(),
                    lambda: feed.set_state("draining"),
                    watch.__next__,
                ):
                    expect_not_open(call)
                with callsign.sync.connect(node.endpoint) as own:
                    assert len(own.query("feed").records) == 1

            assert forked(use) == 0
            # Its end of the blocks ends nothing here.
            leaving = client.register("leaving", room.abstract("leaving"))
            leaving.__enter__()

            def leave() -> None:
                leaving.__exit__(None, None, None)
                client.__exit__()

            assert forked(leave) == 0
            assert len(client.query("feed").records) == 1
            leaving.__exit__(None, None, None)
        process = multiprocessing.get_context("fork").Process(
            target=expect_not_open, args=(lambda: client.wait("feed"),)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        process.join(LIMIT)
        assert process.exitcode == 0


def test_a_fork_does_not_speak_on_an_asynchronous_clients_connection(
    room: Room, node: Node, anyio_backend: str
) -> None:
    async def main() -> None:
        async with callsign.connect(node.endpoint) as client:
            async with client.register("feed", room.abstract("feed")):

                def use() -> None:
                    # The loop of events is not one of the fork's.
                    for ask in (client.query("feed"), client.wait("feed"), client.whoami()):
                        with pytest.raises(callsign.NotOpen):
                            ask.send(None)

                assert forked(use) == 0
                assert len((await client.query("feed")).records) == 1

    anyio.run(main, backend=anyio_backend)
