"""A service manager, as far as its services see it: it makes sockets, hands them to a program by
the protocol of sd_listen_fds(3), and starts that anew for each line that it reads.

    activate.py SOCKET[=NAME]... -- PROGRAM ARGUMENT...
"""

import ctypes
import fcntl
import os
import socket
import sys


def make(kind, place):
    if kind == "tcp":
        made = socket.create_server(("127.0.0.1", 0))
    elif kind == "port":
        made = socket.create_server(("127.0.0.1", int(place)))
    elif kind == "udp":
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("127.0.0.1", int(place)))
    elif kind == "any":
        made = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    elif kind == "connection":
        made, other = socket.socketpair()
        kept.append(other)
    elif kind == "device":
        made = open(os.devnull)
    else:
        is_datagram = kind == "datagram"
        socket_type = socket.SOCK_DGRAM if is_datagram else socket.SOCK_STREAM
        made = socket.socket(socket.AF_UNIX, socket_type)
        made.bind(place)
        if kind == "unix":
            made.listen()
    if kind in ("tcp", "any"):
        print("port", made.getsockname()[1], flush=True)
    kept.append(made)
    return fcntl.fcntl(made.fileno(), fcntl.F_DUPFD, 100)


def start(program, made, names):
    child = os.fork()
    if child:
        return child
    # It is not to outlive this: PR_SET_PDEATHSIG.
    ctypes.CDLL(None).prctl(1, 9)
    for number, descriptor in enumerate(made, 3):
        os.dup2(descriptor, number)
    os.closerange(3 + len(made), 200)
    os.environ.setdefault("LISTEN_PID", str(os.getpid()))
    os.environ.setdefault("LISTEN_FDS", str(len(made)))
    os.environ["LISTEN_PIDFDID"] = "7"
    if any(names):
        os.environ.setdefault("LISTEN_FDNAMES", ":".join(names))
    os.execvp(program[0], program)


kept = []
end = sys.argv.index("--")
made, names = [], []
for word in sys.argv[1:end]:
    what, _, name = word.partition("=")
    made.append(make(*what.partition(":")[::2]))
    names.append(name)
print("bound", flush=True)
for _ in sys.stdin:
    child = start(sys.argv[end + 1 :], made, names)
    _, status = os.waitpid(child, 0)
    print("ended", os.waitstatus_to_exitcode(status), flush=True)
