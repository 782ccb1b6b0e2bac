//! The inference program of the SageMaker endpoint: it answers second opinions (`opinion`) over HTTP, and gathers the rows of many requests
//! into runs of the model. It decides nothing and fetches nothing: which model it serves lies in its folder, what an answer leads to is the
//! policy's business.
//!
//! `POST /invocations` takes JSON (`opinion::protocol`) and NumPy arrays ([`npy`]), `GET /ping` says whether it serves, `GET /metrics` what it
//! did. What waits is bounded in rows and in bytes; what is beyond is refused with 429, never kept.

pub mod config;
pub mod error;
pub mod http;
pub mod metrics;
pub mod models;
pub mod npy;
pub mod queue;
pub mod server;
pub mod workers;

mod invocation;

pub use config::Config;
pub use server::{Server, run};
