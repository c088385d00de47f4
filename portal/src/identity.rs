//! Proof of identity: an actor's keys, and its answers to callers.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::BytesMut;
use endpoints::InstanceId;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::timeout,
};
use transport::Stream;
use uuid::Uuid;
use wire::{Challenge, ChannelBinding, Epoch, Hello, Proof, ProofKey, Wanted};

use crate::{
    Established, HandshakeError, Options, ProveError,
    handshake::{greet, hear, preface_and_hello, within},
};

/// The identity of an actor, and the keys that prove it. Clones are handles of the same one.
///
/// A key is to be [inserted](Self::insert) for every registration; until then, a caller that was
/// faster than the registrar's answer is made to wait for a moment.
///
/// ```
/// # use callsign_portal as callsign;
/// # use endpoints::{InstanceId, Name};
/// # use uuid::Uuid;
/// use callsign::Identity;
///
/// // Usually that of a registration: `Registered::identity`.
/// let identity = Identity::new(InstanceId { name: Name::new("feed")?, uuid: Uuid::nil() });
/// assert_eq!(identity.instance().name.as_str(), "feed");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Identity(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    instance: InstanceId,
    /// The latest is last.
    keys: watch::Sender<VecDeque<Key>>,
}

/// The key of one registration.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Key {
    /// The registrar.
    pub registrar: Uuid,
    /// The number of the registration.
    pub epoch: Epoch,
    /// The keys for the proof.
    pub key: ProofKey,
}

impl Identity {
    /// Makes the identity of an instance that is registered nowhere yet.
    ///
    /// ```
    /// # use callsign_portal as callsign;
    /// # use endpoints::{InstanceId, Name};
    /// # use uuid::Uuid;
    /// use callsign::Identity;
    ///
    /// let instance = InstanceId { name: Name::new("feed")?, uuid: Uuid::from_u128(7) };
    /// assert_eq!(Identity::new(instance.clone()).instance(), &instance);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(instance: InstanceId) -> Self {
        Self(Arc::new(Inner { instance, keys: watch::Sender::default() }))
    }

    /// Returns which instance it is.
    ///
    /// ```
    /// # use callsign_portal as callsign;
    /// use callsign::Identity;
    ///
    /// fn show(identity: &Identity) {
    ///     println!("callers get a proof that this is {}", identity.instance());
    /// }
    /// ```
    pub fn instance(&self) -> &InstanceId {
        &self.0.instance
    }

    /// Takes the key of one registration. Those of the latest registrations are kept, for a
    /// caller may have looked up the one before.
    ///
    /// ```
    /// # use callsign_portal as callsign;
    /// # use uuid::Uuid;
    /// # use wire::registrar::Registered;
    /// use callsign::Identity;
    ///
    /// /// Records a registration, as a client does.
    /// fn registered(identity: &Identity, registrar: Uuid, answer: &Registered) {
    ///     if let Some(key) = answer.key {
    ///         identity.insert(registrar, answer.epoch, key);
    ///     }
    /// }
    /// ```
    pub fn insert(&self, registrar: Uuid, epoch: Epoch, key: ProofKey) {
        self.0.keys.send_modify(|keys| {
            keys.retain(|it| (it.registrar, it.epoch) != (registrar, epoch));
            if keys.len() == KEYS_MAX {
                keys.pop_front();
            }
            keys.push_back(Key { registrar, epoch, key });
        });
    }

    /// Follows the keys, to pass them on: to the process that listens, if another one registers.
    /// Each received value holds all current keys, the latest last.
    ///
    /// ```
    /// # use callsign_portal as callsign;
    /// use callsign::Identity;
    ///
    /// /// Says whenever there is another key.
    /// async fn follow(identity: &Identity) {
    ///     let mut keys = identity.keys();
    ///     while keys.changed().await.is_ok() {
    ///         println!("{} keys by now", keys.borrow_and_update().len());
    ///     }
    /// }
    /// ```
    pub fn keys(&self) -> watch::Receiver<VecDeque<Key>> {
        self.0.keys.subscribe()
    }

    /// Introduces this actor on an accepted connection, and proves its identity if asked. It reads
    /// no byte beyond the handshake.
    ///
    /// ```
    /// # mod callsign { pub use {callsign_portal::{*, Options as HandshakeOptions}, transport::*}; }
    /// use callsign::{HandshakeOptions, Identity, Listener, Stream};
    ///
    /// /// Answers one caller, and gives it back as a stream.
    /// async fn answer(
    ///     identity: &Identity,
    ///     listener: &Listener,
    /// ) -> Result<Stream, Box<dyn std::error::Error>> {
    ///     let caller = listener.accept().await?;
    ///     Ok(identity.accept(caller, &HandshakeOptions::default()).await?.into_stream())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`HandshakeError`]; [`MeantForAnother`](HandshakeError::MeantForAnother) if the peer means
    /// another instance, and has learned who is here.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn accept(
        &self,
        stream: Stream,
        options: &Options,
    ) -> Result<Established<Stream>, HandshakeError> {
        within(options.handshake_timeout, async {
            let mut heard = hear(stream).await?;
            let wanted = heard.peer.wanted.take();
            let is_other = |it: &Wanted| it.instance != *self.instance();
            let (mistaken, challenge) = match wanted {
                Some(wanted) if is_other(&wanted) => (Some(wanted.instance), None),
                wanted => (None, wanted.and_then(|it| it.challenge)),
            };
            let proof = match challenge {
                Some(challenge) => {
                    let channel = heard.io.channel_binding().map(ChannelBinding::new);
                    self.prove(&challenge, channel.as_ref()).await
                }
                None => None,
            };
            let established = heard.answer(self.introduction(options, proof)).await?;
            match mistaken {
                Some(wanted) => Err(HandshakeError::MeantForAnother(wanted)),
                None => Ok(established),
            }
        })
        .await
    }

    fn introduction(&self, options: &Options, proof: Option<Proof>) -> BytesMut {
        let instance = Some(self.instance().clone());
        preface_and_hello(&Hello { instance, proof, ..options.hello.clone() })
    }

    async fn prove(
        &self,
        challenge: &Challenge,
        channel: Option<&ChannelBinding>,
    ) -> Option<Proof> {
        let is_meant =
            |it: &&Key| (it.registrar, it.epoch) == (challenge.registrar, challenge.epoch);
        let known = self.0.keys.borrow().iter().find(is_meant).map(|it| it.key);
        let key = match known {
            Some(key) => key,
            None => {
                let mut keys = self.0.keys.subscribe();
                let known = keys.wait_for(|keys| keys.iter().any(|it| is_meant(&it)));
                let known = timeout(KEY_TIMEOUT, known).await.ok()?;
                let known = known.expect("the identity has the sender");
                known.iter().find(is_meant).expect("it was waited for").key
            }
        };
        Some(match channel {
            Some(channel) => key.prove_on(channel, self.instance(), challenge),
            None => key.prove(self.instance(), challenge),
        })
    }
}

