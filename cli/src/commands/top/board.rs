//! The state of the screen: what is known, what of it is shown and chosen, and what a key does.

use std::collections::{BTreeMap, BTreeSet};

use discovery::{Change, RegistrarFailures};
use endpoints::{InstanceId, Locality, Ranked, Unreachable};
use gateway::json::{Supervised, forest};
use wire::Record;

use super::keys::Key;
use crate::{
    commands::{
        ls::selection::{SortKey, owner_of},
        watch::view::{Event, View},
    },
    lookup::ranking::{Seen, short_uuid, state_in_words},
};

/// The state of the screen.
#[derive(Debug)]
pub(super) struct Board {
    view: View,
    standing: Standing,
    /// Whether a registrar has just started: clients of its predecessor may be on their way.
    pub(super) is_young: bool,
    /// The verdicts on the endpoints of each instance, from a look that is not long ago.
    verdicts: BTreeMap<InstanceId, Verdicts>,
    unjudged: BTreeSet<InstanceId>,
    /// What is listed, in order.
    rows: Vec<Row>,
    is_sorted: bool,
    pub(super) sort: SortKey,
    pub(super) is_reversed: bool,
    pub(super) is_tree: bool,
    pub(super) filter: String,
    pub(super) page: Page,
    chosen: Option<InstanceId>,
    /// Where the chosen one was listed last: if it goes, its neighbour is chosen.
    at: usize,
    /// The first line that is on the screen, of the list or of the details.
    pub(super) first: usize,
    pub(super) scrolled: usize,
    /// The rows that fit the screen.
    pub(super) room: usize,
    /// The last thing that happened.
    pub(super) news: String,
    /// How far the registrar's clock is ahead of this host's.
    skew_ms: i64,
}

/// What the screen shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Page {
    List,
    /// The list, while its filter is typed.
    Filter,
    Details,
    Help,
}

/// How far the picture can be relied on.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    Connecting,
    Current,
    /// Some registrars do not answer.
    Partial(RegistrarFailures),
    /// No registrar answers: the picture is an earlier one.
    Lost(RegistrarFailures),
}

/// A line of the list.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) instance: InstanceId,
    /// The branch of the tree before its name.
    pub(super) branch: String,
}

/// The verdicts on the endpoints of a record, each with its number there, nearest first.
pub(super) type Verdicts = Vec<(usize, Result<Locality, Unreachable>)>;

/// The answer to a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wish {
    /// Draw what has changed.
    Draw,
    /// Draw everything anew.
    DrawAll,
    Quit,
}

impl Board {
    pub(super) fn new(sort: SortKey, is_tree: bool) -> Self {
        Self {
            view: View::default(),
            standing: Standing::Connecting,
            is_young: false,
            verdicts: BTreeMap::new(),
            unjudged: BTreeSet::new(),
            rows: Vec::new(),
            is_sorted: true,
            sort,
            is_reversed: false,
            is_tree,
            filter: String::new(),
            page: Page::List,
            chosen: None,
            at: 0,
            first: 0,
            scrolled: 0,
            room: 1,
            news: String::new(),
            skew_ms: 0,
        }
    }

    /// Records a change; tells whether a snapshot is complete with it.
    pub(super) fn apply(&mut self, change: Change) -> bool {
        let is_synced = matches!(change, Change::Synced);
        let was_known = !self.view.is_empty_handed();
        for event in self.view.apply(change) {
            self.is_sorted = false;
            match event {
                Event::Add(record) => {
                    if was_known {
                        self.news = format!("+ {}", in_brief(&record));
                    }
                    self.unjudged.insert(record.instance());
                }
                Event::Update(record) => {
                    let state = state_in_words(&record);
                    self.news = format!("~ {}  {state}", in_brief(&record));
                    self.verdicts.remove(&record.instance());
                    self.unjudged.insert(record.instance());
                }
                Event::Remove { record, reason } => {
                    self.news = format!("- {}  {reason}", in_brief(&record));
                    self.verdicts.remove(&record.instance());
                    self.unjudged.remove(&record.instance());
                }
                Event::Lost(failures) => self.standing = Standing::Lost(failures),
                Event::Missed(failures) => self.standing = Standing::Partial(failures),
                Event::Back => self.news = "the registrar is back".to_owned(),
                Event::Synced { was_stale: true } => {
                    self.news = "the registrar is there".to_owned();
                }
                Event::Synced { was_stale: false } => {}
                Event::AllThere => self.standing = Standing::Current,
            }
        }
        if is_synced && !matches!(self.standing, Standing::Partial(_)) {
            self.standing = Standing::Current;
        }
        is_synced
    }

