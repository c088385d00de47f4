//! The commands, each in its own file.

pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod connect;
pub(crate) mod demo;
pub(crate) mod drain;
pub(crate) mod find;
pub(crate) mod keys;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod register;
pub(crate) mod registrar;
pub(crate) mod renew;
pub(crate) mod resolve;
pub(crate) mod schema;
pub(crate) mod status;
pub(crate) mod top;
pub(crate) mod tree;
pub(crate) mod unregister;
pub(crate) mod wait;
pub(crate) mod watch;
pub(crate) mod whoami;

use clap::Subcommand;
use transport::{Handed, HandedError};

use crate::{
    context::Context,
    failure::{Exit, Failure},
};

/// The commands, by name.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Check(check::Args),
    Completions(completions::Args),
    Connect(connect::Args),
    Demo(demo::Args),
    Drain(drain::Args),
    Find(find::Args),
    Keys(keys::Args),
    Ls(ls::Args),
    Man(man::Args),
    Register(register::Args),
    Registrar(registrar::Args),
    Renew(renew::Args),
    Resolve(resolve::Args),
    Schema(schema::Args),
    Status(status::Args),
    Top(top::Args),
    Tree(tree::Args),
    Unregister(unregister::Args),
    Wait(wait::Args),
    Watch(watch::Args),
    Whoami(whoami::Args),
}

impl Command {
    /// Tells whether it handles signals as soon as it runs, including earlier ones.
    pub(crate) fn hears_signals(&self) -> bool {
        matches!(self, Self::Register(_) | Self::Registrar(_))
    }
}

/// The descriptors from a service manager, or why they cannot be adopted.
pub(crate) type AllHanded = Result<Vec<Handed>, HandedError>;

/// Runs a command.
pub(crate) async fn run(
    command: Command,
    handed: AllHanded,
    context: &Context,
) -> Result<Exit, Failure> {
    match command {
        Command::Check(args) => check::run(args, context).await,
        Command::Completions(args) => completions::run(args, context).await,
        Command::Connect(args) => connect::run(args, context).await,
        Command::Demo(args) => demo::run(args, context).await,
        Command::Drain(args) => drain::run(args, context).await,
        Command::Find(args) => find::run(args, context).await,
        Command::Keys(args) => keys::run(args, context).await,
        Command::Ls(args) => ls::run(args, context).await,
        Command::Man(args) => man::run(args, context).await,
        Command::Register(args) => register::run(args, handed, context).await,
        Command::Registrar(args) => registrar::run(args, handed, context).await,
        Command::Renew(args) => renew::run(args, context).await,
        Command::Resolve(args) => resolve::run(args, context).await,
        Command::Schema(args) => schema::run(args, context).await,
        Command::Status(args) => status::run(args, context).await,
        Command::Top(args) => top::run(args, context).await,
        Command::Tree(args) => tree::run(args, context).await,
        Command::Unregister(args) => unregister::run(args, context).await,
        Command::Wait(args) => wait::run(args, context).await,
        Command::Watch(args) => watch::run(args, context).await,
        Command::Whoami(args) => whoami::run(args, context).await,
    }
}
