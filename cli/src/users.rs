//! What users are called, by whatever the system asks for it: a file, a directory service.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use nix::unistd::{Uid, User};

/// Returns what a user is called here, or the number of one that has no name.
///
/// A directory service may take its time, or be gone, so each user is asked for once, on a thread
/// of its own. One that is not told soon is shown by its number, and nothing is asked for after
/// that.
pub(crate) fn user_name(user: u32) -> String {
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let Known { names, is_slow } = &mut *known;
    let name = names.entry(user).or_insert_with(|| {
        if *is_slow {
            return None;
        }
        let (told, name) = mpsc::sync_channel(1);
        let ask = move || {
            let found = User::from_uid(Uid::from_raw(user)).ok().flatten();
            // Nobody waits any more for what comes late.
            told.send(found.map(|it| it.name)).ok();
        };
        let asked = thread::Builder::new().name("users".to_owned()).spawn(ask);
        let answer = asked.ok().and_then(|_| name.recv_timeout(ASK_TIMEOUT).ok());
        *is_slow = answer.is_none();
        answer.flatten()
    });
    name.clone().unwrap_or_else(|| user.to_string())
}

/// Returns the number of a user. It waits for as long as the system does: without an answer it is
/// not known who is meant.
pub(crate) fn user_number(name: &str) -> Option<u32> {
    User::from_name(name).ok().flatten().map(|it| it.uid.as_raw())
}

/// Who is called what, and whether the system was slow to say so.
#[derive(Default)]
struct Known {
    names: HashMap<u32, Option<String>>,
    is_slow: bool,
}

/// How long a name is waited for: a person hardly notices, and no registrar takes so short a silence
/// for a death.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);
