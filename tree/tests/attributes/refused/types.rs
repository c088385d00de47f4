//! An error that is none.

extern crate callsign_tree as callsign;

#[callsign::export]
async fn fails() -> Result<(), String> {
    Ok(())
}

fn main() {}
