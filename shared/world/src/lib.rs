//! For tests and benchmarks: DynamoDB, SQS and S3 in memory, beneath the AWS SDKs. What talks to them is the real
//! code with the real SDK: requests are signed and serialised, answers are parsed, tries are repeated. No packet is
//! sent.
//!
//! [`Cloud`] answers requests at once and without faults. [`Wire`] stands between an SDK client and a cloud: it takes
//! virtual time (`tokio::time` paused) and, by a seed, does what networks and services do on bad days ([`Weather`]).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "no part of any program that ships: a test may fail loudly"
)]

mod cloud;
mod dynamodb;
mod s3;
mod sqs;
mod wire;

pub use cloud::{Answer, Call, Cloud, Partial};
pub use dynamodb::{Item, Write};
pub use wire::{Fault, Weather, Wire};
