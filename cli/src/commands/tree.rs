//! `callsign tree`: the trees of supervised actors, as the registrars know them.

use std::time::Duration;

use endpoints::Plain;
use gateway::json::{Supervised, forest};
use unicode_width::UnicodeWidthStr;
use wire::{
    Record,
    supervised::{KIND_KEY, PID_KEY},
};

use crate::{
    context::Context,
    failure::{Exit, Failure},
    lookup::ranking::state_in_words,
    output::notices::{note_settling, nothing_is_there, warn_unanswered},
    output::{Table, age, fits, fitted},
};

/// Show the trees of supervised actors
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  callsign tree            every registered tree
  callsign tree --json | jq -r '.[] | recurse(.children[]) | .path'

Only actors that a root supervises are shown; `callsign ls` shows all registered actors. KIND is \
the way an actor runs: root, task, thread, process, forkserver.")]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, context: &Context) -> Result<Exit, Failure> {
    let client = context.client().await?;
    let found = client.list("*").await?;
    if let Some(left) = found.settling {
        note_settling(context, left);
    }
    let forest = forest(&found.records);
    if context.json {
        let trees: Vec<_> = forest.iter().map(|it| it.to_json(found.now_ms)).collect();
        context.print_json(&trees)?;
    }
    if forest.is_empty() {
        let nothing = "no tree of actors is registered";
        return nothing_is_there(context, nothing, &found.unanswered);
    }
    warn_unanswered(context, &found.unanswered);
    if !context.json {
        context.print(draw(&forest, found.now_ms, context.width()))?;
    }
    Ok(Exit::Done)
}

