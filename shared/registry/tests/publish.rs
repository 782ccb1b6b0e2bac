//! The publisher's side: nothing is overwritten unseen, everything that was live is kept, and what is there is not sent again.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

use domain::policy::FALLBACK;
use domain::{ModelRef, PolicyRef, Timestamp, sha256_hex};
use registry::{POINTER_KEY, Pointer, Publication, PublishError, Shelf};
use scoring::Bundle;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;
use store::{Deadline, MemoryObjects, Object, ObjectInfo, ObjectStore, StoreError, Tag, VersionedObjects};

const BUCKET: &str = "artifacts";

/// What becomes of the next conditional write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// It is done and its answer is lost; tried again, it is told that somebody was first.
    DoneAndTriedAgain,
    /// It is done, and nobody hears of it.
    DoneAndLost,
    /// Nothing is done.
    Failed,
}

#[derive(Default)]
struct Bucket {
    kept: MemoryObjects,
    trouble: Mutex<Option<Trouble>>,
    written: Mutex<Vec<String>>,
}

impl Bucket {
    fn written(&self) -> Vec<String> {
        std::mem::take(&mut self.written.lock().unwrap())
    }
}

#[async_trait::async_trait]
impl ObjectStore for Bucket {
    async fn get(&self, bucket: &str, key: &str, most: usize, by: Deadline) -> Result<Option<Object>, StoreError> {
        self.kept.get(bucket, key, most, by).await
    }

    async fn put(&self, bucket: &str, key: &str, object: Object, by: Deadline) -> Result<(), StoreError> {
        self.written.lock().unwrap().push(key.to_owned());
        self.kept.put(bucket, key, object, by).await
    }

    async fn list(&self, bucket: &str, prefix: &str, by: Deadline) -> Result<Vec<ObjectInfo>, StoreError> {
        self.kept.list(bucket, prefix, by).await
    }

    async fn delete(&self, bucket: &str, key: &str, by: Deadline) -> Result<(), StoreError> {
        self.kept.delete(bucket, key, by).await
    }
}

#[async_trait::async_trait]
impl VersionedObjects for Bucket {
    async fn get_tagged(
        &self,
        bucket: &str,
        key: &str,
        most: usize,
        by: Deadline,
    ) -> Result<Option<(Object, Tag)>, StoreError> {
        self.kept.get_tagged(bucket, key, most, by).await
    }

    async fn replace(
        &self,
        bucket: &str,
        key: &str,
        object: Object,
        seen: Option<&Tag>,
        by: Deadline,
    ) -> Result<bool, StoreError> {
        let trouble = self.trouble.lock().unwrap().take();
        if trouble != Some(Trouble::Failed) {
            let done = self.kept.replace(bucket, key, object, seen, by).await?;
            if trouble.is_none() {
                return Ok(done);
            }
        }
        if trouble == Some(Trouble::DoneAndTriedAgain) {
            return Ok(false);
        }
        Err(StoreError::transient("writing an object", "timed out"))
    }
}

