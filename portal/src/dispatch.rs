//! The effect of each frame that arrives.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::info_span;
use wire::{Frame, WireError, decode_plain_call};

use crate::{
    Call, Closed, Replies, Service,
    heartbeat::Pulse,
    shared::{Arrived, Shared},
};

/// Tells whether a frame is a call: those of a peer that can no longer receive are dropped.
pub(crate) fn is_call(frame: &[u8]) -> bool {
    matches!(Frame::decode(frame), Ok(Frame::Call { .. }))
}

/// Handles a frame. `own` makes a body outlive it; a result is put to those before.
pub(crate) fn handle(
    frame: &[u8],
    own: impl Fn(&[u8]) -> Bytes,
    service: &mut impl Service,
    replies: &mut Replies,
    shared: &Shared,
    pulse: &mut Option<Pulse>,
    results: &mut Vec<Arrived>,
) -> Result<(), Closed> {
    if let Some((id, method, body)) = decode_plain_call(frame) {
        call(service, Call { id, method, body, within: None }, replies);
        return Ok(());
    }
    let frame = Frame::decode(frame).map_err(Closed::Protocol)?;
    if !results.is_empty() && !matches!(frame, Frame::Return { .. } | Frame::Call { .. }) {
        shared.finish_all(results);
    }
    match frame {
        Frame::Call { id, method, body, within_ms } => {
            let within = within_ms.map(Duration::from_millis);
            call(service, Call { id, method, body, within }, replies);
            Ok(())
        }
        Frame::Item { id, body } if shared.is_own(id) => {
            shared.deliver(id, |inbox| inbox.item(id, own(body)))
        }
        Frame::Item { id, body } => service.item(id, own(body)),
        Frame::End { id } if shared.is_own(id) => shared.deliver(id, |inbox| inbox.end(id)),
        Frame::End { id } => service.end(id),
        Frame::Credit { id, items } => {
            if shared.is_own(id) {
                shared.allow(id, items);
            } else {
                service.credit(id, items, replies);
            }
            Ok(())
        }
        Frame::Started { id, body } => shared.deliver(id, |inbox| inbox.started(id, own(body))),
        Frame::Cancel { id } => {
            service.cancel(id, replies);
            Ok(())
        }
        Frame::Return { id, body } => {
            results.push(Arrived::new(id, own(body)));
            Ok(())
        }
        Frame::Error { id, error } => {
            shared.fail(id, error);
            Ok(())
        }
        Frame::Ping { nonce } => {
            replies.unbounded += 1;
            push(replies, &Frame::Pong { nonce });
            Ok(())
        }
        Frame::Pong { nonce } => {
            if pulse.as_mut().is_some_and(|it| it.pong(nonce, Instant::now())) {
                service.gave_sign();
            }
            Ok(())
        }
        Frame::Goodbye { reason, returns: false, .. } => {
            return Err(Closed::Goodbye(reason.to_owned()));
        }
        Frame::Goodbye { reason, returns: true, .. } => {
            return Err(Closed::ForNow(reason.to_owned()));
        }
        Frame::Hello(_) => Err(WireError::Malformed("a second hello".to_owned())),
    }
    .map_err(Closed::Protocol)
}

fn call(service: &mut impl Service, call: Call<'_>, replies: &mut Replies) {
    let Call { id, method, .. } = call;
    let _entered = info_span!(target: "callsign", "call", id, method).entered();
    service.call(call, replies);
}

/// Queues a frame that is short.
pub(crate) fn push(replies: &mut Replies, frame: &Frame<'_>) {
    replies.queue.push(frame).expect("the frame is short");
}
