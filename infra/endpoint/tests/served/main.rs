//! The program, asked over HTTP: with readers that count and wait, and with real models.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod batching;
#[path = "../common/client.rs"]
mod client;
mod contract;
mod fakes;
mod overload;
mod process;
mod real;
#[path = "../../../../shared/opinion/tests/tiny/mod.rs"]
mod tiny;
