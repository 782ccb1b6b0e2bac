//! Quarantine: what can never be decided is kept with its reason, so that acknowledging it loses nothing.

use crate::App;
use crate::work::{State, Trouble, Work};
use domain::sha256_hex;
use futures::future::join_all;
use runtime::planted::planted;
use std::collections::BTreeMap;
use store::Object;

/// S3 keeps 2 KB of metadata with an object.
const MAX_DETAIL_BYTES: usize = 512;

/// Keeps every rejected original under its digest; one that cannot be kept is delivered again.
pub(crate) async fn quarantine(app: &App, work: &mut Work) {
    let deadline = work.deadlines.emit;
    join_all(work.items.iter_mut().map(async |item| {
        let State::Trouble(Trouble::Reject { kind, detail, bytes }) = &mut item.state else { return };
        let kind = *kind;
        let mut bytes = std::mem::take(bytes);
        let key = format!("quarantine/{}", sha256_hex(&bytes));
        if planted("quarantine-cut-short") {
            bytes.truncate(10);
        }
        let metadata = BTreeMap::from([
            ("kind".to_owned(), kind.to_owned()),
            ("detail".to_owned(), header_value(detail)),
            ("received-at".to_owned(), item.received_at.to_string()),
        ]);
        let kept = app.objects.put(&app.config.artifacts_bucket, &key, Object { bytes, metadata }, deadline).await;
        item.state = match kept {
            Ok(()) => State::Quarantined { kind },
            Err(_) if planted("quarantine-not-awaited") => State::Quarantined { kind },
            Err(error) => State::Trouble(Trouble::Retry(error)),
        };
    }))
    .await;
}

/// Metadata travels in HTTP headers: printable ASCII, and short.
fn header_value(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).take(MAX_DETAIL_BYTES).collect()
}