    /// Tells whether nothing has been told yet.
    pub(super) fn is_empty_handed(&self) -> bool {
        self.view.is_empty_handed()
    }

    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    pub(super) fn count(&self) -> usize {
        self.view.known().len()
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.view.known().values()
    }

    pub(super) fn record(&self, instance: &InstanceId) -> Option<&Record> {
        self.view.known().get(instance)
    }

    /// Learns the registrar's clock.
    pub(super) fn set_clock(&mut self, registrar_ms: u64, here_ms: u64) {
        self.skew_ms = registrar_ms.cast_signed().saturating_sub(here_ms.cast_signed());
    }

    /// Returns the time of the registrar.
    pub(super) fn now_ms(&self, here_ms: u64) -> u64 {
        here_ms.saturating_add_signed(self.skew_ms)
    }

    /// Returns a record as seen from here, as far as that is known.
    pub(super) fn seen<'a>(&'a self, record: &'a Record) -> Option<Seen<'a>> {
        let verdicts = self.verdicts.get(&record.instance())?;
        let ranked = |(at, verdict): &(usize, Result<_, _>)| {
            let stamped = record.endpoints.get(*at)?;
            Some(Ranked { stamped, verdict: Result::clone(verdict) })
        };
        Some(Seen { record, candidates: verdicts.iter().filter_map(ranked).collect() })
    }

    /// Takes some records that have to be looked at.
    pub(super) fn take_unjudged(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        while records.len() < JUDGED_MAX
            && let Some(instance) = self.unjudged.pop_first()
        {
            records.extend(self.view.known().get(&instance).cloned());
        }
        records
    }

    /// Wants another look at what is on the screen: a socket may be gone without a change.
    pub(super) fn look_again(&mut self) {
        let shown = self.rows.iter().skip(self.first).take(self.room);
        self.unjudged.extend(shown.map(|it| it.instance.clone()));
    }

    /// Learns how near records are.
    pub(super) fn judge(&mut self, judged: Vec<(Record, Verdicts)>) {
        for (record, verdicts) in judged {
            let instance = record.instance();
            // Its endpoints may have changed meanwhile: then it waits for a look already.
            if self.view.known().get(&instance).is_some_and(|it| it.endpoints == record.endpoints) {
                self.verdicts.insert(instance, verdicts);
            }
        }
        self.is_sorted &= self.sort != SortKey::Locality;
    }

    /// Returns what is listed, in order.
    pub(super) fn rows(&mut self) -> &[Row] {
        if !self.is_sorted {
            self.is_sorted = true;
            self.rows = if self.is_tree { self.in_trees() } else { self.in_order() };
            let chosen = self.chosen.as_ref();
            let found = self.rows.iter().position(|it| Some(&it.instance) == chosen);
            self.choose(found.unwrap_or(self.at));
        }
        &self.rows
    }

    /// Returns the chosen instance, and where it is listed.
    pub(super) fn chosen(&self) -> Option<(usize, &InstanceId)> {
        self.chosen.as_ref().map(|it| (self.at, it))
    }

    fn in_order(&self) -> Vec<Row> {
        let words: Vec<_> = self.words();
        let mut records: Vec<_> = self.records().filter(|it| matches(it, &words)).collect();
        match self.sort {
            SortKey::Name => {}
            SortKey::Age => records.sort_by_key(|it| std::cmp::Reverse(it.since_ms)),
            // Those in doubt first: they are looked for.
            SortKey::State => {
                records.sort_by_cached_key(|it| (it.suspicion.is_none(), it.state.to_string()));
            }
            SortKey::Locality => records.sort_by_cached_key(|it| {
                let nearest = self.seen(it).and_then(|it| it.nearest().map(|it| it.1));
                (nearest.is_none(), nearest)
            }),
            SortKey::Lifetime => records.sort_by_cached_key(|it| it.lifetime.to_string()),
            SortKey::User => records.sort_by_cached_key(|it| it.owner.clone()),
        }
        if self.is_reversed {
            records.reverse();
        }
        let row = |it: &Record| Row { instance: it.instance(), branch: String::new() };
        records.into_iter().map(row).collect()
    }

