//! xchg
fn main() {}
