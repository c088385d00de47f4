//! The answer to `get_registry`: written page by page, charged to the caller.

use registrar::Holding;
use tokio::task::yield_now;
use wire::Record;

use super::{Conversation, calls::Called};
use crate::tractor::{
    Uid, address::AddressToSend, channel::ChannelError, message::ReturnedMap, refused::Refused,
    uid::Form,
};

impl Conversation {
    /// Answers with all registered actors: their addresses, under name and UUID joined by a dot.
    pub(super) async fn get_registry(&mut self, cid: &str) -> Result<Called, ChannelError> {
        // Charged until it is sent.
        let mut holding = self.session.holding();
        let answer = match self.whole_registry(cid, &mut holding).await? {
            Ok(answer) => answer.finish()?,
            Err(refused) => return Ok(Err(refused)),
        };
        self.acknowledges(cid).await?;
        self.channel.send_encoded(&answer).await?;
        Ok(Ok(()))
    }

    async fn whole_registry(
        &mut self,
        cid: &str,
        holding: &mut Holding,
    ) -> Result<Result<ReturnedMap, Refused>, ChannelError> {
        let form = self.form();
        let mut answer = ReturnedMap::new(cid)?;
        let own = self.shared.own_record(self.session.registry());
        let mut after = 0;
        loop {
            let page = self.session.page(after);
            for record in &page.records {
                // It reports the endpoints that it serves here as its own.
                if own.as_ref().is_some_and(|it| it.uuid == record.uuid) {
                    continue;
                }
                insert(&mut answer, record, form)?;
            }
            if let Some(own) = own.as_ref().filter(|_| page.next.is_none()) {
                insert(&mut answer, own, form)?;
            }
            if answer.count > REGISTRY_MAX || answer.encoded_bytes() > REGISTRY_BYTES_MAX {
                let message = format!(
                    "there are over {REGISTRY_MAX} actors, or {} MiB of addresses; ask for names",
                    REGISTRY_BYTES_MAX >> 20
                );
                return Ok(Err(Refused::new("RuntimeError", message)));
            }
            if let Err(exceeded) = holding.set(answer.held_bytes()) {
                return Ok(Err(Refused::new("RuntimeError", exceeded)));
            }
            match page.next {
                Some(next) => after = next,
                None => return Ok(Ok(answer)),
            }
            // Others run in between, and its owner may have to wait.
            drop(page);
            yield_now().await;
        }
    }
}

fn insert(answer: &mut ReturnedMap, record: &Record, form: Form) -> Result<(), ChannelError> {
    let Uid(name, uuid) = record.into();
    let written = record.endpoints.iter().filter_map(|it| AddressToSend::new(&it.endpoint, form));
    Ok(answer.insert(&format!("{name}.{uuid}"), &written.collect::<Vec<_>>())?)
}

/// The most actors in one answer, and the most bytes of their addresses.
const REGISTRY_MAX: u32 = 16_384;
const REGISTRY_BYTES_MAX: usize = 8 * 1024 * 1024;
