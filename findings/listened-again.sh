#!/usr/bin/env bash
# A program listens at a Unix socket and lends it to a server. Whom does a caller's kernel name?
#
# Versions:  uvicorn 0.54.0, hypercorn 0.18.0, gunicorn 27.0.1, aiohttp 3.14.5 (PyPI),
#            nginx 1.22.1-9+deb12u11 (Debian 12); `http` of whatever Node, and `socketserver` of whatever
#            Python is here
# Guess:     the lender: SO_PEERCRED has the process and the user that called listen(), and the server
#            does not, as it gets a socket that listens already.
# Seen:      the lender with gunicorn, nginx and socketserver. uvicorn, hypercorn, aiohttp and Node call
#            listen() once more, to set the length of the queue, and that makes them the peer; with
#            several workers it is the one that did so last.
# For users: at a socket of systemd's, SO_PEERCRED may be systemd (1, root), the server, or one of its
#            workers, and it may change while the server starts. Take the user, if it is one of
#            several that may be; to find the process, look who holds the socket.
set -euo pipefail
room=$(mktemp -d); trap 'rm -rf "$room"' EXIT
cd "$room"
python3 -m venv venv
venv/bin/pip -q --disable-pip-version-check install uvicorn==0.54.0 hypercorn==0.18.0 \
    gunicorn==27.0.1 aiohttp==3.14.5
apt-get -qq download nginx=1.22.1-9+deb12u11 2>/dev/null
for package in *.deb; do dpkg -x "$package" debian; done
cat > lend.py <<'P'
"""Listens, lends the socket as descriptor 3 to a command, and asks the kernel who is there."""
import os
import signal
import socket
import struct
import sys
import time

listener = socket.socket(socket.AF_UNIX)
listener.bind("socket")
listener.listen(64)
server = os.fork()
if server == 0:
    os.setsid()
    os.dup2(listener.fileno(), 3)
    os.set_inheritable(3, True)
    os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid()), "NGINX": "3;"}
    os.dup2(os.open("/dev/null", os.O_RDWR), 1)
    os.dup2(1, 2)
    os.execvp(sys.argv[1], sys.argv[1:])


def ask():
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(30)
        caller.connect("socket")
        caller.sendall(b"GET / HTTP/1.1\r\nHost: feed\r\nConnection: close\r\n\r\n")
        assert caller.recv(4) == b"HTTP"
        credentials = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return struct.unpack("3i", credentials)[0]


ask()
time.sleep(3)  # every worker has started
ask()
pid = ask()
print({os.getpid(): "the lender", server: "the server"}.get(pid, "a worker"))
os.killpg(server, signal.SIGKILL)
P
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
cat > with_aiohttp.py <<'P'
import socket
from aiohttp import web

web.run_app(web.Application(), sock=socket.socket(fileno=3), print=None)
P
cat > with_socketserver.py <<'P'
import http.server
import socket
import socketserver


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()

    def address_string(self):
        return "unix"


server = socketserver.UnixStreamServer("unused", Handler, bind_and_activate=False)
server.socket = socket.socket(fileno=3)
server.serve_forever()
P
printf '%s\n' 'daemon off;' "pid $room/pid;" "error_log $room/log;" 'events {}' \
    "http { access_log off; server { listen unix:socket; location / { return 204; } } }" > nginx.conf
try_it() { # LABEL COMMAND...
    local label=$1
    shift
    rm -f socket
    echo "$label: $(HOME=$room timeout 120 python3 lend.py "$@")"
}
bin=$room/venv/bin
{
    try_it gunicorn "$bin/gunicorn" app:wsgi
    try_it nginx debian/usr/sbin/nginx -e "$room/log" -p "$room" -c "$room/nginx.conf"
    try_it socketserver python3 with_socketserver.py
    try_it uvicorn "$bin/uvicorn" --fd 3 app:asgi
    try_it "uvicorn, 2 workers" "$bin/uvicorn" --fd 3 --workers 2 app:asgi
    try_it hypercorn "$bin/hypercorn" -b fd://3 app:asgi
    try_it aiohttp "$bin/python" with_aiohttp.py
    try_it node node -e "require('http').createServer((_, it) => it.end()).listen({fd: 3})"
} | tee seen
diff seen - <<'S'
gunicorn: the lender
nginx: the lender
socketserver: the lender
uvicorn: the server
uvicorn, 2 workers: a worker
hypercorn: a worker
aiohttp: the server
node: the server
S
echo "as it was"
