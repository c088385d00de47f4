//! `callsign keys`: an authority of one's own, its certificates, and what is in a file of keys.

mod init;
mod issue;
mod show;

use std::time::{Duration, SystemTime};

use humantime::format_rfc3339_seconds;
use keys::{AuthorityError, CreateError, IssueError};

use crate::{
    context::Context,
    failure::{Exit, Failure},
    output::fitted,
};

/// Make keys and certificates, and show what is in them
#[derive(clap::Args, Debug)]
#[command(disable_help_subcommand = true, arg_required_else_help = false)]
#[command(after_help = "\
Examples:
  callsign keys init keys
  callsign keys issue keys feed --host feed.example
  callsign keys show keys/feed.pem

An authority is a folder with a certificate (`ca.pem`), which every host trusts, and its key \
(`ca.key`), which stays where it is. It issues certificates to actors and nodes, each with a \
SPIFFE ID such as `spiffe://callsign.internal/feed`. A registrar \
and its clients use them at endpoints with `/tls`, if the table `[tls]` of the settings names them; \
other servers, such as nginx, take them too.")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    Init(init::Args),
    Issue(issue::Args),
    Show(show::Args),
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    match args.action {
        Action::Init(args) => init::run(args, context),
        Action::Issue(args) => issue::run(args, context),
        Action::Show(args) => show::run(args, context),
    }
}

impl From<CreateError> for Failure {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Exists { .. } => Self::usage(error).hint(
                "name a folder that does not exist; an authority that is there goes on with \
                 `callsign keys issue`",
            ),
            CreateError::Io { path, source } => {
                Self::system(source).context(format!("cannot make the folder `{}`", path.display()))
            }
            error => Self::failed(error),
        }
    }
}

impl From<AuthorityError> for Failure {
    fn from(error: AuthorityError) -> Self {
        let hint = match &error {
            AuthorityError::Missing { .. } | AuthorityError::NoAuthority { .. } => {
                "`callsign keys init DIR` makes one, in a new folder".to_owned()
            }
            AuthorityError::NotOurs { .. } => "run it as that user".to_owned(),
            AuthorityError::OpenToOthers { wanted, .. } => format!(
                "give it mode {wanted:04o}; if others may have read the key, make a new authority"
            ),
            AuthorityError::NotAKey { .. } | AuthorityError::OtherKey { .. } => {
                "put back the key that was made with the certificate".to_owned()
            }
            _ => String::new(),
        };
        let failure = match error {
            AuthorityError::Io { path, source } => {
                Self::system(source).context(format!("cannot read `{}`", path.display()))
            }
            error => Self::usage(error),
        };
        if hint.is_empty() { failure } else { failure.hint(hint) }
    }
}

impl From<IssueError> for Failure {
    fn from(error: IssueError) -> Self {
        let longest;
        let hint = match &error {
            IssueError::TooLong { left } if left.as_secs() >= DAY_SECONDS => {
                let days = left.as_secs() / DAY_SECONDS;
                longest = format!(
                    "`--for {days}d` is the longest; or make a new authority: `callsign keys init DIR`"
                );
                &longest
            }
            IssueError::Exists { .. } => {
                "move both files of that name away for new ones, or choose another name"
            }
            IssueError::OfAuthority => "choose another name",
            IssueError::TooShort | IssueError::TooLong { .. } => {
                "a usual time is `--for 90d`, within which it is replaced"
            }
            IssueError::Expired => "make a new one: `callsign keys init DIR`",
            _ => "",
        };
        let failure = match error {
            IssueError::Io { path, source } => {
                Self::system(source).context(format!("cannot write `{}`", path.display()))
            }
            error @ IssueError::Made(_) => Self::failed(error),
            error => Self::usage(error),
        };
        if hint.is_empty() { failure } else { failure.hint(hint) }
    }
}

const DAY_SECONDS: u64 = 86_400;

/// Writes labelled lines below a headline, within the width.
fn laid_out(context: &Context, headline: &str, lines: &[(&str, String)]) -> String {
    let width = context.width();
    let mut text = fitted(headline, width, 0, 2) + "\n";
    for (label, value) in lines {
        text += &fitted(&format!("  {label:10}  {value}"), width, 0, 14);
        text += "\n";
    }
    text
}

/// Says until when something is valid, and how long that still is.
fn validity(until: SystemTime, now: SystemTime) -> String {
    let date = date(until);
    match until.duration_since(now) {
        Ok(left) => {
            let (count, unit) = largest_unit(rounded(left));
            let verb = if count == 1 { "is" } else { "are" };
            format!("until {date}: {} {verb} left", counted(count, unit))
        }
        Err(over) => {
            let (count, unit) = largest_unit(over.duration());
            format!("expired {} ago, at {date}", counted(count, unit))
        }
    }
}

/// Returns a time as RFC 3339 has it, which knows the years 1970 to 9999 here.
fn date(time: SystemTime) -> String {
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(LAST_SECOND);
    match () {
        () if time < SystemTime::UNIX_EPOCH => "a time before 1970".to_owned(),
        () if time > last => "a time after 9999".to_owned(),
        () => format_rfc3339_seconds(time).to_string(),
    }
}

/// Returns the whole days until a time; they are negative afterwards.
fn days_left(until: SystemTime, now: SystemTime) -> i64 {
    let days = |time: Duration| (time.as_secs() / DAY) as i64;
    let left = until.duration_since(now).map(rounded);
    left.map_or_else(|over| -1 - days(over.duration()), days)
}

/// Lets what was issued for 90 days have 90 days left for an hour, not 89 a second later.
fn rounded(left: Duration) -> Duration {
    left + (left / 24).min(Duration::from_secs(HOUR))
}

/// Returns milliseconds since 1970.
fn millis(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |it| it.as_millis() as u64)
}

fn largest_unit(time: Duration) -> (u64, &'static str) {
    match time.as_secs() {
        seconds @ DAY.. => (seconds / DAY, "day"),
        seconds @ HOUR.. => (seconds / HOUR, "hour"),
        seconds => (seconds / 60, "minute"),
    }
}

fn counted(count: u64, unit: &str) -> String {
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// The last second of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_is_left_is_told_in_words() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100 * DAY);
        let check = |left: i64, expected: &str, days: i64| {
            let until = match left {
                0.. => now + Duration::from_secs(left.unsigned_abs()),
                _ => now - Duration::from_secs(left.unsigned_abs()),
            };
            assert_eq!(validity(until, now), expected);
            assert_eq!(days_left(until, now), days);
        };
        check(90 * 86_400 - 1, "until 1970-07-09T23:59:59Z: 90 days are left", 90);
        check(90 * 86_400 - 3601, "until 1970-07-09T22:59:59Z: 89 days are left", 89);
        check(86_400, "until 1970-04-12T00:00:00Z: 1 day is left", 1);
        check(7_200, "until 1970-04-11T02:00:00Z: 2 hours are left", 0);
        check(7_199, "until 1970-04-11T01:59:59Z: 2 hours are left", 0);
        check(30, "until 1970-04-11T00:00:30Z: 0 minutes are left", 0);
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(9 * DAY);
        assert_eq!(validity(before, now), "expired 109 days ago, at a time before 1970");
        let far = now + Duration::from_secs(LAST_SECOND);
        assert!(validity(far, now).starts_with("until a time after 9999: "));
        check(-60, "expired 1 minute ago, at 1970-04-10T23:59:00Z", -1);
        check(-3 * 86_400, "expired 3 days ago, at 1970-04-08T00:00:00Z", -4);
    }
}
