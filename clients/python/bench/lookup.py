"""Compares a look-up with redis-py's `GET`, both over Unix sockets, on asyncio, one at a time.

    python clients/python/bench/lookup.py [--rounds 60] [--each 300] [--profile]

It needs `redis` (pip) and `redis-server`, and the program `callsign`, best one built with
`--release`: `CALLSIGN_BIN` names it. Rounds take turns in one process, so that whatever else the
machine does meets all of them. The bare exchange sends the same bytes to the same registrar, and
reads nothing of the answer: no client on asyncio's loop is faster. `--profile` shows in addition
where the time of the look-ups goes.
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

import redis.asyncio

import callsign
from callsign.fields import pack
from callsign.frames import encode, handshake

#: What a record of an actor weighs in a cache.
VALUE = "/unix/@feed " + "x" * 200

Ask = Callable[[], Awaitable[object]]


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


async def measure(ours: str, theirs: str, rounds: int, each: int, profile: bool) -> None:
    cache = redis.asyncio.Redis(unix_socket_path=theirs)
    await cache.set("feed", VALUE)
    async with callsign.connect(f"/unix{ours}") as client:
        async with client.register("feed", "/unix/@feed"):
            asks: dict[str, Ask] = {
                "look-up": lambda: client.query("feed"),
                "GET": lambda: cache.get("feed"),
                "bare exchange": await bare(ours),
            }
            times: dict[str, list[float]] = {it: [] for it in asks}
            work: dict[str, list[float]] = {it: [] for it in asks}
            for _ in range(rounds):
                for name, ask in asks.items():
                    before = time.process_time()
                    times[name] += await timed(ask, each)
                    work[name].append((time.process_time() - before) / each)
            for name in asks:
                p50, cpu = statistics.median(times[name]), statistics.median(work[name])
                of = p50 / statistics.median(times["GET"]), cpu / statistics.median(work["GET"])
                print(
                    f"{name:14} p50 {p50 * 1e6:6.1f} µs, {of[0]:.2f} × GET; "
                    f"processor {cpu * 1e6:6.1f} µs, {of[1]:.2f} × GET"
                )
            if profile:
                with cProfile.Profile() as found:
                    await timed(asks["look-up"], rounds * each)
                pstats.Stats(found).sort_stats("tottime").print_stats(25)
    await cache.aclose()


async def timed(ask: Ask, each: int) -> list[float]:
    """Asks so many times, one after the other, and returns how long each took."""
    times = []
    for _ in range(each):
        began = time.perf_counter()
        await ask()
        times.append(time.perf_counter() - began)
    return times


async def bare(path: str) -> Ask:
    """Returns an exchange of the same bytes, without a client."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    sock.setblocking(False)
    await handshake(sock, callsign.Hello(agent="bare"), 5.0)
    body = pack({"name": "feed", "all": False})
    frame = encode("call", {"id": 0, "method": "registrar.query", "body": body})
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
        asyncio.run(measure(ours, theirs, given.rounds, given.each, given.profile))
