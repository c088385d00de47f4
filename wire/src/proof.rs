//! Proof of identity: an actor shows a caller that it is the instance that was looked up.
//!
//! The registrar derives a key for every registration and gives it to the registrant. A caller that
//! looks the name up gets a challenge drawn by the registrar, and the proof that only a holder of
//! the key can compute from it. So a caller that knows both still cannot pass for the actor to
//! anybody else, and neither can a program that later listens at the actor's address.
//!
//! ```text
//!   actor ──register──▶ registrar        key = HMAC(secret, uuid, epoch)
//!         ◀────key──────     │
//!                            │ ◀──find──── caller
//!                            │ ─challenge, proof─▶ │
//!   actor ◀──────── hello with the challenge ───── │
//!         ───────── hello with the proof ────────▶ │ equal? then payload may follow
//! ```
//!
//! The construction is HMAC-SHA256 (RFC 2104), cut to 16 bytes as its section 5 allows.
//!
//! Over TLS the proof covers the connection too: it is another one, and only its hash with what both
//! ends of the connection export (RFC 9266) is sent. So a program in between, with a certificate of
//! its own and a connection to each side, cannot pass it on; nor does it help that program to ask the
//! actor over a connection without TLS.

use std::fmt;

use endpoints::InstanceId;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use sha2::Sha256;
use uuid::Uuid;

use crate::{Epoch, Owner};

/// The secret from which a registrar derives all keys. It never leaves the registrar.
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::ProofSecret;
///
/// let secret = ProofSecret::new([7; 32]);
/// assert_eq!(format!("{secret:?}"), "ProofSecret(_)", "it is not for logs");
/// ```
#[derive(Clone)]
pub struct ProofSecret {
    bytes: [u8; 32],
    /// The hash with the secret as its key, which is half of the work for each key.
    keyed: Hmac<Sha256>,
}

impl ProofSecret {
    /// Takes 32 bytes drawn at random.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// let secret = callsign::ProofSecret::new([7; 32]);
    /// # drop(secret);
    /// ```
    pub fn new(drawn: [u8; 32]) -> Self {
        Self { bytes: drawn, keyed: keyed(&drawn) }
    }

    /// Returns its bytes, for who has to write it down.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// let secret = callsign::ProofSecret::new([7; 32]);
    /// assert_eq!(secret.to_bytes(), [7; 32]);
    /// ```
    pub fn to_bytes(&self) -> [u8; 32] {
        self.bytes
    }
}

impl fmt::Debug for ProofSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProofSecret(_)")
    }
}

/// The secret that a registrar shares with the registrant of one registration only.
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::{ProofKey, ProofSecret};
/// use uuid::Uuid;
///
/// let secret = ProofSecret::new([7; 32]);
/// let key = ProofKey::derive(&secret, Uuid::from_u128(1), 1);
/// assert_ne!(key, ProofKey::derive(&secret, Uuid::from_u128(1), 2), "each registration has its own");
/// ```
#[derive(Clone, Copy, Eq, PartialEq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct ProofKey(ByteArray<32>);

