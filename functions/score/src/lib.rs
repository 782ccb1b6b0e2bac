//! Decides posts from SQS: load, judge, record, emit.
//!
//! A message is acknowledged only after its decision is stored and everything it owes others is sent (law 1). Whatever
//! happens to one message happens to that message alone (law 3): it is quarantined with a reason if it can never be
//! decided, and delivered again if it may be later.

mod app;
mod cost;
mod emit;
pub mod intake;
mod judge;
mod load;
mod quarantine;
mod record;
mod report;
mod work;

pub use app::{App, Config, ConfigError, Process};
pub use work::Trouble;

use runtime::{BatchResponse, Invocation, SqsBatch};
use service::Unavailable;

/// Decides a batch of messages and says which are to be delivered again.
///
/// # Errors
/// Where nothing can be stored or sent for the time being: the batch is not begun, and all of it comes again.
pub async fn handle(app: &App, batch: SqsBatch, invocation: Invocation) -> Result<BatchResponse, Unavailable> {
    let begun = app.inbox.begin(&batch, invocation.deadline).await?;
    let mut work = load::load(app, &batch, invocation).await;
    for turn in work.turns() {
        judge::judge(app, &mut work, &turn);
        record::record(app, &mut work).await;
        emit::emit(app, &mut work).await;
    }
    quarantine::quarantine(app, &mut work).await;
    let outcome = report::report(app, &work);
    Ok(begun.end(&batch, outcome).await)
}
