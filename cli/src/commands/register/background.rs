//! Programs that put themselves into the background, as servers do that an init script of old
//! started, and what to say of each.

use std::{ffi::OsString, fs, path::Path};

use tokio::time::Instant;
use transport::Process;

use super::{
    Plan,
    tracker::{Finding, ListenerTracker},
};
use crate::{
    context::Context,
    output::notices::{note, warn},
};

/// The nature of a program that has ended by itself, with success.
pub(super) struct Ended<'a> {
    pub(super) plan: &'a Plan,
    /// The command, as it was written.
    pub(super) command: &'a [OsString],
    /// Whether it has ever been seen to serve.
    pub(super) has_served: bool,
}

impl Ended<'_> {
    /// Tells whether the actor continues in the processes that its program has left behind: they
    /// listen at its places, or none of the program has listened yet.
    fn goes_on(&self) -> bool {
        let was_ready = self.has_served && !self.plan.is_vouched_for;
        !was_ready || look(self.plan).any(|(_, finding)| finding == Finding::Own)
    }

    /// Warns of the processes that a program has left behind, and that are ended. Returns whether
    /// the actor would have continued in them.
    pub(super) fn warn_of(&self, left: &[i32], context: &Context) -> bool {
        let names: Vec<_> = left.iter().copied().filter_map(name_of).collect();
        let mut who = match (&names[..], left) {
            ([name, ..], [pid, ..]) => format!("`{}` (process {pid})", name.escape_debug()),
            _ => "others".to_owned(),
        };
        if left.len() > 1 {
            who += &format!(" and {} more", left.len() - 1);
        }
        let command = base_name(&self.command[0]);
        let shown = command.escape_debug();
        let goes_on = self.goes_on();
        if !goes_on {
            let what =
                format!("`{shown}` has ended, and has left {who}\nrunning, which is ended too");
            warn(context, what);
            return false;
        }
        // The remaining processes tell more than a script, or a program that starts another.
        let known = names.iter().map(String::as_str).chain([command]).find_map(remedy_for);
        let remedy = match known {
            Some(remedy) => format!("keep it there: {remedy}"),
            None => of_unknown(command).to_owned(),
        };
        warn(
            context,
            format_args!(
                "`{shown}` has ended, and has left {who}\nrunning in the background, which is \
                 ended too:\n  an actor is known for as long as its program runs in the \
                 foreground;\n  {remedy}"
            ),
        );
        true
    }

    /// Reports that a program that has left nothing behind has never listened. Returns whether
    /// another serves in its place: an order to a daemon that starts others has that effect.
    pub(super) fn tell_of_silence(&self, context: &Context) -> bool {
        if self.has_served || self.plan.is_vouched_for {
            return false;
        }
        let other = look(self.plan).find_map(|(endpoint, finding)| match finding {
            Finding::Others(who) => Some((endpoint, who)),
            _ => None,
        });
        let command = base_name(&self.command[0]);
        let shown = command.escape_debug();
        let Some((endpoint, who)) = other else {
            note(context, format_args!("`{shown}` has ended, and was never seen to listen"));
            return false;
        };
        let who = who.map_or_else(|| "another process".to_owned(), |it: Process| it.to_string());
        let remedy = remedy_for(command).map(|it| format!("{it}, or\n  ")).unwrap_or_default();
        warn(
            context,
            format_args!(
                "`{shown}` has ended without having listened, and\n{who} listens at \
                 {endpoint}, which is not\nkept or ended here:\n  {remedy}register it without a \
                 command: callsign register {} {endpoint}",
                self.plan.name,
            ),
        );
        true
    }
}

/// Looks at the places of an actor once more.
fn look(plan: &Plan) -> impl Iterator<Item = (endpoints::Endpoint, Finding)> {
    let seen = ListenerTracker::of_program(plan.said.clone()).look(Instant::now());
    seen.into_iter().map(|it| (it.endpoint, it.finding))
}

/// Returns the kernel's name of a process.
fn name_of(pid: i32) -> Option<String> {
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(String::from_utf8_lossy(&name).trim_end().to_owned())
}

fn base_name(program: &OsString) -> &str {
    Path::new(program).file_name().and_then(|it| it.to_str()).unwrap_or("the program")
}

/// Returns the option that keeps a program in the foreground.
fn remedy_for(name: &str) -> Option<&'static str> {
    // The version of an interpreter or a server is part of its name: `php-fpm8.2`.
    let bare = name.trim_end_matches(|it: char| it.is_ascii_digit() || it == '.');
    let is_it = |it: &&(&[&str], &str)| it.0.contains(&name) || it.0.contains(&bare);
    REMEDIES.iter().find(is_it).map(|(_, remedy)| *remedy)
}

