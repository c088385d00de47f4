//! A program without a root.

#[callsign_tree::main]
async fn main() {}