    /// Lists the trees; with a filter, what passes it and those above.
    fn in_trees(&self) -> Vec<Row> {
        let records: Vec<_> = self.records().cloned().collect();
        let words = self.words();
        let mut rows = Vec::new();
        for tree in &forest(&records) {
            climb(tree, "", "", &words, &mut rows);
        }
        rows
    }

    fn words(&self) -> Vec<String> {
        self.filter.to_lowercase().split_whitespace().map(str::to_owned).collect()
    }

    /// Does what a key means.
    pub(super) fn press(&mut self, key: Key) -> Wish {
        // An earlier key may have changed what is listed.
        self.rows();
        match (self.page, key) {
            (_, Key::Control('l')) => return Wish::DrawAll,
            (Page::Filter, Key::Enter | Key::Tab) => self.page = Page::List,
            (Page::Filter, Key::Escape) => {
                self.page = Page::List;
                self.set_filter(String::new());
            }
            (Page::Filter, Key::Backspace) => {
                let mut filter = self.filter.clone();
                filter.pop();
                self.set_filter(filter);
            }
            (Page::Filter, Key::Control('u' | 'w')) => self.set_filter(String::new()),
            (Page::Filter, Key::Char(character)) => {
                let mut filter = self.filter.clone();
                if filter.chars().count() < FILTER_MAX {
                    filter.push(character);
                }
                self.set_filter(filter);
            }
            (_, Key::Char('q')) => return Wish::Quit,
            (Page::Help, _) => self.turn(Page::List),
            (_, Key::Char('?' | 'h')) => self.turn(Page::Help),
            (Page::Details, Key::Escape | Key::Enter | Key::Backspace) => self.turn(Page::List),
            (Page::Details, Key::Up | Key::Char('k')) => {
                self.scrolled = self.scrolled.saturating_sub(1);
            }
            (Page::Details, Key::Down | Key::Char('j')) => self.scrolled += 1,
            (Page::Details, Key::PageUp) => {
                self.scrolled = self.scrolled.saturating_sub(self.room);
            }
            (Page::Details, Key::PageDown | Key::Char(' ')) => self.scrolled += self.room,
            (Page::Details, _) => {}
            (_, Key::Enter) if self.chosen.is_some() => self.turn(Page::Details),
            (_, Key::Escape) => self.set_filter(String::new()),
            (_, Key::Char('/')) => self.turn(Page::Filter),
            (_, Key::Char('t')) => self.rearrange(|it| it.is_tree ^= true),
            (_, Key::Char('r')) => self.rearrange(|it| it.is_reversed ^= true),
            (_, Key::Char('s')) => self.rearrange(|it| it.sort = next(it.sort, 1)),
            (_, Key::Char('S')) => self.rearrange(|it| it.sort = next(it.sort, SORTS.len() - 1)),
            (_, Key::Up | Key::Char('k')) => self.choose(self.at.saturating_sub(1)),
            (_, Key::Down | Key::Char('j')) => self.choose(self.at + 1),
            (_, Key::PageUp) => self.choose(self.at.saturating_sub(self.room)),
            (_, Key::PageDown | Key::Char(' ')) => self.choose(self.at + self.room),
            (_, Key::Home | Key::Char('g')) => self.choose(0),
            (_, Key::End | Key::Char('G')) => self.choose(usize::MAX),
            _ => {}
        }
        Wish::Draw
    }

    fn turn(&mut self, page: Page) {
        (self.page, self.scrolled) = (page, 0);
    }

    fn set_filter(&mut self, filter: String) {
        self.rearrange(|it| it.filter = filter);
    }

    fn rearrange(&mut self, change: impl FnOnce(&mut Self)) {
        change(self);
        self.is_sorted = false;
    }

    /// Chooses a line, or the last if there are fewer.
    fn choose(&mut self, at: usize) {
        self.at = at.min(self.rows.len().saturating_sub(1));
        // While its details are shown, one that is gone stays chosen.
        if self.page != Page::Details {
            self.chosen = self.rows.get(self.at).map(|it| it.instance.clone());
        }
    }
}

