//! Asks for second opinions on posts from SQS and decides them again: load, consult, judge, record, emit. Now and then it sweeps up what
//! never had one.
//!
//! What comes in was decided already, provisionally. So nothing here may lose, delay or soften anything: whatever keeps a second opinion
//! from being had, the post is decided without one, goes to a person, and is never removed for it. A message is acknowledged only after
//! that decision is stored and what it owes is sent (law 1).

mod adviser;
mod app;
mod consult;
mod emit;
mod load;
mod quarantine;
mod reconsider;
mod record;
mod report;
mod sweep;
mod wallet;
mod work;

pub use adviser::{Adviser, Endpoint, NoAnswer};
pub use app::{App, Blocked, Config, ConfigError, Process};
pub use consult::Without;
pub use reconsider::{Heard, reconsider};
pub use wallet::Wallet;

use runtime::{BatchResponse, Invocation, SqsBatch};
use service::Unavailable;

/// Decides a batch of messages again and says which are to be delivered again.
///
/// # Errors
/// Where nothing can be stored or sent for the time being: the batch is not begun, and all of it comes again.
pub async fn handle(app: &App, batch: SqsBatch, invocation: Invocation) -> Result<BatchResponse, Unavailable> {
    let begun = app.inbox.begin(&batch, invocation.deadline).await?;
    let mut work = load::load(app, &batch, invocation).await;
    sweep::sweep(app, &mut work).await;
    consult::consult(app, &mut work).await;
    record::record(app, &mut work).await;
    emit::emit(app, &mut work).await;
    quarantine::quarantine(app, &mut work).await;
    let outcome = report::report(app, &work);
    Ok(begun.end(&batch, outcome).await)
}
