//! Reloading the settings file while a registrar serves.
//!
//! ```text
//!   SIGHUP ──▶ begin ──▶ a thread reads: the disk may hang, and so may the directory of groups
//!                             │
//!   apply ◀── read ◀──────────┘ or its time is over
//! ```
//!
//! All of it is applied, or nothing: a fault leaves the settings as they were.

use std::{io, mem, thread, time::Duration};

use anyhow::anyhow;
use config::{
    Diagnostics, DnsSettings, Overrides, RegistrarSettings, Settings, SettingsFile, overlay,
};
use endpoints::Quoted;
use registrar::{Controls, NodeOptions, QuotaRules, registry::NameRules};
use sd_notify::NotifyState;
use tokio::{
    sync::oneshot::{self, error::RecvError},
    time::{Instant, timeout_at},
};

use super::{
    descriptors::Descriptors,
    options,
    places::{Places, group},
    quotas, rules,
};
use crate::{
    context::{Context, settings_of},
    failure::Failure,
    output::notices::{note, warn},
    service::{notify, notify_reloading},
};

/// The settings of the file, the environment and the flags.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) settings: Settings,
    /// The warnings.
    pub(super) warnings: Diagnostics,
    /// The number of the group of the socket files.
    pub(super) group: Option<u32>,
    /// The rules of names.
    pub(super) rules: NameRules,
    /// The quotas, with users by number.
    pub(super) quotas: QuotaRules,
}

/// Reads what the file, the environment and the flags say.
pub(super) fn read(file: Option<&SettingsFile>, overrides: &[Overrides]) -> Result<Read, Failure> {
    let (settings, mut warnings) = file.map_or_else(|| Ok(Default::default()), settings_of)?;
    let (settings, more) = overlay(settings, overrides)?;
    warnings.0.extend(more.0);
    let group = group(&settings.registrar)?;
    let (rules, quotas) = (rules(&settings)?, quotas(&settings)?);
    Ok(Read { settings, warnings, group, rules, quotas })
}

/// Reads the settings as a registrar starts. A directory of users that does not answer is waited
/// for longer than later on, and with a warning.
pub(super) async fn read_first(
    context: &Context,
    overrides: &[Overrides],
) -> Result<Read, Failure> {
    let file = context.settings_file();
    let Ok(mut reading) = begin_to_read(file.clone(), overrides.to_vec()) else {
        // No thread can be started.
        return read(file.as_ref(), overrides);
    };
    let began = Instant::now();
    let mut done = timeout_at(began + TIMEOUT, &mut reading).await;
    if done.is_err() {
        let what = "the settings are still being read: the disk, or the system's directory of \
                    users and groups (NSS), does not answer";
        warn(context, what);
        done = timeout_at(began + START_TIMEOUT, reading).await;
    }
    done.map_or_else(|_| Err(too_late(START_TIMEOUT)), unhindered)
}

/// Begins to read the settings on a separate thread, for which the end of this program does not
/// wait.
fn begin_to_read(
    file: Option<SettingsFile>,
    overrides: Vec<Overrides>,
) -> io::Result<oneshot::Receiver<Result<Read, Failure>>> {
    let (done, reading) = oneshot::channel();
    let reader = move || drop(done.send(read(file.as_ref(), &overrides)));
    thread::Builder::new().name("settings".to_owned()).spawn(reader)?;
    Ok(reading)
}

fn unhindered(read: Result<Result<Read, Failure>, RecvError>) -> Result<Read, Failure> {
    read.unwrap_or_else(|_| Err(Failure::usage(anyhow!("nothing reads the settings"))))
}

fn too_late(limit: Duration) -> Failure {
    let error = io::Error::from(io::ErrorKind::TimedOut);
    Failure::system(error).context(format!("the settings were not read within {limit:?}"))
}

/// Reloads the settings on request, and applies those that can change.
pub(super) struct Reload<'a> {
    /// The settings in force.
    settings: Settings,
    descriptors: Descriptors,
    group: Option<u32>,
    overrides: Vec<Overrides>,
    places: Places,
    controls: Controls,
    context: &'a Context,
    /// The result of the reading thread.
    reading: Option<oneshot::Receiver<Result<Read, Failure>>>,
    /// Until when that is waited for.
    deadline: Option<Instant>,
    /// Whether the result may be from before the request.
    is_older: bool,
    /// Whether the settings must be read once more.
    is_stale: bool,
}

impl<'a> Reload<'a> {
    pub(super) fn new(
        settings: Settings,
        descriptors: Descriptors,
        group: Option<u32>,
        overrides: Vec<Overrides>,
        places: Places,
        controls: Controls,
        context: &'a Context,
    ) -> Self {
        let (reading, deadline) = (None, None);
        Self {
            settings,
            descriptors,
            group,
            overrides,
            places,
            controls,
            context,
            reading,
            deadline,
            is_older: false,
            is_stale: false,
        }
    }