/// Returns the advice for a program whose options are not known here.
fn of_unknown(command: &str) -> &'static str {
    if SHELLS.contains(&command) {
        "let the script end with `exec SERVER`, or with `wait` where it says `SERVER &`"
    } else {
        "look for its option that keeps it there, as `--foreground` or `--no-daemon`"
    }
}

/// Programs that move to the background unless told otherwise.
const SHELLS: &[&str] = &["sh", "bash", "dash", "zsh", "ksh", "fish", "busybox"];

/// The options that keep programs in the foreground, by the kernel's name for them (15 bytes at
/// most) or the command's name. From their manuals.
const REMEDIES: &[(&[&str], &str)] = &[
    (&["nginx", "openresty", "angie"], "nginx -g 'daemon off;'"),
    (
        &["redis-server", "valkey-server", "keydb-server", "redis-sentinel"],
        "--daemonize no (also in its configuration)",
    ),
    (&["memcached"], "leave out -d"),
    (&["haproxy"], "leave out -D; -db where its configuration says `daemon`"),
    (&["lighttpd"], "lighttpd -D"),
    (&["apache2", "httpd", "apache2ctl", "apachectl"], "apache2 -D FOREGROUND"),
    (&["php-fpm"], "php-fpm --nodaemonize"),
    (&["postgres", "pg_ctl", "pg_ctlcluster"], "start `postgres -D FOLDER`, not `pg_ctl start`"),
    (&["mysqld", "mariadbd", "mysqld_safe"], "start `mysqld` without --daemonize"),
    (&["mongod", "mongos"], "leave out --fork, and `processManagement.fork: false`"),
    (&["mosquitto"], "leave out -d"),
    (&["rabbitmq-server", "beam.smp"], "leave out -detached"),
    (&["varnishd"], "varnishd -F"),
    (&["squid"], "squid --foreground"),
    (&["named"], "named -g, or -f"),
    (&["dnsmasq"], "dnsmasq --keep-in-foreground"),
    (&["unbound", "nsd"], "unbound -d, nsd -d"),
    (&["sshd", "dropbear"], "sshd -D, dropbear -F"),
    (&["rsync"], "rsync --daemon --no-detach"),
    (&["smbd", "nmbd", "winbindd"], "smbd --foreground --no-process-group"),
    (&["slapd"], "slapd -d 0"),
    (&["vsftpd"], "vsftpd -obackground=NO"),
    (&["proftpd"], "proftpd --nodaemon"),
    (&["stunnel", "stunnel4"], "`foreground = yes` in its configuration"),
    (&["uwsgi"], "leave out --daemonize"),
    (&["gunicorn"], "leave out --daemon, -D"),
    (&["celery"], "`celery worker`, without --detach"),
    (&["caddy"], "`caddy run` instead of `caddy start`"),
    (&["consul", "vault", "etcd", "nats-server"], "start it without a script that detaches it"),
    (&["tor"], "tor --RunAsDaemon 0"),
    (&["supervisord"], "supervisord --nodaemon"),
    (&["tmux: server", "tmux"], "start the server itself, without tmux"),
    (&["screen"], "screen -D -m"),
    (&["docker", "podman", "nerdctl"], "leave out -d, --detach"),
    (
        &["systemctl", "service", "systemd-run"],
        "start the server itself, or `callsign register` in a unit",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_is_found_by_the_name_of_a_program() {
        let check = |name: &str, expected: Option<&str>| assert_eq!(remedy_for(name), expected);
        check("nginx", Some("nginx -g 'daemon off;'"));
        check("memcached", Some("leave out -d"));
        check("php-fpm8.2", Some("php-fpm --nodaemonize"));
        check("stunnel4", Some("`foreground = yes` in its configuration"));
        check("server", None);
        check("", None);
        check("8.2", None);
    }

    #[test]
    fn every_remedy_fits_its_line_and_every_name_the_kernel() {
        for (names, remedy) in REMEDIES {
            assert!("  keep it there: ".len() + remedy.len() <= 80, "{remedy}");
            assert!(names.iter().all(|it| it.len() <= 15), "{names:?}");
        }
        for command in ["sh", "server"] {
            assert!(of_unknown(command).len() <= 78, "{command}");
        }
    }
}
