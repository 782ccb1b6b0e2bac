//! The publisher's side: what stands under the pointer, what stood there before, and how something else gets there.
//!
//! Nothing is overwritten unseen. A publisher reads the pointer, shows what would change, and replaces what it read; of two
//! at once the second is told. What was live is kept under `registry/history/` before it is replaced.

use crate::artefacts::{Artefacts, bank_key, policy_key};
use crate::{POINTER_KEY, Pointer};
use domain::condition::Schema;
use domain::{Policy, Timestamp, sha256_hex};
use features::signals::Bank;
use scoring::{Bundle, MANIFEST_FILE, MODEL_FILE, Onnx, TextModel};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use store::{Deadline, Object, StoreError, TOO_LARGE, Tag, VersionedObjects};

/// Where every version is kept that was live once.
const HISTORY: &str = "registry/history/";
/// The largest object read under the pointer's key, in bytes: more than a pointer has, so that a broken one can be replaced.
const MAX_STANDING_BYTES: usize = 1024 * 1024;
/// Hexadecimal digits by which a version is named.
const ID_DIGITS: usize = 12;

/// A pointer, and how it came to be. Functions read the pointer alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// What is live.
    #[serde(flatten)]
    pub pointer: Pointer,
    /// Who published it.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Why.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What was live before.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digests>,
}

/// A model, a policy and banks by their digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    /// Of the model.
    pub model: String,
    /// Of the policy.
    pub policy: String,
    /// Of the banks, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub banks: BTreeMap<String, String>,
}

/// What another release writes in another form counts as absent: it is for people, and must not hide what is live.
fn lenient<'de, D: Deserializer<'de>, T: serde::de::DeserializeOwned>(from: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(serde_json::Value::deserialize(from)?).ok())
}

impl Publication {
    /// Reads what stands under the pointer's key, or in the history.
    ///
    /// # Errors
    /// Why it is no pointer; no content.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        Pointer::parse(bytes)?;
        serde_json::from_slice(bytes).map_err(|_| format!("`{POINTER_KEY}` is not a pointer"))
    }

    /// What becomes live in the place of `replaced`. Of two publications the later has the later time, whatever clocks say: the
    /// history is in order.
    #[must_use]
    pub fn new(
        pointer: Pointer,
        replaced: Option<&Standing>,
        (by, why): (Option<String>, Option<String>),
        now: Timestamp,
    ) -> Self {
        let before = replaced.and_then(|there| there.version.as_ref().ok()).map(|version| &version.publication);
        let least = before.and_then(|before| before.at).map_or(now, |at| Timestamp::from_millis(at.millis() + 1));
        Self { pointer, by, at: Some(now.max(least)), why, previous: before.map(Self::digests) }
    }

    /// The digests of its model, policy and banks.
    #[must_use]
    pub fn digests(&self) -> Digests {
        let Pointer { model, policy, banks, .. } = &self.pointer;
        Digests { model: model.sha256.clone(), policy: policy.sha256.clone(), banks: banks.clone() }
    }
}

/// What stands under the pointer's key.
#[derive(Debug)]
pub struct Standing {
    bytes: Vec<u8>,
    tag: Tag,
    /// Its version, or why it is none.
    pub version: Result<Version, String>,
}

/// Something that is or was live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Names it: the first digits of its digest.
    pub id: String,
    /// What it says.
    pub publication: Publication,
}

impl Version {
    fn of(bytes: &[u8]) -> Result<Self, String> {
        let id = sha256_hex(bytes).chars().take(ID_DIGITS).collect();
        Publication::parse(bytes).map(|publication| Self { id, publication })
    }

    /// Sorts by time. What was published before publications carried one comes first.
    fn key(&self) -> String {
        let at = self.publication.at.unwrap_or(Timestamp::from_millis(0)).to_string();
        format!("{HISTORY}{}-{}.json", at.replace([':', '-'], ""), self.id)
    }
}

/// A version in the history, not yet read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// Names it.
    pub id: String,
    key: String,
}

/// Why nothing became live.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A call that failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody else was first.
    #[error(
        "somebody else published meanwhile, and that stays live: see `moderato registry show`, then publish again if it is still wanted"
    )]
    Overtaken,
}

/// The bucket, as a publisher sees it.
#[derive(Clone, Copy)]
pub struct Shelf<'a> {
    /// Where objects are kept.
    pub objects: &'a dyn VersionedObjects,
    /// The bucket of models and policies.
    pub bucket: &'a str,
}