    /// Returns the settings that are in force.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Begins to reload the settings. During a reload, one more follows it.
    pub(super) fn begin(&mut self) {
        if self.deadline.is_some() {
            self.is_stale = true;
            return;
        }
        // Whatever the result, the service manager waits for the end.
        notify_reloading();
        let Some(file) = self.context.settings_file() else {
            note(self.context, "SIGHUP: there is no settings file to read again");
            return notify(&[NotifyState::Ready]);
        };
        // A read that still hangs is not joined by another, and may have read earlier contents.
        self.is_older = self.reading.as_mut().is_some_and(is_under_way);
        if !self.is_older {
            let begun = begin_to_read(Some(file), self.overrides.clone());
            self.reading = Some(begun.unwrap_or_else(|error| {
                tracing::warn!(%error, "there is no thread to read the settings");
                oneshot::channel().1
            }));
        }
        self.deadline = Some(Instant::now() + TIMEOUT);
    }

    /// Waits for the result; for ever, if nothing is being read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn read(&mut self) -> Result<Read, Failure> {
        let (Some(deadline), Some(reading)) = (self.deadline, &mut self.reading) else {
            return std::future::pending().await;
        };
        match timeout_at(deadline, reading).await {
            Ok(read) => {
                self.reading = None;
                (self.is_stale, self.is_older) = (self.is_stale || self.is_older, false);
                unhindered(read)
            }
            Err(_) => Err(too_late(TIMEOUT)),
        }
    }

    /// Applies the result.
    pub(super) fn apply(&mut self, read: Result<Read, Failure>) {
        self.deadline = None;
        if let Err(failure) = read.and_then(|it| self.take_over(it)) {
            failure.report(self.context);
            warn(self.context, "the settings stay as they were");
        }
        notify(&[NotifyState::Ready]);
        if mem::take(&mut self.is_stale) {
            self.begin();
        }
    }

    fn take_over(&mut self, read: Read) -> Result<(), Failure> {
        let Read { settings: mut now, warnings, group, rules, quotas } = read;
        let (context, was) = (self.context, &self.settings);
        context.warn(&warnings);
        let mode = |it: &Settings| it.registrar.socket_mode;
        let changes_access = (mode(was), self.group) != (mode(&now), group);
        let grant = |settings: &Settings, group| {
            self.controls.grant(self.places.access(&settings.registrar, group))
        };
        if changes_access {
            self.places.warn(&now.registrar, context);
            grant(&now, group).map_err(Failure::usage)?;
        }
        // What comes after it does not fail.
        if was.tls == now.tls {
            if !context.renew_certificate(&now) {
                warn(context, "the certificate stays as it was");
            }
        } else if let Err(failure) = context.take_certificate(&now) {
            if changes_access && let Err(error) = grant(was, self.group) {
                warn(context, error);
            }
            return Err(failure);
        }
        if was.registrar.sessions_max != now.registrar.sessions_max {
            self.descriptors.warn(&now.registrar, context);
        }
        self.controls.tune(&NodeOptions { quotas, ..options(&now, &self.descriptors) });
        self.controls.set_rules(rules);
        self.controls.declare(&now.declared);
        if let Some(file) = context.settings_file() {
            let path = file.path.to_string_lossy();
            note(context, format_args!("the settings file {} has been read again", Quoted(&path)));
        }
        for key in needing_a_restart(was, &now) {
            warn(context, format_args!("`{key}` has changed: that takes a restart"));
        }
        // A setting that is not in force is reported again the next time.
        let RegistrarSettings { listen, tractor, .. } = was.registrar.clone();
        now.registrar = RegistrarSettings { listen, tractor, ..now.registrar };
        now.host_id.clone_from(&was.host_id);
        now.dns.clone_from(&was.dns);
        now.http.clone_from(&was.http);
        now.cluster.clone_from(&was.cluster);
        (self.settings, self.group) = (now, group);
        Ok(())
    }
}

/// Tells whether the read is still unfinished.
fn is_under_way(reading: &mut oneshot::Receiver<Result<Read, Failure>>) -> bool {
    matches!(reading.try_recv(), Err(oneshot::error::TryRecvError::Empty))
}

/// Returns the changed settings that a registrar cannot change while it runs.
fn needing_a_restart(before: &Settings, now: &Settings) -> Vec<&'static str> {
    let (was, is) = (&before.registrar, &now.registrar);
    let changed = [
        ("[registrar] listen", was.listen != is.listen),
        ("[registrar] tractor", was.tractor != is.tractor),
        ("[host] id", before.host_id != now.host_id),
        ("[dns]", is_other(&before.dns, &now.dns)),
        ("[http]", before.http.listen != now.http.listen),
        ("[cluster]", has_other_cluster(before, now)),
    ];
    changed.into_iter().filter(|(_, has_changed)| *has_changed).map(|(key, _)| key).collect()
}

/// Tells whether a DNS server differs from another, wherever they are written.
fn is_other(was: &DnsSettings, now: &DnsSettings) -> bool {
    (&was.listen, &was.domain) != (&now.listen, &now.domain)
}

/// Tells whether a node would share otherwise.
fn has_other_cluster(was: &Settings, now: &Settings) -> bool {
    match (&was.cluster, &now.cluster) {
        (Some(was), Some(now)) => !was.is_as(now),
        (was, now) => was.is_some() != now.is_some(),
    }
}

/// The time limit for reading the settings: a working disk needs milliseconds, and so does a local
/// directory of groups.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The time limit for it at the start: a directory of users may begin at the same time, and a
/// service manager waits for 90 s.
const START_TIMEOUT: Duration = Duration::from_secs(30);
