//! Records as seen from the registrar's process.
//!
//! No file is looked at: a path may be on a file system that hangs, and all would wait for it. A
//! socket is taken to be where its registrant saw it, if that sees the same files as the registrar,
//! which looks for itself when somebody reports otherwise. Who listens at ports and at abstract names is
//! what the kernel told a moment ago.

use std::collections::HashMap;

use discovery::{Explanation, explain};
use endpoints::{
    Endpoint, Here, Ranked, RootId, SocketId, Stamped, UnixAddress, UnixPath, Unreachable, rank,
};
use wire::Record;

use crate::{json::RecordJson, surroundings::Surroundings};

/// The place from which records are seen.
#[derive(Debug)]
pub(super) struct Viewpoint<'a> {
    pub(super) here: &'a Here,
    pub(super) root: Option<RootId>,
    pub(super) surroundings: &'a Surroundings,
}

impl Viewpoint<'_> {
    /// Describes a record. `now_ms` is the registrar's clock.
    pub(super) fn describe<'a>(&self, record: &'a Record, now_ms: Option<u64>) -> RecordJson<'a> {
        RecordJson::of(record, &self.rank(record), now_ms)
    }

    fn rank<'a>(&self, record: &'a Record) -> Vec<Ranked<&'a Stamped>> {
        let look = |path: &UnixPath| {
            let is_meant = |it: &&Stamped| path_of(it) == Some(path);
            self.socket(record.endpoints.iter().find(is_meant))
        };
        let mut ranked = rank(&record.endpoints, self.here, &look);
        for it in ranked.iter_mut().filter(|it| it.verdict.is_ok()) {
            if let Some(user) = self.surroundings.stranger_at(record, it.stamped) {
                it.verdict = Err(Unreachable::OtherUser(user));
            }
        }
        // A stable sort, which keeps the order of those within reach.
        ranked.sort_by_key(|it| it.verdict.is_err());
        ranked
    }

    /// Explains in which order the endpoints of records would be dialed. Of two instances at one
    /// path the first one is there.
    pub(super) fn explain(&self, records: &[Record]) -> Explanation {
        let mut meant: HashMap<&UnixPath, &Stamped> = HashMap::new();
        for stamped in records.iter().flat_map(|it| &it.endpoints) {
            if let Some(path) = path_of(stamped) {
                meant.entry(path).or_insert(stamped);
            }
        }
        let look = |path: &UnixPath| self.socket(meant.get(path).copied());
        explain(records, self.here, &look).leave_out_strangers()
    }

    fn socket(&self, meant: Option<&Stamped>) -> Result<SocketId, Unreachable> {
        let stamp = meant.ok_or(Unreachable::Missing)?.stamp;
        if stamp.root.is_some() && stamp.root != self.root {
            return Err(Unreachable::Unseen("its registrant sees other files".to_owned()));
        }
        stamp.socket.ok_or(Unreachable::NoSocketStamp)
    }
}

fn path_of(stamped: &Stamped) -> Option<&UnixPath> {
    match &stamped.endpoint {
        Endpoint::Unix(UnixAddress::Path(path)) => Some(path),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use endpoints::{KernelId, Locality, Stamp};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_path_is_where_its_registrant_saw_it() {
        let (root, socket) = (RootId(7), SocketId { dev: 1, ino: 2, born_ns: None });
        let here = Here { kernel: Some(KernelId(1)), ..Here::default() };
        let surroundings = Surroundings::new();
        let viewpoint = Viewpoint { here: &here, root: Some(root), surroundings: &surroundings };
        let at = |stamp: Stamp| {
            let endpoint = "/unix/run/no/such.sock".parse().unwrap();
            Record {
                endpoints: vec![Stamped { endpoint, stamp }],
                ..Record::new("feed".parse().unwrap(), Uuid::nil())
            }
        };
        let stamp = Stamp { kernel: here.kernel, socket: Some(socket), ..Stamp::default() };
        let check = |stamp: Stamp, expected: Result<Locality, &str>| {
            let record = at(stamp);
            let verdict = viewpoint.rank(&record).remove(0).verdict;
            assert_eq!(verdict.map_err(|it| it.to_string()), expected.map_err(str::to_owned));
        };
        check(stamp, Ok(Locality::UnixSocket));
        check(Stamp { root: Some(root), ..stamp }, Ok(Locality::UnixSocket));
        let other = "the path cannot be looked at: its registrant sees other files";
        check(Stamp { root: Some(RootId(8)), ..stamp }, Err(other));
        check(Stamp { kernel: Some(KernelId(2)), ..stamp }, Err("it is on another host"));
        let unseen = "no socket was seen there when it was registered";
        check(Stamp { socket: None, ..stamp }, Err(unseen));

        // Of two that say that they are there, the newer one is.
        let newer = Stamp { socket: Some(SocketId { ino: 3, ..socket }), ..stamp };
        let records = [at(newer), at(stamp)];
        let explanation = viewpoint.explain(&records);
        let verdicts: Vec<_> = explanation.candidates.iter().map(|it| &it.verdict).collect();
        assert_eq!(verdicts, [&Ok(Locality::UnixSocket), &Err(Unreachable::OtherSocket)]);
    }
}
