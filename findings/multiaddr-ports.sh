#!/usr/bin/env bash
# Which spellings of a port do the multiaddr libraries of three languages take?
#
# Versions:  multiaddr 0.2.0 (PyPI), @multiformats/multiaddr 13.0.3 (npm), multiaddr 0.18.2 (crates.io)
# Guess:     all three take decimal digits alone, and agree on each of these.
# Seen:      JavaScript takes the canonical spelling alone. Rust takes a sign and leading zeros as
#            well. Python takes those, blanks, and underscores between digits.
# For users: a file that several languages read has ports without sign, zero, or blank. Print what
#            was parsed, never the text that was given.
set -euo pipefail
room=$(mktemp -d); trap 'rm -rf "$room"' EXIT
cd "$room"
printf '%s\n' 80 +80 080 8_0 ' 80' > spellings

python3 -m venv venv
venv/bin/pip -q --disable-pip-version-check install multiaddr==0.2.0
cat > ports.py <<'P'
from multiaddr import Multiaddr
for port in open("spellings").read().split("\n")[:-1]:
    try:
        print(f"python [{port}] {Multiaddr('/ip4/127.0.0.1/tcp/' + port)}")
    except Exception:
        print(f"python [{port}] refused")
P

npm init -y >/dev/null
npm install --silent --no-audit --no-fund @multiformats/multiaddr@13.0.3 >/dev/null
cat > ports.mjs <<'J'
import { readFileSync } from 'node:fs'
import { multiaddr } from '@multiformats/multiaddr'
for (const port of readFileSync('spellings', 'utf8').split('\n').slice(0, -1)) {
  let read
  try { read = multiaddr('/ip4/127.0.0.1/tcp/' + port).toString() } catch { read = 'refused' }
  console.log(`javascript [${port}] ${read}`)
}
J

cargo init -q --name ports rust
(cd rust && cargo add -q multiaddr@=0.18.2)
cat > rust/src/main.rs <<'R'
fn main() {
    for port in std::fs::read_to_string("spellings").unwrap().lines() {
        match format!("/ip4/127.0.0.1/tcp/{port}").parse::<multiaddr::Multiaddr>() {
            Ok(read) => println!("rust [{port}] {read}"),
            Err(_) => println!("rust [{port}] refused"),
        }
    }
}
R
cargo build -q --manifest-path rust/Cargo.toml --target-dir "$room/target"

{ venv/bin/python ports.py; node ports.mjs; target/debug/ports; } | tee seen
diff seen - <<'S'
python [80] /ip4/127.0.0.1/tcp/80
python [+80] /ip4/127.0.0.1/tcp/80
python [080] /ip4/127.0.0.1/tcp/80
python [8_0] /ip4/127.0.0.1/tcp/80
python [ 80] /ip4/127.0.0.1/tcp/80
javascript [80] /ip4/127.0.0.1/tcp/80
javascript [+80] refused
javascript [080] refused
javascript [8_0] refused
javascript [ 80] refused
rust [80] /ip4/127.0.0.1/tcp/80
rust [+80] /ip4/127.0.0.1/tcp/80
rust [080] /ip4/127.0.0.1/tcp/80
rust [8_0] refused
rust [ 80] refused
S
echo "as it was"
