//! Quarantine: what can never be done is kept with its reason, so that acknowledging it loses nothing.

use domain::{Timestamp, sha256_hex};
use runtime::planted::planted;
use std::collections::BTreeMap;
use store::{Deadline, Object, ObjectStore, StoreError};

/// S3 keeps 2 KB of metadata with an object.
const MAX_DETAIL_BYTES: usize = 512;

/// What is to be kept.
pub struct Rejected<'a> {
    /// The typed reason.
    pub kind: &'static str,
    /// What is wrong, without content.
    pub detail: &'a str,
    /// When the message came.
    pub received_at: Timestamp,
    /// The original.
    pub bytes: Vec<u8>,
}

/// Keeps an original under its digest.
///
/// # Errors
/// Where it is not known to be kept: then the message is not to be acknowledged.
pub async fn keep(
    objects: &dyn ObjectStore,
    bucket: &str,
    rejected: Rejected<'_>,
    deadline: Deadline,
) -> Result<(), StoreError> {
    let Rejected { kind, detail, received_at, mut bytes } = rejected;
    let key = format!("quarantine/{}", sha256_hex(&bytes));
    if planted("quarantine-cut-short") {
        bytes.truncate(10);
    }
    let metadata = BTreeMap::from([
        ("kind".to_owned(), kind.to_owned()),
        ("detail".to_owned(), header_value(detail)),
        ("received-at".to_owned(), received_at.to_string()),
    ]);
    let kept = objects.put(bucket, &key, Object { bytes, metadata }, deadline).await;
    if planted("quarantine-not-awaited") { Ok(()) } else { kept }
}

/// Metadata travels in HTTP headers: printable ASCII, and short.
fn header_value(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).take(MAX_DETAIL_BYTES).collect()
}
