//! Objects: artefacts, content by reference, quarantine.

use crate::{Aws, Deadline, StoreError, aws};
use async_trait::async_trait;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use domain::sha256_hex;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// An object to keep.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Object {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// ASCII key-value pairs that are kept beside it.
    pub metadata: BTreeMap<String, String>,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Where objects are kept.
#[async_trait]
pub trait ObjectStore: Send + Sync {
    /// Reads an object of at most `max_bytes`; `None` where there is none, an error coded `too_large` where it is
    /// larger.
    async fn get(
        &self,
        bucket: &str,
        key: &str,
        max_bytes: usize,
        deadline: Deadline,
    ) -> Result<Option<Object>, StoreError>;

    /// Writes an object, replacing what stands there.
    async fn put(&self, bucket: &str, key: &str, object: Object, deadline: Deadline) -> Result<(), StoreError>;

    /// All objects whose key begins with `prefix`, by key.
    async fn list(&self, bucket: &str, prefix: &str, deadline: Deadline) -> Result<Vec<ObjectInfo>, StoreError>;

    /// Deletes an object with every version of it that the bucket keeps; nothing is done where there is none.
    async fn delete(&self, bucket: &str, key: &str, deadline: Deadline) -> Result<(), StoreError>;
}

/// What a version of an object is known by: its ETag. Other bytes have another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag(String);

/// Objects that somebody replaces only as long as nobody else did.
#[async_trait]
pub trait VersionedObjects: ObjectStore {
    /// As [`ObjectStore::get`], with the tag of what was read.
    async fn get_tagged(
        &self,
        bucket: &str,
        key: &str,
        max_bytes: usize,
        deadline: Deadline,
    ) -> Result<Option<(Object, Tag)>, StoreError>;

    /// Writes an object where what stands there is still what carries the tag `seen`; with `None`, where nothing stands there.
    /// `false` where somebody else was first, and then nothing is written. A call that is tried again after its answer was lost
    /// may say so of its own first try: whoever must know reads what stands there.
    async fn replace(
        &self,
        bucket: &str,
        key: &str,
        object: Object,
        seen: Option<&Tag>,
        deadline: Deadline,
    ) -> Result<bool, StoreError>;
}

/// The code of the error for an object over the bound.
pub const TOO_LARGE: &str = "too_large";

const WRITING: &str = "writing an object";

/// Objects in S3.
#[derive(Debug, Clone)]
pub struct S3Objects {
    client: aws_sdk_s3::Client,
}

impl S3Objects {
    /// The objects that the credentials may see.
    #[must_use]
    pub fn new(aws: &Aws) -> Self {
        Self { client: aws.s3.clone() }
    }

    async fn read(
        &self,
        bucket: &str,
        key: &str,
        max_bytes: usize,
        deadline: Deadline,
    ) -> Result<Option<(Object, Option<String>)>, StoreError> {
        const DOING: &str = "reading an object";
        let request = self.client.get_object().bucket(bucket).key(key).send();
        let answer = match aws::call(DOING, deadline, request).await {
            Ok(answer) => answer,
            Err(error) if matches!(error.code.as_str(), "NoSuchKey" | "NotFound") => return Ok(None),
            Err(error) => return Err(error),
        };
        // The length is known before the first byte of the body is read.
        let Some(length) = answer.content_length() else {
            return Err(StoreError::transient(DOING, "an object without its length"));
        };
        if usize::try_from(length).is_ok_and(|length| length > max_bytes) {
            return Err(StoreError::permanent(DOING, TOO_LARGE));
        }
        let metadata = answer.metadata().map(|map| map.clone().into_iter().collect()).unwrap_or_default();
        let tag = answer.e_tag().map(str::to_owned);
        let body = tokio::time::timeout_at(deadline, answer.body.collect())
            .await
            .map_err(|_| StoreError::transient(DOING, "deadline reached"))?
            .map_err(|_| StoreError::transient(DOING, "the body ended early"))?;
        Ok(Some((Object { bytes: body.to_vec(), metadata }, tag)))
    }

    fn write(&self, bucket: &str, key: &str, object: Object) -> PutObjectFluentBuilder {
        let metadata = Some(object.metadata.into_iter().collect());
        self.client.put_object().bucket(bucket).key(key).set_metadata(metadata).body(object.bytes.into())
    }
}

#[async_trait]
impl ObjectStore for S3Objects {
    async fn get(
        &self,
        bucket: &str,
        key: &str,
        max_bytes: usize,
        deadline: Deadline,
    ) -> Result<Option<Object>, StoreError> {
        Ok(self.read(bucket, key, max_bytes, deadline).await?.map(|(object, _)| object))
    }

    async fn put(&self, bucket: &str, key: &str, object: Object, deadline: Deadline) -> Result<(), StoreError> {
        aws::call(WRITING, deadline, self.write(bucket, key, object).send()).await.map(drop)
    }

    async fn list(&self, bucket: &str, prefix: &str, deadline: Deadline) -> Result<Vec<ObjectInfo>, StoreError> {
        let mut found = Vec::new();
        let mut token = None;
        loop {
            let request =
                self.client.list_objects_v2().bucket(bucket).prefix(prefix).set_continuation_token(token).send();
            let answer = aws::call("listing objects", deadline, request).await?;
            found.extend(answer.contents.unwrap_or_default().into_iter().filter_map(|object| {
                Some(ObjectInfo { key: object.key?, bytes: object.size.and_then(|size| u64::try_from(size).ok())? })
            }));
            token = answer.next_continuation_token;
            if token.is_none() {
                return Ok(found);
            }
        }
    }