impl ProofKey {
    /// Derives the key of a registration from the registrar's secret.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// use callsign::{ProofKey, ProofSecret};
    /// use uuid::Uuid;
    ///
    /// let secret = ProofSecret::new([7; 32]);
    /// let key = ProofKey::derive(&secret, Uuid::from_u128(1), 1);
    /// assert_ne!(key, ProofKey::derive(&secret, Uuid::from_u128(1), 2), "each registration has its own");
    /// ```
    pub fn derive(secret: &ProofSecret, uuid: Uuid, epoch: Epoch) -> Self {
        let parts: [&[u8]; 3] = [b"callsign: proof key", uuid.as_bytes(), &epoch.to_be_bytes()];
        Self(ByteArray::new(digest(secret.keyed.clone(), &parts)))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Makes the proof that an instance owes to a challenge.
    ///
    /// ```
    /// # mod callsign { pub use {endpoints::*, callsign_wire::*}; }
    /// use callsign::{Challenge, Proof, ProofKey};
    /// use callsign::InstanceId;
    ///
    /// /// Answers a caller that expects this instance.
    /// fn answer(key: &ProofKey, own: &InstanceId, challenge: &Challenge) -> Proof {
    ///     key.prove(own, challenge)
    /// }
    /// ```
    pub fn prove(&self, instance: &InstanceId, challenge: &Challenge) -> Proof {
        self.proof(b"callsign: proof", instance, challenge)
    }

    /// Makes the proof that an instance owes over a connection with TLS.
    ///
    /// ```
    /// # mod callsign { pub use {endpoints::*, callsign_wire::*}; }
    /// use callsign::{ChannelBinding, Challenge, Proof, ProofKey};
    /// use callsign::InstanceId;
    ///
    /// /// Answers a caller over TLS.
    /// fn answer(
    ///     (key, own): (&ProofKey, &InstanceId),
    ///     challenge: &Challenge,
    ///     channel: &ChannelBinding,
    /// ) -> Proof {
    ///     key.prove_on(channel, own, challenge)
    /// }
    /// ```
    pub fn prove_on(
        &self,
        channel: &ChannelBinding,
        instance: &InstanceId,
        challenge: &Challenge,
    ) -> Proof {
        self.proof_over_tls(instance, challenge).bound_to(channel)
    }

    /// Makes what a caller needs to recognise the proof of an instance.
    ///
    /// ```
    /// # mod callsign { pub use {endpoints::*, callsign_wire::*}; }
    /// use callsign::{Challenge, Owed, ProofKey};
    /// use callsign::InstanceId;
    ///
    /// /// Returns what the instance owes, which listens with and without TLS.
    /// fn owed(key: &ProofKey, instance: &InstanceId, challenge: &Challenge) -> Owed {
    ///     key.owed(instance, challenge, true)
    /// }
    /// ```
    pub fn owed(&self, instance: &InstanceId, challenge: &Challenge, has_tls: bool) -> Owed {
        Owed {
            proof: self.prove(instance, challenge),
            over_tls: has_tls.then(|| self.proof_over_tls(instance, challenge)),
        }
    }

    /// Makes the proof over TLS, which is sent only when it is bound.
    fn proof_over_tls(&self, instance: &InstanceId, challenge: &Challenge) -> Proof {
        self.proof(b"callsign: proof over TLS", instance, challenge)
    }

    fn proof(&self, kind: &[u8], instance: &InstanceId, challenge: &Challenge) -> Proof {
        let Challenge { registrar, epoch, nonce } = challenge;
        let whole = digest(
            keyed(&*self.0),
            &[
                kind,
                registrar.as_bytes(),
                &epoch.to_be_bytes(),
                nonce.as_bytes(),
                instance.uuid.as_bytes(),
                instance.name.as_str().as_bytes(),
            ],
        );
        let (half, _) = whole.split_first_chunk().expect("a digest has 32 bytes");
        Proof(ByteArray::new(*half))
    }
}

impl fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProofKey(_)")
    }
}

/// Shows that the registrant itself drew an instance's UUID: the UUID derives from this secret.
///
/// UUIDs appear in every listing. Without the secret, any reader of a listing could register the
/// UUID elsewhere, or while its owner is away.
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::InstanceSecret;
///
/// let secret = InstanceSecret::new([7; 16]);
/// assert!(secret.owns(secret.uuid()));
/// assert!(!InstanceSecret::new([8; 16]).owns(secret.uuid()));
/// ```
#[derive(Clone, Copy, Eq, PartialEq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct InstanceSecret(ByteArray<16>);

impl InstanceSecret {
    /// Takes 16 bytes drawn at random.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// use callsign::InstanceSecret;
    ///
    /// let secret = InstanceSecret::new([7; 16]);
    /// assert!(secret.owns(secret.uuid()));
    /// ```
    pub fn new(drawn: [u8; 16]) -> Self {
        Self(ByteArray::new(drawn))
    }