/// Draws the trees as a table, or where that would be too wide with the endpoints below.
fn draw(forest: &[Supervised<'_>], now_ms: u64, width: Option<u16>) -> String {
    let mut drawing = Drawing {
        table: Table::new(["NAME", "KIND", "PID", "STATE", "AGE", "ENDPOINTS"]),
        rows: Vec::new(),
        now_ms,
    };
    for node in forest {
        drawing.node(node, "", "");
    }
    let table = Some(drawing.finish()).filter(|it| fits(it, width));
    table.unwrap_or_else(|| {
        let mut text = String::new();
        forest.iter().for_each(|it| below_each_other(it, "", "", now_ms, width, &mut text));
        text
    })
}

/// Returns the columns of an actor except its endpoints.
fn what_it_is(record: &Record, now_ms: u64) -> [String; 5] {
    let said = |key| record.metadata.get(key).cloned().unwrap_or_else(|| "-".to_owned());
    let age = age(Duration::from_millis(now_ms.saturating_sub(record.since_ms)));
    let (kind, pid) = (said(KIND_KEY), said(PID_KEY));
    [record.name.to_string(), kind, pid, state_in_words(record), age]
}

/// Returns the prefixes of the actors below an actor: of each the branch, and its continuation
/// below.
fn branches(count: usize) -> impl Iterator<Item = (&'static str, &'static str)> {
    (1..=count).map(move |at| if at == count { ("└─ ", "   ") } else { ("├─ ", "│  ") })
}

/// Writes an actor after `branch`, and its endpoints and the actors below it after `indent`.
fn below_each_other(
    node: &Supervised<'_>,
    branch: &str,
    indent: &str,
    now_ms: u64,
    width: Option<u16>,
    text: &mut String,
) {
    let Supervised { record, children } = node;
    let trunk = format!("{indent}{}  ", if children.is_empty() { " " } else { "│" });
    let room = width.map(|it| it.saturating_sub(trunk.width() as u16).max(ROOM_MIN));
    let what = Plain(&what_it_is(record, now_ms).join("  ")).to_string();
    let listens = record.endpoints.iter().map(|it| it.endpoint.to_string());
    let mut start = branch;
    for part in std::iter::once(what).chain(listens) {
        for line in fitted(&part, room, 0, 2).lines() {
            *text += &format!("{start}{line}\n");
            start = &trunk;
        }
    }
    for (child, (branch, below)) in children.iter().zip(branches(children.len())) {
        let (branch, below) = (format!("{indent}{branch}"), format!("{indent}{below}"));
        below_each_other(child, &branch, &below, now_ms, width, text);
    }
}

/// The least room of an actor, however deep it is.
const ROOM_MIN: u16 = 20;

/// A table that grows by one actor at a time.
struct Drawing {
    table: Table,
    /// The prefix of each row, and of its further lines.
    rows: Vec<(String, String)>,
    now_ms: u64,
}

impl Drawing {
    /// Draws an actor after `branch`, and those below it after `indent`.
    fn node(&mut self, node: &Supervised<'_>, branch: &str, indent: &str) {
        let Supervised { record, children } = node;
        let endpoints: Vec<_> = record.endpoints.iter().map(|it| it.endpoint.to_string()).collect();
        let [name, kind, pid, state, age] = what_it_is(record, self.now_ms);
        let name = format!("{branch}{name}");
        self.table.row([name.clone(), kind, pid, state, age, endpoints.join("\n")]);
        let trunk = if children.is_empty() { "" } else { "│" };
        self.rows.push((name, format!("{indent}{trunk}")));
        for (child, (branch, below)) in children.iter().zip(branches(children.len())) {
            self.node(child, &format!("{indent}{branch}"), &format!("{indent}{below}"));
        }
    }

    fn finish(self) -> String {
        let mut rows = self.rows.iter().peekable();
        let mut trunk = "";
        let mut drawn = String::new();
        for (at, line) in self.table.render().lines().enumerate() {
            if at == 0 {
                drawn += line;
            } else if let Some((_, its)) = rows.next_if(|(name, _)| line.starts_with(name)) {
                (trunk, drawn) = (its, drawn + line);
            } else {
                // The branches continue beside the further lines of an actor's endpoints.
                drawn += trunk;
                drawn.extend(line.chars().skip(trunk.chars().count()));
            }
            drawn.push('\n');
        }
        drawn
    }
}

#[cfg(test)]
mod tests {
    use wire::supervised::{PARENT_KEY, PATH_KEY};

    use super::*;
    use crate::lookup::ranking::sample::record;

    /// Returns a supervised actor; `parent` is the number of its parent's UUID.
    fn actor(name: &str, number: u8, parent: Option<u8>, kind: &str) -> Record {
        let socket = format!("/unix/run/{name}.sock");
        let mut actor = record(name, number, &[(&socket, 1)]);
        let mut say = |key: &str, value: String| drop(actor.metadata.insert(key.into(), value));
        say(PATH_KEY, format!("/base/{name}"));
        say(KIND_KEY, kind.to_owned());
        say(PID_KEY, (4710 + u32::from(number)).to_string());
        if let Some(parent) = parent {
            say(PARENT_KEY, record("parent", parent, &[]).uuid.to_string());
        }
        actor
    }

    #[test]
    fn actors_stand_below_their_parents() {
        let records = [
            actor("pricer", 4, Some(3), "thread"),
            actor("base", 1, None, "root"),
            record("stranger", 9, &[]),
            actor("desk", 3, Some(1), "process"),
            actor("orphan", 5, Some(8), "task"),
            actor("feed", 2, Some(1), "forkserver"),
            actor("one", 6, Some(7), "task"),
            actor("other", 7, Some(6), "task"),
        ];
        assert_eq!(
            draw(&forest(&records), 4000, None),
            "\
NAME          KIND        PID   STATE  AGE  ENDPOINTS
base          root        4711  ready  3s   /unix/run/base.sock
├─ desk       process     4713  ready  3s   /unix/run/desk.sock
│  └─ pricer  thread      4714  ready  3s   /unix/run/pricer.sock
└─ feed       forkserver  4712  ready  3s   /unix/run/feed.sock
orphan        task        4715  ready  3s   /unix/run/orphan.sock
"
        );
        let json = serde_json::to_value(forest(&records)[0].to_json(4000)).unwrap();
        assert_eq!(json["children"][0]["children"][0]["path"], "/base/pricer");
        assert_eq!(json["pid"], 4711);
        assert_eq!(json["endpoints_encoded"][0], "/unix/%2Frun%2Fbase.sock");
    }

    #[test]
    fn endpoints_stand_below_where_a_table_would_be_too_wide() {
        let long = "/unix/@callsign-e5b07e5766a94f53af7f72ce2dd8b867";
        let at = |name: &str, number: u8, parent: Option<u8>| Record {
            endpoints: record(name, number, &[(long, 1), ("/ip4/10.0.0.7/tcp/1", 1)]).endpoints,
            ..actor(name, number, parent, "task")
        };
        let records = [at("base", 1, None), at("desk", 2, Some(1)), at("pricer", 3, Some(2))];
        assert_eq!(
            draw(&forest(&records), 4000, Some(70)),
            "\
base  task  4711  ready  3s
│  /unix/@callsign-e5b07e5766a94f53af7f72ce2dd8b867
│  /ip4/10.0.0.7/tcp/1
└─ desk  task  4712  ready  3s
   │  /unix/@callsign-e5b07e5766a94f53af7f72ce2dd8b867
   │  /ip4/10.0.0.7/tcp/1
   └─ pricer  task  4713  ready  3s
         /unix/@callsign-e5b07e5766a94f53af7f72ce2dd8b867
         /ip4/10.0.0.7/tcp/1
"
        );
        let wide = draw(&forest(&records), 4000, None);
        assert!(
            wide.contains("│                                     /ip4/10.0.0.7/tcp/1"),
            "{wide}"
        );
    }
}
