//! `callsign connect`: standard input and output, joined to an actor.

mod relay;

use std::{
    io::{self, IsTerminal},
    os::fd::OwnedFd,
};

use anyhow::anyhow;
use discovery::{FindError, LookupError, LookupOptions, ResolveError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::relay::{Broken, Ended, relay, standard_input};
use crate::{
    context::Context,
    failure::{Exit, Failure},
    lookup::query::{self, not_ready, query_owned},
    output::{
        self,
        notices::{note, patiently, warn, warn_unanswered},
    },
    owners::Demanded,
};

/// Connect standard input and output to an actor
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  printf 'GET / HTTP/1.0\\r\\n\\r\\n' | callsign connect web
  callsign connect web -v      shows the endpoint
  callsign connect log > today.log
  callsign connect db --owner postgres    only instances of that user

The end of the input is passed on, and the rest of the actor's output is still printed. When the \
actor says no more, it still gets the rest of the input, unless that is a terminal. If the nearest \
endpoint does not answer, the next is tried.

The exit code is 1 if there is no such actor, or none answers; it is 3 if a registrar that may know \
it did not answer.")]
pub(crate) struct Args {
    /// The actor's name
    name: String,
    #[command(flatten)]
    demanded: Demanded,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let name = query::name(&args.name)?;
    let owner = args.demanded.read()?;
    let client = context.client().await?;
    let options = LookupOptions { owner: owner.clone(), ..LookupOptions::default() };
    let finding = client.find_actor_with(name.as_str(), options);
    let connected = patiently(context, &client, &name, finding).await;
    let is_unknown = |error: &FindError| {
        matches!(error, FindError::Resolve(ResolveError::Lookup(LookupError::Incomplete(_))))
    };
    if connected.as_ref().map_or_else(is_unknown, Option::is_none) {
        let found = query_owned(context, &client, &name, false, owner.as_ref()).await?;
        return Err(not_ready(&client, &name, &found, Vec::new()).await);
    }
    // Failures are reported before the client closes. The conversation may last, and the registrar
    // is not needed for it.
    client.close().await;
    let connection = connected?.expect("that there is none was told above");
    warn_unanswered(context, &connection.unanswered);
    if context.global.verbose > 0 {
        let instance = connection.record.instance();
        note(context, format_args!("connected to {instance}:\n{}", connection.explanation));
    }
    let input = standard_input().map_err(Failure::system)?;
    let actor = connection.stream.fd().map(|it| it.try_clone_to_owned()).transpose();
    let actor = actor.map_err(Failure::system)?;
    // A person at a terminal is not waited for.
    let takes_no_more = || io::stdin().is_terminal() || actor.is_none_or(|it| has_hung_up(&it));
    match relay(connection.stream, input, output::write_patiently, takes_no_more).await {
        Ok(Ended::Said) => Ok(Exit::Done),
        Ok(Ended::Unsaid) => {
            warn(
                context,
                format_args!(
                    "`{name}` ended the connection without saying so (`close_notify` of TLS): if \
                     its answer does not tell its own length, it may not be whole"
                ),
            );
            Ok(Exit::Done)
        }
        Err(Broken::Output(error)) => Err(Failure::output(error)),
        Err(Broken::Unread(error)) => {
            Err(Failure::system(error).context("standard input cannot be read".to_owned()))
        }
        Err(Broken::Input) => {
            let what =
                anyhow!("`{name}` ended the connection before it had taken all of the input");
            Err(Failure::not_found(what))
        }
        Err(Broken::Actor(error)) => {
            let what = anyhow!("the connection to `{name}` broke");
            Err(Failure::not_found(anyhow::Error::new(error).context(what)))
        }
    }
}

/// Tells whether the other side of a connection reads nothing more either. Only a Unix socket tells.
fn has_hung_up(connection: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(connection, PollFlags::empty())];
    let asked = poll(&mut polled, Some(&Timespec::default()));
    asked.is_ok() && polled[0].revents().contains(PollFlags::HUP)
}