/// Adds a tree after `branch`, and what is below its root after `indent`.
fn climb(
    node: &Supervised<'_>,
    branch: &str,
    indent: &str,
    words: &[String],
    rows: &mut Vec<Row>,
) -> bool {
    let own = rows.len();
    rows.push(Row { instance: node.record.instance(), branch: branch.to_owned() });
    let mut passes = matches(node.record, words);
    for (at, child) in node.children.iter().enumerate() {
        let is_last = at + 1 == node.children.len();
        let (fork, below) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let (fork, below) = (format!("{indent}{fork}"), format!("{indent}{below}"));
        passes |= climb(child, &fork, &below, words, rows);
    }
    if !passes {
        rows.truncate(own);
    }
    passes
}

/// Tells whether a record has every word somewhere: as on the page of a registrar.
fn matches(record: &Record, words: &[String]) -> bool {
    if words.is_empty() {
        return true;
    }
    let mut parts = vec![
        record.name.to_string(),
        record.uuid.to_string(),
        state_in_words(record),
        record.lifetime.to_string(),
        owner_of(record),
    ];
    parts.extend(record.endpoints.iter().map(|it| it.endpoint.to_string()));
    parts.extend(record.metadata.iter().map(|(key, value)| format!("{key}={value}")));
    let text = parts.join(" ").to_lowercase();
    words.iter().all(|it| text.contains(it))
}

fn in_brief(record: &Record) -> String {
    format!("{}[{}]", record.name, short_uuid(&record.uuid))
}

fn next(sort: SortKey, step: usize) -> SortKey {
    let at = SORTS.iter().position(|it| *it == sort).unwrap_or(0);
    SORTS[(at + step) % SORTS.len()]
}

const SORTS: [SortKey; 6] = [
    SortKey::Name,
    SortKey::Age,
    SortKey::State,
    SortKey::Locality,
    SortKey::Lifetime,
    SortKey::User,
];

/// The records of one look: some milliseconds of system calls.
const JUDGED_MAX: usize = 512;

/// The longest filter: more than fits a line.
const FILTER_MAX: usize = 256;

#[cfg(test)]
pub(super) mod tests {
    use wire::{
        Suspicion,
        supervised::{KIND_KEY, PARENT_KEY, PATH_KEY},
    };

    use super::*;
    use crate::lookup::ranking::sample::{record, seen};

    /// Returns a board that knows these records, and has looked at each.
    pub(in super::super) fn board(records: Vec<Record>) -> Board {
        let mut board = Board::new(SortKey::Name, false);
        board.apply(Change::Reset);
        for record in records {
            board.apply(Change::Add { record });
        }
        board.apply(Change::Synced);
        let judged = board.take_unjudged().into_iter().map(|it| (verdicts(&it), it));
        let judged = judged.map(|(verdicts, record)| (record, verdicts)).collect();
        board.judge(judged);
        board.rows();
        board
    }

    fn verdicts(record: &Record) -> Verdicts {
        let place = |it: &Ranked<_>| record.endpoints.iter().position(|at| at == it.stamped);
        let seen = seen(record).candidates.into_iter();
        seen.map(|it| (place(&it).unwrap(), it.verdict)).collect()
    }

    /// Returns a few records: `feed` twice, a suspect `clock`, and a tree.
    pub(in super::super) fn sample() -> Vec<Record> {
        let mut clock = record("clock", 4, &[("/unix/gone", 1)]);
        clock.suspicion = Some(Suspicion { reports: 2, ..Suspicion::default() });
        let mut desk = record("market.desk", 6, &[("/unix/run/desk", 1)]);
        let mut market = record("market", 5, &[("/unix/run/market", 1)]);
        market.metadata.insert(PATH_KEY.to_owned(), "/market".to_owned());
        market.metadata.insert(KIND_KEY.to_owned(), "root".to_owned());
        desk.metadata.insert(PATH_KEY.to_owned(), "/market/desk".to_owned());
        desk.metadata.insert(PARENT_KEY.to_owned(), market.uuid.to_string());
        desk.since_ms = 3000;
        let feeds = [("/unix/run/feed.sock", 1), ("/ip4/10.0.0.9/tcp/7", 2)];
        vec![
            record("feed", 3, &feeds),
            record("feed", 2, &[("/ip4/10.0.0.9/tcp/7", 2)]),
            clock,
            desk,
            market,
        ]
    }

