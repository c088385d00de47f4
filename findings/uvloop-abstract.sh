#!/usr/bin/env bash
# A program listens at an abstract name, and another connects to it. Does it matter whose loop runs them?
#
# Versions:  asyncio of whatever Python is here, uvloop 0.23.0, aiohttp 3.14.5 (PyPI)
# Guess:     no: uvloop takes the place of asyncio's loop, and listens at the same names.
# Seen:      it listens at abstract names as asyncio does, and its `create_unix_connection` says `Invalid
#            argument` to the same names: aiohttp's `UnixConnector` fails on uvloop, and works on asyncio.
#            A socket that is connected already is taken by both. Known since 2023, and open
#            (MagicStack/uvloop, issue 528): it tells libuv the name as text that ends at a zero byte.
# For users: a program that moves to uvloop (uvicorn does so by itself where it is installed) no longer
#            reaches abstract names by itself. `Client.find(…).detach()` is a connected socket, which
#            `create_connection(sock=…)` takes on either loop.
set -euo pipefail
room=$(mktemp -d); trap 'rm -rf "$room"' EXIT
cd "$room"
python3 -m venv venv
venv/bin/pip -q --disable-pip-version-check install uvloop==0.23.0 aiohttp==3.14.5
cat > names.py <<'P'
import asyncio
import os
import socket

import aiohttp
import uvloop
from aiohttp import web

NAME = f"\0abstract-{os.getpid()}"


async def serve():
    app = web.Application()
    app.router.add_get("/", lambda _: web.Response(text="hello"))
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, NAME).start()
    return runner


async def by_its_own_connection():
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(NAME)) as session:
        async with session.get("http://x/") as response:
            return await response.text()


async def by_a_connected_socket():
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(NAME)
    sock.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=sock)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    said = await reader.read()
    writer.close()
    return said.decode().rpartition("\n")[2]


async def main(name):
    runner = await serve()
    print(f"{name}: listens")
    for way in (by_its_own_connection, by_a_connected_socket):
        try:
            said = await way()
        except OSError as error:
            said = os.strerror(error.errno)
        print(f"{name}: {way.__name__}: {said}")
    await runner.cleanup()


asyncio.run(main("asyncio"))
uvloop.run(main("uvloop"))
P
venv/bin/python names.py | tee seen
diff seen - <<'S'
asyncio: listens
asyncio: by_its_own_connection: hello
asyncio: by_a_connected_socket: hello
uvloop: listens
uvloop: by_its_own_connection: Invalid argument
uvloop: by_a_connected_socket: hello
S
echo "as it was"
