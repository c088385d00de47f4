#!/bin/sh
# Runs what is in a container's image as an engine does: as the first process of namespaces of its
# own, in its root, as its user, with its environment and nothing else. Then asks it.
#
#   unshare --mount --net --ipc --uts sh image.sh ROOTFS USER ENVIRONMENT HEALTH PROGRAM
#
# ENVIRONMENT, HEALTH and PROGRAM are lists of words.
set -eu
rootfs=$1 user=$2 environment=$3 health=$4 program=$5
fail() { echo "$*" >&2; exit 1; }
root=/mnt
mount -t tmpfs -o mode=755 tmpfs $root
tar --extract --numeric-owner --same-owner --file "$rootfs" --directory $root
mkdir -p $root/proc $root/dev
touch $root/dev/null
mount --bind /dev/null $root/dev/null
ip link set lo up

# shellcheck disable=SC2086 # Lists of words.
inside() { env -i PATH="$PATH" $environment "$@"; }
# shellcheck disable=SC2086
(exec env -i PATH="$PATH" $environment \
    unshare --pid --fork --kill-child --mount-proc=$root/proc \
    chroot --userspec="$user" $root $program >/tmp/$$.log 2>&1) &
engine=$!
trap 'kill -9 $engine 2>/dev/null || true; rm -f /tmp/$$.log' EXIT
tries=600
# shellcheck disable=SC2086
until inside chroot --userspec="$user" $root $health >/dev/null 2>&1; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || { cat /tmp/$$.log >&2; fail "it does not get healthy"; }
    sleep 0.1
done

callsign() { inside chroot --userspec="$user" $root /usr/bin/callsign "$@"; }
callsign register clock /unix/@clock --ttl 1m >/dev/null 2>&1 || fail "nothing is registered"
callsign ls --all | grep -q '^clock ' || fail "what is registered is not found"
# Who shares the volume, as another user of another container.
socket=$root/run/callsign/registrar.sock
[ "$(stat -c '%u:%g %a' $socket)" = "$user 666" ] || fail "not everybody may connect"
env -i PATH="$PATH" chroot --userspec=4321:4321 $root /usr/bin/callsign \
    ls --all --registrar /unix/run/callsign/registrar.sock | grep -q '^clock ' ||
    fail "another user does not reach it"

# The one process below `unshare` is the first of its namespace.
kill "$(cat /proc/$engine/task/$engine/children)"
code=0
wait $engine || code=$?
[ $code = 143 ] || fail "it ends with $code, not as by SIGTERM"
[ ! -e $socket ] || fail "a socket is left behind"