    /// Returns the UUID that is made of it, of version 8 (RFC 9562).
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// use callsign::InstanceSecret;
    ///
    /// let secret = InstanceSecret::new([7; 16]);
    /// assert!(secret.owns(secret.uuid()));
    /// ```
    pub fn uuid(&self) -> Uuid {
        let whole = digest(keyed(&*self.0), &[b"callsign: instance"]);
        let (half, _) = whole.split_first_chunk().expect("a digest has 32 bytes");
        uuid::Builder::from_custom_bytes(*half).into_uuid()
    }

    /// Tells whether a UUID was made of it.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// use callsign::InstanceSecret;
    ///
    /// let secret = InstanceSecret::new([7; 16]);
    /// assert!(secret.owns(secret.uuid()));
    /// ```
    pub fn owns(&self, uuid: Uuid) -> bool {
        self.uuid() == uuid
    }
}

impl fmt::Debug for InstanceSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InstanceSecret(_)")
    }
}

/// A random value that a registrar draws for one look-up, for one registration to answer.
///
/// ```
/// # use callsign_wire as callsign;
/// # use uuid::Uuid;
/// use callsign::Challenge;
///
/// let challenge = Challenge { registrar: Uuid::nil(), epoch: 7, nonce: Uuid::new_v4() };
/// assert_ne!(challenge.nonce, Uuid::nil());
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
pub struct Challenge {
    /// The registrar that drew it.
    pub registrar: Uuid,
    /// The registration at that registrar which is to answer.
    pub epoch: Epoch,
    /// A number drawn at random.
    pub nonce: Uuid,
}

/// The response to a [`Challenge`]. Comparing it takes a time that does not depend on its bytes.
///
/// ```
/// # use callsign_wire as callsign;
/// # use endpoints::{InstanceId, Name};
/// # use callsign_wire::{ProofKey, ProofSecret};
/// # use uuid::Uuid;
/// use callsign::{Challenge, Proof};
///
/// # let feed = InstanceId { name: Name::new("feed")?, uuid: Uuid::nil() };
/// # let key = ProofKey::derive(&ProofSecret::new([7; 32]), feed.uuid, 7);
/// # let challenge = Challenge { registrar: Uuid::nil(), epoch: 7, nonce: Uuid::nil() };
/// // Made from the key of the registration, for this challenge alone.
/// let proof: Proof = key.prove(&feed, &challenge);
/// assert_ne!(proof, key.prove(&feed, &Challenge { nonce: Uuid::max(), ..challenge }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Proof(ByteArray<16>);

impl From<[u8; 16]> for Proof {
    fn from(bytes: [u8; 16]) -> Self {
        Self(ByteArray::new(bytes))
    }
}

impl Proof {
    /// Returns its bytes, for a protocol that has another form for them.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// use callsign::Proof;
    ///
    /// assert_eq!(Proof::from([7; 16]).to_bytes(), [7; 16]);
    /// ```
    pub fn to_bytes(&self) -> [u8; 16] {
        *self.0
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    fn bound_to(&self, channel: &ChannelBinding) -> Self {
        let whole = digest(keyed(&*self.0), &[b"callsign: channel", &channel.0]);
        let (half, _) = whole.split_first_chunk().expect("a digest has 32 bytes");
        Self(ByteArray::new(*half))
    }

    /// Makes what shows a registrar that somebody had a name by a fencing token: the registrar hands
    /// it to the holder alone, and knows it again by its secret, also after a restart.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// # use endpoints::{InstanceId, Name};
    /// # use uuid::Uuid;
    /// use callsign::{Owner, Proof, ProofSecret};
    ///
    /// let leader = InstanceId { name: Name::new("leader")?, uuid: Uuid::nil() };
    /// let secret = ProofSecret::new([7; 32]);
    /// let shown = Proof::of_token(&secret, &leader, &Owner::User(1000), 41);
    /// assert_ne!(shown, Proof::of_token(&secret, &leader, &Owner::User(1001), 41));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of_token(
        secret: &ProofSecret,
        instance: &InstanceId,
        owner: &Owner,
        token: u64,
    ) -> Self {
        let whole = digest(
            secret.keyed.clone(),
            &[
                b"callsign: token",
                &token.to_be_bytes(),
                instance.uuid.as_bytes(),
                // No name has a zero byte.
                instance.name.as_str().as_bytes(),
                b"\0",
                owner.to_string().as_bytes(),
            ],
        );
        let (half, _) = whole.split_first_chunk().expect("a digest has 32 bytes");
        Self(ByteArray::new(*half))
    }
}

