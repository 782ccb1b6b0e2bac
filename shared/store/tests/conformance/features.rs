//! Feature rows: what was put is found, what was not is missing.

use crate::{fresh, soon};
use features::views::{Definitions, FeatureRow, Lookup, RowKey};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use store::{FeatureStore, MemoryFeatures};

pub fn row(view: &str, id: &str, values: Value) -> FeatureRow {
    let line = json!({ "view": view, "id": id, "updated_at": "2026-11-23T08:00:00.125Z", "values": values });
    Definitions::bundled().unwrap().parse_row(&line.to_string()).unwrap()
}

pub fn key(view: &str, id: &str) -> RowKey {
    RowKey { view: view.to_owned(), id: id.to_owned() }
}

fn everything_about(id: &str) -> FeatureRow {
    row(
        "user",
        id,
        json!({
            "account_created_at": "2021-03-01T00:00:00Z", "followers": 12_840, "prior_violations": 0,
            "reports_received": 9_007_199_254_740_993_i64, "reports_sent": -1, "verified": true,
        }),
    )
}

/// All checks, on any store.
pub async fn conforms(store: &dyn FeatureStore) {
    finds_what_was_put(store).await;
    replaces_the_whole_row(store).await;
    takes_many_at_once(store).await;
    a_tombstone_is_a_row_without_values(store).await;
    assert_eq!(store.fetch(&BTreeSet::new(), soon()).await, [].into());
    assert_eq!(store.put(&[], soon()).await, Ok(()));
}

async fn finds_what_was_put(store: &dyn FeatureStore) {
    let id = fresh("user");
    let user = everything_about(&id);
    // The same id in another view is another row; a row may hold one value, or none.
    let post = row("post", &id, json!({ "likes": 3 }));
    let bare = row("user", &fresh("bare"), json!({}));
    store.put(&[user.clone(), post.clone(), bare.clone()], soon()).await.unwrap();
    let keys: BTreeSet<_> =
        [key("user", &id), key("post", &id), key("user", &bare.id), key("user", "conformance-nobody")].into();
    let found = store.fetch(&keys, soon()).await;
    assert_eq!(found.len(), 4);
    assert_eq!(found[&key("user", &id)], Lookup::Found(user));
    assert_eq!(found[&key("post", &id)], Lookup::Found(post));
    assert_eq!(found[&key("user", &bare.id)], Lookup::Found(bare));
    assert_eq!(found[&key("user", "conformance-nobody")], Lookup::Missing);
}

async fn replaces_the_whole_row(store: &dyn FeatureStore) {
    let id = fresh("replaced");
    store.put(&[everything_about(&id)], soon()).await.unwrap();
    let later = row("user", &id, json!({ "followers": 1 }));
    store.put(std::slice::from_ref(&later), soon()).await.unwrap();
    assert_eq!(store.fetch(&[key("user", &id)].into(), soon()).await[&key("user", &id)], Lookup::Found(later));
}

/// More than one call of the service takes, every second of them absent.
async fn takes_many_at_once(store: &dyn FeatureStore) {
    let name = fresh("many");
    let id = |n: i64| format!("{name}-{n}");
    let rows: Vec<_> = (0..115).map(|n| row("post", &id(n * 2), json!({ "likes": n }))).collect();
    store.put(&rows, soon()).await.unwrap();
    let keys: BTreeSet<_> = (0..230).map(|n| key("post", &id(n))).collect();
    let found = store.fetch(&keys, soon()).await;
    assert_eq!(found.len(), 230);
    for n in 0..230 {
        let expected = if n % 2 == 0 { Lookup::Found(rows[n as usize / 2].clone()) } else { Lookup::Missing };
        assert_eq!(found[&key("post", &id(n))], expected, "{n}");
    }
}

/// What was erased is a row of which no value is known; whoever is known again afterwards was erased all the same.
async fn a_tombstone_is_a_row_without_values(store: &dyn FeatureStore) {
    let (gone, back) = (fresh("gone"), fresh("back"));
    store.put(&[everything_about(&gone), everything_about(&back)], soon()).await.unwrap();
    let at = "2026-11-24T08:00:00.125Z".parse().unwrap();
    let tombstones = [&gone, &back].map(|id| FeatureRow::tombstone(key("user", id), at));
    store.put(&tombstones, soon()).await.unwrap();
    let known = FeatureRow { erased_at: Some(at), ..everything_about(&back) };
    store.put(std::slice::from_ref(&known), soon()).await.unwrap();
    let found = store.fetch(&[key("user", &gone), key("user", &back)].into(), soon()).await;
    assert_eq!(found[&key("user", &gone)], Lookup::Found(tombstones[0].clone()));
    assert_eq!(found[&key("user", &back)], Lookup::Found(known));
}

#[tokio::test]
async fn features_in_memory() {
    conforms(&MemoryFeatures::default()).await;
}
