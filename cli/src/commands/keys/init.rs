//! `callsign keys init`.

use std::{path::PathBuf, time::SystemTime};

use endpoints::TrustDomain;
use keys::{Authority, KeyKind};
use serde::Serialize;

use super::{laid_out, millis, validity};
use crate::{
    context::Context,
    failure::{Exit, Failure},
};

/// Make an authority, which issues certificates, in a new folder
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign keys init keys
  callsign keys init keys --domain market.example

Nobody else can look into the folder (mode 0700). Copy `ca.pem` to every host; whoever has `ca.key` \
can issue a certificate for any name. The authority is valid for ten years.")]
pub(crate) struct Args {
    /// The folder, which must not exist
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The trust domain, with which every SPIFFE ID begins
    #[arg(long, value_name = "DOMAIN", default_value = "callsign.internal")]
    #[arg(value_parser = TrustDomain::new)]
    domain: TrustDomain,
    /// The kind of all keys
    #[arg(long, value_name = "KIND", value_enum, default_value = "p256")]
    key: Kind,
}

/// The kind of a key.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    P256,
    Ed25519,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let kind = match args.key {
        Kind::P256 => KeyKind::P256,
        Kind::Ed25519 => KeyKind::Ed25519,
    };
    let now = SystemTime::now();
    let authority = Authority::create(&args.folder, args.domain, kind, now)?;
    let (certificate, key) = (authority.certificate(), authority.key());
    if context.json {
        let made = AuthorityJson {
            domain: authority.domain().as_str(),
            certificate: &certificate,
            key: &key,
            until_ms: millis(authority.until()),
        };
        context.print_json(&made)?;
        return Ok(Exit::Done);
    }
    let lines = [
        ("give away", format!("{}, to every host", certificate.display())),
        ("keep", format!("{}, for you alone", key.display())),
        ("valid", validity(authority.until(), now)),
    ];
    let headline = format!("made the authority of {}", authority.domain());
    context.print(laid_out(context, &headline, &lines))?;
    Ok(Exit::Done)
}

/// The new authority for programs, as `docs/json.md` describes it.
#[derive(Serialize)]
struct AuthorityJson<'a> {
    domain: &'a str,
    certificate: &'a PathBuf,
    key: &'a PathBuf,
    until_ms: u64,
}
