//! Faults of settings, drawn with the lines of their source, as compilers do.

use std::{ops::Range, sync::Arc};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use anstream::adapter::strip_str;
use config::{Diagnostic, Place, Related, Severity, Source};
use endpoints::{Endpoint, ParseEndpointError};
use serde::Serialize;

use super::{fitted, fitted_styled};
use crate::output;

/// Draws a fault, with colours, ending in a line break.
pub(crate) fn draw(diagnostic: &Diagnostic, width: Option<u16>) -> String {
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
    let primary =
        AnnotationKind::Primary.span(visible(&diagnostic.place)).label(label(&diagnostic.label));
    let mut snippet = snippet(&diagnostic.place.source).annotation(primary);
    let mut elsewhere = Vec::new();
    for Related { place, label: text } in related {
        let context = AnnotationKind::Context.span(visible(place)).label(label(text));
        if place.source == diagnostic.place.source {
            snippet = snippet.annotation(context);
        } else {
            elsewhere.push(self::snippet(&place.source).annotation(context));
        }
    }
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
    let source = Source { name: argument.to_owned(), text: error.text().to_owned() };
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

fn snippet<'a>(source: &'a Source) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    Snippet::source(&*source.text).path(&*source.name)
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
