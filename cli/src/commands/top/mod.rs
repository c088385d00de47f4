//! `callsign top`: who is there, on a screen that follows the changes.
//!
//! Nothing here waits for the terminal: it is read by a thread, and written to by another, so that a
//! signal ends the program even if the terminal takes nothing.

mod board;
mod keys;
mod picture;
mod screen;

use std::{
    io::{self, IsTerminal},
    pin::{Pin, pin},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anstream::ColorChoice;
use anyhow::anyhow;
use discovery::{Change, Client, ConnectError, Watch};
use rustix::process::{Signal, getpid, kill_process};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use wire::Record;

use self::{
    board::{Board, Verdicts, Wish},
    keys::{Decoder, read_keys},
    screen::Screen,
};
use super::ls::selection::SortKey;
use crate::{
    console::Console,
    context::Context,
    failure::{Exit, Failure},
    lookup::{query::pattern, ranking::Seen},
    output,
    signals::Signals,
};

/// Show who is there on a screen that follows the changes
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign top                everything
  callsign top 'feed*'        begins with `feed`
  callsign top --sort state   the suspect ones first
  callsign top --tree         the trees of supervised actors

Keys: arrows choose, Enter shows details, / filters, s sorts, r reverses, t shows trees, ? shows \
all keys, q quits. NEAREST is the endpoint that `callsign connect` would try first. If the \
registrar is lost, or not there at the beginning, the first line says so, and `top` continues when \
there is one. `callsign watch` prints the same changes as lines, also where there is no terminal.")]
pub(crate) struct Args {
    /// Only these names; `*` matches any run of characters, `?` any one
    #[arg(default_value = "*", hide_default_value = true)]
    pattern: String,
    /// Sort by name, age, state, locality, lifetime or user at first
    #[arg(short, long, value_name = "KEY", default_value = "name")]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    sort: SortKey,
    /// Show the trees of supervised actors at first
    #[arg(short, long)]
    tree: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let pattern = pattern(&args.pattern)?;
    has_terminal(context)?;
    let signals = Signals::for_screen()?;
    let client = context.open_client()?;
    let watch = client.watch(pattern.as_str()).map_err(Failure::usage)?;
    let no_screen = |error| Failure::system(error).context("cannot use the terminal");
    let keys = read_keys().map_err(no_screen)?;
    let _held = Held::new(&context.console);
    let screen = Screen::enter().map_err(no_screen)?;
    let has_colors = context.out().current_choice() != ColorChoice::Never;
    let board = Board::new(args.sort, args.tree);
    Show { client, watch, screen, board, has_colors, signals }.run(keys).await
}

/// Checks that there is a terminal to draw on.
fn has_terminal(context: &Context) -> Result<(), Failure> {
    let refused = |why: &str| {
        Err(Failure::usage(anyhow!("`top` needs a terminal: {why}"))
            .hint_command("see changes as lines", ["watch"])
            .hint_command("see who is there now", ["ls"]))
    };
    match () {
        () if context.json => refused("it has no output for programs"),
        () if !io::stdout().is_terminal() => refused("standard output is none"),
        () if !io::stdin().is_terminal() => refused("standard input is none"),
        () if context.environment.text("TERM").is_none_or(|it| it.is_empty() || it == "dumb") => {
            refused("the variable TERM names none whose cursor can be moved")
        }
        () => Ok(()),
    }
}

/// Keeps the log off the screen while this lives.
struct Held<'a>(&'a Console);

