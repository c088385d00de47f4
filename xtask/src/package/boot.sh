#!/bin/sh
# Boots a copy of this system with a real systemd as its first process, installs the package there,
# and runs the units of the system as they are packaged: a socket's activation, a reload, a restart
# after a death, and one by the watchdog.
#
#   unshare --mount --net --ipc --uts --cgroup sh boot.sh PACKAGE
set -eu
package=$1
place=/mnt
mount --make-rprivate /
mount -t tmpfs tmpfs $place
mkdir $place/upper $place/work $place/root
root=$place/root
layers=lowerdir=/,upperdir=$place/upper,workdir=$place/work
if ! mount -t overlay overlay -o $layers $root 2>/dev/null; then
    echo "no copy of this system can be made (overlayfs): it is not booted"
    exit 0
fi
mount -t sysfs -o ro sysfs $root/sys
# It makes control groups below that in which it finds itself, and sees no other.
if mountpoint -q /sys/fs/cgroup/systemd; then
    mount -t tmpfs -o mode=755 tmpfs $root/sys/fs/cgroup
    mkdir $root/sys/fs/cgroup/systemd
    mount -t cgroup -o none,name=systemd cgroup $root/sys/fs/cgroup/systemd
else
    mount -t cgroup2 cgroup2 $root/sys/fs/cgroup
fi
for folder in run dev; do mount -t tmpfs -o mode=755 tmpfs $root/$folder; done
for device in null zero full random urandom tty; do
    touch $root/dev/$device
    mount --bind /dev/$device $root/dev/$device
done
# `PrivateDevices=` takes these along.
mkdir $root/dev/pts $root/dev/shm $root/opt/trial
mount -t devpts -o newinstance,ptmxmode=666 devpts $root/dev/pts
ln -s pts/ptmx $root/dev/ptmx
ip link set lo up
cp "$package" $root/opt/trial/callsign.deb

# Of all that is installed here nothing is started but what is meant.
units=$root/opt/trial/units
mkdir $units
cat >$units/trial.target <<'UNIT'
[Unit]
DefaultDependencies=no
Wants=trial.service
UNIT
cat >$units/trial.service <<'UNIT'
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/bin/sh /opt/trial/try
ExecStopPost=/bin/sh -c 'echo $SERVICE_RESULT >/opt/trial/result'
StandardOutput=file:/opt/trial/log
StandardError=inherit
UNIT
cat >$root/opt/trial/try <<'TRY'
fail() { echo "$*"; systemctl status --no-pager --lines=20 $service; exit 1; }
service=callsign-registrar.service
control() { systemctl "$@"; }
# The functions of both trials stand here.

dpkg --no-triggers --install /opt/trial/callsign.deb || fail "it is not installed"
systemctl start callsign-registrar.socket || fail "the socket is not made"
socket=/run/callsign/registrar.sock
[ "$(stat -c '%U %a' $socket)" = 'callsign 666' ] || fail "not everybody may connect"
[ "$(said ActiveState)" = inactive ] || fail "it is started before anybody comes"
if ! callsign status; then
    # What systemd itself could not do before the program began: a namespace, a control group.
    code=$(said ExecMainStatus)
    [ "$code" -lt 200 ] || [ "$code" -gt 243 ] || { echo "$code" >/opt/trial/skipped; exit 0; }
    fail "the first who comes is not served"
fi
[ "$(stat -c %U /proc/"$(said MainPID)")" = callsign ] || fail "it runs as somebody else"
callsign register clock /unix/@clock --ttl 5m || fail "nothing is registered"
systemctl reload $service || fail "it is not reloaded"
callsign ls --all | grep -q '^clock ' || fail "a reload loses what is registered"

kill -KILL "$(said MainPID)"
until_true has_restarted 1 || fail "it is not started again when it dies"
callsign status || fail "it does not serve after a restart"
# It is stopped, and so does not tell its watchdog that it is well.
kill -STOP "$(said MainPID)"
until_true has_restarted 2 || fail "its watchdog does not end it"
callsign status || fail "it does not serve after its watchdog"

# Without its socket's unit it makes the socket itself.
systemctl stop $service callsign-registrar.socket || fail "it does not stop"
[ "$(said Result)" = success ] || fail "it does not end well"
[ ! -e $socket ] || fail "a socket is left behind"
systemctl start $service || fail "it is not started without its socket's unit"
callsign status || fail "it does not serve without its socket's unit"

# A settings file says where it listens, and the unit only where that does not.
printf '[registrar]\nlisten = "/unix/run/callsign/other.sock"\n' >/etc/trial.toml
echo CALLSIGN_CONFIG=/etc/trial.toml >/etc/default/callsign
systemctl restart $service || fail "it is not started with a settings file"
[ -S /run/callsign/other.sock ] || fail "the settings file does not say where it listens"
rm /etc/default/callsign
systemctl restart $service || fail "it is not started without a settings file"

# What a registration keeps going is well, and ends well when it is stopped.
systemd-run --quiet --unit=sleeper --service-type=notify --property=WatchdogSec=1s \
    callsign register sleeper /unix/@sleeper --state ready -- sleep 600 || fail "it is not ready"
sleep 2
systemctl is-active --quiet sleeper || fail "its watchdog ends a registration"
systemctl stop sleeper || fail "a registration does not stop"
! systemctl is-failed --quiet sleeper || fail "a registration that is stopped has failed"
dpkg --no-triggers --remove callsign || fail "it is not removed"
[ "$(said ActiveState)" = inactive ] || fail "it runs on when it is removed"
[ ! -e $socket ] || fail "a socket is left behind by what is removed"
TRY

# It is the first process of its namespace, and has no say over the kernel.
# shellcheck disable=SC2016 # It is for the inner shell.
start='mount -t proc proc $0/proc; mount --bind $0/proc/sys $0/proc/sys
mount -o remount,bind,ro $0/proc/sys; exec chroot $0 env -i container=trial PATH="$PATH" \
SYSTEMD_UNIT_PATH=/opt/trial/units: /lib/systemd/systemd --system --unit=trial.target \
--log-target=console --show-status=no'
[ -x $root/lib/systemd/systemd ] || { echo "systemd is not there: nothing is booted"; exit 0; }
unshare --mount --pid --fork --kill-child sh -c "$start" $root >/tmp/$$.log 2>&1 &
machine=$!
trap 'kill -9 $machine 2>/dev/null || true; rm -f /tmp/$$.log' EXIT
tries=1500
until [ -e $root/opt/trial/result ]; do
    tries=$((tries - 1))
    if ! kill -0 $machine 2>/dev/null || { [ $tries = 1200 ] && [ ! -e $root/opt/trial/log ]; }; then
        cat /tmp/$$.log
        echo "systemd does not boot here: the units of the system are not started"
        exit 0
    fi
    [ $tries -gt 0 ] || break
    sleep 0.1
done
if [ "$(cat $root/opt/trial/result 2>/dev/null)" != success ]; then
    cat /tmp/$$.log $root/opt/trial/log >&2
    exit 1
fi
if [ -e $root/opt/trial/skipped ]; then
    echo "systemd cannot run units of the system here (status $(cat $root/opt/trial/skipped))"
fi