impl PartialEq for Proof {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0.iter()).fold(0, |differs, (one, two)| differs | (one ^ two)) == 0
    }
}

impl Eq for Proof {}

/// By what a caller recognises the proof of an instance.
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::{ChannelBinding, Owed, Proof};
///
/// /// Returns what the instance has to send on that connection.
/// fn expected(owed: &Owed, channel: Option<&ChannelBinding>) -> Option<Proof> {
///     owed.on(channel)
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Owed {
    /// The response to the challenge over a connection without TLS.
    pub proof: Proof,
    /// What the response over TLS is made of, if it listens there.
    pub over_tls: Option<Proof>,
}

impl Owed {
    /// Returns the response on one connection; `None` over TLS if the registrar has not told what it
    /// is made of.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// use callsign::Owed;
    ///
    /// /// Tells whether its proof can be recognised over TLS.
    /// fn covers_tls(owed: &Owed) -> bool {
    ///     owed.on(Some(&callsign::ChannelBinding::new([7; 32]))).is_some()
    /// }
    /// ```
    pub fn on(&self, channel: Option<&ChannelBinding>) -> Option<Proof> {
        match channel {
            None => Some(self.proof),
            Some(channel) => self.over_tls.map(|it| it.bound_to(channel)),
        }
    }
}

/// What only the two ends of one connection over TLS know: the exporter of RFC 9266.
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::ChannelBinding;
///
/// let channel = ChannelBinding::new([7; 32]);
/// assert_ne!(channel, ChannelBinding::new([8; 32]));
/// ```
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct ChannelBinding([u8; 32]);

impl ChannelBinding {
    /// Takes the bytes that TLS exports under the label `EXPORTER-Channel-Binding`.
    ///
    /// ```
    /// # use callsign_wire as callsign;
    /// let channel = callsign::ChannelBinding::new([7; 32]);
    /// assert_eq!(format!("{channel:?}"), "ChannelBinding(_)", "it is not for logs");
    /// ```
    pub fn new(exported: [u8; 32]) -> Self {
        Self(exported)
    }
}

impl fmt::Debug for ChannelBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChannelBinding(_)")
    }
}

/// The instance that the dialer means, and the challenge for it.
///
/// ```
/// # use callsign_wire as callsign;
/// # use endpoints::{InstanceId, Name};
/// # use uuid::Uuid;
/// use callsign::Wanted;
///
/// let feed = InstanceId { name: Name::new("feed")?, uuid: Uuid::nil() };
/// let wanted = Wanted { instance: feed, challenge: None };
/// assert!(wanted.challenge.is_none(), "it is not asked to prove it");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Wanted {
    /// The instance that was looked up.
    pub instance: InstanceId,
    /// The challenge for that instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<Challenge>,
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("a key may have any length")
}

