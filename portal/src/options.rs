//! The options of a conversation.

use std::time::Duration;

use wire::{FRAME_BYTES_MAX, Hello};

use crate::{Heartbeat, OnSilence};

/// The default time limit for a handshake: ample for a round trip around the world, and short
/// enough that mute peers do not pile up.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The options of a conversation.
///
/// ```
/// # use callsign_portal as callsign;
/// # use callsign_portal::Options as HandshakeOptions;
/// use std::time::Duration;
///
/// let patient =
///     HandshakeOptions { handshake_timeout: Duration::from_secs(30), ..HandshakeOptions::default() };
/// assert!(patient.heartbeat.is_none());
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// The hello of this side.
    pub hello: Hello,
    /// The time limit for the handshake.
    pub handshake_timeout: Duration,
    /// The heartbeat; `None` where the kernel tells of the peer's death.
    pub heartbeat: Option<Heartbeat>,
    /// The reaction to a silent peer.
    pub on_silence: OnSilence,
    /// The longest frame that the peer may send after the handshake.
    pub frame_bytes_max: usize,
    /// The time limit for the arrival of a frame from its first byte; `None` for no limit.
    pub frame_timeout: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hello: Hello::default(),
            handshake_timeout: HANDSHAKE_TIMEOUT,
            heartbeat: None,
            on_silence: OnSilence::default(),
            frame_bytes_max: FRAME_BYTES_MAX,
            frame_timeout: None,
        }
    }
}
