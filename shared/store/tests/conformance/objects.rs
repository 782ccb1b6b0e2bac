//! Objects: bytes and metadata as they were put.

use crate::{fresh, soon};
use std::collections::BTreeMap;
use store::{MemoryObjects, Object, ObjectInfo, TOO_LARGE, VersionedObjects};

fn object(bytes: &[u8]) -> Object {
    Object { bytes: bytes.to_vec(), metadata: BTreeMap::new() }
}

/// All checks, on any store.
pub async fn conforms(store: &dyn VersionedObjects, bucket: &str) {
    keeps_bytes_and_metadata(store, bucket).await;
    is_replaced_by_the_first_alone(store, bucket).await;
}

/// Of two who read the same, the second is told; and nothing is written for it.
async fn is_replaced_by_the_first_alone(store: &dyn VersionedObjects, bucket: &str) {
    let key = fresh("replaced");
    let read = async || store.get_tagged(bucket, &key, 10, soon()).await.unwrap();
    let write = async |bytes: &[u8], seen| store.replace(bucket, &key, object(bytes), seen, soon()).await.unwrap();
    assert!(read().await.is_none());
    assert!(write(b"one", None).await);
    assert!(!write(b"two", None).await, "something stands there");
    let (one, tag) = read().await.unwrap();
    assert!(one == object(b"one"));
    assert!(write(b"two", Some(&tag)).await);
    assert!(!write(b"three", Some(&tag)).await, "something else stands there");
    assert!(!write(b"three", None).await);
    let (two, newer) = read().await.unwrap();
    assert!(two == object(b"two") && newer != tag);
    let nowhere = fresh("nowhere");
    assert!(!store.replace(bucket, &nowhere, object(b"x"), Some(&tag), soon()).await.unwrap());
    assert!(store.get(bucket, &nowhere, 10, soon()).await.unwrap().is_none());
    assert_eq!(store.get_tagged(bucket, &key, 2, soon()).await.err().unwrap().code, TOO_LARGE);
}

async fn keeps_bytes_and_metadata(store: &dyn VersionedObjects, bucket: &str) {
    let folder = fresh("objects");
    let key = |name: &str| format!("{folder}/{name}");
    let get = async |name: &str, bound: usize| store.get(bucket, &key(name), bound, soon()).await;
    assert!(get("absent", 10).await.unwrap().is_none());

    let bytes: Vec<u8> = (0..=255).collect();
    let metadata = BTreeMap::from([
        ("kind".to_owned(), "invalid_json".to_owned()),
        ("received-at".to_owned(), "2026-11-23T10:00:00.000Z".to_owned()),
    ]);
    let whole = Object { bytes, metadata };
    store.put(bucket, &key("b"), whole.clone(), soon()).await.unwrap();
    let found = get("b", 256).await.unwrap().unwrap();
    assert!(found == whole, "{} bytes, {:?}", found.bytes.len(), found.metadata);

    // The bound is the last size that is read.
    let error = get("b", 255).await.err().unwrap();
    assert_eq!((error.code.as_str(), error.retryable), (TOO_LARGE, false));

    store.put(bucket, &key("empty"), object(b""), soon()).await.unwrap();
    assert!(get("empty", 0).await.unwrap().unwrap() == object(b""));

    // Replaced as a whole, metadata too.
    store.put(bucket, &key("b"), object(b"new"), soon()).await.unwrap();
    assert!(get("b", 10).await.unwrap().unwrap() == object(b"new"));

    let odd = "with space/plus+percent%20/ünïcödé.json";
    store.put(bucket, &key(odd), object(b"odd"), soon()).await.unwrap();
    assert!(get(odd, 10).await.unwrap().unwrap() == object(b"odd"));

    store.put(bucket, &format!("{folder}-not/a"), object(b"x"), soon()).await.unwrap();
    let info = |name: &str, bytes: u64| ObjectInfo { key: key(name), bytes };
    let listed = store.list(bucket, &format!("{folder}/"), soon()).await.unwrap();
    assert_eq!(listed, [info("b", 3), info("empty", 0), info(odd, 3)]);
    assert_eq!(store.list(bucket, &format!("{folder}/c"), soon()).await.unwrap(), Vec::new());

    // Deleted, and nothing whose key only begins like it.
    store.put(bucket, &key("b+"), object(b"x"), soon()).await.unwrap();
    for name in ["b", odd, "absent", "b"] {
        store.delete(bucket, &key(name), soon()).await.unwrap();
        assert!(get(name, 10).await.unwrap().is_none(), "{name}");
    }
    let listed = store.list(bucket, &format!("{folder}/"), soon()).await.unwrap();
    assert_eq!(listed, [info("b+", 1), info("empty", 0)]);
}

#[tokio::test]
async fn objects_in_memory() {
    conforms(&MemoryObjects::default(), "bucket").await;
}
