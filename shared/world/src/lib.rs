//! For tests and benchmarks: DynamoDB, SQS, S3 and an endpoint in memory, beneath the AWS SDKs. What talks to them is the real
//! code with the real SDK: requests are signed and serialised, answers are parsed, tries are repeated. No packet is
//! sent.
//!
//! [`Cloud`] answers requests at once and without faults. [`Wire`] stands between an SDK client and a cloud: it takes
//! virtual time (`tokio::time` paused) and, by a seed, does what networks and services do on bad days ([`Weather`]).
//!
//! [`lambda`] is what stands around a function: its queue as SQS keeps it, Lambda's pollers, processes that end at any
//! await, people who decide in between. [`program`] runs that for many seeds and says what it came to.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "no part of any program that ships: a test may fail loudly"
)]

mod cloud;
mod condition;
pub mod cuts;
mod dynamodb;
mod inbox;
pub mod lambda;
pub mod program;
mod s3;
mod sagemaker;
mod sqs;
mod wire;

pub use cloud::{Answer, Call, Cloud, Inference, Partial, Told};
pub use dynamodb::{Item, Packed, Write};
pub use wire::{Fault, Waited, Weather, Wire};
