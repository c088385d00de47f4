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
    global::PROGRAM,
    lookup::suggestion,
};

/// Print a manual page, or write all of them to a folder
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign man | man -l -
  callsign man find | man -l -
  callsign man --out ~/.local/share/man/man1")]
pub(crate) struct Args {
    /// The command, such as `find` or `keys issue`; without it, the page of callsign
    #[arg(value_name = "COMMAND", conflicts_with = "out")]
    command: Vec<String>,
    /// Write every page to this folder, created if missing
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
    let wanted: String = std::iter::once(PROGRAM)
        .chain(args.command.iter().map(String::as_str))
        .collect::<Vec<_>>()
        .join("-");
    let wanted = format!("{wanted}.1");
    let Some(page) = pages.into_iter().find(|it| it.file == wanted) else {
        let command = args.command.join(" ");
        let described = crate::args::described();
        let names = described.get_subcommands().map(clap::Command::get_name);
        let failure = Failure::usage(anyhow!("there is no command `{command}`"));
        return Err(
            suggestion::hint(failure, &command, names).hint("`callsign --help` lists the commands")
        );
    };
    context.print(page.text)?;
    Ok(Exit::Done)
}

/// A manual page.
struct Page {
    file: String,
    text: String,
}

/// Makes the page of the program, and one for each command and each of its own. They contain neither a date nor anything
/// of the machine.
fn pages() -> io::Result<Vec<Page>> {
    let mut program = args::described().disable_help_subcommand(true);
    // This gives each command the name that a page has: `callsign-ls`.
    program.build();
    let mut pages = Vec::new();
    let mut commands = vec![program];
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands().filter(|it| !it.is_hide_set()).cloned());
        pages.push(page(command)?);
    }
    pages.sort_by(|one, other| one.file.cmp(&other.file));
    Ok(pages)
}

fn page(command: clap::Command) -> io::Result<Page> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let program = format!("{} {}", PROGRAM, env!("CARGO_PKG_VERSION"));
    let mut text = Vec::new();
    Man::new(command).source(program).manual("callsign").render(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    // The text after a help has no better heading yet.
    let (text, extra) = text.split_once("\n.SH EXTRA\n").unwrap_or((&text, ""));
    let extra = extra.split("\n.SH VERSION\n").next().unwrap_or_default();
    // An empty date means none, instead of the program's name; a line is broken once.
    let text = text.replacen(" 1  \"", " 1 \"\" \"", 1).replace("\n.br\n\n.br\n", "\n.br\n");
    let others = SEE_ALSO.into_iter().filter(|it| *it != name);
    let others = others.map(|it| format!(".BR {} (1)", it.replace('-', "\\-")));
    let others = others.collect::<Vec<_>>().join(",\n");
    let text = format!("{}\n{}{ENDING}{others}\n", text.trim_end(), laid_out(extra));
    Ok(Page { file: format!("{name}.1"), text })
}

/// Formats the end of a help: examples stay as they are, prose is filled.
fn laid_out(extra: &str) -> String {
    let mut text = String::new();
    let (mut is_example, mut is_new) = (false, true);
    for line in extra.lines() {
        match line {
            "Examples:" => {
                text += ".SH EXAMPLES\n";
                continue;
            }
            "" => {
                is_new = true;
                continue;
            }
            _ if text.is_empty() => text += ".SH NOTES\n",
            _ => {}
        }
        let example = line.starts_with("  ");
        if example != is_example {
            text += if example { EXAMPLE } else { EXAMPLE_END };
            text += if example { "" } else { ".SH NOTES\n" };
        } else if is_new && !text.ends_with("NOTES\n") && !text.ends_with("EXAMPLES\n") {
            text += ".PP\n";
        }
        (is_example, is_new) = (example, false);
        text += if example { &line[2..] } else { line };
        text += "\n";
    }
    text + if is_example { EXAMPLE_END } else { "" }
}

/// An example is indented less than prose, since none of its lines is broken.
const EXAMPLE: &str = ".in 4n\n.nf\n";
const EXAMPLE_END: &str = ".fi\n.in\n";

/// The options of every command.
const ENDING: &str = r#".SH ENVIRONMENT
.TP
.B CALLSIGN_REGISTRAR
The registrars to ask, unless \-\-registrar is given: multiaddrs, separated by commas or spaces.
.TP
.B CALLSIGN_CONFIG
The settings file, unless \-\-config is given.
.TP
.B CALLSIGN_INSECURE
.I true
allows TCP beyond the loopback without TLS, as \-\-insecure does.
.TP
.B CALLSIGN_LOG
The level of the log, as with \-v, or directives such as
.IR callsign_registrar=debug ,
with the crates of callsign as its parts.
.TP
.BR CALLSIGN_PAGER ", " PAGER
The program that shows a list longer than the screen; empty or
.I cat
for none. The default is less.
.TP
.B NO_COLOR
If set, the output has no colours.
.TP
.B COLUMNS
The width of tables and of the help where the output is no terminal.
.TP
.B CALLSIGN_SYSTEM_DIR
The folder of the system's registrar, instead of
.IR /run/callsign .
.TP
.B XDG_RUNTIME_DIR
The folder in which the default registrar has its socket.
.TP
.B TMPDIR
The folder of temporary files, instead of
.IR /tmp .
.SH FILES
.TP
.I $XDG_RUNTIME_DIR/callsign/registrar.sock
The default endpoint of a registrar, for the registrar and for those who look for it.
.TP
.I /tmp/callsign\-UID
The folder of that socket if XDG_RUNTIME_DIR is not set.
.TP
.I /run/callsign
The folder of the system's registrar.
.SH EXIT STATUS
.TP
.B 0
Done.
.TP
.B 1
Not found, or timed out.
.TP
.B 2
The command line or the settings are wrong.
.TP
.B 3
No registrar can be reached.
.TP
.B 4
Denied, by a registrar or the system, or a bound was reached.
.TP
.B 5
In use: somebody else listens there.
.TP
.B 6
The output cannot be written. If its reader has gone, the exit status is 141, as by SIGPIPE.
.TP
.B 7
The system failed: a full or read\-only disk, no more descriptors, an address that the host does not
have, a killed guardian.
.TP
.B 125
The program of
.B register
has moved to the background, or another instance has its name.
.TP
.BR 126 ", " 127
The program cannot be executed, or is not there. If it runs, its own exit status is that of
.BR register .
.SH SEE ALSO
"#;

/// The pages that each refers to.
const SEE_ALSO: [&str; 5] =
    ["callsign", "callsign-registrar", "callsign-ls", "callsign-find", "callsign-register"];

fn write(pages: &[Page], folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    pages.iter().try_for_each(|page| fs::write(folder.join(&page.file), &page.text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_filter::LogFilter;

    #[test]
    fn the_example_of_a_filter_is_taken() {
        let (_, example) = ENDING.split_once("or directives such as\n.IR ").unwrap();
        let (example, _) = example.split_once([' ', '\n']).unwrap();
        assert_eq!(LogFilter::read(example).known, example);
    }
}
