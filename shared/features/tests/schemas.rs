//! The schemas of feature definitions and features rows say what the code says; both stand with the others in
//! `shared/domain/schemas/`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

#[path = "../../domain/tests/common/schemas.rs"]
mod schemas;

use domain::{FeatureValue, Timestamp};
use features::views::{DEFINITIONS, Definitions, Derivation, Entity, FeatureRow, StoredType, StoredValue, ViewError};
use proptest::prelude::*;
use schemas::{JsonSchema, Refused, Refused::*, expected_in, words};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

fn bundled() -> Definitions {
    Definitions::bundled().unwrap()
}

fn definitions_refused(document: &Value) -> bool {
    Definitions::load(&document.to_string()).is_err()
}

fn row_refused(document: &Value) -> bool {
    bundled().parse_row(&document.to_string()).is_err()
}

/// The bundled definitions as JSON.
fn definitions() -> Value {
    serde_saphyr::from_str(DEFINITIONS).unwrap()
}

/// A row of each view, with every value that it can have.
fn rows() -> [Value; 2] {
    [
        json!({"view": "user", "id": "u-1", "updated_at": "2026-11-20T00:00:00Z", "values": {
            "account_created_at": "2020-01-01T00:00:00Z", "followers": 12, "prior_violations": 0,
            "reports_received": 1, "reports_sent": 2, "verified": true,
        }}),
        json!({"view": "post", "id": "p-1", "updated_at": "2026-11-20T00:00:00.123+01:00", "values": {
            "replies": 1, "likes": 2, "shares": 3, "reports": 4,
        }}),
    ]
}

#[test]
fn bundled_definitions_are_valid_and_use_every_field() {
    let schema = JsonSchema::read("feature-definitions");
    schema.accept(&definitions());
    assert!(!definitions_refused(&definitions()));
    assert_eq!(schema.names_in(&definitions()), schema.names());
}

#[test]
fn rows_and_their_schema_have_the_same_fields() {
    let schema = JsonSchema::read("features-row");
    let mut names = BTreeSet::new();
    for row in rows() {
        schema.accept(&row);
        assert!(!row_refused(&row));
        names.extend(schema.names_in(&row));
    }
    assert_eq!(names, schema.names());
    // What is stored in each view, and of which type, is what the definitions say, with the same units.
    for view in bundled().views.keys() {
        let described = schema.document["$defs"][view]["properties"].as_object().unwrap();
        let stored: BTreeMap<_, _> =
            bundled().stored().filter(|feature| feature.view == *view).map(|f| (f.name.clone(), f.clone())).collect();
        assert_eq!(described.keys().collect::<Vec<_>>(), stored.keys().collect::<Vec<_>>(), "view `{view}`");
        for (name, feature) in stored {
            let property = &described[&name];
            let found = match (property["$ref"].as_str(), property["type"].as_str(), property["format"].as_str()) {
                (Some("#/$defs/count"), None, None) => StoredType::Int,
                (None, Some("boolean"), None) => StoredType::Bool,
                (None, Some("number"), None) => StoredType::Float,
                (None, Some("string"), Some("date-time")) => StoredType::Timestamp,
                _ => panic!("`{name}` has no type of a feature"),
            };
            assert_eq!(found, feature.kind, "`{name}`");
            let text = property["description"].as_str().unwrap();
            assert!(text.starts_with(feature.description.trim_end_matches('.')), "`{name}`: {text}");
            assert!(text.contains(feature.unit.as_deref().unwrap_or_default()), "`{name}`: {text}");
        }
    }
}

