//! Feature views: what is known about an author and a post, besides its content.
//!
//! `features.yaml` defines every feature once. Rows come from a [`FeatureRow`] line of a features file or from the
//! table; [`Definitions::compute`] turns them into the values a decision looks at. Serving and training call the same
//! function (law 6).

use domain::condition::{FeatureSchema, Schema, Type};
use domain::{FeatureState, FeatureValue, Post, Timestamp, sha256_hex};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The definitions compiled into every program.
pub const DEFINITIONS: &str = include_str!("../features.yaml");

/// One hour in milliseconds.
const HOUR_MS: i64 = 3_600_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema: String,
    set: String,
    version: String,
    views: BTreeMap<String, View>,
    features: Vec<FeatureDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FeatureDocument {
    name: String,
    view: String,
    #[serde(rename = "type")]
    kind: StoredType,
    unit: Option<String>,
    default: Option<FeatureValue>,
    derive: Option<Derivation>,
    #[serde(default)]
    stored_only: bool,
    description: String,
}

/// Where the rows of a view come from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// Which id of the post names the row.
    pub entity: Entity,
    /// How old a row may be before its values count as stale.
    pub max_age_hours: u32,
}

/// Which id of a post names a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entity {
    /// The author's id.
    AuthorId,
    /// The post's id.
    PostId,
}

/// Types of stored values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredType {
    /// Yes or no.
    Bool,
    /// A whole number.
    Int,
    /// Any number.
    Float,
    /// An RFC 3339 instant.
    Timestamp,
}

/// How a feature is computed when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Derivation {
    /// Whole days from the stored `account_created_at` to receiving the post, 0 for an instant in the future.
    DaysSinceAccountCreatedAt,
    /// The hour of publication in UTC.
    HourOfEvent,
}

/// One feature.
#[derive(Debug, Clone, PartialEq)]
pub struct Feature {
    /// Unique over all views.
    pub name: String,
    /// The view it belongs to.
    pub view: String,
    /// Its type.
    pub kind: StoredType,
    /// Its unit, where it has one.
    pub unit: Option<String>,
    /// What a rule reads when it is missing; `None` for inputs of other features.
    pub default: Option<FeatureValue>,
    /// How it is computed; `None` for a value that is stored as it is.
    pub derive: Option<Derivation>,
    /// What it means.
    pub description: String,
}

/// A set of feature definitions that was checked.
#[derive(Debug, Clone)]
pub struct Definitions {
    /// `set@version`.
    pub set: String,
    /// Digest of the file.
    pub sha256: String,
    /// Views by name.
    pub views: BTreeMap<String, View>,
    /// Features in the order of the file.
    pub features: Vec<Feature>,
}

/// Why definitions or a row were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// The definitions cannot be read or contradict themselves.
    #[error("feature definitions: {0}")]
    Definitions(String),
    /// The row names a view that is not defined.
    #[error("`view` must be one of {0}")]
    UnknownView(String),
    /// The row names a value that its view does not store.
    #[error("`{name}` is not stored in view `{view}`; there are {known}")]
    UnknownValue {
        /// What was written.
        name: String,
        /// The view.
        view: String,
        /// What could have been.
        known: String,
    },
    /// A value of another type than defined.
    #[error("`{name}` must be {wanted}")]
    WrongType {
        /// Which value.
        name: String,
        /// Its defined type.
        wanted: String,
    },
    /// The row is not a features row at all.
    #[error("not a features row: {0}")]
    Shape(String),
}

/// A stored value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StoredValue {
    /// A bool or a number.
    Plain(FeatureValue),
    /// An instant.
    Timestamp(Timestamp),
}

/// What is stored about one entity in one view: a line of a features file, and an item of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureRow {
    /// The view.
    pub view: String,
    /// The author's or the post's id.
    pub id: String,
    /// When the values were true.
    pub updated_at: Timestamp,
    /// Stored values by name.
    pub values: BTreeMap<String, StoredValue>,
    /// When everything about the entity was erased, where that is not long ago: a tombstone is a row without values. Never in a file.
    #[serde(skip)]
    pub erased_at: Option<Timestamp>,
}

impl FeatureRow {
    /// What stands in the place of a row that was erased.
    #[must_use]
    pub fn tombstone(key: RowKey, erased_at: Timestamp) -> Self {
        let RowKey { view, id } = key;
        Self { view, id, updated_at: erased_at, values: BTreeMap::new(), erased_at: Some(erased_at) }
    }
}

