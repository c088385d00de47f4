//! Remedies for failures that depend on more than themselves.
//!
//! A hint is safe to follow, also as root: it removes nothing, and ends no process.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    path::Path,
    slice,
};

use discovery::{
    Candidate, Explanation, LinkError, Outcome, ReachError, RegistrarFailure, RegistrarFailures,
};
use endpoints::{Endpoint, Host, TcpAddress, UnixAddress, UnixPath, is_plain};
use transport::{BindError, DialError, Holder, Listening, Silence, TlsError, listening_at_each};

use crate::{context::Context, failure::Hint, output::notices::names_registrars};

impl Hint {
    /// Writes it. A command asks the same registrars as the one that failed.
    pub(crate) fn line(&self, context: &Context) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Command { does, words } => {
                let words: Vec<_> = words.iter().map(String::as_str).collect();
                format!("{does}: `{}`", command(&words, context))
            }
        }
    }
}

/// Says what to do when no registrar answers.
pub(crate) fn unreached(failures: &[RegistrarFailure], context: &Context) -> Vec<String> {
    let mut hints = Vec::new();
    if let Some(command) = start_command(failures, context) {
        hints.push(format!("start one here: `{command}`"));
    }
    for failure in failures {
        let is_hidden = matches!(*failure.error, LinkError::Dial(DialError::NoPermission));
        if let (true, Endpoint::Unix(UnixAddress::Path(path))) = (is_hidden, &failure.registrar) {
            // In a folder that one may not enter, `ls` sees nothing either.
            let is_seen = fs::symlink_metadata(path.as_path()).is_ok();
            let look = if is_seen { "ls -l" } else { "namei -l" };
            hints.push(format!("see who may connect: `{look} {}`", quoted(path.as_str())));
        }
    }
    if let Some(failure) =
        failures.iter().find(|it| matches!(*it.error, LinkError::OthersPort { .. }))
    {
        hints.push(format!(
            "to believe that of the other user: `--registrar {}`",
            failure.registrar
        ));
    }
    let is_without = |it: &RegistrarFailure| {
        matches!(*it.error, LinkError::Dial(DialError::Tls(TlsError::NoCertificate)))
    };
    if failures.iter().any(is_without) {
        hints.push(NO_CERTIFICATE.to_owned());
    }
    let is_absent =
        |it: &&RegistrarFailure| matches!(*it.error, LinkError::Dial(DialError::Refused));
    hints.extend(padded(failures.iter().filter(is_absent).map(|it| &it.registrar)));
    if failures.iter().any(|it| matches!(*it.error, LinkError::Insecure)) {
        hints.extend(INSECURE_REGISTRAR.iter().map(|it| (*it).to_owned()));
        return hints;
    }
    // A caller that is refused has found the registrar.
    if RegistrarFailures(failures.to_vec()).have_answer() {
        return hints;
    }
    let or = if hints.is_empty() { "" } else { "or " };
    hints.push(format!("{or}say where it is: `--registrar ENDPOINT`, or CALLSIGN_REGISTRAR"));
    hints
}

/// Returns the endpoints at which nobody listens, as dials have shown.
pub(crate) fn refused(explanation: &Explanation) -> impl Iterator<Item = &Endpoint> {
    let is_refused = |it: &&Candidate| match &it.outcome {
        Outcome::Failed { error, .. } => {
            matches!(error, ReachError::Dial(DialError::Refused))
        }
        _ => false,
    };
    explanation.candidates.iter().filter(is_refused).map(|it| &it.stamped.endpoint)
}

/// Says of abstract names at which nobody listens whether somebody does at the same name with NULs
/// behind it, as HAProxy's `abns@` and Node before 22 have it.
pub(crate) fn padded<'a>(refused: impl IntoIterator<Item = &'a Endpoint>) -> Vec<String> {
    let is_name = |it: &&Endpoint| matches!(it, Endpoint::Unix(UnixAddress::Abstract(_)));
    let names: Vec<_> = refused.into_iter().filter(is_name).cloned().collect();
    if names.is_empty() {
        return Vec::new();
    }
    let told = listening_at_each(&names).into_iter().zip(&names);
    told.filter_map(|(listening, name)| match listening {
        Listening::Nobody(Silence::Padded { at }) => Some(format!(
            "`{name}` padded with NULs is another name, and somebody listens there: `{at}`"
        )),
        _ => None,
    })
    .collect()
}

