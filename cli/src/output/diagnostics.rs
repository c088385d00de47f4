//! Faults of settings, drawn with the lines of their source, as compilers do.

use std::{ops::Range, sync::Arc};

use annotate_snippets::{Annotation, AnnotationKind, Level, Renderer, Snippet};
use anstream::adapter::strip_str;
use config::{Diagnostic, Place, Related, Severity, Source};
use endpoints::{Endpoint, ParseEndpointError};
use serde::Serialize;

use super::{fitted, fitted_styled};
use crate::output;

/// Draws faults, each with colours and ending in a line break. Of too many, it draws the first ones,
/// and says how many more there are.
pub(crate) fn draw_all(
    diagnostics: &[Diagnostic],
    width: Option<u16>,
) -> impl Iterator<Item = String> {
    let (shown, more) = diagnostics.split_at(diagnostics.len().min(DRAWN_MAX));
    let more = (!more.is_empty()).then(|| fitted(&and_more(more), width, 0, 0) + "\n");
    shown.iter().map(move |it| draw(it, width)).chain(more)
}

fn and_more(more: &[Diagnostic]) -> String {
    let errors = more.iter().filter(|it| it.severity == Severity::Error).count();
    let severities = match (errors, more.len() - errors) {
        (0, warnings) => counted(warnings, "warning"),
        (errors, 0) => counted(errors, "error"),
        (errors, warnings) => {
            format!("{} and {}", counted(errors, "error"), counted(warnings, "warning"))
        }
    };
    format!("and {severities} more")
}

/// Writes a number of things.
pub(crate) fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Draws a fault, with colours, ending in a line break.
fn draw(diagnostic: &Diagnostic, width: Option<u16>) -> String {
    let drawn = drawn(diagnostic, &diagnostic.related, width);
    // A line of the source that has both is shown from the one to the other.
    let is_beside = |it: &Related| it.place.source == diagnostic.place.source;
    if output::fits(&strip_str(&drawn).to_string(), width)
        || !diagnostic.related.iter().any(is_beside)
    {
        return fitted_styled(&drawn, width);
    }
    fitted_styled(&self::drawn(diagnostic, &[], width), width)
}

fn drawn(diagnostic: &Diagnostic, related: &[Related], width: Option<u16>) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    // The lines from the first to the last place are looked at for each fault: not all of them.
    let (near, far): (Vec<_>, Vec<_>) =
        related.iter().partition(|it| is_near(&it.place, &diagnostic.place));
    let places = near.iter().map(|it| &it.place).chain([&diagnostic.place]);
    let lines = Lines::around(&diagnostic.place.source, places);
    let mut snippet = lines.snippet().annotation(lines.annotation(
        AnnotationKind::Primary,
        &diagnostic.place,
        &diagnostic.label,
    ));
    for Related { place, label } in near {
        snippet = snippet.annotation(lines.annotation(AnnotationKind::Context, place, label));
    }
    let elsewhere = far.into_iter().map(|Related { place, label }| {
        let lines = Lines::around(&place.source, [place]);
        lines.snippet().annotation(lines.annotation(AnnotationKind::Context, place, label))
    });
    // Continued lines are aligned with the first word.
    let room = width.map(|it| it.saturating_sub(level_width(diagnostic.severity)));
    let title = fitted(&diagnostic.message, room, 0, 0);
    let mut group = level.primary_title(title).element(snippet).elements(elsewhere);
    let width = width.map_or(WIDTH, usize::from).max(WIDTH_MIN);
    if let Some(help) = &diagnostic.help {
        let room = u16::try_from(width - HELP_INDENT).ok();
        group = group.element(Level::HELP.message(fitted(help, room, 0, 0)));
    }
    Renderer::styled().term_width(width).render(&[group]) + "\n"
}

/// Returns the width of the text before a message.
fn level_width(severity: Severity) -> u16 {
    (severity.to_string().len() + ": ".len()) as u16
}

/// Places the fault of an endpoint in the argument that contains it.
pub(crate) fn of_argument(argument: &str, error: &ParseEndpointError) -> Diagnostic {
    // A typed endpoint is published or dialed, so it cannot be a place within this process, or port
    // 0.
    let can_be_published = |it: &Endpoint| {
        !matches!(it, Endpoint::Memory(_)) && !matches!(it, Endpoint::Tcp(tcp) if tcp.port == 0)
    };
    let source = Source::new(argument, error.text());
    Diagnostic {
        severity: Severity::Error,
        message: error.to_string(),
        place: Place { source: Arc::new(source), span: error.span() },
        label: String::new(),
        related: Vec::new(),
        help: error.help_for(EXAMPLE_PORT, |it| Some(it).filter(can_be_published)),
    }
}