impl<'a> Held<'a> {
    fn new(console: &'a Console) -> Self {
        console.hold();
        Self(console)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

struct Show {
    client: Client,
    watch: Watch,
    screen: Screen,
    board: Board,
    has_colors: bool,
    signals: Signals,
}

impl Show {
    /// Follows the changes until somebody wants it to end.
    async fn run(
        mut self,
        mut keys: tokio::sync::mpsc::Receiver<Vec<u8>>,
    ) -> Result<Exit, Failure> {
        let mut reader_gone = pin!(output::reader_gone());
        let mut decoder = Decoder::default();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut written: Option<Pin<Box<dyn Future<Output = io::Result<()>>>>> = None;
        let mut judged = None;
        let mut clock = None;
        let mut next_draw = Instant::now();
        let mut escape_ends = Instant::now();
        let mut is_due = true;
        let exit = loop {
            if judged.is_none() {
                judged = judge(self.board.take_unjudged()).map(Box::pin);
            }
            let is_drawing = written.is_some();
            tokio::select! {
                biased;
                signal = self.signals.next_of_all() => match self.hear(signal)? {
                    Some(exit) => break exit,
                    None => (is_due, next_draw) = (true, Instant::now()),
                },
                () = &mut reader_gone => break Exit::READER_GONE,
                typed = keys.recv() => {
                    let Some(typed) = typed else { break Exit::READER_GONE };
                    let keys = decoder.read(&typed);
                    escape_ends = Instant::now() + ESCAPE_PAUSE;
                    (is_due, next_draw) = (true, Instant::now());
                    if self.press(keys)? { break Exit::Done }
                }
                () = sleep_until(escape_ends), if decoder.is_within_a_sequence() => {
                    (is_due, next_draw) = (true, Instant::now());
                    if self.press(decoder.end())? { break Exit::Done }
                }
                done = ready(&mut written), if is_drawing => {
                    written = None;
                    if done.is_err() { break Exit::READER_GONE }
                }
                () = sleep_until(next_draw), if is_due && !is_drawing => {
                    is_due = false;
                    next_draw = Instant::now() + DRAW_PAUSE;
                    let bytes = self.draw().map_err(Failure::output)?;
                    if !bytes.is_empty() {
                        written = Some(Box::pin(output::write_patiently(bytes)));
                    }
                }
                verdicts = ready(&mut judged), if judged.is_some() => {
                    judged = None;
                    // Without a thread it is tried again with the next look.
                    if let Ok(verdicts) = verdicts {
                        self.board.judge(verdicts);
                        is_due = true;
                    }
                }
                found = ready(&mut clock), if clock.is_some() => {
                    clock = None;
                    if let Some(now_ms) = found {
                        self.board.set_clock(now_ms, here_ms());
                        is_due = true;
                    }
                }
                _ = ticks.tick() => {
                    self.board.look_again();
                    is_due = true;
                }
                change = self.watch.next() => {
                    let Some(change) = change else { break Exit::Done };
                    if self.apply(change)? {
                        clock = Some(Box::pin(registrars_clock(self.client.clone())));
                    }
                    is_due = true;
                }
            }
        };
        if let Some(written) = written {
            // Half of a picture would be on the screen of before.
            let _late = timeout(LAST_PICTURE, written).await;
        }
        Ok(exit)
    }

    /// Does what a signal asks for; tells whether it ends the program.
    fn hear(&mut self, signal: i32) -> Result<Option<Exit>, Failure> {
        let lost = |error| Failure::output(error).context("the terminal is lost");
        match Signal::from_named_raw(signal) {
            Some(Signal::WINCH) => self.screen.forget().map_err(lost)?,
            Some(Signal::TSTP) => {
                self.screen.leave();
                // It continues here.
                _ = kill_process(getpid(), Signal::STOP);
                self.screen.enter_again().map_err(lost)?;
            }
            Some(Signal::CONT) => self.screen.enter_again().map_err(lost)?,
            _ => {
                let number = u8::try_from(signal).expect("the numbers of signals end at 64");
                return Ok(Some(Exit::Signal(number)));
            }
        }
        Ok(None)
    }

    /// Does what keys mean; tells whether to quit.
    fn press(&mut self, keys: impl IntoIterator<Item = keys::Key>) -> Result<bool, Failure> {
        for key in keys {
            match self.board.press(key) {
                Wish::Quit => return Ok(true),
                Wish::DrawAll => self.screen.forget().map_err(Failure::output)?,
                Wish::Draw => {}
            }
        }
        Ok(false)
    }

    /// Records a change; tells whether a snapshot is complete with it.
    fn apply(&mut self, change: Change) -> Result<bool, Failure> {
        if let Change::Stale { failures } = &change
            && self.board.is_empty_handed()
            && !failures.may_pass()
        {
            return Err(ConnectError::Unreachable(failures.clone()).into());
        }
        Ok(self.board.apply(change))
    }

    fn draw(&mut self) -> io::Result<Vec<u8>> {
        let (board, has_colors) = (&mut self.board, self.has_colors);
        let now_ms = board.now_ms(here_ms());
        board.is_young = self.client.settling().is_some();
        self.screen.draw(|area, to| picture::draw(board, now_ms, has_colors, area, to))
    }
}

/// Waits for something that is under way.
async fn ready<F: Future + Unpin>(under_way: &mut Option<F>) -> F::Output {
    match under_way {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// Looks at records on a thread beside: a file system may hang.
fn judge(
    records: Vec<Record>,
) -> Option<impl Future<Output = io::Result<Vec<(Record, Verdicts)>>>> {
    let look = |records: Vec<Record>| {
        let seen = Seen::all_from_here(&records);
        let verdicts: Vec<_> = seen.into_iter().map(verdicts).collect();
        records.into_iter().zip(verdicts).collect()
    };
    (!records.is_empty()).then(|| transport::beside("looks", move || look(records)))
}

fn verdicts(seen: Seen<'_>) -> Verdicts {
    let endpoints = &seen.record.endpoints;
    let place = |stamped| endpoints.iter().position(|it| std::ptr::eq(it, stamped));
    let judged = seen.candidates.into_iter();
    judged.filter_map(|it| Some((place(it.stamped)?, it.verdict))).collect()
}

/// Asks for the registrar's time, which its records are in.
async fn registrars_clock(client: Client) -> Option<u64> {
    // Any answer has the time; this is a short one.
    let answer = client.query_ready("callsign").await.ok()?;
    Some(answer.now_ms).filter(|it| *it > 0)
}

fn here_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// How often ages and localities are shown anew.
const TICK: Duration = Duration::from_secs(1);

/// The least time between pictures: changes come faster than anybody reads.
const DRAW_PAUSE: Duration = Duration::from_millis(100);

/// The silence after which an escape is the key Escape, and not the beginning of another.
const ESCAPE_PAUSE: Duration = Duration::from_millis(100);

/// The wait for a terminal that takes the last picture slowly.
const LAST_PICTURE: Duration = Duration::from_millis(500);
