//! Placeholder until the hosted runner lands.
fn main() {}
