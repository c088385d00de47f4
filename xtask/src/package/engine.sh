#!/bin/sh
# Lets an engine build the image of a container and, where it can, run it: `podman`, with a storage
# of its own that is gone with the mount namespace this is to be run in.
#
#   unshare --mount sh engine.sh IMAGE
#
# IMAGE is the folder to build of.
set -eu
image=$1
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/graph /mnt/run /mnt/tmp
export TMPDIR=/mnt/tmp
log=/mnt/log
fail() { cat $log >&2; echo "$*" >&2; exit 1; }
# Of the files in /etc and /run none is another engine's.
for folder in /run /var/lib/containers; do
    [ -d $folder ] && mount -t tmpfs tmpfs $folder
done
# crun takes one kind of control groups or the other, and not both.
umount /sys/fs/cgroup/unified 2>/dev/null || true
podman() {
    command podman --root /mnt/graph --runroot /mnt/run --storage-driver vfs \
        --cgroup-manager cgroupfs --events-backend file "$@" 2>>$log
}

# The format that keeps the check of health.
podman build --quiet --isolation chroot --format docker --tag callsign "$image" >/dev/null ||
    fail "podman does not build the image"
said() { podman image inspect --format "$1" callsign; }
[ "$(said '{{.User}}')" = 10001:10001 ] || fail "the image has another user"
said '{{.HealthCheck.Test}}' | grep -q '/usr/bin/callsign status' || fail "the image has no check of health"

# No more of anything than this process may have, and no control groups that would stay.
limits="--ulimit nofile=$(ulimit -Hn):$(ulimit -Hn) --ulimit nproc=1000:1000"
# shellcheck disable=SC2086 # A list of words.
run() { podman run --network none --cgroups disabled $limits "$@"; }
if ! run --rm callsign --version >/dev/null; then
    echo "podman builds the image, and runs nothing here: $(tail -1 $log)"
    exit 0
fi
inside() { podman exec registrar "$@"; }
run --detach --name registrar --env CALLSIGN_SETTLE_TIME=0s callsign >/dev/null || fail "it is not started"
tries=600
until podman healthcheck run registrar >/dev/null; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || fail "it does not get healthy"
    sleep 0.1
done
inside /usr/bin/callsign register clock /unix/@clock --ttl 1m >/dev/null || fail "nothing is registered"
inside /usr/bin/callsign find clock | grep -q '^/unix/@clock' || fail "what is registered is not found"
# Another container that has the volume finds what a program in this one registers.
podman exec --detach registrar /usr/bin/callsign register web /unix/run/callsign/web.sock -- \
    /usr/bin/callsign registrar --listen /unix/run/callsign/web.sock >/dev/null ||
    fail "no program is started"
other() { run --rm --volumes-from registrar --user 4321:4321 callsign "$@"; }
other wait web --timeout 1m >/dev/null || fail "another container does not find it"
podman stop registrar >/dev/null || fail "it is not stopped"
[ "$(podman inspect --format '{{.State.ExitCode}}' registrar)" = 143 ] || fail "it does not end as by SIGTERM"
podman rm --force registrar >/dev/null || fail "it is not removed"
