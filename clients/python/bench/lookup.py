"""Compares a look-up with redis-py's `GET`, both over Unix sockets.

    python clients/python/bench/lookup.py [--rounds 60] [--each 300] [--profile]

It needs `redis` (pip) and `redis-server`, and the program `callsign`, best one built with
`--release`: `CALLSIGN_BIN` names it. Rounds take turns in one process, so that whatever else the
machine does meets all of them. The bare exchange sends the same bytes to the same registrar, and
reads nothing of the answer. On asyncio there are also a hundred tasks that ask at once, for which
redis-py opens a connection each. `--profile` shows in addition where the time of the look-ups goes.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import os
import pstats
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import redis
import redis.asyncio

import callsign
import callsign.sync
from callsign.fields import pack
from callsign.frames import encode, handshake

#: What a record of an actor weighs in a cache.
VALUE = "/unix/@feed " + "x" * 200

#: How many tasks ask at once.
MANY = 100

Ask = Callable[[], Awaitable[object]]
Times = dict[str, list[float]]


@contextmanager
def servers(folder: str) -> Iterator[tuple[str, str]]:
    """Starts a registrar and a Redis, and returns the paths of their sockets."""
    ours, theirs = f"{folder}/registrar.sock", f"{folder}/redis.sock"
    binary = os.environ.get("CALLSIGN_BIN", "callsign")
    commands = [
        [binary, "registrar", "--settle-time", "0s", "--listen", f"/unix{ours}"],
        ["redis-server", "--port", "0", "--unixsocket", theirs, "--save", "", "--dir", folder],
    ]
    started = [subprocess.Popen(it, stdout=subprocess.DEVNULL) for it in commands]
    try:
        while not (Path(ours).exists() and Path(theirs).exists()):
            time.sleep(0.01)
        yield ours, theirs
    finally:
        for process in started:
            process.kill()
            process.wait()


async def on_asyncio(ours: str, theirs: str, rounds: int, each: int, profile: bool) -> None:
    cache = redis.asyncio.Redis(unix_socket_path=theirs)
    await cache.set("feed", VALUE)
    async with callsign.connect(f"/unix{ours}") as client:
        async with client.register("feed", "/unix/@feed"):
            asks: dict[str, Ask] = {
                "GET": lambda: cache.get("feed"),
                "look-up": lambda: client.query("feed"),
                "bare exchange": await bare(ours),
            }
            await compare("asyncio", asks, rounds, each)
            rates: Times = {"GET": [], "look-up": []}
            for _ in range(rounds // 4 + 1):
                for name in rates:
                    rates[name].append(await rate_of_many(asks[name]))
            for name in rates:
                print(f"{MANY} tasks, {name}: {statistics.median(rates[name]):.0f} a second")
            if profile:
                with cProfile.Profile() as found:
                    await timed(asks["look-up"], rounds * each)
                pstats.Stats(found).sort_stats("tottime").print_stats(25)
    await cache.aclose()


async def on_trio(ours: str, rounds: int, each: int) -> None:
    async with callsign.connect(f"/unix{ours}") as client:
        async with client.register("feed", "/unix/@feed"):
            asks: dict[str, Ask] = {
                "look-up": lambda: client.query("feed"),
                "bare exchange": await bare_on_anyio(ours),
            }
            await compare("trio", asks, rounds, each)


def without(ours: str, theirs: str, rounds: int, each: int) -> None:
    """Compares those for code that blocks."""
    with (
        redis.Redis(unix_socket_path=theirs) as cache,
        callsign.sync.connect(f"/unix{ours}") as client,
    ):
        with client.register("feed", "/unix/@feed"):
            asks: dict[str, Callable[[], object]] = {
                "GET": lambda: cache.get("feed"),
                "look-up": lambda: client.query("feed"),
            }
            times: Times = {it: [] for it in asks}
            for _ in range(rounds):
                for name, ask in asks.items():
                    for _ in range(each):
                        began = time.perf_counter()
                        ask()
                        times[name].append(time.perf_counter() - began)
            report("blocking", times)


async def compare(where: str, asks: dict[str, Ask], rounds: int, each: int) -> None:
    """Takes turns, and prints what came of them."""
    times: Times = {it: [] for it in asks}
    work: Times = {it: [] for it in asks}
    for _ in range(rounds):
        for name, ask in asks.items():
            before = time.process_time()
            times[name] += await timed(ask, each)
            work[name].append((time.process_time() - before) / each)
    report(where, times, work)


def report(where: str, times: Times, work: Times | None = None) -> None:
    """Prints medians, and how they compare with the first."""

    def median(of: Times, name: str) -> str:
        found, first = statistics.median(of[name]), next(iter(of))
        ratio = found / statistics.median(of[first])
        return f"{found * 1e6:6.1f} µs, {ratio:.2f} × {first}"

    for name in times:
        processor = f"; processor {median(work, name)}" if work else ""
        print(f"{where:8} {name:14} p50 {median(times, name)}{processor}")


async def rate_of_many(ask: Ask) -> float:
    """Has tasks ask at once, and returns how many answers they get in a second."""

    async def one() -> None:
        for _ in range(20):
            await ask()

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(MANY)))
    return MANY * 20 / (time.perf_counter() - began)


async def timed(ask: Ask, each: int) -> list[float]:
    """Asks so many times, one after the other, and returns how long each took."""
    times = []
    for _ in range(each):
        began = time.perf_counter()
        await ask()
        times.append(time.perf_counter() - began)
    return times


async def bare_socket(path: str) -> tuple[socket.socket, bytes]:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    sock.setblocking(False)
    await handshake(sock, callsign.Hello(agent="bare"), 5.0)
    body = pack({"name": "feed", "all": False})
    return sock, encode("call", {"id": 0, "method": "registrar.query", "body": body})


async def bare_on_anyio(path: str) -> Ask:
    """Returns an exchange of the same bytes, without a client, by a task that waits for them."""
    sock, frame = await bare_socket(path)

    async def exchange() -> None:
        sock.send(frame)
        await anyio.wait_readable(sock)
        sock.recv(65536)

    return exchange


async def bare(path: str) -> Ask:
    """Returns such an exchange by a callback of asyncio's loop, as a protocol would make it."""
    sock, frame = await bare_socket(path)
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()
    loop.add_reader(sock, lambda: answer.set_result(sock.recv(65536)))

    async def exchange() -> None:
        nonlocal answer
        answer = loop.create_future()
        sock.send(frame)
        await answer

    return exchange


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--each", type=int, default=300)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cs") as folder, servers(folder) as (ours, theirs):
        rounds, each = given.rounds, given.each
        asyncio.run(on_asyncio(ours, theirs, rounds, each, given.profile))
        anyio.run(on_trio, ours, rounds, each, backend="trio")
        without(ours, theirs, rounds, each)
