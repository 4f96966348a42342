//! Lakegate.
fn main() {}
