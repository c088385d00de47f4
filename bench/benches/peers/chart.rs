//! A chart of the figures: a bar for each row, as long as many times Redis's cost.

use std::fmt::Write;

use crate::table::Table;

/// Draws the rows that Redis has a figure for.
pub(crate) fn svg(table: &Table) -> String {
    let rows: Vec<_> = table
        .rows
        .iter()
        .filter_map(|(row, figures)| Some((row, table.ratio(figures, 0)?)))
        .filter(|(row, _)| row.unit == "µs")
        .collect();
    let longest = rows.iter().map(|(_, ratio)| *ratio).fold(1.0, f64::max);
    let scale = BARS / longest;
    let height = TOP + ROW * rows.len() as f64 + 10.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"760\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"20\">Processor time for an operation, in times of Redis's; less is \
         better</text>\n"
    );
    for (at, (row, ratio)) in rows.iter().enumerate() {
        let y = TOP + ROW * at as f64;
        let (text, length) = (y + 15.0, ratio * scale);
        let color = if *ratio <= 1.0 { "#2a7f62" } else { "#b5523b" };
        writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"{text}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{}\" y=\"{y}\" width=\"{length:.1}\" height=\"20\" fill=\"{color}\"/>\n\
             <text x=\"{:.1}\" y=\"{text}\">{ratio:.2}</text>",
            row.what,
            LEFT + 8.0,
            LEFT + 14.0 + length,
        )
        .unwrap();
    }
    let x = LEFT + 8.0 + scale;
    writeln!(
        svg,
        "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{height}\" stroke=\"#333\" \
         stroke-dasharray=\"4 3\"/>\n</svg>",
        TOP - 6.0,
    )
    .unwrap();
    svg
}

const LEFT: f64 = 360.0;
const BARS: f64 = 330.0;
const TOP: f64 = 40.0;
const ROW: f64 = 28.0;
