//! Private keys in the forms of their own kinds, put into that of all kinds (PKCS #8).

/// Wraps a key of an elliptic curve (SEC 1, `EC PRIVATE KEY`) or of RSA (PKCS #1), as OpenSSL writes
/// them. `None` for another one, and for one that is damaged or encrypted.
pub(crate) fn in_pkcs8(label: &str, der: &[u8]) -> Option<Vec<u8>> {
    let (algorithm, key) = match label {
        "RSA PRIVATE KEY" => ([OID_RSA, NULL].concat(), der.to_vec()),
        "EC PRIVATE KEY" => {
            let (SEQUENCE, inside, &[]) = element(der)? else { return None };
            let (version, rest) = split(inside)?;
            let (secret, rest) = split(rest)?;
            // The curve stands beside the kind of the key there, and not within.
            let (curve, public) = split(rest)?;
            let (CURVE, oid, &[]) = element(curve)? else { return None };
            let key = [version, secret, public].concat();
            ([OID_EC, oid].concat(), encoded(SEQUENCE, &key))
        }
        _ => return None,
    };
    let version = [INTEGER, 1, 0].to_vec();
    let all = [version, encoded(SEQUENCE, &algorithm), encoded(OCTETS, &key)];
    Some(encoded(SEQUENCE, &all.concat()))
}

/// Splits off the first element, as it is.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, _, rest) = element(bytes)?;
    Some(bytes.split_at(bytes.len() - rest.len()))
}

/// Reads the first element: its kind, its contents, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[kind, first], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 | 0x82 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (digits.iter().fold(0, |length, it| length << 8 | usize::from(*it)), rest)
        }
        // No key is longer than 64 KiB.
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((kind, contents, rest))
}

fn encoded(kind: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len();
    let mut bytes = vec![kind];
    match length {
        0..=0x7f => bytes.push(length as u8),
        0x80..=0xff => bytes.extend([0x81, length as u8]),
        _ => bytes.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    bytes.extend(contents);
    bytes
}

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
const CURVE: u8 = 0xa0;
const NULL: &[u8] = &[0x05, 0];

/// The kinds of keys, as elements: `rsaEncryption` and `id-ecPublicKey`.
const OID_RSA: &[u8] = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const OID_EC: &[u8] = &[0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_no_key_is_left_alone() {
        let mut key = vec![SEQUENCE, 0];
        for length in 0..64 {
            key[1] = length;
            for label in ["EC PRIVATE KEY", "RSA PRIVATE KEY", "PRIVATE KEY"] {
                let wrapped = in_pkcs8(label, &key);
                assert_eq!(wrapped.is_some(), label.starts_with("RSA"), "{label}, {key:?}");
            }
            key.push(length.wrapping_mul(37));
        }
        assert_eq!(in_pkcs8("EC PRIVATE KEY", &[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn an_element_is_read_as_it_is_written() {
        for length in [0, 1, 127, 128, 255, 256, 65_535] {
            let bytes = encoded(OCTETS, &vec![7; length]);
            let (kind, contents, rest) = element(&bytes).unwrap();
            assert_eq!((kind, contents.len(), rest.len()), (OCTETS, length, 0));
            assert_eq!(element(&bytes[..bytes.len() - 1]), None);
        }
    }
}
