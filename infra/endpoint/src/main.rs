//! The inference program; see the crate's documentation.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    endpoint::run(endpoint::Config::parse())
}