/// The code lists the fields it reads when it meets one that it does not know.
#[test]
fn closed_objects_have_the_fields_that_the_code_reads() {
    let schema = JsonSchema::read("feature-definitions");
    for object in ["", "/views/user", "/features/0"] {
        let planted = JsonSchema::mutated(&definitions(), &format!("{object}/no-such-field"), Some(&json!(1)));
        assert!(schema.refuses(&planted));
        let Err(ViewError::Definitions(message)) = Definitions::load(&planted.to_string()) else {
            panic!("the code takes any field in `{object}`")
        };
        assert_eq!(expected_in(&message), schema.fields_at(object), "`{object}`: code (left), schema (right)");
    }
    let (schema, [user, _]) = (JsonSchema::read("features-row"), rows());
    let planted = JsonSchema::mutated(&user, "/no-such-field", Some(&json!(1)));
    assert!(schema.refuses(&planted));
    let message = bundled().parse_row(&planted.to_string()).unwrap_err().to_string();
    assert_eq!(expected_in(&message), schema.fields_at(""));
}

#[test]
fn enumerations_are_those_of_the_code() {
    let expected = [
        ("views.*.entity", words::<Entity>()),
        ("features[].type", words::<StoredType>()),
        ("features[].derive", words::<Derivation>()),
    ];
    let expected: BTreeMap<_, _> = expected.into_iter().map(|(path, words)| (path.to_owned(), words)).collect();
    assert_eq!(JsonSchema::read("feature-definitions").enumerations(), expected);
    let views = bundled().views.into_keys().collect();
    assert_eq!(JsonSchema::read("features-row").enumerations(), BTreeMap::from([("view".to_owned(), views)]));
}

#[test]
fn planted_faults_in_definitions_are_refused() {
    // 0 account_created_at (stored only), 1 account_age_days (derived), 2 followers (int), 6 verified (bool).
    let table: &[(&str, Option<Value>, Refused)] = &[
        ("/schema", Some(json!("features/2")), ByBoth),
        ("/set", None, ByBoth),
        ("/version", None, ByBoth),
        ("/version", Some(json!(1)), BySchema), // the reader of YAML takes a number for text
        ("/owner", Some(json!("me")), ByBoth),
        ("/views", None, ByBoth),
        ("/views/user/entity", Some(json!("device_id")), ByBoth),
        ("/views/user/max_age_hours", None, ByBoth),
        ("/views/user/max_age_hours", Some(json!(-1)), ByBoth),
        ("/views/user/max_age_hours", Some(json!("2 days")), ByBoth),
        ("/views/user/owner", Some(json!("me")), ByBoth),
        ("/features", None, ByBoth),
        ("/features/2/name", None, ByBoth),
        ("/features/2/name", Some(json!("likes")), ByCode),
        ("/features/2/name", Some(json!("two words")), BySchema),
        ("/features/2/view", Some(json!("group")), ByCode),
        ("/features/2/type", Some(json!("decimal")), ByBoth),
        ("/features/2/type", Some(json!("float")), ByNobody),
        ("/features/2/type", Some(json!("bool")), ByBoth),
        ("/features/2/type", Some(json!("timestamp")), ByBoth),
        ("/features/2/default", None, ByBoth),
        ("/features/2/default", Some(Value::Null), ByBoth),
        ("/features/2/default", Some(json!(0.5)), ByBoth),
        ("/features/2/default", Some(json!("none")), ByBoth),
        ("/features/2/stored_only", Some(json!(true)), ByBoth),
        ("/features/2/stored_only", Some(json!(false)), ByNobody),
        ("/features/2/description", None, ByBoth),
        ("/features/2/unit", None, ByNobody),
        ("/features/2/unit", Some(json!(5)), BySchema),
        ("/features/2/unit", Some(json!([])), ByBoth),
        ("/features/2/owner", Some(json!("me")), ByBoth),
        ("/features/1/derive", Some(json!("days_since_birth")), ByBoth),
        ("/features/1/derive", Some(Value::Null), ByNobody),
        ("/features/0/stored_only", None, ByBoth),
        ("/features/0/stored_only", Some(json!(false)), ByBoth),
        ("/features/0/default", Some(json!(0)), ByBoth),
        ("/features/6/default", Some(json!(0)), ByBoth),
        ("/features/6/default", Some(json!(true)), ByNobody),
    ];
    JsonSchema::read("feature-definitions").plant(&definitions(), table, definitions_refused);
}

