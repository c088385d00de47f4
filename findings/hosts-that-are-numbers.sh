#!/usr/bin/env bash
# Which host do HTTP clients ask for `http://worker.1/`, `http://7/` and `http://Feed/`?
#
# Versions:  aiohttp 3.14.5 with yarl 1.25.1, httpx 0.28.1, urllib3 2.8.0 (PyPI);
#            whatever curl and Node are here (7.88.1 and 20.20.2)
# Guess:     the one that stands there. Names of hosts have digits in them, and what a name means is
#            the resolver's business; at most the letters become small.
# Seen:      Node takes `worker.1` for a broken IPv4 address, and refuses it; and `7` is 0.0.0.7 to it
#            and to curl. Node and Python's libraries make small letters; curl does not.
# For users: behind a connector that takes the host of a URL for an actor's name, actors need names in
#            small letters that do not end in a number after a dot: `worker-1`.
set -euo pipefail
room=$(mktemp -d); trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$room"' EXIT
cd "$room"
python3 -m venv venv
venv/bin/pip -q --disable-pip-version-check install aiohttp==3.14.5 yarl==1.25.1 httpx==0.28.1 \
    urllib3==2.8.0
cat > server.py <<'P'
"""Answers at a Unix socket with the `Host` that was asked for."""
import http.server
import socketserver


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.headers["Host"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass


socketserver.ThreadingUnixStreamServer("socket", Handler).serve_forever()
P
cat > hosts.py <<'P'
import asyncio
import sys

import aiohttp
import httpx
import urllib3

NAMES = sys.argv[1:]


async def with_aiohttp():
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector("socket")) as session:
        for name in NAMES:
            async with session.get(f"http://{name}/") as response:
                yield await response.text()


async def main():
    print("aiohttp:", *[it async for it in with_aiohttp()])


asyncio.run(main())
with httpx.Client(transport=httpx.HTTPTransport(uds="socket")) as client:
    print("httpx:", *[client.get(f"http://{it}/").text for it in NAMES])
print("urllib3:", *[urllib3.util.parse_url(f"http://{it}/").host for it in NAMES])
P
cat > hosts.mjs <<'J'
const hosts = process.argv.slice(2).map((name) => {
  try {
    return new URL(`http://${name}/`).host
  } catch (error) {
    return error.code
  }
})
console.log('node:', ...hosts)
J
python3 server.py &
until [ -S socket ]; do sleep 0.1; done
{
    venv/bin/python hosts.py worker.1 7 Feed
    node hosts.mjs worker.1 7 Feed
    echo "curl: $(for it in worker.1 7 Feed; do
        curl -sS --noproxy '*' --unix-socket socket "http://$it/" 2>&1
        echo -n ' '
    done)"
} | tee seen
diff seen - <<'S'
aiohttp: worker.1 7 feed
httpx: worker.1 7 feed
urllib3: worker.1 7 feed
node: ERR_INVALID_URL 0.0.0.7 feed
curl: worker.1 0.0.0.7 Feed 
S
echo "as it was"
