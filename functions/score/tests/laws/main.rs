//! The whole function over stores in memory, law by law. Every test fails when its law is broken.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fail by panicking"
)]

#[path = "../common/mod.rs"]
mod common;

mod acknowledged;
mod content;
mod deadlines;
mod erasure;
mod evidence;
mod flaws;
mod floods;
mod lambda;
mod once;
mod poison;
mod provisional;
mod quiet;
mod revisions;
mod same;
mod shapes;
mod signals;
mod sizes;
mod stub;