#[test]
fn planted_faults_in_rows_are_refused() {
    let user: &[(&str, Option<Value>, Refused)] = &[
        ("/view", None, ByBoth),
        ("/view", Some(json!("group")), ByBoth),
        ("/view", Some(json!("post")), ByBoth),
        ("/id", None, ByBoth),
        ("/id", Some(json!("")), ByBoth),
        ("/id", Some(json!(1)), ByBoth),
        ("/id", Some(json!("x".repeat(257))), ByBoth),
        ("/id", Some(json!("é".repeat(200))), ByCode),
        ("/updated_at", None, ByBoth),
        ("/updated_at", Some(json!("-2h")), ByBoth),
        ("/updated_at", Some(json!(1_795_000_000)), ByBoth),
        ("/owner", Some(json!("me")), ByBoth),
        ("/values", None, ByBoth),
        ("/values", Some(json!({})), ByNobody),
        ("/values", Some(json!([])), ByBoth),
        ("/values/followers", None, ByNobody),
        ("/values/followers", Some(Value::Null), ByBoth),
        ("/values/followers", Some(json!("12")), ByBoth),
        ("/values/followers", Some(json!(1.5)), ByBoth),
        ("/values/followers", Some(json!(12.0)), ByCode), // JSON Schema knows no difference between 12 and 12.0
        ("/values/followers", Some(json!(i64::MAX)), ByNobody),
        ("/values/followers", Some(json!(i64::MIN)), ByNobody),
        ("/values/followers", Some(json!(u64::MAX)), ByBoth),
        ("/values/followers", Some(json!(true)), ByBoth),
        ("/values/verified", Some(json!(1)), ByBoth),
        ("/values/account_created_at", Some(json!(5)), ByBoth),
        ("/values/account_created_at", Some(json!("long ago")), ByBoth),
        ("/values/account_age_days", Some(json!(5)), ByBoth),
        ("/values/likes", Some(json!(5)), ByBoth),
    ];
    let post: &[(&str, Option<Value>, Refused)] = &[
        ("/view", Some(json!("user")), ByBoth),
        ("/values/likes", Some(json!(false)), ByBoth),
        ("/values/hour_of_day", Some(json!(5)), ByBoth),
        ("/values/followers", Some(json!(5)), ByBoth),
    ];
    let (schema, rows) = (JsonSchema::read("features-row"), rows());
    schema.plant(&rows[0], user, row_refused);
    schema.plant(&rows[1], post, row_refused);
}

proptest! {
    #[test]
    fn rows_that_the_code_writes_are_valid(
        of_user in any::<bool>(), id in "[^\\p{Cc}]{1,60}", updated_at in any::<i64>(),
        numbers in proptest::collection::vec(proptest::option::of(any::<i64>()), 12),
    ) {
        let view = if of_user { "user" } else { "post" };
        let definitions = bundled();
        let stored = definitions.stored().filter(|feature| feature.view == view).zip(numbers);
        let values = stored.filter_map(|(feature, number)| {
            let number = number?;
            let value = match feature.kind {
                StoredType::Bool => StoredValue::Plain(FeatureValue::Bool(number > 0)),
                StoredType::Int => StoredValue::Plain(FeatureValue::Int(number)),
                StoredType::Float => StoredValue::Plain(FeatureValue::Float(number as f64)),
                StoredType::Timestamp => StoredValue::Timestamp(Timestamp::from_millis(number)),
            };
            Some((feature.name.clone(), value))
        });
        let updated_at = Timestamp::from_millis(updated_at);
        let row = FeatureRow { view: view.to_owned(), id, updated_at, values: values.collect(), erased_at: None };
        let document = serde_json::to_value(&row).unwrap();
        JsonSchema::read("features-row").accept(&document);
        prop_assert_eq!(definitions.parse_row(&document.to_string()).unwrap(), row);
    }
}
