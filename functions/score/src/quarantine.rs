//! Quarantine: what can never be decided is kept with its reason, so that acknowledging it loses nothing.

use crate::App;
use crate::work::{State, Trouble, Work};
use futures::future::join_all;
use service::quarantine::{Rejected, keep};

/// Keeps every rejected original under its digest; one that cannot be kept is delivered again.
pub(crate) async fn quarantine(app: &App, work: &mut Work) {
    let deadline = work.deadlines.emit;
    join_all(work.items.iter_mut().map(async |item| {
        if let State::Trouble(trouble) = &mut item.state {
            trouble.give_up(&item.original);
        }
        let State::Trouble(Trouble::Reject { kind, detail, bytes }) = &mut item.state else { return };
        let kind = *kind;
        let rejected = Rejected { kind, detail, received_at: item.received_at, bytes: std::mem::take(bytes) };
        item.state = match keep(app.objects.as_ref(), &app.config.artifacts_bucket, rejected, deadline).await {
            Ok(()) => State::Quarantined { kind },
            Err(error) => State::Trouble(Trouble::Retry(error)),
        };
    }))
    .await;
}
