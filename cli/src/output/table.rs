//! Tables without lines, as `ls` and `ps` draw them.

use comfy_table::{ContentArrangement, presets};
use endpoints::PlainLines;

/// A table without lines, as `ls` and `ps` draw them.
#[derive(Debug)]
pub(crate) struct Table(comfy_table::Table);

impl Table {
    /// Begins a table with the names of its columns.
    pub(crate) fn new<'a>(header: impl IntoIterator<Item = &'a str>) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).set_header(header.into_iter());
        table.set_content_arrangement(ContentArrangement::Disabled);
        Self(table)
    }

    /// Adds a row. A cell may hold several lines, and texts of strangers.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.add_row(cells.into_iter().map(|it| PlainLines(&it).to_string()));
    }

    /// Draws the table, as wide as it is; every line ends in a break.
    pub(crate) fn render(mut self) -> String {
        let last = self.0.column_count().saturating_sub(1);
        for (at, column) in self.0.column_iter_mut().enumerate() {
            column.set_padding((0, if at == last { 0 } else { 2 }));
        }
        self.0.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let mut table = Table::new(["NAME", "ENDPOINTS", "AGE"]);
        table.row(["web".into(), "/ip4/127.0.0.1/tcp/8000".into(), "3s".into()]);
        let two = "/unix/run/feed.sock\n/ip4/10.0.0.7/tcp/1";
        table.row(["feed".into(), two.into(), "2m".into()]);
        assert_eq!(
            table.render(),
            "\
NAME  ENDPOINTS                AGE
web   /ip4/127.0.0.1/tcp/8000  3s
feed  /unix/run/feed.sock      2m
      /ip4/10.0.0.7/tcp/1
"
        );
    }
}
