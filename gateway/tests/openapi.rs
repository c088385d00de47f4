//! The description of the HTTP interface, kept in `docs`.

#![cfg(feature = "http")]

use std::{env, fs, path::Path};

#[test]
fn the_description_in_docs_is_that_of_the_code() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let described = callsign_gateway::http::openapi();
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &described).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == described, "{} is out of date: UPDATE_GOLDEN=1 writes it anew", file.display());
}
