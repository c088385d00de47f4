#!/usr/bin/env bash
# What happens when a server is started a second time with the same address, while the first lives?
#
# Versions:  haproxy 2.6.12-1+deb12u4 (Debian 12), uvicorn 0.54.0, grpcio 1.85.3 (PyPI)
# Guess:     the second fails with "address already in use", on TCP and on a socket path, as it
#            does with nginx and with Python's own http.server.
# Seen:      on TCP two haproxy, and two grpcio, listen at one port without a word and share its
#            connections (SO_REUSEPORT is their default; uvicorn fails). On a path the second of
#            all three takes the place of the first, which lives on and is never reached again.
#            Only an abstract name is refused to the second, by the kernel.
# For users: a port that "is in use" need not be refused to another of the same user. By the name of
#            the first callsign leads to neither of two that share a port.
set -euo pipefail
room=$(mktemp -d); trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$room"' EXIT
cd "$room"
python3 -m venv venv
venv/bin/pip -q --disable-pip-version-check install uvicorn==0.54.0 grpcio==1.85.3
apt-get -qq download haproxy=2.6.12-1+deb12u4 liblua5.3-0 libopentracing-c-wrapper0 \
    libopentracing1 2>/dev/null
for package in *.deb; do dpkg -x "$package" debian; done
LD_LIBRARY_PATH=$(find "$room/debian" -name '*.so*' -printf '%h:' | sort -u)
export LD_LIBRARY_PATH
cat > app.py <<'P'
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
P
cat > with_grpcio.py <<'P'
import concurrent.futures, sys, grpc

server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
server.add_insecure_port(sys.argv[1])
server.start()
server.wait_for_termination()
P
haproxy() { # BIND
    printf '%s\n' defaults 'mode http' 'timeout client 5s' 'timeout connect 5s' \
        'timeout server 5s' 'frontend f' "bind $1" 'http-request return status 200' > haproxy.cfg
    exec debian/usr/sbin/haproxy -db -q -f haproxy.cfg
}
uvicorn() { exec venv/bin/uvicorn app:app "$@"; }
grpcio() { exec venv/bin/python with_grpcio.py "$1"; }

sockets() { # PID ADDRESS: how many sockets of a process listen there
    ss -Hlnp 2>/dev/null | grep -F "$2" | grep -c "pid=$1," || true
}
try_it() { # LABEL ADDRESS COMMAND...
    local label=$1 address=$2 first second
    shift 2
    ("$@") >/dev/null 2>&1 & first=$!
    for _ in $(seq 300); do [ "$(sockets $first "$address")" = 0 ] || break; sleep 0.1; done
    ("$@") >/dev/null 2>&1 & second=$!
    for _ in $(seq 300); do
        [ "$(sockets $second "$address")" = 0 ] || break
        kill -0 $second 2>/dev/null || break
        sleep 0.1
    done
    if [ "$(sockets $second "$address")" = 0 ]; then echo "$label: the second is refused"
    elif kill -0 $first; then echo "$label: both listen"; fi
    kill $first $second 2>/dev/null || true
    wait $first $second 2>/dev/null || true
    rm -f ./*.sock
}
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
{
    p=$(port); try_it "haproxy, TCP" ":$p" haproxy "127.0.0.1:$p"
    p=$(port); try_it "grpcio, TCP" ":$p" grpcio "127.0.0.1:$p"
    p=$(port); try_it "uvicorn, TCP" ":$p" uvicorn --port "$p"
    try_it "haproxy, path" "$room/h.sock" haproxy "unix@$room/h.sock"
    try_it "grpcio, path" "$room/g.sock" grpcio "unix:$room/g.sock"
    try_it "uvicorn, path" "$room/u.sock" uvicorn --uds "$room/u.sock"
    try_it "haproxy, abstract" "@hx$$" haproxy "abns@hx$$"
    try_it "grpcio, abstract" "@gx$$" grpcio "unix-abstract:gx$$"
} | tee seen
diff seen - <<'S'
haproxy, TCP: both listen
grpcio, TCP: both listen
uvicorn, TCP: the second is refused
haproxy, path: both listen
grpcio, path: both listen
uvicorn, path: both listen
haproxy, abstract: the second is refused
grpcio, abstract: the second is refused
S
echo "as it was"
