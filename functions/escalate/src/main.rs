//! The Lambda that asks for second opinions; see the crate's documentation.

fn main() {}
