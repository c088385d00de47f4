#!/usr/bin/env bash
# How often does `INCR` count, if the connection ends before its answer has come?
#
# Versions:  redis 8.1.0 (PyPI), ioredis 6.0.0 and redis 6.3.1 (npm); whatever redis-server is here
# Guess:     once. Whether the server has carried it out is not known then, so that the client raises
#            an error, and the caller decides. At most a client repeats what it could not send.
# Seen:      once by node-redis alone. redis-py, blocking or on asyncio, sends it eleven times, with
#            its defaults, before it raises an error: the counter is at 11. ioredis counts on too.
# For users: a counter, a lock or a queue that is kept through such a client changes more than once
#            when its server is restarted. callsign's clients repeat a registration alone, which is
#            the same instance each time (docs/wire.md, "The end").
set -euo pipefail
room=$(mktemp -d); trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$room"' EXIT
cd "$room"
python3 -m venv venv
venv/bin/pip -q --disable-pip-version-check install redis==8.1.0
npm init -y >/dev/null
npm install --silent --no-audit --no-fund ioredis@6.0.0 redis@6.3.1 >/dev/null
cat > proxy.py <<'P'
"""Hands everything on, but for the answer to `INCR`: it closes the connection instead."""
import socket
import threading


def talk(client):
    with client, socket.socket(socket.AF_UNIX) as server:
        server.connect("server")
        while asked := client.recv(65536):
            server.sendall(asked)
            answer = server.recv(65536)
            if b"INCR" in asked.upper():
                return
            client.sendall(answer)


listener = socket.socket(socket.AF_UNIX)
listener.bind("proxy")
listener.listen(64)
while True:
    threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()
P
cat > counts.py <<'P'
import asyncio
import redis
import redis.asyncio


async def on_asyncio():
    try:
        await redis.asyncio.Redis(unix_socket_path="proxy").incr("redis-py-asyncio")
    except redis.ConnectionError:
        pass


try:
    redis.Redis(unix_socket_path="proxy").incr("redis-py")
except redis.ConnectionError:
    pass
asyncio.run(on_asyncio())
P
cat > ioredis.mjs <<'J'
import Redis from 'ioredis'
const client = new Redis({ path: 'proxy' })
client.on('error', () => {})
const ended = client.incr('ioredis').catch(() => {})
await Promise.race([ended, new Promise((done) => setTimeout(done, 5000))])
process.exit()
J
cat > node-redis.mjs <<'J'
import { createClient } from 'redis'
const client = createClient({ socket: { path: 'proxy' } })
client.on('error', () => {})
await client.connect()
await client.incr('node-redis').catch(() => {})
process.exit()
J
redis-server --port 0 --unixsocket server --save '' >/dev/null &
python3 proxy.py &
until [ -S server ] && [ -S proxy ]; do sleep 0.1; done
venv/bin/python counts.py
node ioredis.mjs
node node-redis.mjs
for client in redis-py redis-py-asyncio node-redis; do
    echo "$client counted $(redis-cli -s server get $client)"
done | tee seen
echo "ioredis counted $(redis-cli -s server get ioredis)"
test "$(redis-cli -s server get ioredis)" -gt 1
diff seen - <<'S'
redis-py counted 11
redis-py-asyncio counted 11
node-redis counted 1
S
echo "as it was"
