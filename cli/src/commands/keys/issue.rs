//! `callsign keys issue`.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use endpoints::SpiffePath;
use keys::{Authority, CertifiedHost};
use serde::Serialize;

use super::{laid_out, millis, validity};
use crate::{
    context::Context,
    failure::{Exit, Failure},
    typed,
};

/// Issue a certificate, and its key, for an actor or a node
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign keys issue keys feed
  callsign keys issue keys node/berlin --host berlin.example --host 10.0.0.7
  callsign keys issue keys feed --for 30d --json | jq -r .certificate

The files are `NAME.pem` and `NAME.key` in the folder, and neither is written over another. Copy both, \
and `ca.pem`, to the host on which NAME runs; the key has mode 0600.")]
pub(crate) struct Args {
    /// The folder of the authority
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The path of the SPIFFE ID: parts of letters, digits, `.`, `-` and `_`, with `/` between
    #[arg(value_name = "NAME", value_parser = SpiffePath::new)]
    name: SpiffePath,
    /// A DNS name or IP address at which it is found; may be repeated
    #[arg(long, value_name = "HOST")]
    host: Vec<CertifiedHost>,
    /// How long it is valid: from 1m to what the authority has left
    #[arg(long = "for", value_name = "DURATION", default_value = "90d")]
    #[arg(value_parser = typed::duration)]
    lifetime: Duration,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let now = SystemTime::now();
    let authority = Authority::open(&args.folder)?;
    let issued = authority.issue(args.name, &args.host, args.lifetime, now)?;
    let hosts: Vec<_> = args.host.iter().map(ToString::to_string).collect();
    if context.json {
        context.print_json(&IssuedJson {
            spiffe_id: issued.spiffe_id.to_string(),
            hosts,
            certificate: &issued.certificate,
            key: &issued.key,
            authority: authority.certificate(),
            until_ms: millis(issued.until),
        })?;
        return Ok(Exit::Done);
    }
    let mut lines = vec![
        ("in", issued.certificate.display().to_string()),
        ("its key", issued.key.display().to_string()),
    ];
    if !hosts.is_empty() {
        lines.push(("hosts", hosts.join(" ")));
    }
    lines.push(("valid", validity(issued.until, now)));
    let headline = format!("issued a certificate for {}", issued.spiffe_id);
    context.print(laid_out(context, &headline, &lines))?;
    Ok(Exit::Done)
}

/// What was issued for programs, as `docs/json.md` describes it.
#[derive(Serialize)]
struct IssuedJson<'a> {
    spiffe_id: String,
    hosts: Vec<String>,
    certificate: &'a PathBuf,
    key: &'a PathBuf,
    authority: PathBuf,
    until_ms: u64,
}