/// Greets the actor at the other end of a connection that this side dialed, and makes sure that
/// it is the one that is wanted. Nothing but the hello is sent.
///
/// Without a challenge and its proof, what the peer says of itself is believed. Over TLS, `expected`
/// is the proof on this very connection: [`Owed::on`](wire::Owed::on).
///
/// # Errors
///
/// [`ProveError`]; the connection is closed then.
///
/// # Cancel safety
///
/// Dropping the future closes the connection.
///
/// ```
/// # use callsign_portal as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use callsign_portal::Options as HandshakeOptions;
/// # use endpoints::{InstanceId, Name};
/// # use transport::Stream;
/// # use uuid::Uuid;
/// # use wire::Wanted;
/// use callsign::{Identity, handshake_actor};
///
/// let feed = InstanceId { name: Name::new("feed")?, uuid: Uuid::nil() };
/// let (near, far) = Stream::pair();
/// let identity = Identity::new(feed.clone());
/// let (options, actors_options) = (HandshakeOptions::default(), HandshakeOptions::default());
/// // Without a challenge the actor says who it is, and need not prove it.
/// let wanted = Wanted { instance: feed.clone(), challenge: None };
/// let (established, called) = tokio::join!(
///     handshake_actor(near, &options, wanted, None),
///     identity.accept(far, &actors_options),
/// );
/// called?;
/// assert_eq!(established?.peer.instance, Some(feed));
/// # Ok(())
/// # }
/// ```
pub async fn handshake_actor<IO: AsyncRead + AsyncWrite + Unpin>(
    io: IO,
    options: &Options,
    wanted: Wanted,
    expected: Option<Proof>,
) -> Result<Established<IO>, ProveError> {
    let instance = wanted.instance.clone();
    let said = preface_and_hello(&Hello { wanted: Some(wanted), ..options.hello.clone() });
    let established = greet(io, said, options.handshake_timeout).await?;
    let Hello { agent, instance: found, proof, .. } = &established.peer;
    match found {
        None => Err(ProveError::NoInstance { agent: agent.clone() }),
        Some(found) if *found != instance => Err(ProveError::OtherInstance(found.clone())),
        Some(_) if expected.is_some() && *proof != expected => Err(ProveError::NoProof),
        Some(_) => Ok(established),
    }
}

/// The most registrations that an actor can prove: those with several registrars, and some earlier
/// ones with each.
const KEYS_MAX: usize = 32;

/// The wait for a key in transit: a registrar publishes a registration and answers the registrant
/// at the same moment, so this is a hundred times the usual delay.
const KEY_TIMEOUT: Duration = Duration::from_secs(1);
