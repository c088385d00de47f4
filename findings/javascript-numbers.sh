#!/usr/bin/env bash
# How do JavaScript's MessagePack libraries read and write whole numbers of more than 32 bits?
#
# Versions:  @msgpack/msgpack 3.1.3, msgpackr 2.1.4, msgpack-lite 0.2.2, notepack.io 3.0.1 (npm)
# Guess:     `Number.isSafeInteger` decides: below 2^53 they are written as the integers that they
#            are; above, they are read as BigInt, or not at all.
# Seen:      msgpackr and msgpack-lite write the milliseconds of today as a float. All but msgpackr
#            round a number of 64 bits as they read it, and say nothing.
# For users: a registrar refuses a float where the protocol has a number, and a stamp that was rounded
#            is no host's. Write `BigInt` with msgpackr, and read with `useBigInt64` of
#            @msgpack/msgpack: docs/wire.md says so under "Values".
set -euo pipefail
room=$(mktemp -d); trap 'rm -rf "$room"' EXIT
cd "$room"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @msgpack/msgpack@3.1.3 msgpackr@2.1.4 \
    msgpack-lite@0.2.2 notepack.io@3.0.1 >/dev/null
cat > numbers.mjs <<'J'
import * as msgpack from '@msgpack/msgpack'
import * as msgpackr from 'msgpackr'
import lite from 'msgpack-lite'
import notepack from 'notepack.io'
const libraries = {
  '@msgpack/msgpack': msgpack,
  msgpackr: { encode: msgpackr.pack, decode: msgpackr.unpack },
  'msgpack-lite': lite,
  'notepack.io': notepack,
}
for (const [name, { encode, decode }] of Object.entries(libraries)) {
  const written = Buffer.from(encode(1796000000000)).toString('hex')
  const read = decode(Buffer.from('cf1234567890abcdef', 'hex'))
  const is_same = BigInt(read) === 0x1234567890abcdefn
  const kind = written.startsWith('cb') ? 'float' : 'integer'
  console.log(`${name} writes ${kind}, reads ${typeof read} ${is_same ? 'exactly' : 'rounded'}`)
}
J
node numbers.mjs | tee seen
diff seen - <<'S'
@msgpack/msgpack writes integer, reads number rounded
msgpackr writes float, reads bigint exactly
msgpack-lite writes float, reads number rounded
notepack.io writes integer, reads number rounded
S
echo "as it was"
