#!/usr/bin/env bash
# What does a watch show that begins at the revision up to which etcd has compacted its history?
#
# Versions:  etcd-server 3.4.23 (Debian bookworm: `apt-get install etcd-server`), by its JSON gateway
# Guess:     everything from that revision on, or, as for one revision earlier, an end that says
#            `compact_revision`.
# Seen:      the puts of that revision, and not its removals, without a word: one transaction puts
#            `kept` and removes `gone`, and only `kept` is shown.
# For users: whoever goes on "after the last revision seen" may keep what is gone for ever. A watch
#            that begins at the last revision seen, and leaves out what it has seen, is told.
set -euo pipefail
room=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -rf "$room"' EXIT
at=127.77.0.$((RANDOM % 200 + 2))
etcd --data-dir "$room/data" --listen-client-urls "http://$at:2379" \
    --advertise-client-urls "http://$at:2379" --listen-peer-urls "http://$at:2380" \
    --initial-advertise-peer-urls "http://$at:2380" --initial-cluster "default=http://$at:2380" \
    --logger zap --log-level error >"$room/log" 2>&1 &
server=$!
call() { curl -sf "http://$at:2379/v3/$1" -d "$2"; }
until call kv/range "{\"key\": \"$(printf x | base64)\"}" >/dev/null; do sleep 0.1; done
k() { printf %s "$1" | base64; }
call kv/put "{\"key\": \"$(k gone)\", \"value\": \"$(k 1)\"}" >/dev/null
before=$(call kv/put "{\"key\": \"$(k other)\", \"value\": \"$(k 1)\"}" | grep -o '"revision":"[0-9]*"' | tr -dc 0-9)
call kv/txn "{\"success\": [
    {\"request_delete_range\": {\"key\": \"$(k gone)\"}},
    {\"request_put\": {\"key\": \"$(k kept)\", \"value\": \"$(k 1)\"}}]}" >/dev/null
revision=$((before + 1))
call kv/compaction "{\"revision\": \"$revision\", \"physical\": true}" >/dev/null
watch() { # FROM
    curl -s -m 2 "http://$at:2379/v3/watch" -d "{\"create_request\": {
        \"key\": \"$(k a)\", \"range_end\": \"$(k z)\", \"start_revision\": \"$1\"}}" || true
}
from_it=$(watch "$revision")
before_it=$(watch "$before")
printf 'from the compacted revision on:\n%s\nfrom the one before:\n%s\n' "$from_it" "$before_it"
grep -q "\"$(k kept)\"" <<<"$from_it"
! grep -q "\"$(k gone)\"" <<<"$from_it"
grep -q compact_revision <<<"$before_it"
