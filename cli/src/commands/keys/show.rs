//! `callsign keys show`.

use std::{fmt::Write as _, io, iter, path::PathBuf, time::SystemTime};

use endpoints::{Plain, SpiffeId};
use keys::{Block, Certificate, Contents, ContentsError, Key, PublicKey};
use serde::Serialize;

use super::{date, days_left, laid_out, millis, validity};
use crate::{
    context::Context,
    failure::{Exit, Failure},
    output::notices::warn,
    standard::Input,
};

/// Show what is in a file of certificates and keys
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign keys show keys/feed.pem
  callsign keys show /etc/ssl/certs/ca-certificates.crt
  callsign keys show keys/feed.pem --json | jq '.[0].days_left'
  openssl s_client -connect feed.example:443 </dev/null | callsign keys show -

A certificate and its private key have the same key id, which is the SHA-256 of the public key. A \
private key itself is never shown.")]
pub(crate) struct Args {
    /// The file, in PEM; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let (file, contents) = if args.file.as_os_str() == "-" {
        ("standard input".to_owned(), of_input())
    } else {
        (args.file.display().to_string(), Contents::read(&args.file))
    };
    let contents = contents.map_err(|error| failure(error, &file))?;
    let now = SystemTime::now();
    if contents.has_key() && contents.mode & 0o077 != 0 {
        let mode = contents.mode;
        warn(context, format!("`{file}` has a key, and is open to others (mode {mode:04o})"));
    }
    if context.json {
        let blocks: Vec<_> = contents.blocks.iter().map(|it| BlockJson::of(it, now)).collect();
        context.print_json(&blocks)?;
        return Ok(Exit::Done);
    }
    let count = contents.blocks.len();
    let shown = contents.blocks.iter().enumerate().map(|(at, item)| {
        let headline = if count == 1 { file.clone() } else { format!("{file}, {}", at + 1) };
        laid_out(context, &headline, &lines(item, now))
    });
    let text = shown.collect::<Vec<_>>().join("\n");
    context.print_in_pager(|| iter::once(text.clone()))?;
    Ok(Exit::Done)
}

fn of_input() -> Result<Contents, ContentsError> {
    let mode = rustix::fs::fstat(io::stdin()).map_err(io::Error::from)?.st_mode;
    Contents::of(Input, mode)
}

fn failure(error: ContentsError, file: &str) -> Failure {
    let what = format!("cannot show `{file}`");
    let failure = match error {
        ContentsError::Io(error) => return Failure::system(error).context(what),
        error => Failure::usage(error).context(what),
    };
    failure.hint(
        "write it in PEM, as `openssl x509 -in FILE -inform DER` does with a certificate in DER",
    )
}

/// Describes a block of the file.
fn lines(item: &Block, now: SystemTime) -> Vec<(&'static str, String)> {
    let plain = |text: &str| Plain(text).to_string();
    match item {
        Block::Certificate(certificate) => {
            let Certificate { uris, hosts, subject, issuer, may_sign, since, until, key, .. } =
                &**certificate;
            let holds = if *may_sign { "the certificate of an authority" } else { "a certificate" };
            let mut lines = vec![("holds", holds.to_owned())];
            let label = |uri: &str| {
                if uri.starts_with(SpiffeId::SCHEME) { "SPIFFE ID" } else { "URI" }
            };
            lines.extend(uris.iter().map(|it| (label(it), plain(it))));
            if !hosts.is_empty() {
                lines.push(("hosts", plain(&hosts.join(" "))));
            }
            lines.push(("subject", plain(subject)));
            let by = if certificate.is_self_signed() { "itself".to_owned() } else { plain(issuer) };
            lines.push(("signed by", by));
            lines.push(match since.duration_since(now) {
                Ok(_) => {
                    let [since, until] = [since, until].map(|it| date(*it));
                    ("valid", format!("not before {since}, until {until}"))
                }
                Err(_) => ("valid", validity(*until, now)),
            });
            lines.extend(key_lines(key));
            lines.push(("SHA-256", hex(&certificate.fingerprint)));
            lines
        }
        Block::Key(Key { public, label, .. }) => {
            let mut lines = vec![("holds", format!("a private key ({})", plain(label)))];
            match public {
                Some(key) => lines.extend(key_lines(key)),
                None => lines.push(("key", "encrypted, or of a kind that is not read".to_owned())),
            }
            lines
        }
        Block::Other(label) => vec![("holds", plain(label))],
        _ => vec![("holds", "something else".to_owned())],
    }
}

fn key_lines(key: &PublicKey) -> [(&'static str, String); 2] {
    [("key", key.kind.clone()), ("key id", hex(&key.id))]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}

/// A block of the file for programs, as `docs/json.md` describes it.
#[derive(Serialize)]
#[serde(tag = "holds", rename_all = "kebab-case")]
enum BlockJson<'a> {
    Certificate {
        uris: &'a [String],
        hosts: &'a [String],
        subject: &'a str,
        issuer: &'a str,
        is_authority: bool,
        since_ms: u64,
        until_ms: u64,
        days_left: i64,
        key: &'a str,
        key_id: String,
        sha256: String,
    },
    Key {
        label: &'a str,
        key: Option<&'a str>,
        key_id: Option<String>,
    },
    Other {
        label: &'a str,
    },
}

impl<'a> BlockJson<'a> {
    fn of(item: &'a Block, now: SystemTime) -> Self {
        match item {
            Block::Certificate(it) => Self::Certificate {
                uris: &it.uris,
                hosts: &it.hosts,
                subject: &it.subject,
                issuer: &it.issuer,
                is_authority: it.may_sign,
                since_ms: millis(it.since),
                until_ms: millis(it.until),
                days_left: days_left(it.until, now),
                key: &it.key.kind,
                key_id: hex(&it.key.id),
                sha256: hex(&it.fingerprint),
            },
            Block::Key(it) => Self::Key {
                label: &it.label,
                key: it.public.as_ref().map(|it| it.kind.as_str()),
                key_id: it.public.as_ref().map(|it| hex(&it.id)),
            },
            Block::Other(label) => Self::Other { label },
            _ => Self::Other { label: "" },
        }
    }
}
