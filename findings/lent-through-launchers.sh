#!/usr/bin/env bash
# A socket is lent by LISTEN_FDS, as systemd does. Behind which launchers does the server find it?
#
# Versions:  uv 0.13.9, honcho 2.0.0 (PyPI), dumb-init 1.2.5-2, tini 0.19.0-1+b3,
#            dash 0.5.12-2 (Debian 12); whatever npm, bash and coreutils are here (11.19.1, 5.2.15, 9.1)
# Guess:     descriptors are inherited, so it is open behind all. LISTEN_PID fits behind those that turn
#            into the server by `execve`: env, nice, and any shell that has one command to run.
# Seen:      npm and honcho close it. bash turns into the last command of a list, dash starts a child
#            even for a single one. timeout, tini, dumb-init and `uv run` start a child as well, so
#            that LISTEN_PID is another's there.
# For users: a server that checks LISTEN_PID opens a socket of its own there, if that is its default, and
#            says nothing (gunicorn takes port 8000). Write `exec` in `sh -c`; call the server by its
#            path instead of `npm start` or `uv run`.
set -euo pipefail
room=$(mktemp -d); trap 'rm -rf "$room"' EXIT
cd "$room"
python3 -m venv venv
venv/bin/pip -q --disable-pip-version-check install uv==0.13.9 honcho==2.0.0
apt-get -qq download dumb-init=1.2.5-2 tini=0.19.0-1+b3 dash=0.5.12-2 2>/dev/null
for package in *.deb; do dpkg -x "$package" debian; done
cat > server.py <<'P'
import os
import stat

try:
    fits = stat.S_ISSOCK(os.fstat(3).st_mode)
except OSError:
    fits = False
pid = "its own" if os.environ["LISTEN_PID"] == str(os.getpid()) else "another's"
with open("found", "w") as file:
    print("socket", "open," if fits else "closed,", "LISTEN_PID", pid, file=file)
P
cat > lend.py <<'P'
import os
import socket
import sys

listener = socket.socket(socket.AF_UNIX)
listener.bind("socket")
listener.listen()
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execvp(sys.argv[1], sys.argv[1:])
P
python=$room/venv/bin/python
cat > package.json <<J
{ "name": "server", "version": "1.0.0", "scripts": { "start": "exec $python server.py" } }
J
echo "web: exec $python server.py" > Procfile
try_it() { # LABEL COMMAND...
    local label=$1
    shift
    rm -f socket found
    HOME=$room timeout 120 python3 lend.py "$@" </dev/null >/dev/null 2>&1 || true
    echo "$label: $(cat found)"
}
{
    try_it env env A=1 "$python" server.py
    try_it nice nice "$python" server.py
    try_it "bash, one command" bash -c "$python server.py"
    try_it "bash, a list" bash -c "cd . && $python server.py"
    try_it "dash, one command" debian/bin/dash -c "$python server.py"
    try_it "dash, exec" debian/bin/dash -c "exec $python server.py"
    try_it timeout timeout 60 "$python" server.py
    try_it tini debian/usr/bin/tini -- "$python" server.py
    try_it dumb-init debian/usr/bin/dumb-init "$python" server.py
    try_it "uv run" venv/bin/uv run --no-project "$python" server.py
    try_it "npm start" npm start
    try_it honcho venv/bin/honcho start
} | tee seen
diff seen - <<'S'
env: socket open, LISTEN_PID its own
nice: socket open, LISTEN_PID its own
bash, one command: socket open, LISTEN_PID its own
bash, a list: socket open, LISTEN_PID its own
dash, one command: socket open, LISTEN_PID another's
dash, exec: socket open, LISTEN_PID its own
timeout: socket open, LISTEN_PID another's
tini: socket open, LISTEN_PID another's
dumb-init: socket open, LISTEN_PID another's
uv run: socket open, LISTEN_PID another's
npm start: socket closed, LISTEN_PID another's
honcho: socket closed, LISTEN_PID another's
S
echo "as it was"
