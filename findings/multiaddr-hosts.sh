#!/usr/bin/env bash
# Do the multiaddr libraries of Python and JavaScript agree on hosts?
#
# Versions:  multiaddr 0.2.0 (PyPI), @multiformats/multiaddr 13.0.3 (npm)
# Guess:     yes: a host is an address, which both print in its canonical form, or a domain name, which
#            is any text to them without a slash.
# Seen:      an IPv4 address inside IPv6 is printed with dots by Python, and in hexadecimal by JavaScript,
#            for the same bytes. Python holds domain names to the rules of IDNA: with `_` in them they
#            are refused, as text and as bytes, although DNS has such names (`_dnsaddr` is one).
# For users: compare addresses as bytes or once parsed, not as text. Domain names of actors may have `_`
#            in them (docs/dns.md, "Names"), and then Python's library does not take them; callsign's
#            client for Python parses by itself.
set -euo pipefail
room=$(mktemp -d); trap 'rm -rf "$room"' EXIT
cd "$room"
python3 -m venv venv
venv/bin/pip -q --disable-pip-version-check install multiaddr==0.2.0
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @multiformats/multiaddr@13.0.3 >/dev/null
cat > hosts.py <<'P'
import sys

from multiaddr import Multiaddr

for text in sys.argv[1:]:
    try:
        address = Multiaddr(text)
        print("python", text, address, address.to_bytes().hex())
    except Exception:
        print("python", text, "refused")
P
cat > hosts.mjs <<'J'
import { multiaddr } from '@multiformats/multiaddr'
for (const text of process.argv.slice(2)) {
  const address = multiaddr(text)
  console.log('javascript', text, address.toString(), Buffer.from(address.bytes).toString('hex'))
}
J
{
    venv/bin/python hosts.py /ip6/::ffff:192.0.2.1 /dns/feed.callsign /dns/order_5fbook.callsign
    node hosts.mjs /ip6/::ffff:192.0.2.1 /dns/feed.callsign /dns/order_5fbook.callsign
} | tee seen
diff seen - <<'S'
python /ip6/::ffff:192.0.2.1 /ip6/::ffff:192.0.2.1 2900000000000000000000ffffc0000201
python /dns/feed.callsign /dns/feed.callsign 350d666565642e63616c6c7369676e
python /dns/order_5fbook.callsign refused
javascript /ip6/::ffff:192.0.2.1 /ip6/::ffff:c000:201 2900000000000000000000ffffc0000201
javascript /dns/feed.callsign /dns/feed.callsign 350d666565642e63616c6c7369676e
javascript /dns/order_5fbook.callsign /dns/order_5fbook.callsign 35156f726465725f3566626f6f6b2e63616c6c7369676e
S
echo "as it was"