/// A fault as programs read it.
#[derive(Debug, Serialize)]
pub(crate) struct DiagnosticJson<'a> {
    #[serde(flatten)]
    place: PlaceJson<'a>,
    severity: String,
    message: &'a str,
    label: Option<&'a str>,
    help: Option<&'a str>,
    related: Vec<RelatedJson<'a>>,
}

#[derive(Debug, Serialize)]
struct PlaceJson<'a> {
    file: &'a str,
    line: usize,
    column: usize,
}

#[derive(Debug, Serialize)]
struct RelatedJson<'a> {
    #[serde(flatten)]
    place: PlaceJson<'a>,
    label: &'a str,
}

impl<'a> From<&'a Diagnostic> for DiagnosticJson<'a> {
    fn from(diagnostic: &'a Diagnostic) -> Self {
        let related = |it: &'a Related| RelatedJson { place: (&it.place).into(), label: &it.label };
        Self {
            place: (&diagnostic.place).into(),
            severity: diagnostic.severity.to_string(),
            message: &diagnostic.message,
            label: label(&diagnostic.label),
            help: diagnostic.help.as_deref(),
            related: diagnostic.related.iter().map(related).collect(),
        }
    }
}

impl<'a> From<&'a Place> for PlaceJson<'a> {
    fn from(place: &'a Place) -> Self {
        let (line, column) = place.line_column();
        Self { file: &place.source.name, line, column }
    }
}

/// Some lines of a source.
struct Lines<'a> {
    source: &'a Source,
    span: Range<usize>,
}

impl<'a> Lines<'a> {
    /// Returns those from the first to the last of some places, of which there is one.
    fn around<'b>(source: &'a Source, places: impl IntoIterator<Item = &'b Place>) -> Self {
        let spans = places.into_iter().map(visible);
        let span = spans.reduce(|one, other| one.start.min(other.start)..one.end.max(other.end));
        let (text, span) = (&source.text, span.unwrap_or_default());
        let start = text[..span.start].rfind('\n').map_or(0, |it| it + 1);
        let end = text[span.end..].find('\n').map_or(text.len(), |it| span.end + it + 1);
        Self { source, span: start..end }
    }

    fn snippet(&self) -> Snippet<'a, Annotation<'a>> {
        let (line, _) = self.source.line_column(self.span.start);
        let text = &self.source.text[self.span.clone()];
        Snippet::source(text).path(&*self.source.name).line_start(line)
    }

    fn annotation(&self, kind: AnnotationKind, place: &Place, text: &'a str) -> Annotation<'a> {
        let Range { start, end } = visible(place);
        kind.span(start - self.span.start..end - self.span.start).label(label(text))
    }
}

/// Tells whether places are so near to each other that the lines between them can be looked at.
fn is_near(one: &Place, other: &Place) -> bool {
    one.source == other.source && one.span.start.abs_diff(other.span.start) <= NEAR_BYTES_MAX
}

/// Returns a span that lies within the text, on the bounds of characters.
fn visible(place: &Place) -> Range<usize> {
    let text = &place.source.text;
    let bounds = |at: &usize| text.is_char_boundary(*at);
    let start = (0..=place.span.start.min(text.len())).rev().find(bounds).unwrap_or(0);
    let end = (place.span.end.max(start)..text.len()).find(bounds).unwrap_or(text.len());
    start..end
}

fn label(text: &str) -> Option<&str> {
    Some(text).filter(|it| !it.is_empty())
}

/// The most faults of a text to draw: nobody reads more before mending some.
const DRAWN_MAX: usize = 100;

/// The most bytes between places that are drawn together.
const NEAR_BYTES_MAX: usize = 64 * 1024;

/// A port for examples, above those of well-known services.
const EXAMPLE_PORT: u16 = 5555;

/// The width of a drawing without another limit.
const WIDTH: usize = 100;

/// The narrowest drawing: with less, little more than the margin would be seen.
const WIDTH_MIN: usize = 40;

