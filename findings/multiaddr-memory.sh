#!/usr/bin/env bash
# Are the bytes of `/memory/5` the same in JavaScript and in Python?
#
# Versions:  multiaddr 0.2.0 (PyPI), @multiformats/multiaddr 13.0.3 (npm)
# Guess:     yes: the code 777 and a number of 64 bits, as in Rust.
# Seen:      Python writes eight bytes, 00…05. JavaScript writes the text "5" behind its length, so
#            neither reads the other's bytes, though both print the same.
# For users: between languages, `/memory` addresses are exchanged as text. They mean something
#            within one process alone, so nobody should have to.
set -euo pipefail
room=$(mktemp -d); trap 'rm -rf "$room"' EXIT
cd "$room"
python3 -m venv venv
venv/bin/pip -q --disable-pip-version-check install multiaddr==0.2.0
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @multiformats/multiaddr@13.0.3 >/dev/null
cat > memory.mjs <<'J'
import { multiaddr } from '@multiformats/multiaddr'
const address = multiaddr('/memory/5')
console.log(`javascript ${address} ${Buffer.from(address.bytes).toString('hex')}`)
J
{
    venv/bin/python -c "
from multiaddr import Multiaddr
address = Multiaddr('/memory/5')
print('python', address, address.to_bytes().hex())"
    node memory.mjs
} | tee seen
diff seen - <<'S'
python /memory/5 89060000000000000005
javascript /memory/5 89060135
S
echo "as it was"
