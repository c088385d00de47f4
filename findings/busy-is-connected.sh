#!/usr/bin/env bash
# What do Python's libraries say of a Unix socket whose queue of connections is full?
#
# Versions:  asyncio of CPython 3.11.7, trio 0.35.0, anyio 4.16.0, uvloop 0.22.1 (PyPI)
# Guess:     connect(2) says EAGAIN there, and not EINPROGRESS. asyncio and trio treat both alike: they
#            wait until the socket is writable, which it is at once, and report a connection that
#            does not exist. So do anyio and uvloop, which are built on them or like them.
# Seen:      four answers. asyncio reports a connection, and then an error as of a bug in the caller:
#            EINVAL at the first read. trio, and anyio on trio, report one too, and then say that it
#            is broken (ENOTCONN). uvloop raises BlockingIOError at once. anyio on asyncio, with a
#            loop of its own, waits until there is room.
# For users: a busy server looks like a broken one. Connect the socket yourself, and try again after
#            EAGAIN: docs/wire.md says so, and the client in clients/python does it.
set -euo pipefail
room=$(mktemp -d); trap 'rm -rf "$room"' EXIT
cd "$room"
python3 -m venv venv
venv/bin/pip -q --disable-pip-version-check install trio==0.35.0 anyio==4.16.0 uvloop==0.22.1
cat > dial.py <<'P'
import asyncio
import os
import socket
import sys
import threading

import anyio
import trio
import uvloop


async def with_asyncio(path):
    reader, _ = await asyncio.open_unix_connection(path)
    print("connected", end=", then ")
    await reader.read(1)


async def with_trio(path):
    stream = await trio.open_unix_socket(path)
    print("connected", end=", then ")
    await stream.send_all(b"hello")


async def with_anyio(path):
    async with await anyio.connect_unix(path) as stream:
        print("connected", end=", then ")
        await stream.send(b"hello")


listener = socket.socket(socket.AF_UNIX)
listener.bind("busy")
listener.listen(0)
first = socket.socket(socket.AF_UNIX)
first.connect("busy")  # it fills the queue
library = sys.argv[1]
if library.startswith("anyio"):
    room = threading.Timer(1, lambda: (print("room", end=", then "), listener.accept()))
    room.daemon = True
    room.start()
try:
    match library:
        case "asyncio":
            asyncio.run(with_asyncio("busy"))
        case "uvloop":
            uvloop.run(with_asyncio("busy"))
        case "trio":
            trio.run(with_trio, "busy")
        case "anyio-asyncio" | "anyio-trio":
            anyio.run(with_anyio, "busy", backend=library.removeprefix("anyio-"))
    print("sent", end="")
except OSError as error:
    print(type(error).__name__, error.errno, end="")
except (trio.BrokenResourceError, anyio.BrokenResourceError) as error:
    print(type(error).__name__, error.__cause__.errno, end="")
sys.stdout.flush()
os._exit(0)
P
for library in asyncio uvloop trio anyio-asyncio anyio-trio; do
    rm -f busy
    echo "$library: $(venv/bin/python dial.py "$library" 2>/dev/null)"
done | tee seen
cat > expected <<'S'
asyncio: connected, then OSError 22
uvloop: BlockingIOError 11
trio: connected, then BrokenResourceError 107
anyio-asyncio: room, then connected, then sent
anyio-trio: connected, then BrokenResourceError 107
S
diff expected seen