/// Returns the command that starts a registrar at the configured place. There is none if one of
/// those places is taken, however silent its holder: a second registrar would be in its way, or
/// split the actors.
fn start_command(failures: &[RegistrarFailure], context: &Context) -> Option<String> {
    let is_absent = |it: &RegistrarFailure| match *it.error {
        LinkError::Dial(DialError::Refused | DialError::Missing) => true,
        // The port is taken, and the socket is enough.
        LinkError::OthersPort { .. } => failures.len() > 1,
        _ => false,
    };
    if failures.is_empty() || !failures.iter().all(is_absent) {
        return None;
    }
    let places: Vec<_> = failures.iter().map(|it| &it.registrar).collect();
    if !places.iter().all(|it| can_be_bound_here(it)) {
        return None;
    }
    // A registrar is not started without its own folder.
    if !names_registrars(context) && !context.has_runtime_dir() {
        return None;
    }
    let mut command = "callsign registrar".to_owned();
    if names_registrars(context) {
        for place in places {
            command += &format!(" --listen {}", quoted(&place.to_string()));
        }
    } else if let Some(file) = &context.global.config {
        command += &format!(" --config {}", quoted(&file.to_string_lossy()));
    }
    Some(command)
}

/// Tells whether a registrar of this user could probably listen there.
fn can_be_bound_here(endpoint: &Endpoint) -> bool {
    match endpoint {
        Endpoint::Unix(UnixAddress::Path(path)) => {
            path.as_path().parent().is_some_and(|it| it.is_dir())
        }
        Endpoint::Unix(UnixAddress::Abstract(_)) => true,
        Endpoint::Tcp(tcp) => tcp.host.is_loopback() && !tcp.tls,
        Endpoint::Memory(_) => false,
    }
}

/// What to do without a certificate.
const NO_CERTIFICATE: &str = "name one in the table `[tls]` of the settings file, with `ca`, \
                              `certificate` and `key`; `callsign keys` makes them";

/// The two ways out for a registrar beyond the loopback without TLS.
const INSECURE_REGISTRAR: [&str; 2] = [
    "encrypt: let it listen with `/tls`, name it so, and name a certificate in `[tls]`",
    "or trust the network: `--insecure`, or `insecure = true` in `[registrar]`",
];

/// The same, for who starts one.
pub(crate) const INSECURE_LISTENER: [&str; 2] = [
    "encrypt: add `/tls`, and name a certificate in `[tls]`; `callsign keys` makes them",
    "or trust the network: `--insecure`, or `insecure = true` in `[registrar]`",
];

