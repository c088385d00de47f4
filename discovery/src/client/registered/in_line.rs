//! Exclusive names: the token, the line, and the place in it.

use std::sync::Arc;

use futures_util::future::join_all;
use wire::{
    encode_body,
    registrar::{AskLine, LINE, Line},
};

use super::Registered;
use crate::{LinkError, RegisterError, RegistrarFailures, link::desired::Progress};

impl Registered {
    /// Returns the token by which the actor holds an exclusive name: it is higher than that of
    /// every former holder, so that a resource which this actor changes can refuse latecomers with
    /// lower ones. `None` while it [waits in line](Self::place_in_line), and for a name that
    /// several may have. It stays as it is when the registrar restarts.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(kept: callsign::Registered) {
    /// // With every change of what it leads, it says by which token it leads.
    /// println!("UPDATE ledger SET token = {:?}", kept.token());
    /// # }
    /// ```
    pub fn token(&self) -> Option<u64> {
        let progress = self.entry.progress().borrow().clone();
        let at = |is: fn(&Progress) -> bool| progress.iter().position(is);
        let link = match at(|it| matches!(it, Progress::Here(_))) {
            Some(link) => link,
            None if at(|it| matches!(it, Progress::InLine(_))).is_some() => return None,
            // No registrar reports another holder.
            None => 0,
        };
        self.entry.token(link).map(|it| it.number)
    }

    /// Returns behind how many others the actor waits in line for its name, with the registrar
    /// where it is the most; `None` if it waits nowhere.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(client: callsign::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::Registration;
    ///
    /// let leader = Registration::new("leader").endpoint("/unix/@leader")?.wait_in_line();
    /// let standby = client.register_patiently(leader).await?;
    /// if let Some(ahead) = standby.place_in_line().await {
    ///     println!("{ahead} others go first");
    /// }
    /// standby.accepted().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn place_in_line(&self) -> Option<u64> {
        let hub = self.client.hub();
        let ask = AskLine { name: self.instance.name.clone(), uuid: Some(self.instance.uuid) };
        let ask = encode_body(&ask);
        let progress = self.entry.progress().borrow().clone();
        let in_line =
            progress.iter().enumerate().filter(|(_, it)| matches!(it, Progress::InLine(_)));
        let answers = join_all(in_line.map(|(index, _)| hub.ask::<Line>(index, LINE, &ask))).await;
        answers.into_iter().filter_map(|it| it?.ok()?.value.ahead).max()
    }

    /// Waits until the actor no longer has its name: another program has removed it, or a restarted
    /// registrar has given the name to another. Returns which it is.
    ///
    /// While no registrar answers, nobody else gets the name either, and the actor still has it.
    /// But an actor that a network has cut off hears of nothing: see [`token`](Self::token).
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(kept: callsign::Registered) {
    /// # async fn lead() {}
    /// tokio::select! {
    ///     () = lead() => {}
    ///     error = kept.displaced() => println!("leads no more: {error}"),
    /// }
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn displaced(&self) -> RegisterError {
        let mut progress = self.entry.progress();
        let has_come = async {
            loop {
                let (mut others, mut is_here) = (Vec::new(), false);
                let links = self.client.hub().links.iter();
                for (link, progress) in links.zip(&*progress.borrow_and_update()) {
                    match progress {
                        Progress::Here(_) => is_here = true,
                        Progress::InLine(ahead) => {
                            others
                                .push(link.failure(Arc::new(LinkError::InLine { ahead: *ahead })));
                        }
                        Progress::Refused(_, error) => others.push(link.failure(error.clone())),
                        Progress::Absent | Progress::UnderWay => {}
                    }
                }
                if !is_here && !others.is_empty() {
                    return RegisterError::Refused(RegistrarFailures(others));
                }
                // The entry owns the sender, so that this cannot fail.
                drop(progress.changed().await);
            }
        };
        tokio::select! {
            biased;
            lost = self.entry.lost_for_good() => RegisterError::Lost(Box::new(lost)),
            error = has_come => error,
        }
    }
}
