//! README
fn main() {}