/// The indentation of a help: a line number of up to four digits, and ` = help: `.
const HELP_INDENT: usize = 13;

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(diagnostic: &Diagnostic) -> String {
        anstream::adapter::strip_str(&draw(diagnostic, Some(80))).to_string()
    }

    #[test]
    fn of_many_faults_the_first_are_drawn_and_the_others_are_counted() {
        let of = |lines: &dyn Fn(usize) -> String| {
            let text: String = (0..20_000).map(lines).collect();
            let faults = config::read(&format!("[network]\n{text}"), "market.toml").unwrap_err();
            let drawn = draw_all(&faults.0, Some(80)).map(|it| strip_str(&it).to_string());
            drawn.collect::<Vec<_>>()
        };
        let wrong = of(&|at| format!("a{at} = \"x{at}\"\n"));
        assert_eq!(wrong.len(), DRAWN_MAX + 1);
        assert!(wrong[99].contains("market.toml:101:"), "{}", wrong[99]);
        assert!(wrong[99].contains("\n101 | a99 = \"x99\"\n"), "{}", wrong[99]);
        assert_eq!(wrong[100], "and 19900 errors more\n");

        // A place far above is drawn apart.
        let (first, last) = ("a0 = \"/unix/@a\"\n", "a19999 = \"/unix/@a\"\n");
        let same = of(&|at| match at {
            0 => first.to_owned(),
            19_999 => last.to_owned(),
            _ => format!("a{at} = \"/unix/@a{at}\"\n"),
        });
        assert_eq!(same.len(), 1);
        for expected in ["20001 | a19999", "    2 | a0"] {
            assert!(same[0].contains(expected), "{}", same[0]);
        }
    }

    #[test]
    fn faults_stand_under_their_lines() {
        let check = |text: &str, expected: &str| {
            let diagnostics = match config::read(text, "market.toml") {
                Ok((_, warnings)) => warnings,
                Err(diagnostics) => diagnostics,
            };
            let shown: Vec<_> = diagnostics.0.iter().map(drawn).collect();
            assert_eq!(shown.join("\n"), expected, "{}", shown.join("\n"));
        };
        check(
            "[network]\nfeed = \"/ip4/10.0.0.1/udp/7\"\n",
            "\
error: unsupported protocol `udp` in `/ip4/10.0.0.1/udp/7`
 --> market.toml:2:23
  |
2 | feed = \"/ip4/10.0.0.1/udp/7\"
  | ---- of this actor    ^^^
  |
  = help: supported are `/unix/<path>`, `/unix/@<name>`,
          `/ip4|ip6|dns|dns4|dns6/<host>/tcp/<port>`,
          `/ip6zone/<interface>/ip6/<address>/tcp/<port>`, each with TLS as
          `/tcp/<port>/tls`, and `/memory/<number>`
",
        );
        check(
            "[network]\na = \"/unix/@x\"\n\nb = \"/unix/@x\"\n",
            "\
error: `/unix/@x` is claimed by `a` and by `b`
 --> market.toml:4:6
  |
2 | a = \"/unix/@x\"
  |      -------- first claimed here
3 |
4 | b = \"/unix/@x\"
  |      ^^^^^^^^ claimed here
  |
  = help: give one of them another endpoint; two actors cannot listen at one
",
        );
        check(
            "[network]\na = [\"/unix/@x\",\n    \"/unix/@x\"]\nb =",
            "\
warning: `a` has `/unix/@x` twice
 --> market.toml:3:6
  |
2 | a = [\"/unix/@x\",
  |       -------- first here
3 |     \"/unix/@x\"]
  |      ^^^^^^^^ again here
  |
  = help: leave it out here; it binds once

error: a value is missing
 --> market.toml:4:4
  |
4 | b =
  |    ^
  |
  = help: write b = …
",
        );
    }

    #[test]
    fn an_argument_is_drawn_like_a_file() {
        let error = "here:7".parse::<endpoints::Endpoint>().unwrap_err();
        let expected = "\
error: no `/` at the beginning of `here:7`
 --> ENDPOINT:1:1
  |
1 | here:7
  | ^^^^^^
  |
  = help: did you mean `/dns/here/tcp/7`?
";
        assert_eq!(drawn(&of_argument("ENDPOINT", &error)), expected);
    }

    #[test]
    fn programs_read_every_part() {
        let diagnostics = config::read("[network]\na = \"/unix/@x\"\nb = \"/unix/@x\"\n", "m.toml");
        let json =
            serde_json::to_string(&DiagnosticJson::from(&diagnostics.unwrap_err().0[0])).unwrap();
        let expected = concat!(
            r#"{"file":"m.toml","line":3,"column":6,"severity":"error","#,
            r#""message":"`/unix/@x` is claimed by `a` and by `b`","label":"claimed here","#,
            r#""help":"give one of them another endpoint; two actors cannot listen at one","#,
            r#""related":[{"file":"m.toml","line":2,"column":6,"label":"first claimed here"}]}"#,
        );
        assert_eq!(json, expected);
    }
}