/// Names a row in the table: `user#u-1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// The view.
    pub view: String,
    /// The author's or the post's id.
    pub id: String,
}

impl std::fmt::Display for RowKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}#{}", self.view, self.id)
    }
}

/// What came of looking for a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Lookup {
    /// It is there.
    Found(FeatureRow),
    /// It is not there: normal for a new author or post.
    Missing,
    /// The store could not be asked.
    Unavailable,
}

impl Definitions {
    /// The compiled-in definitions.
    ///
    /// # Errors
    /// Only where the file in the tree is broken; a test holds it.
    pub fn bundled() -> Result<Self, ViewError> {
        Self::load(DEFINITIONS)
    }

    /// Reads and checks definitions.
    ///
    /// # Errors
    /// The first thing that is wrong with them.
    pub fn load(source: &str) -> Result<Self, ViewError> {
        let wrong = |what: String| ViewError::Definitions(what);
        let document: Document = serde_saphyr::from_str(source).map_err(|error| wrong(error.to_string()))?;
        if document.schema != "features/1" {
            return Err(wrong(format!("`schema` is `{}`; this program reads `features/1`", document.schema)));
        }
        let mut names = std::collections::BTreeSet::new();
        let mut features = Vec::new();
        for feature in document.features {
            let name = &feature.name;
            if !names.insert(name.clone()) {
                return Err(wrong(format!("`{name}` is defined twice; names are unique over all views")));
            }
            if !document.views.contains_key(&feature.view) {
                return Err(wrong(format!("`{name}` is in view `{}`, which is not defined", feature.view)));
            }
            let default_fits = match (feature.kind, feature.default) {
                (StoredType::Timestamp, None) => feature.stored_only,
                (_, None) => feature.stored_only,
                (StoredType::Bool, Some(FeatureValue::Bool(_))) | (StoredType::Int, Some(FeatureValue::Int(_))) => true,
                (StoredType::Float, Some(FeatureValue::Float(_) | FeatureValue::Int(_))) => true,
                _ => false,
            };
            if !default_fits || (feature.stored_only && feature.default.is_some()) {
                return Err(wrong(format!(
                    "`{name}` needs a `default` of its type, or `stored_only: true` without one"
                )));
            }
            features.push(Feature {
                name: feature.name,
                view: feature.view,
                kind: feature.kind,
                unit: feature.unit,
                default: feature.default,
                derive: feature.derive,
                description: feature.description,
            });
        }
        Ok(Self {
            set: format!("{}@{}", document.set, document.version),
            sha256: sha256_hex(source.as_bytes()),
            views: document.views,
            features,
        })
    }

    /// What conditions of policies may look at.
    #[must_use]
    pub fn schema(&self) -> Schema {
        let visible = self.features.iter().filter_map(|feature| {
            let kind = match feature.kind {
                StoredType::Bool => Type::Bool,
                StoredType::Int => Type::Int,
                StoredType::Float => Type::Float,
                StoredType::Timestamp => return None,
            };
            let default = feature.default?;
            Some((feature.name.clone(), FeatureSchema { view: feature.view.clone(), kind, default }))
        });
        Schema { features: visible.collect() }
    }

    /// Names of stored values, over all views: what a projection has to fetch besides the key and `updated_at`.
    pub fn stored(&self) -> impl Iterator<Item = &Feature> {
        self.features.iter().filter(|feature| feature.derive.is_none())
    }

    /// The rows to look up for a post, one for each view; a view whose entity the post does not name has none.
    #[must_use]
    pub fn keys(&self, post: &Post) -> Vec<RowKey> {
        let author = post.author_id.iter().flat_map(|id| self.rows_of(Entity::AuthorId, id.as_str()));
        author.chain(self.rows_of(Entity::PostId, post.post_id.as_str())).collect()
    }

    /// The rows about one author or post.
    pub fn rows_of(&self, entity: Entity, id: &str) -> impl Iterator<Item = RowKey> {
        let views = self.views.iter().filter(move |(_, view)| view.entity == entity);
        views.map(move |(view, _)| RowKey { view: view.clone(), id: id.to_owned() })
    }

