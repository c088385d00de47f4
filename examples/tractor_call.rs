//! Calls a function of an actor of the Python project tractor, and prints the text that it
//! returns.
//!
//! ```text
//! cargo run --example tractor_call -- /ip4/127.0.0.1/tcp/1616 greeter greetings hello name=World
//! ```
//!
//! The registrar is one of tractor's, or a callsign node. It calls `hello(name='World')` of the
//! module `greetings`, which the actor `greeter` exposes.

#![expect(clippy::print_stdout, reason = "it talks to a person")]

use std::{collections::BTreeMap, error::Error};

use callsign::{
    Name, Resolve, explain, here, look,
    tractor::{TractorSource, call},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let [registrar, actor, module, function, kwargs @ ..] = &words[..] else {
        return Err("usage: tractor_call REGISTRAR ACTOR MODULE FUNCTION [KEY=TEXT]…".into());
    };
    let kwargs: Option<BTreeMap<_, _>> = kwargs.iter().map(|it| it.split_once('=')).collect();
    let kwargs = kwargs.ok_or("an argument is KEY=TEXT")?;

    let source = TractorSource::new(registrar.parse()?);
    let records = source.resolve(&Name::new(actor)?).await?;
    let explanation = explain(&records, &here(), &look);
    let nearest = explanation.candidates.first().filter(|it| it.verdict.is_ok());
    let nearest = nearest.ok_or("there is no such actor within reach")?;

    let result: String = call(&nearest.stamped.endpoint, module, function, &kwargs).await?;
    println!("{result}");
    Ok(())
}
