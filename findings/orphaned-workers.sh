#!/usr/bin/env bash
# The master of a server is killed (SIGKILL, or the kernel short of memory). What do its workers do?
#
# Versions:  uvicorn 0.54.0, hypercorn 0.18.0, granian 2.8.9, gunicorn 27.0.1 (PyPI),
#            haproxy 2.6.12-1+deb12u4, lighttpd 1.4.69-1, nginx 1.22.1-9+deb12u11 (Debian 12),
#            and `cluster` of whatever Node is here
# Guess:     they notice that their parent is gone, by a pipe or by its number, and end within a second
#            or two. nginx alone lets its workers go on, for the sake of upgrades.
# Seen:      so it is with haproxy and Node. The workers of uvicorn (with `--workers` and with
#            `--reload`), hypercorn, granian, lighttpd and nginx answer at the same port as if nothing
#            had happened, with nobody to restart or stop them. Those of gunicorn do so for up to half
#            of its `--timeout`, 15 s by default.
# For users: a supervisor that knows the master alone starts the next one while the port is still held.
#            `callsign register … -- COMMAND` ends all descendants with the server, and so does systemd.
#            supervisord, which knows its child alone, does not: give it one program for each worker.
set -euo pipefail
room=$(mktemp -d); trap 'kill -9 $(cat "$room"/*.workers 2>/dev/null) 2>/dev/null || true; rm -rf "$room"' EXIT
cd "$room"
python3 -m venv venv
venv/bin/pip -q --disable-pip-version-check install uvicorn==0.54.0 hypercorn==0.18.0 \
    granian==2.8.9 gunicorn==27.0.1
apt-get -qq download haproxy=2.6.12-1+deb12u4 liblua5.3-0 libopentracing-c-wrapper0 \
    libopentracing1 lighttpd=1.4.69-1 nginx=1.22.1-9+deb12u11 2>/dev/null
for package in *.deb; do dpkg -x "$package" debian; done
libraries=$(find "$room/debian" -name '*.so*' -printf '%h:' | sort -u | tr -d '\n')
cat > app.py <<'P'
async def asgi(scope, receive, send):
    while scope["type"] == "lifespan":
        event = (await receive())["type"]
        await send({"type": event + ".complete"})
        if event == "lifespan.shutdown":
            return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def wsgi(environ, start_response):
    start_response("200 OK", [])
    return [b""]
P
cat > cluster.js <<'J'
const cluster = require('cluster')
if (cluster.isPrimary) cluster.fork()
else require('http').createServer((_, answer) => answer.end()).listen(process.argv[2], '127.0.0.1')
J

answers() { curl -sS --noproxy '*' -o /dev/null --max-time 5 "http://127.0.0.1:$1/" 2>/dev/null; }
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
try_it() { # LABEL PORT COMMAND...
    local label=$1 port=$2 master
    shift 2
    env HOME="$room" LD_LIBRARY_PATH="$libraries" "$@" >/dev/null 2>&1 & master=$!
    for _ in $(seq 300); do if answers "$port"; then break; fi; sleep 0.1; done
    sleep 1
    pgrep -P $master > "$label.workers"
    kill -9 $master
    wait $master 2>/dev/null || true
    sleep 3
    if answers "$port"; then echo "$label: the workers answer"; else echo "$label: nobody answers"; fi
}
bin=$room/venv/bin
{
    p=$(port); try_it uvicorn "$p" "$bin/uvicorn" app:asgi --port "$p" --workers 2
    p=$(port); try_it uvicorn-reload "$p" "$bin/uvicorn" app:asgi --port "$p" --reload
    p=$(port); try_it hypercorn "$p" "$bin/hypercorn" app:asgi -b "127.0.0.1:$p" -w 2
    p=$(port); try_it granian "$p" "$bin/granian" --interface asgi app:asgi --port "$p" --workers 2
    p=$(port); try_it gunicorn "$p" "$bin/gunicorn" app:wsgi -b "127.0.0.1:$p" -w 2 --timeout 60
    p=$(port)
    printf '%s\n' "server.document-root = \"$room/debian\"" "server.port = $p" \
        'server.bind = "127.0.0.1"' 'server.max-worker = 2' > lighttpd.conf
    try_it lighttpd "$p" debian/usr/sbin/lighttpd -D -m debian/usr/lib/lighttpd -f lighttpd.conf
    p=$(port)
    printf '%s\n' 'daemon off;' "pid $room/pid;" "error_log $room/log;" 'events {}' \
        "http { access_log off; server { listen 127.0.0.1:$p; location / { return 200 x; } } }" > nginx.conf
    try_it nginx "$p" debian/usr/sbin/nginx -e "$room/log" -p "$room" -c "$room/nginx.conf"
    p=$(port)
    printf '%s\n' defaults 'mode http' 'timeout client 5s' 'timeout connect 5s' \
        'timeout server 5s' 'frontend f' "bind 127.0.0.1:$p" 'http-request return status 200' > haproxy.cfg
    try_it haproxy "$p" debian/usr/sbin/haproxy -W -q -f haproxy.cfg
    p=$(port); try_it node "$p" node cluster.js "$p"
} | tee seen
diff seen - <<'S'
uvicorn: the workers answer
uvicorn-reload: the workers answer
hypercorn: the workers answer
granian: the workers answer
gunicorn: the workers answer
lighttpd: the workers answer
nginx: the workers answer
haproxy: nobody answers
node: nobody answers
S
echo "as it was"
