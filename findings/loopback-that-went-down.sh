#!/usr/bin/env bash
# Is a loopback interface that went down like one that was never up?
#
# Versions:  Linux 6.18; pyroute2 0.9.5 (PyPI)
# Guess:     yes: nobody is reached at 127.0.0.1 in either case, and whoever tries is told so at once.
# Seen:      two answers for each family. Where `lo` was never up, a server binds 127.0.0.1, and a caller
#            is told at once that the network is unreachable; `::1` cannot be bound. Where it went down,
#            the kernel keeps the address 127.0.0.1 and its local route: a server that listens there
#            stays, another binds, the route is said to be local, and a caller gets no answer and no
#            error. `::1` is taken away: a caller is told that there is no such address.
# For users: an address in the list of an interface, or a local route, is no sign that anybody can be
#            reached: look at the interface's flags too. A registrar of callsign does.
set -euo pipefail
room=$(mktemp -d); trap 'rm -rf "$room"' EXIT
cd "$room"
python3 -m venv venv
venv/bin/pip -q --disable-pip-version-check install pyroute2==0.9.5
cat > look.py <<'P'
import errno
import socket

from pyroute2 import IPRoute, NetlinkError

FAMILIES = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}


def listen(host):
    server = socket.socket(FAMILIES[host])
    server.bind((host, 0))
    server.listen()
    return server


def attempt(what):
    try:
        return what()
    except TimeoutError:
        return "no answer"
    except OSError as error:
        return errno.errorcode[error.errno]
    except NetlinkError as error:
        return errno.errorcode[error.code]


def dial(server):
    with socket.socket(server.family) as caller:
        caller.settimeout(1.5)
        caller.connect(server.getsockname())
        return "connected"


def show(title, kept=()):
    print(title)
    for server in kept:
        print("  kept", server.getsockname()[0], "->", attempt(lambda: dial(server)))
    for host in FAMILIES:
        server = attempt(lambda: listen(host))
        is_bound = isinstance(server, socket.socket)
        print(" ", host, "->", attempt(lambda: dial(server)) if is_bound else f"not bound: {server}")
    addresses = [it.get("address") for it in kernel.get_addr(index=1)]
    route = attempt(lambda: kernel.route("get", dst="127.0.0.1")[0]["type"])
    print("  addresses", addresses, "route", {2: "local"}.get(route, route))


with IPRoute() as kernel:
    show("never up")
    kernel.link("set", index=1, state="up")
    servers = [listen(host) for host in FAMILIES]
    show("up", servers)
    kernel.link("set", index=1, state="down")
    show("went down", servers)
P
unshare --net venv/bin/python3 look.py | tee seen
diff seen - <<'S'
never up
  127.0.0.1 -> ENETUNREACH
  ::1 -> not bound: EADDRNOTAVAIL
  addresses [] route ENETUNREACH
up
  kept 127.0.0.1 -> connected
  kept ::1 -> connected
  127.0.0.1 -> connected
  ::1 -> connected
  addresses ['127.0.0.1', '::1'] route local
went down
  kept 127.0.0.1 -> no answer
  kept ::1 -> EADDRNOTAVAIL
  127.0.0.1 -> no answer
  ::1 -> not bound: EADDRNOTAVAIL
  addresses ['127.0.0.1'] route local
S
echo "as it was"