    async fn delete(&self, bucket: &str, key: &str, deadline: Deadline) -> Result<(), StoreError> {
        const DOING: &str = "deleting an object";
        let (mut at_key, mut at_version) = (None, None);
        loop {
            let request = self.client.list_object_versions().bucket(bucket).prefix(key);
            let request = request.set_key_marker(at_key).set_version_id_marker(at_version);
            let page = aws::call(DOING, deadline, request.send()).await?;
            let versions = page.versions.unwrap_or_default().into_iter().map(|one| (one.key, one.version_id));
            let markers = page.delete_markers.unwrap_or_default().into_iter().map(|one| (one.key, one.version_id));
            // The prefix is that of longer keys too.
            for (_, version) in versions.chain(markers).filter(|(of, _)| of.as_deref() == Some(key)) {
                let request = self.client.delete_object().bucket(bucket).key(key).set_version_id(version);
                aws::call(DOING, deadline, request.send()).await?;
            }
            (at_key, at_version) = (page.next_key_marker, page.next_version_id_marker);
            // Keys come in order: what begins with this one and is longer comes after it.
            if page.is_truncated != Some(true) || at_key.as_deref() != Some(key) {
                return Ok(());
            }
        }
    }
}

#[async_trait]
impl VersionedObjects for S3Objects {
    async fn get_tagged(
        &self,
        bucket: &str,
        key: &str,
        max_bytes: usize,
        deadline: Deadline,
    ) -> Result<Option<(Object, Tag)>, StoreError> {
        let Some((object, tag)) = self.read(bucket, key, max_bytes, deadline).await? else { return Ok(None) };
        let tag = tag.ok_or_else(|| StoreError::transient("reading an object", "an object without its tag"))?;
        Ok(Some((object, Tag(tag))))
    }

    async fn replace(
        &self,
        bucket: &str,
        key: &str,
        object: Object,
        seen: Option<&Tag>,
        deadline: Deadline,
    ) -> Result<bool, StoreError> {
        let write = self.write(bucket, key, object);
        let write = match seen {
            Some(Tag(tag)) => write.if_match(tag),
            None => write.if_none_match("*"),
        };
        match aws::call(WRITING, deadline, write.send()).await {
            Ok(_) => Ok(true),
            // Another object stands there, another write is under way, or the object that was read is gone.
            Err(error)
                if matches!(error.code.as_str(), "PreconditionFailed" | "ConditionalRequestConflict")
                    || seen.is_some() && error.code == "NoSuchKey" =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// Objects in memory.
#[derive(Default)]
pub struct MemoryObjects {
    objects: Mutex<BTreeMap<(String, String), Object>>,
}

impl MemoryObjects {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, String), Object>> {
        self.objects.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[async_trait]
impl ObjectStore for MemoryObjects {
    async fn get(
        &self,
        bucket: &str,
        key: &str,
        max_bytes: usize,
        _deadline: Deadline,
    ) -> Result<Option<Object>, StoreError> {
        match self.lock().get(&(bucket.to_owned(), key.to_owned())) {
            Some(object) if object.bytes.len() > max_bytes => {
                Err(StoreError::permanent("reading an object", TOO_LARGE))
            }
            found => Ok(found.cloned()),
        }
    }

    async fn put(&self, bucket: &str, key: &str, object: Object, _deadline: Deadline) -> Result<(), StoreError> {
        self.lock().insert((bucket.to_owned(), key.to_owned()), object);
        Ok(())
    }

    async fn list(&self, bucket: &str, prefix: &str, _deadline: Deadline) -> Result<Vec<ObjectInfo>, StoreError> {
        Ok(self
            .lock()
            .iter()
            .filter(|((in_bucket, key), _)| in_bucket == bucket && key.starts_with(prefix))
            .map(|((_, key), object)| ObjectInfo { key: key.clone(), bytes: object.bytes.len() as u64 })
            .collect())
    }

    async fn delete(&self, bucket: &str, key: &str, _deadline: Deadline) -> Result<(), StoreError> {
        self.lock().remove(&(bucket.to_owned(), key.to_owned()));
        Ok(())
    }
}

#[async_trait]
impl VersionedObjects for MemoryObjects {
    async fn get_tagged(
        &self,
        bucket: &str,
        key: &str,
        max_bytes: usize,
        deadline: Deadline,
    ) -> Result<Option<(Object, Tag)>, StoreError> {
        let found = self.get(bucket, key, max_bytes, deadline).await?;
        Ok(found.map(|object| {
            let tag = tag(&object);
            (object, tag)
        }))
    }

    async fn replace(
        &self,
        bucket: &str,
        key: &str,
        object: Object,
        seen: Option<&Tag>,
        _deadline: Deadline,
    ) -> Result<bool, StoreError> {
        let mut objects = self.lock();
        let place = (bucket.to_owned(), key.to_owned());
        let as_seen = objects.get(&place).map(tag).as_ref() == seen;
        if as_seen {
            objects.insert(place, object);
        }
        Ok(as_seen)
    }
}

fn tag(object: &Object) -> Tag {
    Tag(sha256_hex(&object.bytes))
}