/// Explains what to do about an endpoint of a list that cannot be bound.
pub(crate) fn unbound(endpoint: &Endpoint, list: &[Endpoint], error: &BindError) -> Vec<String> {
    match error {
        BindError::InUse { holder } => in_use(endpoint, list, holder.as_ref()),
        BindError::Hidden { holder } => {
            let elsewhere = "to run another, say where: `callsign registrar --listen ENDPOINT`";
            who(holder).into_iter().chain([elsewhere.to_owned()]).collect()
        }
        BindError::Tls(TlsError::NoCertificate) => vec![NO_CERTIFICATE.to_owned()],
        BindError::NotASocket { .. } => vec![match linked_to(endpoint) {
            Some(linked) => format!("it leads to `{linked}`: let it listen there, or elsewhere"),
            None => "that file stays as it is: let the registrar listen elsewhere".to_owned(),
        }],
        BindError::NoFolder { folder } if can_be_made(folder) => {
            vec![format!("make it: `mkdir -p {}`", quoted(&folder.to_string_lossy()))]
        }
        BindError::NoPermission { .. } => match endpoint {
            Endpoint::Tcp(tcp) if tcp.port < unprivileged_port_start() => {
                let higher = TcpAddress { port: tcp.port + 8000, ..tcp.clone() };
                vec![format!("a higher port needs no privilege: `{}`", Endpoint::Tcp(higher))]
            }
            _ => Vec::new(),
        },
        BindError::NotInGroup { .. } => {
            vec!["add its user to the group (of a unit: `SupplementaryGroups=`)".to_owned()]
        }
        BindError::NotOurAddress => match endpoint {
            Endpoint::Tcp(tcp) => not_ours(tcp),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// Returns what to do about an address that this machine does not have: never to listen at more
/// addresses than that.
fn not_ours(tcp: &TcpAddress) -> Vec<String> {
    let other: IpAddr = match tcp.host {
        Host::Ip4(address) if address.is_loopback() => Ipv6Addr::LOCALHOST.into(),
        Host::Ip6(address) if address.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        _ => return vec!["see the addresses of this machine: `ip address`".to_owned()],
    };
    if UdpSocket::bind((other, 0)).is_err() {
        return vec!["bring its loopback up: `ip link set lo up`".to_owned()];
    }
    let host = match other {
        IpAddr::V4(address) => Host::Ip4(address),
        IpAddr::V6(address) => Host::Ip6(address),
    };
    let loopback = Endpoint::Tcp(TcpAddress { host, ..tcp.clone() });
    vec![format!("the loopback of this machine is `{loopback}`")]
}

/// Returns the endpoint that a symbolic link at the path of one leads to, also if nothing is there.
fn linked_to(endpoint: &Endpoint) -> Option<Endpoint> {
    let Endpoint::Unix(UnixAddress::Path(path)) = endpoint else { return None };
    let target = fs::read_link(path.as_path()).ok()?;
    let target = path.parts().0.join(target);
    // Only the file system knows where `..` leads.
    let folder = fs::canonicalize(target.parent()?).ok()?;
    let linked = UnixPath::new(&folder.join(target.file_name()?)).ok()?;
    Some(Endpoint::Unix(UnixAddress::Path(linked)))
}

fn in_use(endpoint: &Endpoint, list: &[Endpoint], holder: Option<&Holder>) -> Vec<String> {
    let rival = list.iter().find(|it| *it != endpoint && it.conflicts_in_list_with(endpoint));
    if let Some(rival) = rival {
        return vec![format!("it is the same place as `{rival}`: leave one of them out")];
    }
    let mut hints: Vec<_> = held(endpoint, holder).into_iter().collect();
    if let Some(place) = asked_at(endpoint) {
        let command = format!("callsign status --registrar {}", quoted(&place.to_string()));
        hints.push(format!("if it is a registrar, it serves you too: `{command}`"));
    }
    hints.push("to run another, say where: `callsign registrar --listen ENDPOINT`".to_owned());
    hints
}

/// Says who has an endpoint, or how to find out.
pub(crate) fn held(endpoint: &Endpoint, holder: Option<&Holder>) -> Option<String> {
    match (holder, endpoint) {
        (Some(holder), _) => who(holder),
        (None, Endpoint::Tcp(it)) => {
            Some(format!("see who has it: `ss -ltnp 'sport = :{}'`", it.port))
        }
        (None, _) => None,
    }
}

/// Returns the address at which a listener at an endpoint is asked from here.
fn asked_at(endpoint: &Endpoint) -> Option<Endpoint> {
    config::registrars(&[], None, slice::from_ref(endpoint), Path::new("/")).ok()?.pop()
}

/// Describes the holder of an endpoint, if visible.
fn who(holder: &Holder) -> Option<String> {
    let pid = holder.pid?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = command.split(|it| *it == 0).filter(|it| !it.is_empty());
    let words: Vec<_> = words.map(String::from_utf8_lossy).collect();
    let shown = shortened(&words.join(" "));
    (!shown.is_empty()).then(|| format!("process {pid} is `{shown}`"))
}

/// Cuts a command to what fits a line, and shows that it is cut.
fn shortened(command: &str) -> String {
    const CHARACTERS_MAX: usize = 60;

    let mut plain = command.chars().filter(|it| is_plain(*it) && *it != '`');
    let mut shown: String = plain.by_ref().take(CHARACTERS_MAX).collect();
    if plain.next().is_some() {
        shown.push('…');
    }
    shown
}

/// Tells whether a folder is missing only because nobody has made it.
fn can_be_made(folder: &Path) -> bool {
    let there = folder.ancestors().find_map(|it| match fs::symlink_metadata(it) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        status => Some((it, status)),
    });
    // A dangling link exists, and no folder can be made in its place.
    there.is_some_and(|(path, status)| status.is_ok() && path.is_dir())
}

/// The lowest port that everybody may listen at.
fn unprivileged_port_start() -> u16 {
    const USUAL: u16 = 1024;

    let file = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    let text = fs::read_to_string(file).unwrap_or_default();
    text.trim().parse().unwrap_or(USUAL).min(u16::MAX - 8000)
}

/// Writes a command of this program, to the same registrars as this one.
pub(crate) fn command(words: &[&str], context: &Context) -> String {
    let global = &context.global;
    let mut all = vec!["callsign"];
    // Words after a `--` belong to another program.
    let (own, others) =
        words.split_at(words.iter().position(|it| *it == "--").unwrap_or(words.len()));
    all.extend(own);
    all.extend(global.registrar.iter().flat_map(|it| ["--registrar", it]));
    let config = global.config.as_ref().map(|it| it.to_string_lossy());
    all.extend(config.iter().flat_map(|it| ["--config", it]));
    all.extend(others);
    in_words(&all)
}

/// Writes a command as it would be typed.
pub(crate) fn in_words(words: &[&str]) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "/.,:=@%+-_".contains(it);
    let quoted = words.iter().map(|word| {
        if word.chars().all(is_plain) && !word.is_empty() {
            (*word).to_owned()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    in_words(&[word])
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, sync::Arc, time::Duration};

    use clap::Parser;

    use super::*;
    use crate::{args::Cli, context::Environment};

    fn endpoint(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    fn context(args: &[&str]) -> Context {
        let args = ["callsign", "ls"].iter().chain(args);
        let Cli { global, .. } = Cli::try_parse_from(args).unwrap();
        Context::new(global, Environment::default())
    }

    /// Checks that every command of callsign's in a hint is valid.
    fn check_commands(hint: &str) {
        // A command of another process is not for anybody to type.
        if hint.starts_with("process ") {
            return;
        }
        for quoted in hint.split('`').skip(1).step_by(2) {
            if quoted.starts_with("callsign ") {
                let words = shlex::split(quoted).unwrap();
                assert!(Cli::try_parse_from(words).is_ok(), "{hint}");
            } else if quoted.starts_with('/') {
                assert!(quoted.parse::<Endpoint>().is_ok(), "{hint}");
            }
        }
    }

    #[test]
    fn a_registrar_is_started_only_where_none_is() {
        let check = |failures: Vec<(&str, LinkError)>, args: &[&str], expected: Option<&str>| {
            let failure = |(registrar, error)| RegistrarFailure {
                registrar: endpoint(registrar),
                error: Arc::new(error),
            };
            let failures: Vec<_> = failures.into_iter().map(failure).collect();
            let hints = unreached(&failures, &context(args));
            hints.iter().for_each(|it| check_commands(it));
            let start = hints.iter().find_map(|it| it.strip_prefix("start one here: "));
            assert_eq!(start, expected.map(|it| format!("`{it}`")).as_deref(), "{hints:?}");
        };
        let refused = || LinkError::Dial(DialError::Refused);
        let missing = || LinkError::Dial(DialError::Missing);
        let named = |it| vec!["--registrar", it];

        check(vec![("/unix/@r", refused())], &[], Some("callsign registrar"));
        check(
            vec![("/unix/tmp/r.sock", missing()), ("/ip4/127.0.0.1/tcp/1616", refused())],
            &[],
            Some("callsign registrar"),
        );
        check(
            vec![("/unix/@r", refused())],
            &["--config", "a b.toml"],
            Some("callsign registrar --config 'a b.toml'"),
        );
        check(
            vec![("/unix/tmp/r.sock", missing())],
            &named("/unix/tmp/r.sock"),
            Some("callsign registrar --listen /unix/tmp/r.sock"),
        );
        check(
            vec![("/unix/tmp/it's", missing())],
            &named("/unix/tmp/it's"),
            Some(r"callsign registrar --listen '/unix/tmp/it'\''s'"),
        );
        check(
            vec![("/ip6/::1/tcp/7", refused())],
            &named("/ip6/::1/tcp/7"),
            Some("callsign registrar --listen /ip6/::1/tcp/7"),
        );
        // It is there, or cannot be bound here.
        for (registrar, error) in [
            ("/unix/@r", LinkError::NoAnswer(Duration::from_secs(2))),
            ("/unix/@r", LinkError::Dial(DialError::Busy)),
            ("/unix/@r", LinkError::NotARegistrar { agent: String::new() }),
            ("/unix/tmp/r.sock", LinkError::Dial(DialError::NoPermission)),
            ("/unix/tmp/r.sock", LinkError::Dial(DialError::NotASocket { found: "a file" })),
            ("/ip4/127.0.0.1/tcp/7", LinkError::Dial(DialError::TimedOut)),
            ("/ip4/192.0.2.1/tcp/7", refused()),
            ("/dns/elsewhere.example/tcp/7", refused()),
            ("/unix/nowhere/at/all.sock", missing()),
            ("/unix/proc/version/r.sock", missing()),
            ("/ip4/127.0.0.1/tcp/7/tls", refused()),
            ("/memory/7", refused()),
        ] {
            check(vec![(registrar, error)], &named(registrar), None);
        }
        let one_is_there = LinkError::NoAnswer(Duration::from_secs(2));
        check(vec![("/unix/@r", refused()), ("/unix/@q", one_is_there)], &[], None);
    }

    #[test]
    fn a_place_that_is_taken() {
        let check = |place: &str, list: &[&str], expected: &[&str]| {
            let list: Vec<_> = list.iter().map(|it| endpoint(it)).collect();
            let error = BindError::InUse { holder: None };
            let hints = unbound(&endpoint(place), &list, &error);
            hints.iter().for_each(|it| check_commands(it));
            assert_eq!(hints, expected, "{place}");
        };
        let another = "to run another, say where: `callsign registrar --listen ENDPOINT`";
        let serves = |place: &str| {
            format!(
                "if it is a registrar, it serves you too: `callsign status --registrar {place}`"
            )
        };
        check("/unix/@r", &["/unix/@r"], &[&serves("/unix/@r"), another]);
        check("/unix/run/a$b", &["/unix/run/a$b"], &[&serves("'/unix/run/a$b'"), another]);
        let see = "see who has it: `ss -ltnp 'sport = :80'`";
        check("/ip4/0.0.0.0/tcp/80", &[], &[see, &serves("/ip4/127.0.0.1/tcp/80"), another]);
        check("/ip6/::/tcp/80", &[], &[see, &serves("/ip6/::1/tcp/80"), another]);
        check(
            "/ip4/127.0.0.1/tcp/80",
            &["/ip4/0.0.0.0/tcp/80", "/ip4/127.0.0.1/tcp/80"],
            &["it is the same place as `/ip4/0.0.0.0/tcp/80`: leave one of them out"],
        );
    }

    #[test]
    fn nobody_is_advised_to_listen_at_more_addresses() {
        let error = BindError::NotOurAddress;
        let hints = |place: &str| unbound(&endpoint(place), &[], &error).join(" ");
        for place in ["/ip4/127.0.0.1/tcp/1616", "/ip6/::1/tcp/1616", "/ip4/127.8.8.8/tcp/80"] {
            let hints = hints(place);
            assert!(hints.contains("loopback"), "{hints}");
            assert!(!hints.contains("0.0.0.0") && !hints.contains("/::/"), "{hints}");
        }
        for place in ["/ip4/192.0.2.9/tcp/1616", "/ip6/2001:db8::9/tcp/80"] {
            assert_eq!(hints(place), "see the addresses of this machine: `ip address`");
        }
    }

    #[test]
    fn nobody_is_advised_to_end_a_process() {
        let own = Holder { pid: Some(std::process::id() as i32), uid: 0, since: None };
        let init = Holder { pid: Some(1), uid: 0, since: None };
        for holder in [own, init] {
            let error = BindError::InUse { holder: Some(holder) };
            for hint in unbound(&endpoint("/unix/@r"), &[], &error) {
                assert!(!hint.contains("kill"), "{hint}");
                check_commands(&hint);
            }
        }
    }

    #[test]
    fn a_place_that_cannot_be_had() {
        let check = |place: &str, error: BindError, expected: &[&str]| {
            let hints = unbound(&endpoint(place), &[], &error);
            hints.iter().for_each(|it| check_commands(it));
            assert_eq!(hints, expected, "{place}");
        };
        let no_folder = |folder: PathBuf| BindError::NoFolder { folder };
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("a b");
        let mkdir = format!("make it: `mkdir -p '{}'`", folder.display());
        check("/unix/x", no_folder(folder.clone()), &[&mkdir]);
        fs::write(&folder, "").unwrap();
        check("/unix/x", no_folder(folder.clone()), &[]);
        check("/unix/x", no_folder(folder.join("c")), &[]);
        fs::remove_file(&folder).unwrap();
        std::os::unix::fs::symlink("/nowhere/at/all", &folder).unwrap();
        check("/unix/x", no_folder(folder.clone()), &[]);
        check("/unix/x", no_folder(folder.join("c")), &[]);

        let see = "see the addresses of this machine: `ip address`";
        check("/ip4/192.0.2.1/tcp/7001", BindError::NotOurAddress, &[see]);
        check("/ip6/2001:db8::1/tcp/7002", BindError::NotOurAddress, &[see]);
        check("/ip6zone/eth0/ip6/fe80::7/tcp/7002", BindError::NotOurAddress, &[see]);
        let elsewhere = "that file stays as it is: let the registrar listen elsewhere";
        check("/unix/etc/passwd", BindError::NotASocket { found: "a file" }, &[elsewhere]);

        // A link is not followed, but its target may be named, whether or not anything is there.
        let base = base.path().canonicalize().unwrap();
        let place = |name: &str| format!("/unix{}", base.join(name).display());
        for (name, target, meant) in [
            ("absolute", base.join("there.sock"), "there.sock"),
            ("relative", PathBuf::from("beside.sock"), "beside.sock"),
            ("above", PathBuf::from("./../r.sock"), "../r.sock"),
        ] {
            std::os::unix::fs::symlink(target, base.join(name)).unwrap();
            let meant = base.join(meant);
            let folder = meant.parent().unwrap().canonicalize().unwrap();
            let meant = folder.join(meant.file_name().unwrap());
            let leads = format!(
                "it leads to `/unix{}`: let it listen there, or elsewhere",
                meant.display()
            );
            let error = BindError::NotASocket { found: "a symbolic link" };
            check(&place(name), error, &[&leads]);
        }
        std::os::unix::fs::symlink("/nowhere/at/all", base.join("lost")).unwrap();
        check(&place("lost"), BindError::NotASocket { found: "a symbolic link" }, &[elsewhere]);
    }

    #[test]
    fn commands_can_be_typed_again() {
        let check = |words: &[&str], expected: &str| assert_eq!(in_words(words), expected);
        check(&["callsign", "ls"], "callsign ls");
        check(&["callsign", "watch", "feed*"], "callsign watch 'feed*'");
        check(&["echo", "it's"], r"echo 'it'\''s'");
    }

    #[test]
    fn a_command_asks_the_same_registrars() {
        let check = |words: &[&str], args: &[&str], expected: &str| {
            let words = words.iter().map(|it| (*it).to_owned()).collect();
            let line = Hint::Command { does: "do so".to_owned(), words }.line(&context(args));
            check_commands(&line);
            assert_eq!(line, format!("do so: `{expected}`"));
        };
        check(&["ls"], &[], "callsign ls");
        check(
            &["find", "it's", "--all"],
            &["--registrar", "/unix/@r", "--registrar", "/ip4/127.0.0.1/tcp/7"],
            r"callsign find 'it'\''s' --all --registrar /unix/@r --registrar /ip4/127.0.0.1/tcp/7",
        );
        check(
            &["register", "web", "/unix/@web", "--", "./web", "a b"],
            &["--config", "my settings.toml"],
            "callsign register web /unix/@web --config 'my settings.toml' -- ./web 'a b'",
        );
    }

    #[test]
    fn every_example_is_a_command() {
        let mut count = 0;
        for command in crate::args::described().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in help.lines().filter(|it| it.starts_with("  callsign ")) {
                let ends = ["  ", " | ", " && ", " > "].map(|it| line.trim_start().find(it));
                let end = ends.into_iter().flatten().min().unwrap_or(line.trim_start().len());
                let words = shlex::split(&line.trim_start()[..end]).unwrap();
                let parsed = Cli::try_parse_from(&words);
                assert!(parsed.is_ok(), "{line}: {parsed:?}");
                count += 1;
            }
        }
        assert!(count > 30, "only {count} examples are seen");
    }

    #[test]
    fn cut_text_shows_that_it_was_cut() {
        let check = |command: &str, expected: &str| assert_eq!(shortened(command), expected);
        check("callsign registrar", "callsign registrar");
        check(&"x".repeat(60), &"x".repeat(60));
        check(&"ö".repeat(61), &format!("{}…", "ö".repeat(60)));
        check("a\n`b`", "ab");
    }
}
