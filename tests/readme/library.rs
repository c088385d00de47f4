//! The program in README.md, compiled.

use std::{error::Error, fs};

use crate::root;

#[test]
fn the_program_in_the_readme_compiles() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, program) = readme.split_once("```rust\n").unwrap();
    let (program, _) = program.split_once("```").unwrap();
    let compiled: Vec<_> = include_str!("library.rs").lines().map(str::trim).collect();
    assert!(compiled.join("\n").contains(program), "copy it into tests/readme/library.rs");
}

#[expect(dead_code, unused_variables, reason = "it is compiled, and not run")]
async fn program() -> Result<(), Box<dyn Error>> {
    use callsign::{Client, Listener, Registration};

    let callsign = Client::connect(["/ip4/127.0.0.1/tcp/1616"]).await?;

    let listener = Listener::bind(&"/ip4/0.0.0.0/tcp/0".parse()?).await?;
    let pricer = Registration::new("pricer").endpoints(listener.published());
    let _kept = callsign.register(pricer).await?; // until it is dropped

    let record = callsign.wait_for_actor("feed").await?; // who it is, and where
    let stream = callsign.find_actor("feed").await?; // connected, or None
    Ok(())
}