    /// The rows that `lookup` found about the author of a post.
    pub fn of_author<'a>(&self, post: &Post, lookup: impl Fn(&RowKey) -> &'a Lookup) -> Vec<&'a Lookup> {
        let rows = post.author_id.iter().flat_map(|id| self.rows_of(Entity::AuthorId, id.as_str()));
        rows.map(|key| lookup(&key)).collect()
    }

    /// Computes every feature of a post received at `received_at` from the rows that `lookup` found.
    pub fn compute<'a>(
        &self,
        post: &Post,
        received_at: Timestamp,
        lookup: impl Fn(&RowKey) -> &'a Lookup,
    ) -> BTreeMap<String, FeatureState> {
        let keys = self.keys(post);
        let rows: BTreeMap<&str, &Lookup> = keys.iter().map(|key| (key.view.as_str(), lookup(key))).collect();
        self.features
            .iter()
            .filter(|feature| feature.default.is_some())
            .map(|feature| {
                (feature.name.clone(), self.state(feature, post, received_at, rows.get(&*feature.view).copied()))
            })
            .collect()
    }

    fn state(&self, feature: &Feature, post: &Post, received_at: Timestamp, row: Option<&Lookup>) -> FeatureState {
        if feature.derive == Some(Derivation::HourOfEvent) {
            let hour = post.created_at.unwrap_or(received_at).hour_utc();
            return FeatureState::Present(FeatureValue::Int(hour));
        }
        let row = match row {
            Some(Lookup::Found(row)) => row,
            Some(Lookup::Unavailable) => return FeatureState::Unavailable,
            Some(Lookup::Missing) | None => return FeatureState::Missing,
        };
        let value = match feature.derive {
            Some(Derivation::DaysSinceAccountCreatedAt) => match row.values.get("account_created_at") {
                Some(StoredValue::Timestamp(opened)) => {
                    let age_ms = received_at.millis().saturating_sub(opened.millis()).max(0);
                    Some(FeatureValue::Int(age_ms / (24 * HOUR_MS)))
                }
                _ => None,
            },
            Some(Derivation::HourOfEvent) | None => match row.values.get(&feature.name) {
                Some(StoredValue::Plain(value)) => Some(*value),
                _ => None,
            },
        };
        let max_age_ms = self.views.get(&feature.view).map_or(0, |view| i64::from(view.max_age_hours) * HOUR_MS);
        match value {
            None => FeatureState::Missing,
            Some(value) if received_at.millis().saturating_sub(row.updated_at.millis()) > max_age_ms => {
                FeatureState::Stale(value)
            }
            Some(value) => FeatureState::Present(value),
        }
    }

    /// Reads one line of a features file.
    ///
    /// # Errors
    /// Not a row, an unknown view or value, or a value of the wrong type.
    pub fn parse_row(&self, line: &str) -> Result<FeatureRow, ViewError> {
        let row: FeatureRow = serde_json::from_str(line).map_err(|error| ViewError::Shape(error.to_string()))?;
        self.check_row(row)
    }

    /// Checks a row against the definitions.
    ///
    /// # Errors
    /// An unknown view or value, or a value of the wrong type.
    pub fn check_row(&self, row: FeatureRow) -> Result<FeatureRow, ViewError> {
        if !self.views.contains_key(&row.view) {
            let views: Vec<_> = self.views.keys().map(|view| format!("`{view}`")).collect();
            return Err(ViewError::UnknownView(views.join(", ")));
        }
        if row.id.is_empty() || row.id.len() > domain::MAX_ID_BYTES {
            return Err(ViewError::Shape(format!("`id` must be 1 to {} bytes", domain::MAX_ID_BYTES)));
        }
        for (name, value) in &row.values {
            let Some(feature) = self.stored().find(|feature| feature.name == *name && feature.view == row.view) else {
                let known: Vec<_> = self
                    .stored()
                    .filter(|feature| feature.view == row.view)
                    .map(|feature| feature.name.clone())
                    .collect();
                return Err(ViewError::UnknownValue {
                    name: name.clone(),
                    view: row.view.clone(),
                    known: known.join(", "),
                });
            };
            if !fits(feature.kind, *value) {
                let wanted = match feature.kind {
                    StoredType::Bool => "true or false",
                    StoredType::Int => "a whole number",
                    StoredType::Float => "a number",
                    StoredType::Timestamp => "an RFC 3339 instant",
                };
                return Err(ViewError::WrongType { name: name.clone(), wanted: wanted.to_owned() });
            }
        }
        Ok(row)
    }
}