fn soon() -> Deadline {
    Deadline::now() + Duration::from_secs(10)
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// A pointer to a model and policy that nobody looks at.
fn pointer(name: &str) -> Pointer {
    let (name, version, sha256) = (name.to_owned(), "1".to_owned(), sha256_hex(name.as_bytes()));
    let model = ModelRef { name: name.clone(), version: version.clone(), sha256: sha256.clone() };
    let policy = PolicyRef { id: name, version, sha256, assumed: false };
    Pointer { schema: "live/1".to_owned(), model, policy, banks: BTreeMap::new() }
}

/// Reads, and makes `name` live in the place of what was read.
async fn publish(shelf: Shelf<'_>, name: &str, now: i64) -> Result<Publication, PublishError> {
    let standing = shelf.standing(soon()).await.unwrap();
    let said = (Some("somebody".to_owned()), None);
    let publication = Publication::new(pointer(name), standing.as_ref(), said, at(now));
    shelf.publish(standing.as_ref(), &publication, soon()).await.map(|()| publication)
}

async fn live(shelf: Shelf<'_>) -> Publication {
    shelf.standing(soon()).await.unwrap().unwrap().version.unwrap().publication
}

async fn history(shelf: Shelf<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for past in shelf.history(soon()).await.unwrap() {
        let version = shelf.past(&past, soon()).await.unwrap();
        assert_eq!(version.id, past.id);
        names.push(version.publication.pointer.policy.id);
    }
    names
}

#[tokio::test]
async fn of_two_who_read_the_same_the_second_is_told() {
    let bucket = MemoryObjects::default();
    let shelf = Shelf { objects: &bucket, bucket: BUCKET };
    // Nothing is there yet: both would be the first.
    for (round, names) in [["a", "b"], ["c", "d"]].into_iter().enumerate() {
        let standing = shelf.standing(soon()).await.unwrap();
        assert_eq!(standing.is_some(), round > 0);
        let [first, second] = names.map(|name| Publication::new(pointer(name), standing.as_ref(), (None, None), at(5)));
        shelf.publish(standing.as_ref(), &first, soon()).await.unwrap();
        let told = shelf.publish(standing.as_ref(), &second, soon()).await;
        assert!(matches!(told, Err(PublishError::Overtaken)), "{told:?}");
        assert_eq!(live(shelf).await, first);
    }
    assert_eq!(history(shelf).await, ["c", "a"], "what was never live is no history");
}

#[tokio::test]
async fn an_answer_that_was_lost_leaves_no_doubt() {
    let bucket = Bucket::default();
    let shelf = Shelf { objects: &bucket, bucket: BUCKET };
    publish(shelf, "first", 1).await.unwrap();
    for (trouble, is_live) in
        [(Trouble::DoneAndTriedAgain, true), (Trouble::DoneAndLost, true), (Trouble::Failed, false)]
    {
        *bucket.trouble.lock().unwrap() = Some(trouble);
        let said = publish(shelf, "second", 2).await;
        assert_eq!(said.is_ok(), is_live);
        assert_eq!(live(shelf).await.pointer, pointer(if is_live { "second" } else { "first" }));
        publish(shelf, "first", 3).await.unwrap();
    }
}

#[tokio::test]
async fn a_publication_says_who_when_why_and_what_was_before() {
    let bucket = MemoryObjects::default();
    let shelf = Shelf { objects: &bucket, bucket: BUCKET };
    let first = publish(shelf, "first", 1_000).await.unwrap();
    assert_eq!((first.at, first.previous.clone()), (Some(at(1_000)), None));
    // The clock of the second publisher is behind; the history is in order all the same.
    let second = publish(shelf, "second", 500).await.unwrap();
    assert_eq!((second.at, second.previous.clone()), (Some(at(1_001)), Some(first.digests())));
    assert_eq!(live(shelf).await, second);
    publish(shelf, "third", 0).await.unwrap();
    assert_eq!(history(shelf).await, ["third", "second", "first"]);
}

/// Functions of this release and of the last one read what the next one writes.
#[tokio::test]
async fn what_is_for_people_never_hides_what_is_live() {
    let bucket = MemoryObjects::default();
    let shelf = Shelf { objects: &bucket, bucket: BUCKET };
    publish(shelf, "first", 1).await.unwrap();
    let mut value = serde_json::to_value(live(shelf).await).unwrap();
    assert_eq!(serde_json::from_value::<Pointer>(value.clone()).unwrap(), pointer("first"));
    for (name, other) in [("by", serde_json::json!(["two", "people"])), ("at", 7.into()), ("previous", "x".into())] {
        value[name] = other;
    }
    value["signed"] = "by somebody".into();
    let object = Object { bytes: serde_json::to_vec(&value).unwrap(), metadata: BTreeMap::new() };
    bucket.put(BUCKET, POINTER_KEY, object, soon()).await.unwrap();
    let read = live(shelf).await;
    assert_eq!((read.pointer, read.by, read.at, read.previous), (pointer("first"), None, None, None));
    // What does not say when sorts before all that do.
    publish(shelf, "second", 2).await.unwrap();
    assert_eq!(history(shelf).await, ["second", "first", "first"]);
}

#[tokio::test]
async fn what_is_no_pointer_is_replaced_and_no_history() {
    let bucket = MemoryObjects::default();
    let shelf = Shelf { objects: &bucket, bucket: BUCKET };
    for garbage in ["", "{}", &" ".repeat(17 * 1024)] {
        let object = Object { bytes: garbage.as_bytes().to_vec(), metadata: BTreeMap::new() };
        bucket.put(BUCKET, POINTER_KEY, object, soon()).await.unwrap();
        assert!(shelf.standing(soon()).await.unwrap().unwrap().version.is_err());
        publish(shelf, "good", 1).await.unwrap();
        assert_eq!(live(shelf).await.pointer, pointer("good"));
    }
    assert_eq!(history(shelf).await, ["good"]);
}

#[tokio::test]
async fn a_version_that_was_changed_is_refused() {
    let bucket = MemoryObjects::default();
    let shelf = Shelf { objects: &bucket, bucket: BUCKET };
    publish(shelf, "first", 1).await.unwrap();
    let key = bucket.list(BUCKET, "registry/history/", soon()).await.unwrap()[0].key.clone();
    let changed = serde_json::to_vec(&Publication::new(pointer("other"), None, (None, None), at(1))).unwrap();
    let object = Object { bytes: changed, metadata: BTreeMap::new() };
    bucket.put(BUCKET, &key, object, soon()).await.unwrap();
    let past = &shelf.history(soon()).await.unwrap()[0];
    assert!(shelf.past(past, soon()).await.unwrap_err().contains("digest"));
}

#[tokio::test]
async fn what_is_there_is_not_sent_again_and_what_was_changed_is_put_right() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scoring/models/ngram-baseline");
    let bundle = Bundle::read(&root).unwrap();
    let bucket = Bucket::default();
    let shelf = Shelf { objects: &bucket, bucket: BUCKET };
    assert_eq!(shelf.put_model(&bundle, soon()).await.unwrap(), 2);
    assert!(shelf.put_policy(FALLBACK, soon()).await.unwrap());
    assert_eq!(bucket.written().len(), 3);
    assert_eq!(shelf.put_model(&bundle, soon()).await.unwrap(), 0);
    assert!(!shelf.put_policy(FALLBACK, soon()).await.unwrap());
    assert_eq!(bucket.written(), Vec::<String>::new());
    let key = format!("models/{}/manifest.json", bundle.sha256());
    // Of the same length, and longer.
    for more in ["", " "] {
        let mut bytes = bundle.manifest.clone();
        bytes[0] = b' ';
        bytes.extend_from_slice(more.as_bytes());
        bucket.kept.put(BUCKET, &key, Object { bytes, metadata: BTreeMap::new() }, soon()).await.unwrap();
        assert_eq!(shelf.put_model(&bundle, soon()).await.unwrap(), 1);
        assert_eq!(bucket.written(), std::slice::from_ref(&key));
    }
}