    fn listed(board: &mut Board) -> String {
        let name = |it: &Row| format!("{}{}", it.branch, in_brief_of(&it.instance));
        board.rows().iter().map(name).collect::<Vec<_>>().join(" ")
    }

    fn in_brief_of(instance: &InstanceId) -> String {
        format!("{}{}", instance.name, &instance.uuid.to_string()[..1])
    }

    fn press(board: &mut Board, keys: &str) {
        for key in keys.chars() {
            let key = match key {
                '↵' => Key::Enter,
                '⎋' => Key::Escape,
                '⌫' => Key::Backspace,
                key => Key::Char(key),
            };
            board.press(key);
        }
        board.rows();
    }

    #[test]
    fn keys_arrange_the_list() {
        let check = |keys: &str, expected: &str| {
            let mut board = board(sample());
            press(&mut board, keys);
            assert_eq!(listed(&mut board), expected, "{keys}");
        };
        check("", "clock4 feed2 feed3 market5 market.desk6");
        check("r", "market.desk6 market5 feed3 feed2 clock4");
        check("s", "market.desk6 clock4 feed2 feed3 market5");
        check("sss", "feed3 market5 market.desk6 feed2 clock4");
        check("S", "clock4 feed2 feed3 market5 market.desk6");
        check("t", "market5 └─ market.desk6");
        check("/FEED", "feed2 feed3");
        check("/feed sock", "feed3");
        check("/suspect↵", "clock4");
        check("/xyz⌫⌫⌫", "clock4 feed2 feed3 market5 market.desk6");
        check("/xyz⎋", "clock4 feed2 feed3 market5 market.desk6");
        check("/desk↵⎋", "clock4 feed2 feed3 market5 market.desk6");
        check("t/desk", "market5 └─ market.desk6");
        check("t/feed", "");
    }

    #[test]
    fn the_chosen_one_stays_chosen() {
        let check = |board: &Board, expected: &str| {
            let chosen = board.chosen().map(|(_, it)| in_brief_of(it)).unwrap_or_default();
            assert_eq!(chosen, expected);
        };
        let mut board = board(sample());
        check(&board, "clock4");
        press(&mut board, "jj");
        check(&board, "feed3");
        press(&mut board, "r");
        check(&board, "feed3");
        press(&mut board, "rk");
        check(&board, "feed2");
        let gone = board.chosen().unwrap().1.clone();
        board.apply(Change::Remove { instance: gone, reason: None });
        board.rows();
        check(&board, "feed3");
        press(&mut board, "Gjjj");
        check(&board, "market.desk6");
        press(&mut board, "gkk");
        check(&board, "clock4");
        // Of one that is gone the details stay, until somebody turns away.
        press(&mut board, "↵");
        let gone = board.chosen().unwrap().1.clone();
        board.apply(Change::Remove { instance: gone, reason: None });
        board.rows();
        check(&board, "clock4");
        press(&mut board, "⎋k");
        check(&board, "feed3");
        assert_eq!(board.press(Key::Char('q')), Wish::Quit);
    }

    #[test]
    fn the_registrar_comes_and_goes() {
        let mut board = Board::new(SortKey::Name, false);
        assert!(matches!(board.standing(), Standing::Connecting));
        let failures = RegistrarFailures::default;
        board.apply(Change::Stale { failures: failures() });
        assert!(matches!(board.standing(), Standing::Lost(_)));
        board.apply(Change::Reset);
        board.apply(Change::Add { record: record("feed", 3, &[]) });
        board.apply(Change::Synced);
        assert!(matches!(board.standing(), Standing::Current));
        board.apply(Change::Stale { failures: failures() });
        assert_eq!(listed(&mut board), "feed3", "the last picture stays");
        board.apply(Change::Reset);
        board.apply(Change::Synced);
        assert_eq!(listed(&mut board), "");
        assert_eq!(board.news, "the registrar is back");
        assert!(matches!(board.standing(), Standing::Current));
    }
}
