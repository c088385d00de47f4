#!/bin/sh
# Lets a real systemd run the units of a user, as they are packaged: a socket's activation, a reload,
# a restart after a death, and one by the watchdog. It is the manager of a user, in namespaces of its
# own, for it takes the machine for booted with systemd by a folder in /run.
#
#   unshare --mount --pid --fork --kill-child --mount-proc --cgroup sh units.sh ROOT
#
# ROOT is the package, unpacked.
set -eu
root=$1
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
# It makes control groups below that in which it finds itself, and sees no other.
if mountpoint -q /sys/fs/cgroup/systemd; then
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    mkdir /sys/fs/cgroup/systemd
    mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
else
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
mkdir -p /run/systemd/system /run/home/.config/systemd/user
mkdir -m 700 /run/user
export XDG_RUNTIME_DIR=/run/user HOME=/run/home
# The units call the program where it is installed; nothing is installed here.
for unit in callsign-registrar.service callsign-registrar.socket; do
    sed "s,/usr/bin/callsign,$root/usr/bin/callsign," "$root/usr/lib/systemd/user/$unit" \
        >"$HOME/.config/systemd/user/$unit"
done

SYSTEMD_LOG_TARGET=console /usr/lib/systemd/systemd --user >/run/log 2>&1 &
manager=$!
fail() { cat /run/log >&2; echo "$*" >&2; exit 1; }
control() { timeout 60 systemctl --user "$@"; }
# The functions of both trials stand here.
if ! until_true test -S $XDG_RUNTIME_DIR/systemd/private; then
    kill -0 $manager 2>/dev/null && fail "systemd does not get ready"
    echo "systemd does not run as the manager of a user here: the units are not started"
    exit 0
fi

service=callsign-registrar.service
callsign() { "$root/usr/bin/callsign" "$@" --registrar "/unix$XDG_RUNTIME_DIR/callsign/registrar.sock"; }

control start callsign-registrar.socket || fail "the socket is not made"
[ "$(said ActiveState)" = inactive ] || fail "it is started before anybody comes"
callsign status >/dev/null || fail "the first who comes is not served"
[ "$(said ActiveState)" = active ] || fail "it is not started by its socket"

callsign register clock /unix/@clock --ttl 1m >/dev/null 2>&1 || fail "nothing is registered"
control reload $service || fail "it is not reloaded"
callsign ls --all | grep -q '^clock ' || fail "a reload loses what is registered"

kill -KILL "$(said MainPID)"
until_true has_restarted 1 || fail "it is not started again when it dies"
callsign status >/dev/null || fail "it does not serve after a restart"

# It is stopped, and so does not tell its watchdog that it is well.
kill -STOP "$(said MainPID)"
until_true has_restarted 2 || fail "its watchdog does not end it"
callsign status >/dev/null || fail "it does not serve after its watchdog"

# Services of the user: one that `register` keeps, and one that is no child of it. With control groups
# of version 1, no kernel tells this manager that a group is empty, so that it waits for the limit of a
# stop before it starts a service again.
places=$XDG_RUNTIME_DIR/places
mkdir $places
unit() {
    printf '[Service]\nExecStart=%s\nRestart=always\nRestartSec=100ms\nTimeoutStopSec=2s\n' "$2" \
        >"$HOME/.config/systemd/user/$1.service"
}
registrar="--registrar /unix$XDG_RUNTIME_DIR/callsign/registrar.sock"
serve() { echo "$root/usr/bin/callsign registrar --listen /unix$places/$1.sock"; }
unit web "$root/usr/bin/callsign $registrar register web /unix$places/web.sock -- $(serve web)"
unit shop "$(serve shop)"
control daemon-reload
control start web.service shop.service || fail "the services of the user do not start"
callsign register shop "/unix$places/shop.sock" >/dev/null 2>&1 &
is_of() { callsign find "$1" | grep "  instance" | grep -qvF "${2:-none}"; }
for name in web shop; do
    until_true is_of $name || fail "$name is not found"
    before=$(callsign find $name | sed -n 's/^  instance *//p')
    kill -KILL "$(control show --property MainPID --value $name.service)"
    service=$name.service
    until_true has_restarted 1 || fail "$name is not started again"
    # What `register` keeps comes back as another instance; what it follows is the same one.
    [ $name = shop ] && before=none
    until_true is_of $name "$before" || fail "the registration of $name does not come back"
    callsign connect $name </dev/null >/dev/null || fail "$name is not reached"
done
service=callsign-registrar.service
callsign ls | grep -q '^shop .*ready' || fail "shop is not ready"

control stop web.service shop.service $service callsign-registrar.socket || fail "it does not stop"
[ "$(said Result)" = success ] || fail "it does not end well"
[ ! -e $XDG_RUNTIME_DIR/callsign/registrar.sock ] || fail "a socket is left behind"
