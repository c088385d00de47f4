#!/usr/bin/env bash
# Where does a server listen that is told the socket `@feed`?
#
# Versions:  uvicorn 0.54.0, gunicorn 27.0.1, hypercorn 0.18.0, waitress 3.0.2, aiohttp 3.14.5,
#            grpcio 1.85.3 (PyPI), and `net` of whatever Node is here
# Guess:     at the abstract name `feed`, as `@` is printed by ss, lsof and /proc/net/unix, and read
#            by systemd; at least some of them.
# Seen:      none. All seven make a socket file that is called `@feed`, in the folder where they
#            stand, and ss prints that as it prints an abstract name. All but gunicorn
#            leave the file behind when SIGTERM ends them.
# For users: `/unix/@feed` is an abstract name to callsign. A server that is handed `@feed` listens
#            elsewhere; give it a path.
set -euo pipefail
room=$(mktemp -d); trap 'rm -rf "$room"' EXIT
cd "$room"
python3 -m venv venv
venv/bin/pip -q --disable-pip-version-check install uvicorn==0.54.0 gunicorn==27.0.1 \
    hypercorn==0.18.0 waitress==3.0.2 aiohttp==3.14.5 grpcio==1.85.3
cat > app.py <<'P'
async def asgi(scope, receive, send):
    while scope["type"] == "lifespan":
        event = (await receive())["type"]
        await send({"type": event + ".complete"})
        if event == "lifespan.shutdown":
            return


def wsgi(environ, start_response):
    start_response("200 OK", [])
    return [b""]
P
cat > with_aiohttp.py <<'P'
from aiohttp import web

web.run_app(web.Application(), path="@feed", print=None)
P
cat > with_grpcio.py <<'P'
import concurrent.futures
import grpc

server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
server.add_insecure_port("unix:@feed")
server.start()
server.wait_for_termination()
P

try_it() { # NAME COMMAND...
    local name=$1 made=nothing left=nothing
    shift
    mkdir "$name"
    cp app.py "$name"
    (cd "$name" && HOME=$room/$name exec "$@") >"$name.log" 2>&1 &
    local server=$!
    for _ in $(seq 300); do
        if [ -S "$name/@feed" ]; then made=file; break; fi
        sleep 0.1
    done
    sleep 1 # a server that is signalled while it starts may end another way
    kill "$server"
    wait "$server" || true
    if [ -S "$name/@feed" ]; then left=file; fi
    echo "$name made $made, left $left"
}

bin=$room/venv/bin
{
    try_it uvicorn "$bin/uvicorn" --app-dir . app:asgi --uds @feed
    try_it gunicorn "$bin/gunicorn" app:wsgi --bind unix:@feed
    try_it hypercorn "$bin/hypercorn" app:asgi --bind unix:@feed
    try_it waitress "$bin/waitress-serve" --unix-socket=@feed app:wsgi
    try_it aiohttp "$bin/python" ../with_aiohttp.py
    try_it grpcio "$bin/python" ../with_grpcio.py
    try_it node node -e "require('net').createServer().listen('@feed')"
} | tee seen
diff seen - <<'S'
uvicorn made file, left file
gunicorn made file, left nothing
hypercorn made file, left file
waitress made file, left file
aiohttp made file, left file
grpcio made file, left file
node made file, left file
S
echo "as it was"
