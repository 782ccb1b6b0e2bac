//! What the tests of this crate share.

use domain::FeatureValue;
use domain::condition::{FeatureSchema, Schema, Type};
use std::collections::BTreeMap;

/// A schema with a feature of each kind.
pub fn schema() -> Schema {
    let feature = |view: &str, kind, default| FeatureSchema { view: view.to_owned(), kind, default };
    let (count, zero) = (Type::Int, FeatureValue::Int(0));
    Schema {
        features: BTreeMap::from([
            ("prior_violations".to_owned(), feature("user", count, zero)),
            ("account_age_days".to_owned(), feature("user", count, FeatureValue::Int(365))),
            ("verified".to_owned(), feature("user", Type::Bool, FeatureValue::Bool(false))),
            ("reports".to_owned(), feature("post", count, zero)),
        ]),
    }
}
