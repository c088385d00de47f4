#!/bin/sh
# Installs a Debian package on a copy of this system, uses it, and removes it again: `dpkg` runs the
# maintainer scripts for real, and nothing of it is left when the mount namespace ends that this is
# to be run in.
#
#   unshare --mount --pid --fork sh install.sh PACKAGE
set -eu
package=$1
place=/mnt
mount -t tmpfs tmpfs $place
mkdir $place/upper $place/work $place/root
layers=lowerdir=/,upperdir=$place/upper,workdir=$place/work
if ! mount -t overlay overlay -o $layers $place/root 2>/dev/null; then
    echo "no copy of this system can be made (overlayfs): the package is not installed"
    exit 0
fi
root=$place/root
mount -t proc proc $root/proc
mount -t tmpfs tmpfs $root/run
mount -t tmpfs tmpfs $root/tmp
mount --rbind /dev $root/dev
cp "$package" $root/tmp/callsign.deb

cat >$root/tmp/try <<'TRY'
set -eu
fail() { echo "$*" >&2; exit 1; }
dpkg --no-triggers --install /tmp/callsign.deb >/tmp/log 2>&1 || { cat /tmp/log >&2; fail "it is not installed"; }
[ "$(stat -c '%U:%G %a' /usr/bin/callsign)" = 'root:root 755' ] || fail "another owner or mode"
[ "$(stat -c '%U:%G %a' /run/callsign)" = 'callsign:callsign 755' ] || fail "no folder to listen in"
id callsign >/dev/null || fail "no user"
dpkg --listfiles callsign | while read -r path; do
    [ -e "$path" ] || fail "$path is not installed"
    [ "$(stat -c %U "$path")" = root ] || fail "$path belongs to somebody else"
done

# What the unit says, without the unit's manager: its user, its environment, its program.
unit=/usr/lib/systemd/system/callsign-registrar.service
said() { sed -n "s/^$1=//p" $unit; }
mkfifo -m 600 /run/ready
chown callsign /run/ready
install -d -m "$(said RuntimeDirectoryMode)" -o "$(said User)" "/run/$(said RuntimeDirectory)"
environment=$(said Environment | sed 's,%t,/run,g')
setpriv --reuid "$(said User)" --regid "$(said Group)" --clear-groups \
    env CALLSIGN_SETTLE_TIME=0s $environment $(said ExecStart) --ready-fd 3 3<>/run/ready >/dev/null &
registrar=$!
timeout 60 head -1 /run/ready | grep -qx ready || fail "the registrar does not get ready"
[ "$(stat -c '%U %a' /run/callsign/registrar.sock)" = 'callsign 666' ] || fail "not everybody may connect"

# Another user, with nothing set, finds it and is found.
nobody() { setpriv --reuid nobody --regid nogroup --clear-groups "$@"; }
nobody callsign register clock /unix/@clock --ttl 1m >/dev/null 2>&1 || fail "nobody may register"
callsign ls --all | grep -q '^clock ' || fail "what is registered is not found"

kill $registrar
wait $registrar 2>/dev/null || [ $? = 143 ] || fail "the registrar does not end well"
[ ! -e /run/callsign/registrar.sock ] || fail "a socket is left behind"
dpkg --no-triggers --purge callsign >/tmp/log 2>&1 || { cat /tmp/log >&2; fail "it is not removed"; }
[ ! -e /usr/bin/callsign ] && [ ! -e $unit ] || fail "files are left behind"
TRY
env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin chroot $root /bin/sh /tmp/try
