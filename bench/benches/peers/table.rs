//! The figures, and their table.

use std::fmt::{self, Display};

use crate::peer::{Kind, Peer};

/// A figure of each peer.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) what: &'static str,
    /// What Redis does in its place.
    pub(crate) theirs: &'static str,
    pub(crate) unit: &'static str,
    /// At the most so much of it, or so many times Redis's.
    pub(crate) target: Option<(f64, &'static str)>,
}

impl Row {
    pub(crate) const fn us(
        what: &'static str,
        theirs: &'static str,
        target: Option<(f64, &'static str)>,
    ) -> Self {
        Self::new(what, theirs, "µs", target)
    }

    pub(crate) const fn new(
        what: &'static str,
        theirs: &'static str,
        unit: &'static str,
        target: Option<(f64, &'static str)>,
    ) -> Self {
        Self { what, theirs, unit, target }
    }

    /// Returns the target in words.
    pub(crate) fn target_text(&self) -> String {
        self.target.map_or_else(String::new, |(most, of)| match of {
            "of Redis" => format!("≤ {most} × Redis"),
            unit => format!("≤ {most} {unit}"),
        })
    }
}

/// All figures, in the order in which they came.
pub(crate) struct Table {
    pub(crate) peers: Vec<String>,
    /// Which of the peers is Redis.
    redis: Option<usize>,
    pub(crate) rows: Vec<(&'static Row, Vec<Vec<f64>>)>,
}

impl Table {
    pub(crate) fn of(peers: &[Peer]) -> Self {
        let redis = peers.iter().position(|it| it.kind == Kind::Redis);
        Self { peers: peers.iter().map(|it| it.name.clone()).collect(), redis, rows: Vec::new() }
    }

    /// Records a figure of a peer.
    pub(crate) fn note(&mut self, row: &'static Row, peer: usize, figure: f64) {
        let at = self.rows.iter().position(|(it, _)| std::ptr::eq(*it, row)).unwrap_or_else(|| {
            self.rows.push((row, vec![Vec::new(); self.peers.len()]));
            self.rows.len() - 1
        });
        self.rows[at].1[peer].push(figure);
    }

    /// Returns the times of Redis's figure that a peer's is.
    pub(crate) fn ratio(&self, figures: &[Vec<f64>], peer: usize) -> Option<f64> {
        Some(median(&figures[peer])? / median(&figures[self.redis?])?)
    }

    /// Returns the lines of the table, in Markdown.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!("| | {} | to Redis | target |", self.peers.join(" | ")),
            format!("|---|{}", "---|".repeat(self.peers.len() + 2)),
        ];
        for (row, figures) in &self.rows {
            let cells = figures.iter().map(|it| median(it).map_or_else(String::new, shown));
            let cells: Vec<_> = cells.collect();
            let last = self.redis.unwrap_or(self.peers.len()).saturating_sub(1);
            let ratio = self.ratio(figures, last);
            let ratio = ratio.map_or_else(String::new, |it| format!("{it:.2}"));
            let theirs = if row.theirs.is_empty() { "" } else { &format!(" ({})", row.theirs) };
            lines.push(format!(
                "| {}{theirs}, {} | {} | {ratio} | {} |",
                row.what,
                row.unit,
                cells.join(" | "),
                row.target_text(),
            ));
        }
        lines
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<Vec<String>> = self
            .lines()
            .iter()
            .filter(|it| !it.starts_with("|-"))
            .map(|it| it.trim_matches('|').split('|').map(|it| it.trim().to_owned()).collect())
            .collect();
        let columns = rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            rows.iter().filter_map(|it| it.get(column)).map(|it| it.chars().count()).max()
        };
        let widths: Vec<_> = (0..columns).map(|it| width(it).unwrap_or(0)).collect();
        for row in &rows {
            for (cell, width) in row.iter().zip(&widths) {
                write!(f, "{cell:<width$}  ")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

pub(crate) fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// Writes a figure with three digits that count.
pub(crate) fn shown(figure: f64) -> String {
    match figure {
        100.0.. => format!("{figure:.0}"),
        10.0.. => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}
