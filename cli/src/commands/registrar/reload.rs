//! What becomes of the settings file while a registrar serves.

use std::mem;

use config::{Overrides, RegistrarSettings, Settings};
use registrar::Controls;
use sd_notify::NotifyState;

use super::{options, read};
use crate::{
    context::Context,
    notice::{note, warn},
    service::{notify, notify_reloading},
};

/// Reads the settings again; where they have faults, the old ones stay.
pub(super) fn reload(
    settings: &mut Settings,
    overrides: &[Overrides],
    controls: &Controls,
    context: &Context,
) {
    let Some(file) = context.settings_file() else {
        note(context, "SIGHUP: there is no settings file to read again");
        return;
    };
    notify_reloading();
    match read(context, overrides) {
        Ok(read) => {
            controls.tune(&options(&read));
            controls.declare(&read.declared);
            note(context, format_args!("{file} has been read again"));
            for key in needing_a_restart(settings, &read) {
                warn(context, format_args!("`{key}` has changed: that takes a restart"));
            }
            // What is not in force is told again the next time.
            let in_force = mem::replace(settings, read);
            settings.registrar.listen = in_force.registrar.listen;
            settings.registrar.socket_mode = in_force.registrar.socket_mode;
            settings.registrar.socket_group = in_force.registrar.socket_group;
            settings.registrar.tractor = in_force.registrar.tractor;
            settings.host_id = in_force.host_id;
        }
        Err(failure) => {
            failure.report(context);
            warn(context, "the settings stay as they were");
        }
    }
    notify(&[NotifyState::Ready]);
}

/// Returns what has changed of what a registrar cannot change while it runs.
fn needing_a_restart(before: &Settings, now: &Settings) -> Vec<&'static str> {
    let (was, is) = (&before.registrar, &now.registrar);
    let named = |it: &RegistrarSettings| it.socket_group.as_ref().map(|group| group.name.clone());
    let changed = [
        ("[registrar] listen", was.listen != is.listen),
        ("[registrar] socket_mode", was.socket_mode != is.socket_mode),
        ("[registrar] socket_group", named(was) != named(is)),
        ("[registrar] tractor", was.tractor != is.tractor),
        ("[host] id", before.host_id != now.host_id),
    ];
    changed.into_iter().filter(|(_, has_changed)| *has_changed).map(|(key, _)| key).collect()
}
