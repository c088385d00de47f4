#!/usr/bin/env bash
# A server listens at port 0 of all addresses. At how many ports is that?
#
# Versions:  asyncio of whatever Python is here, aiohttp 3.14.5, trio 0.35.0, anyio 4.16.0,
#            tornado 6.6.1 (PyPI), and `net` of whatever Node is here
# Guess:     one: the kernel draws it for the first address, and the others get the same, as a caller
#            by a host's name may come to any of them.
# Seen:      two with asyncio, aiohttp and trio, one for IPv4 and one for IPv6. tornado takes the same
#            for both; anyio and Node have one socket for both.
# For users: who tells `sockets[0].getsockname()[1]` to others is not found at the other family, or
#            finds somebody else there. Register the listening sockets: callsign publishes the port of
#            each.
set -euo pipefail
room=$(mktemp -d); trap 'rm -rf "$room"' EXIT
cd "$room"
grep -q . /proc/net/if_inet6 || { echo "this host has no IPv6"; exit 77; }
python3 -m venv venv
venv/bin/pip -q --disable-pip-version-check install aiohttp==3.14.5 trio==0.35.0 anyio==4.16.0 \
    tornado==6.6.1
cat > ports.py <<'P'
import asyncio

import anyio
import tornado.netutil
import trio
from aiohttp import web
from anyio.abc import SocketAttribute


def tell(name, addresses):
    ports = {it[1] for it in addresses}
    print(f"{name}: {len(list(addresses))} sockets, {len(ports)} ports")


async def with_asyncio():
    server = await asyncio.start_server(lambda *_: None, None, 0)
    tell("asyncio", [it.getsockname() for it in server.sockets])
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, None, 0).start()
    tell("aiohttp", runner.addresses)
    several = await anyio.create_tcp_listener(local_port=0)
    tell("anyio", [it.extra(SocketAttribute.local_address) for it in several.listeners])
    await runner.cleanup()


async def with_trio():
    listeners = await trio.open_tcp_listeners(0)
    tell("trio", [it.socket.getsockname() for it in listeners])


asyncio.run(with_asyncio())
trio.run(with_trio)
tell("tornado", [it.getsockname() for it in tornado.netutil.bind_sockets(0)])
P
{
    venv/bin/python ports.py
    node -e "
const server = require('net').createServer().listen(0, () => {
  console.log(\`node: 1 sockets, 1 ports, \${server.address().family}\`)
  server.close()
})"
} | tee seen
diff seen - <<'S'
asyncio: 2 sockets, 2 ports
aiohttp: 2 sockets, 2 ports
anyio: 1 sockets, 1 ports
trio: 2 sockets, 2 ports
tornado: 2 sockets, 1 ports
node: 1 sockets, 1 ports, IPv6
S
echo "as it was"