fn fits(kind: StoredType, value: StoredValue) -> bool {
    matches!(
        (kind, value),
        (StoredType::Bool, StoredValue::Plain(FeatureValue::Bool(_)))
            | (StoredType::Int, StoredValue::Plain(FeatureValue::Int(_)))
            | (StoredType::Float, StoredValue::Plain(FeatureValue::Int(_) | FeatureValue::Float(_)))
            | (StoredType::Timestamp, StoredValue::Timestamp(_))
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn compute(row: &Lookup, event: &str) -> BTreeMap<String, FeatureState> {
        let post = Post::parse(event.as_bytes()).unwrap();
        Definitions::bundled()
            .unwrap()
            .compute(&post, at("2026-11-23T12:00:00Z"), |key| if key.view == "user" { row } else { &Lookup::Missing })
    }

    const EVENT: &str = r#"{"post_id":"p","author_id":"u","text":"","created_at":"2026-11-23T09:59:00Z"}"#;

    fn row(updated_at: &str) -> Lookup {
        let line = format!(
            r#"{{"view":"user","id":"u","updated_at":"{updated_at}","values":{{"followers":7,"account_created_at":"2026-11-20T13:00:00Z"}}}}"#
        );
        Lookup::Found(Definitions::bundled().unwrap().parse_row(&line).unwrap())
    }

    #[test]
    fn present_missing_stale_and_unavailable_are_four_things() {
        let fresh = compute(&row("2026-11-23T00:00:00Z"), EVENT);
        assert_eq!(fresh["followers"], FeatureState::Present(FeatureValue::Int(7)));
        assert_eq!(fresh["account_age_days"], FeatureState::Present(FeatureValue::Int(2)));
        assert_eq!(fresh["prior_violations"], FeatureState::Missing);
        assert_eq!(fresh["hour_of_day"], FeatureState::Present(FeatureValue::Int(9)));
        assert!(!fresh.contains_key("account_created_at"));
        let on_the_edge = compute(&row("2026-11-21T12:00:00Z"), EVENT);
        assert_eq!(on_the_edge["followers"], FeatureState::Present(FeatureValue::Int(7)));
        let stale = compute(&row("2026-11-21T11:59:59.999Z"), EVENT);
        assert_eq!(stale["followers"], FeatureState::Stale(FeatureValue::Int(7)));
        assert_eq!(compute(&Lookup::Missing, EVENT)["followers"], FeatureState::Missing);
        assert_eq!(compute(&Lookup::Unavailable, EVENT)["followers"], FeatureState::Unavailable);
        let anonymous = r#"{"post_id":"p","text":""}"#;
        let known = compute(&Lookup::Unavailable, anonymous);
        assert_eq!(known["followers"], FeatureState::Missing);
        assert_eq!(known["hour_of_day"], FeatureState::Present(FeatureValue::Int(12)));
    }

    #[test]
    fn bad_rows_are_refused_with_what_would_be_right() {
        let definitions = Definitions::bundled().unwrap();
        let refused = |line: &str| definitions.parse_row(line).unwrap_err().to_string();
        let row = |view: &str, values: &str| {
            format!(r#"{{"view":"{view}","id":"x","updated_at":"2026-11-20T00:00:00Z","values":{values}}}"#)
        };
        assert!(refused(&row("group", "{}")).contains("`post`, `user`"));
        assert!(refused(&row("user", r#"{"likes":1}"#)).contains("not stored in view `user`"));
        assert!(refused(&row("user", r#"{"account_age_days":1}"#)).contains("not stored"));
        assert!(refused(&row("user", r#"{"followers":"many"}"#)).contains("not a features row"));
        assert!(refused(&row("user", r#"{"followers":1.5}"#)).contains("whole number"));
        assert!(refused(&row("user", r#"{"account_created_at":5}"#)).contains("RFC 3339"));
        assert!(refused("{").contains("not a features row"));
    }

    #[test]
    fn planted_faults_in_definitions_are_refused() {
        for (from, to) in [
            ("features/1", "features/2"),
            ("name: likes", "name: shares"),
            ("view: post, type: int, unit: likes", "view: pots, type: int, unit: likes"),
            ("type: bool, default: false", "type: bool, default: 3"),
            ("type: bool, default: false", "type: bool"),
        ] {
            assert!(DEFINITIONS.contains(from));
            assert!(Definitions::load(&DEFINITIONS.replacen(from, to, 1)).is_err(), "{from} -> {to}");
        }
    }

    #[test]
    fn the_default_policy_reads_these_features() {
        domain::Policy::fallback(&Definitions::bundled().unwrap().schema()).unwrap();
    }
}