impl Shelf<'_> {
    /// What stands under the pointer's key; `None` where nothing was ever published.
    ///
    /// # Errors
    /// A call that failed. What stands there and is no pointer is no error.
    pub async fn standing(&self, by: Deadline) -> Result<Option<Standing>, StoreError> {
        let found = self.objects.get_tagged(self.bucket, POINTER_KEY, MAX_STANDING_BYTES, by).await?;
        Ok(found.map(|(object, tag)| Standing { version: Version::of(&object.bytes), bytes: object.bytes, tag }))
    }

    /// Makes a publication live in the place of what was read before. What is replaced is kept in the history first.
    ///
    /// # Errors
    /// [`PublishError::Overtaken`] where something else stands there by now; then nothing is written.
    pub async fn publish(
        &self,
        replaced: Option<&Standing>,
        publication: &Publication,
        by: Deadline,
    ) -> Result<(), PublishError> {
        if let Some(Standing { version: Ok(version), bytes, .. }) = replaced {
            self.put(&version.key(), bytes, by).await?;
        }
        let bytes = serde_json::to_vec_pretty(publication).unwrap_or_default();
        let object = Object { bytes: bytes.clone(), metadata: BTreeMap::new() };
        let written =
            self.objects.replace(self.bucket, POINTER_KEY, object, replaced.map(|there| &there.tag), by).await;
        if !matches!(written, Ok(true)) {
            // An answer that was lost leaves open what happened, and the same call made again is told that somebody was first.
            let there = self.standing(by).await?;
            if there.is_none_or(|there| there.bytes != bytes) {
                return Err(written.err().map_or(PublishError::Overtaken, PublishError::Store));
            }
        }
        if let Ok(version) = Version::of(&bytes) {
            // It is live already, and whoever replaces it keeps it as well.
            let _ = self.put(&version.key(), &bytes, by).await;
        }
        Ok(())
    }

    /// Everything that was ever live, by its id, the newest first.
    ///
    /// # Errors
    /// A call that failed.
    pub async fn history(&self, by: Deadline) -> Result<Vec<Past>, StoreError> {
        let kept = self.objects.list(self.bucket, HISTORY, by).await?;
        let past = kept.into_iter().rev().filter_map(|info| {
            let id = info.key.strip_suffix(".json")?.rsplit('-').next()?.to_owned();
            Some(Past { id, key: info.key })
        });
        Ok(past.collect())
    }

    /// Reads what was live once.
    ///
    /// # Errors
    /// Why it could not be read, or is not what it was.
    pub async fn past(&self, past: &Past, by: Deadline) -> Result<Version, String> {
        let key = &past.key;
        let found = self.objects.get(self.bucket, key, MAX_STANDING_BYTES, by).await;
        let found = found.map_err(|error| format!("`{key}`: {error}"))?;
        let version = Version::of(&found.ok_or_else(|| format!("`{key}` does not exist"))?.bytes)?;
        if version.id == past.id { Ok(version) } else { Err(format!("`{key}` does not have the digest that names it")) }
    }

    /// Puts a model under its digest; what is there already is left alone. How many objects were written.
    ///
    /// # Errors
    /// A call that failed.
    pub async fn put_model(&self, bundle: &Bundle, by: Deadline) -> Result<usize, StoreError> {
        let folder = format!("models/{}", bundle.sha256());
        let files = bundle.more.iter().map(|(name, bytes)| (name.as_str(), &**bytes));
        let mut written = 0;
        for (name, bytes) in files.chain([(MODEL_FILE, &*bundle.model), (MANIFEST_FILE, &*bundle.manifest)]) {
            written += usize::from(self.put_where_missing(&format!("{folder}/{name}"), bytes, by).await?);
        }
        Ok(written)
    }

    /// Puts a policy under its digest; what is there already is left alone. Whether it was written.
    ///
    /// # Errors
    /// A call that failed.
    pub async fn put_policy(&self, source: &str, by: Deadline) -> Result<bool, StoreError> {
        self.put_where_missing(&policy_key(&sha256_hex(source.as_bytes())), source.as_bytes(), by).await
    }

    /// Puts a bank under its digest; what is there already is left alone. Whether it was written.
    ///
    /// # Errors
    /// A call that failed.
    pub async fn put_bank(&self, source: &str, by: Deadline) -> Result<bool, StoreError> {
        self.put_where_missing(&bank_key(&sha256_hex(source.as_bytes())), source.as_bytes(), by).await
    }

    /// Loads a bank as a function does, with its text. Its examples are tried.
    ///
    /// # Errors
    /// Why it could not be loaded.
    pub async fn bank(&self, digest: &str, by: Deadline) -> Result<(Bank, String), String> {
        let source = self.reader().bank_source(digest, by).await?;
        let bank = Bank::load(&source).map_err(|error| error.to_string())?;
        Ok((bank, source))
    }

    /// Loads a model as a function does that has no other than those in the bucket.
    ///
    /// # Errors
    /// Why it could not be loaded.
    pub async fn model(&self, onnx: &Onnx, digest: &str, by: Deadline) -> Result<TextModel, String> {
        self.reader().load(onnx, digest, None, by).await
    }

    /// Loads a policy as a function does that has no other than those in the bucket. Its tests are run.
    ///
    /// # Errors
    /// Why it could not be loaded.
    pub async fn policy(&self, schema: &Schema, digest: &str, by: Deadline) -> Result<Policy, String> {
        let source = self.reader().stored_policy(digest, by).await?;
        Policy::load(&source, schema).map_err(|error| error.to_string())
    }
    fn reader(&self) -> Artefacts<'_> {
        Artefacts { bucket: Some((self.objects, self.bucket)), cache: None }
    }

    async fn put(&self, key: &str, bytes: &[u8], by: Deadline) -> Result<(), StoreError> {
        let object = Object { bytes: bytes.to_vec(), metadata: BTreeMap::new() };
        self.objects.put(self.bucket, key, object, by).await
    }

    /// Writes an object unless the same bytes stand there. A model takes longer to send than to read.
    async fn put_where_missing(&self, key: &str, bytes: &[u8], by: Deadline) -> Result<bool, StoreError> {
        let missing = match self.objects.get(self.bucket, key, bytes.len(), by).await {
            Ok(found) => found.is_none_or(|found| found.bytes != bytes),
            Err(error) if error.code == TOO_LARGE => true,
            Err(error) => return Err(error),
        };
        if missing {
            self.put(key, bytes, by).await?;
        }
        Ok(missing)
    }
}
