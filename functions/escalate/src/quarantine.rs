//! Quarantine: a message that asks for nothing that can be done is kept with its reason.

use crate::app::{App, Config};
use crate::work::{State, Work};
use futures::future::join_all;
use service::Trouble;
use service::quarantine::{Rejected, keep};

/// Keeps every rejected original under its digest; one that cannot be kept is delivered again.
pub(crate) async fn quarantine(app: &App, work: &mut Work) {
    let by = work.deadlines.emit;
    join_all(work.items.iter_mut().map(async |item| {
        if let State::Trouble(trouble) = &mut item.state {
            trouble.give_up(item.original.as_slice().into());
        }
        let State::Trouble(Trouble::Reject { kind, detail, bytes }) = &mut item.state else { return };
        let kind = *kind;
        let rejected = Rejected { kind, detail, received_at: item.sent_at, bytes: bytes.to_vec() };
        let Config { artifacts_bucket, digest_key, .. } = &app.config;
        item.state = match keep(app.content.objects.as_ref(), artifacts_bucket, digest_key, rejected, by).await {
            Ok(()) => State::Quarantined { kind },
            Err(error) => State::Trouble(Trouble::Retry(error)),
        };
    }))
    .await;
}
