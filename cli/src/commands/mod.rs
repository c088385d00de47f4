//! The commands, each in its own file.

pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod man;
pub(crate) mod registrar;
pub(crate) mod schema;

use crate::{
    args::Command,
    context::Context,
    failure::{Exit, Failure},
};

/// Runs a command.
pub(crate) async fn run(command: Command, context: &Context) -> Result<Exit, Failure> {
    match command {
        Command::Check(args) => check::run(args, context).await,
        Command::Completions(args) => completions::run(args, context).await,
        Command::Demo(args) => demo::run(args, context).await,
        Command::Man(args) => man::run(args, context).await,
        Command::Registrar(args) => registrar::run(args, context).await,
        Command::Schema(args) => schema::run(args, context).await,
    }
}
