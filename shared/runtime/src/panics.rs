//! Panics that fail one message, and say where without saying what.

use crate::planted::planted;
use crate::telemetry;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The work panicked. The payload is dropped: it may quote content (law 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("panicked")]
pub struct Panicked;

/// Runs `work` so that its panic is an error of this message only.
///
/// # Errors
/// [`Panicked`] where it did.
pub fn isolate<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    if planted("panic-fails-batch") {
        return Ok(work());
    }
    // What a panicking message leaves behind is dropped with it; nothing it touched is shared.
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Panicked)
}

/// Replaces the default panic message, which prints the payload, by a log line with the place alone.
pub fn silence_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(|| "unknown".to_owned(), |at| format!("{}:{}", at.file(), at.line()));
        telemetry::log("ERROR", "a panic was caught", &serde_json::json!({ "panic.place": place }));
    }));
}
