#!/usr/bin/env bash
# Does nginx upgrade its binary at SIGUSR2 in the foreground, where a supervisor keeps it?
#
# Version:   nginx 1.22.1-9+deb12u11 (Debian 12)
# Guess:     yes: with `daemon off` it is the same master, which executes its binary anew and hands
#            it the sockets, as gunicorn's does.
# Seen:      no: as long as the process that started it lives, it takes itself for the new binary of
#            an upgrade, and leaves the signal with "the changing binary signal is ignored: you
#            should shutdown or terminate before either old or new binary's process". The same
#            command upgrades once its starter has ended, and so does a daemon.
# For users: what `callsign register NAME ENDPOINT -- nginx -g 'daemon off;'` or a systemd unit with
#            `daemon off` keeps is reloaded by SIGHUP, and for another binary started again. Only a
#            daemon, registered without a command, is upgraded in place.
set -euo pipefail
room=$(mktemp -d); trap 'kill $(cat "$room"/*/pid 2>/dev/null) 2>/dev/null || true; sleep 1; rm -rf "$room"' EXIT
cd "$room"
apt-get -qq download nginx=1.22.1-9+deb12u11 2>/dev/null
for package in *.deb; do dpkg -x "$package" debian; done
nginx=$room/debian/usr/sbin/nginx

try_it() { # LABEL FOLDER: whether there are two masters after the signal
    for _ in $(seq 100); do [ -s "$2/pid" ] && break; sleep 0.1; done
    kill -USR2 "$(cat "$2/pid")"
    for _ in $(seq 100); do
        if [ -s "$2/pid.oldbin" ] && [ -s "$2/pid" ]; then
            echo "$1: a second master"
            kill "$(cat "$2/pid.oldbin")"
            return
        fi
        grep -q "changing binary signal is ignored" "$2/log" && break
        sleep 0.1
    done
    echo "$1: ignored"
}
prepare() { # FOLDER
    mkdir "$1"
    printf '%s\n' "pid $room/$1/pid;" "error_log $room/$1/log notice;" 'events {}' \
        "http { access_log off; server { listen unix:$room/$1/socket; } }" > "$1/conf"
}
for kind in kept forsaken daemon; do prepare $kind; done
"$nginx" -e kept/log -p kept -c "$room/kept/conf" -g 'daemon off;' 2>/dev/null &
(
    "$nginx" -e forsaken/log -p forsaken -c "$room/forsaken/conf" -g 'daemon off;' 2>/dev/null &
    until [ -s forsaken/pid ]; do sleep 0.1; done
)
"$nginx" -e daemon/log -p daemon -c "$room/daemon/conf" 2>/dev/null
{
    try_it "in the foreground, its starter lives" kept
    try_it "in the foreground, its starter has ended" forsaken
    try_it "a daemon" daemon
} | tee seen

diff seen - <<'SEEN'
in the foreground, its starter lives: ignored
in the foreground, its starter has ended: a second master
a daemon: a second master
SEEN
