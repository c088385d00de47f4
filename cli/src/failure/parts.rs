//! The parts of an error of clap: what it says, and what it proposes.

use std::fmt::{self, Write};

use clap::{
    Error,
    builder::StyledStr,
    error::{ContextKind, ContextValue},
};

/// Removes clap's proposals from an error.
pub(super) fn forget(error: &mut Error) {
    error.remove(ContextKind::SuggestedArg);
    error.remove(ContextKind::Suggested);
}

pub(super) fn replace(error: &mut Error, kind: ContextKind, near: &[&str]) {
    error.remove(kind);
    match near {
        [] => {}
        [one] => drop(error.insert(kind, ContextValue::String((*one).to_owned()))),
        several => {
            let several = several.iter().map(|it| (*it).to_owned()).collect();
            error.insert(kind, ContextValue::Strings(several));
        }
    }
}

pub(super) fn text(error: &Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    }
}

pub(super) fn styled(text: fmt::Arguments<'_>) -> StyledStr {
    let mut styled = StyledStr::new();
    write!(styled, "{text}").expect("a text takes what is written to it");
    styled
}
