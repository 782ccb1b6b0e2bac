//! Quarantine: what can never be done is kept with its reason, so that acknowledging it loses nothing.
//!
//! Originals lie under `quarantine/<sha256>`. Whose they are, where that could be read, is found by empty objects under
//! `quarantine-of/<keyed digest of the author or post>/<sha256>`.

use crate::named;
use domain::{About, DigestKey, KeyedDigest, Timestamp, keyed_hex, sha256_hex};
use futures::future::join_all;
use runtime::planted::planted;
use std::collections::{BTreeMap, BTreeSet};
use store::{Deadline, Object, ObjectStore, StoreError};

/// S3 keeps 2 KB of metadata with an object.
const MAX_DETAIL_BYTES: usize = 512;

/// Says in the metadata when the message came.
const RECEIVED_AT: &str = "received-at";

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

/// Posts and authors by which one original is found at most.
const MAX_ABOUT: usize = 32;

/// Keeps an original under its digest, and by the ids in it.
///
/// # Errors
/// Where it is not known to be kept: then the message is not to be acknowledged.
pub async fn keep(
    objects: &dyn ObjectStore,
    bucket: &str,
    ids: &DigestKey,
    rejected: Rejected<'_>,
    deadline: Deadline,
) -> Result<(), StoreError> {
    let Rejected { kind, detail, received_at, mut bytes } = rejected;
    let about = named(&bytes).into_iter().flat_map(|About { post_id, author_id, .. }| {
        [Some(ids.post(&post_id)), author_id.map(|author| ids.author(&author))].into_iter().flatten()
    });
    let about: BTreeSet<KeyedDigest> = about.take(MAX_ABOUT).collect();
    let sha256 = sha256_hex(&bytes);
    if planted("quarantine-cut-short") {
        bytes.truncate(10);
    }
    let metadata = BTreeMap::from([
        ("kind".to_owned(), kind.to_owned()),
        ("detail".to_owned(), header_value(detail)),
        received_at_of(received_at),
    ]);
    let found = Object { bytes: Vec::new(), metadata: BTreeMap::from([received_at_of(received_at)]) };
    let entries = about.into_iter().map(|whose| (entry(whose, &sha256), found.clone()));
    let all = [(original(&sha256), Object { bytes, metadata })].into_iter().chain(entries);
    let puts = all.map(async |(key, object)| objects.put(bucket, &key, object, deadline).await);
    let kept = join_all(puts).await.into_iter().collect();
    if planted("quarantine-not-awaited") { Ok(()) } else { kept }
}

fn received_at_of(received_at: Timestamp) -> (String, String) {
    (RECEIVED_AT.to_owned(), received_at.to_string())
}

fn original(sha256: &str) -> String {
    format!("quarantine/{sha256}")
}

fn entry(whose: KeyedDigest, sha256: &str) -> String {
    format!("quarantine-of/{}/{sha256}", keyed_hex(whose))
}

/// Digests of the originals that are about this author or post and came before an instant.
///
/// # Errors
/// Where the bucket could not be asked.
pub async fn about(
    objects: &dyn ObjectStore,
    bucket: &str,
    whose: KeyedDigest,
    before: Timestamp,
    deadline: Deadline,
) -> Result<Vec<String>, StoreError> {
    let prefix = entry(whose, "");
    let mut found = Vec::new();
    for info in objects.list(bucket, &prefix, deadline).await? {
        let Some(sha256) = info.key.strip_prefix(&prefix) else { continue };
        let Some(entry) = objects.get(bucket, &info.key, 0, deadline).await? else { continue };
        let received_at = entry.metadata.get(RECEIVED_AT).and_then(|at| at.parse::<Timestamp>().ok());
        if received_at.is_none_or(|at| at < before) {
            found.push(sha256.to_owned());
        }
    }
    Ok(found)
}

/// Deletes an original that is about this author or post.
///
/// # Errors
/// Where it is not known to be gone: then it is still found.
pub async fn erase(
    objects: &dyn ObjectStore,
    bucket: &str,
    whose: KeyedDigest,
    sha256: &str,
    deadline: Deadline,
) -> Result<(), StoreError> {
    objects.delete(bucket, &original(sha256), deadline).await?;
    // INVARIANT: last, so that what was begun is found and finished.
    objects.delete(bucket, &entry(whose, sha256), deadline).await
}

/// Metadata travels in HTTP headers: printable ASCII, and short.
fn header_value(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).take(MAX_DETAIL_BYTES).collect()
}
