//! Names of users, from the system's sources: a file, a directory service.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use nix::unistd::{Uid, User};

/// Returns the name of a user here, or the number of a user without a name.
///
/// A directory service may be slow, or gone, so each user is looked up once, on a separate thread.
/// A user whose name does not come soon is shown by number, and nothing is looked up after that.
pub(crate) fn user_name(user: u32) -> String {
    static KNOWN: LazyLock<Mutex<KnownNames>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let KnownNames { names, is_slow } = &mut *known;
    let name = names.entry(user).or_insert_with(|| {
        if *is_slow {
            return None;
        }
        let found = move || User::from_uid(Uid::from_raw(user)).ok().flatten();
        let answer = asked(ASK_TIMEOUT, move || found().map(|it| it.name));
        *is_slow = answer.is_none();
        answer.flatten()
    });
    name.clone().unwrap_or_else(|| user.to_string())
}

/// Asks the system on a separate thread; returns `None` where it does not answer in time.
pub(crate) fn asked<T: Send + 'static>(
    limit: Duration,
    ask: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (told, answer) = mpsc::sync_channel(1);
    // A late result is not awaited any more.
    let ask = move || drop(told.send(ask()));
    thread::Builder::new().name("users".to_owned()).spawn(ask).ok()?;
    answer.recv_timeout(limit).ok()
}

/// Returns the number of a user. It waits for as long as the system does: without an answer the
/// user is unknown.
pub(crate) fn user_number(name: &str) -> Option<u32> {
    User::from_name(name).ok().flatten().map(|it| it.uid.as_raw())
}

/// The known names, and whether the system was slow.
#[derive(Default)]
struct KnownNames {
    names: HashMap<u32, Option<String>>,
    is_slow: bool,
}

/// The time limit for a name: a person hardly notices, and no registrar takes so short a silence
/// for a death.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);

/// The time limit for a look-up that a command needs: a directory service of this network takes
/// milliseconds.
pub(crate) const NEED_TIMEOUT: Duration = Duration::from_secs(5);