fn digest(mut hash: Hmac<Sha256>, parts: &[&[u8]]) -> [u8; 32] {
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use endpoints::Name;

    use super::*;
    use crate::{decode_body, encode_body};

    fn instance(name: &str, uuid: u128) -> InstanceId {
        InstanceId { name: Name::new(name).unwrap(), uuid: Uuid::from_u128(uuid) }
    }

    #[test]
    fn a_proof_is_good_for_one_challenge_to_one_registration() {
        let secret = ProofSecret::new([7; 32]);
        let uuid = Uuid::from_u128(1);
        let challenge =
            Challenge { registrar: Uuid::from_u128(9), epoch: 41, nonce: Uuid::from_u128(5) };
        let feed = instance("feed", 1);
        let proof = ProofKey::derive(&secret, uuid, 41).prove(&feed, &challenge);

        assert_eq!(ProofKey::derive(&secret, uuid, 41).prove(&feed, &challenge), proof);
        let others = [
            ProofKey::derive(&ProofSecret::new([8; 32]), uuid, 41).prove(&feed, &challenge),
            ProofKey::derive(&secret, Uuid::from_u128(2), 41).prove(&feed, &challenge),
            ProofKey::derive(&secret, uuid, 42).prove(&feed, &challenge),
            ProofKey::derive(&secret, uuid, 41).prove(&instance("fees", 1), &challenge),
            ProofKey::derive(&secret, uuid, 41)
                .prove(&feed, &Challenge { nonce: Uuid::from_u128(6), ..challenge }),
            ProofKey::derive(&secret, uuid, 41)
                .prove(&feed, &Challenge { registrar: Uuid::from_u128(8), ..challenge }),
        ];
        for other in others {
            assert_ne!(other, proof);
        }
    }

    #[test]
    fn a_token_proof_fits_one_holder_of_one_name() {
        let (secret, owner) = (ProofSecret::new([7; 32]), Owner::User(7));
        let leader = instance("leader", 1);
        let shown = Proof::of_token(&secret, &leader, &owner, 41);
        assert_eq!(shown, Proof::of_token(&secret.clone(), &leader, &owner, 41));
        let others = [
            Proof::of_token(&ProofSecret::new([8; 32]), &leader, &owner, 41),
            Proof::of_token(&secret, &instance("leader", 2), &owner, 41),
            Proof::of_token(&secret, &instance("leaders", 1), &owner, 41),
            Proof::of_token(&secret, &leader, &Owner::User(71), 41),
            Proof::of_token(&secret, &leader, &Owner::Unknown, 41),
            Proof::of_token(&secret, &leader, &owner, 42),
        ];
        for other in others {
            assert_ne!(other, shown);
        }
    }

    #[test]
    fn a_proof_over_tls_is_good_for_one_connection() {
        let key = ProofKey::derive(&ProofSecret::new([7; 32]), Uuid::from_u128(1), 41);
        let challenge =
            Challenge { registrar: Uuid::from_u128(9), epoch: 41, nonce: Uuid::from_u128(5) };
        let (feed, channel) = (instance("feed", 1), ChannelBinding::new([1; 32]));
        let owed = key.owed(&feed, &challenge, true);
        let expected = owed.on(Some(&channel)).unwrap();
        assert_eq!(key.prove_on(&channel, &feed, &challenge), expected);
        assert_eq!(Some(key.prove(&feed, &challenge)), owed.on(None));
        // What an actor tells over a connection without TLS makes none.
        for other in [
            owed.proof,
            owed.over_tls.unwrap(),
            owed.proof.bound_to(&channel),
            key.prove_on(&ChannelBinding::new([2; 32]), &feed, &challenge),
        ] {
            assert_ne!(other, expected);
        }
        assert_eq!(key.owed(&feed, &challenge, false).on(Some(&channel)), None);
    }

    /// Computed once by another implementation of RFC 2104, Python's.
    #[test]
    fn the_construction_is_the_documented_one() {
        let challenge =
            Challenge { registrar: Uuid::from_u128(9), epoch: 41, nonce: Uuid::from_u128(5) };
        let key = ProofKey::derive(&ProofSecret::new([7; 32]), Uuid::from_u128(1), 41);
        let proof = key.prove(&instance("feed", 1), &challenge);
        let hex = |it: Proof| it.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(proof), "b571df680678d848116a702941556db8");
        let channel = ChannelBinding::new([3; 32]);
        let over_tls = key.prove_on(&channel, &instance("feed", 1), &challenge);
        assert_eq!(hex(over_tls), "7f3b249a2a9dd11503bcfa2988f22f58");
    }

    #[test]
    fn a_key_and_a_proof_are_plain_bytes_on_the_wire_and_a_key_does_not_print() {
        let key = ProofKey::derive(&ProofSecret::new([7; 32]), Uuid::from_u128(1), 41);
        let bytes = encode_body(&key);
        assert_eq!((bytes[0], bytes[1], bytes.len()), (0xc4, 32, 34));
        assert_eq!(decode_body::<ProofKey>(&bytes), Ok(key));
        assert_eq!(format!("{key:?}"), "ProofKey(_)");
    }
}
