//! `callsign man`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::anyhow;
use clap_mangen::Man;

use crate::{
    args,
    context::Context,
    failure::{Exit, Failure},
};

/// Print a manual page, or write all of them to a folder
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign man | man -l -
  callsign man find | man -l -
  callsign man --out ~/.local/share/man/man1")]
pub(crate) struct Args {
    /// The command whose page to print; without it, the page of callsign
    #[arg(value_name = "COMMAND", conflicts_with = "out")]
    command: Option<String>,
    /// Write every page to this folder, which is made if it is not there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let pages = pages().map_err(Failure::output)?;
    if let Some(folder) = &args.out {
        write(&pages, folder).map_err(|error| {
            Failure::system(error).context(format!("cannot write to `{}`", folder.display()))
        })?;
        return Ok(Exit::Done);
    }
    let wanted = match &args.command {
        Some(command) => format!("{}-{command}.1", args::PROGRAM),
        None => format!("{}.1", args::PROGRAM),
    };
    let Some(page) = pages.into_iter().find(|it| it.file == wanted) else {
        let command = args.command.unwrap_or_default();
        return Err(Failure::usage(anyhow!("there is no command `{command}`"))
            .hint("`callsign --help` lists the commands"));
    };
    context.print(page.text)?;
    Ok(Exit::Done)
}

/// A manual page.
struct Page {
    file: String,
    text: String,
}

/// Makes the page of the program and one for each command. They are the same wherever they are
/// made: nothing of the machine and no date is in them.
fn pages() -> io::Result<Vec<Page>> {
    let mut program = args::described().disable_help_subcommand(true);
    // This gives each command the name that a page has: `callsign-ls`.
    program.build();
    let shown = program.get_subcommands().filter(|it| !it.is_hide_set());
    let commands: Vec<_> = shown.cloned().collect();
    [program].into_iter().chain(commands).map(page).collect()
}

fn page(command: clap::Command) -> io::Result<Page> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let program = format!("{} {}", args::PROGRAM, env!("CARGO_PKG_VERSION"));
    let mut text = Vec::new();
    Man::new(command).source(program).manual("callsign").render(&mut text)?;
    // What stands at the end of a help has no better heading yet.
    let text = String::from_utf8_lossy(&text)
        .replace("\n.SH EXTRA\nExamples:\n", "\n.SH EXAMPLES\n.nf\n")
        .replace("\n.SH EXTRA\n", "\n.SH NOTES\n.nf\n")
        .replace("\n.SH VERSION\n", "\n.fi\n.SH VERSION\n");
    Ok(Page { file: format!("{name}.1"), text })
}

fn write(pages: &[Page], folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    pages.iter().try_for_each(|page| fs::write(folder.join(&page.file), &page.text))
}
